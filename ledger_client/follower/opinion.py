"""A milestone signer's second opinion: it works each milestone out again before it signs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from ledger_client.follower.errors import MismatchError
from ledger_client.follower.follower import LEDGER_FILE, Follower
from ledger_client.ledger import LedgerError
from ledger_client.localnode.store import Store
from ledger_client.localnode.tangle import SOLID_ENTRY_POINT
from ledger_client.remotenode.client import NodeClient
from ledger_client.serving.folder import FolderError, read_token
from ledger_client.signer.command import SignerCommand, SignerStartError, read_pinned
from ledger_client.signer.rules import EssenceCheck, EssenceCheckError, SignerUnavailableError
from ledger_client.stardust.merkle import merkle_root
from ledger_client.stardust.milestone import MilestoneEssence
from ledger_client.verify import Milestones, VerifyError

COPY_FOLDER: Final = "follower"
_ANSWER_S: Final = 10.0


@contextmanager
def following(url: str, token_file: Path | None, command: SignerCommand) -> Iterator[FollowerCheck]:
    """Give the check for a signer that follows the node at ``url``, with a copy in its folder.

    Raises SignerStartError.
    """
    if command.keys is None:
        raise SignerStartError("--follow needs --keys: whose milestones count")
    try:
        pinned = read_pinned(command.keys)
        token = read_token(token_file) if token_file else None
        client = NodeClient([url], token=token, timeout_s=_ANSWER_S, network=command.network)
    except (FolderError, VerifyError, LedgerError, OSError) as error:
        raise SignerStartError(str(error)) from error
    with client, closing(FollowerCheck(command.data / COPY_FOLDER, client, pinned)) as check:
        yield check


class FollowerCheck(EssenceCheck):
    """Follows the node up to the milestone before, then works out the one that is to be signed.

    Args:
        folder: where the copy of the ledger is kept; made when it is first needed.
        client: the node that drafts the milestones.
        pinned: whose milestones count.
    """

    def __init__(self, folder: Path, client: NodeClient, pinned: Milestones) -> None:
        self._folder = folder
        self._client = client
        self._pinned = pinned
        self._store: Store | None = None
        self._follower: Follower | None = None
        self._turn = threading.Lock()

    def close(self) -> None:
        """Close the copy."""
        with self._turn:
            if self._store is not None:
                self._store.close()

    def check(self, essence: MilestoneEssence) -> None:
        """Return if the essence is what its blocks make; see :class:`EssenceCheck`."""
        if essence.index == 1:
            _require_empty(essence)  # a network is founded before its node serves anybody
            return
        # Following may take long. Who asks meanwhile is told so instead of waiting in a queue.
        if not self._turn.acquire(blocking=False):
            raise SignerUnavailableError("still working out a milestone: ask again later")
        try:
            self._judge(essence)
        except MismatchError as error:
            raise EssenceCheckError(str(error)) from error
        except (LedgerError, OSError) as error:
            raise SignerUnavailableError(f"the ledger cannot be followed: {error}") from error
        finally:
            self._turn.release()

    def _judge(self, essence: MilestoneEssence) -> None:
        follower = self._follower = self._follower or self._open()
        while (here := follower.store.count("milestones")) < essence.index - 1:
            if follower.step() is None:
                raise SignerUnavailableError(
                    f"the node shows milestones up to {here} alone, {essence.index - 1} is needed"
                )
        row = follower.store.milestone_at(essence.index)
        if row is None:
            follower.judge(essence)
        elif row.milestone_id != essence.id():
            raise EssenceCheckError(f"milestone {essence.index} is another one already")

    def _open(self) -> Follower:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._store = self._store or Store(self._folder / LEDGER_FILE)
        return Follower.open(self._folder, self._store, self._client, self._pinned)


def _require_empty(essence: MilestoneEssence) -> None:
    """Refuse a first milestone that confirms anything."""
    nothing = merkle_root([])
    roots = (essence.inclusion_root, essence.applied_root)
    if essence.parents != (SOLID_ENTRY_POINT,) or roots != (nothing, nothing):
        raise EssenceCheckError("the first milestone confirms something, but there is nothing yet")
