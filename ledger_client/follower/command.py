"""``wattloom node follow``: keeps a copy of another node's ledger for as long as it holds."""

from __future__ import annotations

import secrets
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import httpx

from ledger_client.follower.errors import MismatchError
from ledger_client.follower.follower import LEDGER_FILE, Follower
from ledger_client.follower.screen import Screen
from ledger_client.ledger import LedgerError, LedgerUnavailableError
from ledger_client.localnode.store import Store
from ledger_client.remotenode.client import NodeClient
from ledger_client.serving.folder import FolderError, alone, read_token
from ledger_client.stardust.bech32 import decode_address_text
from ledger_client.stardust.codec import StardustError
from ledger_client.verify import VerifyError, load_keys

POLL_S: Final = 2.0
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 60.0
ONCE_ATTEMPTS: Final = 3
TARGET_EVERY: Final = 50

_Answer = TypeVar("_Answer")


class FollowStartError(Exception):
    """The follower cannot go on: the message says what to mend; what it has stays as it is."""


@dataclass(frozen=True, slots=True)
class FollowCommand:
    """What a person asked for; ``genesis`` holds BECH32:UNITS texts, () takes the node's word.

    With ``replay`` a copy is worked out again before it is gone on with. With ``once`` it ends when
    the node has no further milestone.
    """

    url: str
    data: Path
    keys: Path
    token_file: Path | None = None
    genesis: tuple[str, ...] = ()
    replay: bool = False
    once: bool = False
    timeout_s: float = 10


@dataclass(slots=True)
class _Patience:
    """Asks again after 1 s, 2 s, ... 60 s, a little more or less; ``once`` gives up soon."""

    screen: Screen
    once: bool
    pause: Callable[[float], None]
    failures: int = 0
    jitter: secrets.SystemRandom = field(default_factory=secrets.SystemRandom)

    def ask(self, call: Callable[[], _Answer]) -> _Answer:
        """Return the first answer of ``call``; nothing but silence is waited out."""
        while True:
            try:
                answer = call()
            except LedgerUnavailableError as error:
                self.failures += 1
                if self.once and self.failures >= ONCE_ATTEMPTS:
                    raise
                seconds = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self.failures - 1, 6))
                seconds *= self.jitter.uniform(0.75, 1.0)
                self.screen.waiting(seconds, str(error))
                self.pause(seconds)
            else:
                self.failures = 0
                return answer


def run_follow(
    command: FollowCommand,
    screen: Screen,
    *,
    pause: Callable[[float], None] = time.sleep,
    transport: httpx.BaseTransport | None = None,
) -> int:
    """Follow until Ctrl-C or, with ``once``, until there is nothing new; return the exit code.

    0: everything holds so far. 1: something does not, and the mark was left. Raises
    FollowStartError. ``transport`` stands in for the network in tests.
    """
    try:
        token = read_token(command.token_file) if command.token_file else None
        with (
            _terminated_like_interrupted(),
            alone(command.data),
            closing(Store(command.data / LEDGER_FILE)) as store,
            _client(command, store, token, transport, pause) as client,
            screen,
        ):
            return _follow(command, store, client, _Patience(screen, command.once, pause))
    except (FolderError, LedgerError, StardustError, VerifyError, OSError, sqlite3.Error) as error:
        raise FollowStartError(str(error)) from error


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM end it as Ctrl-C does; elsewhere than in the main thread nothing can be set."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _client(
    command: FollowCommand,
    store: Store,
    token: str | None,
    transport: httpx.BaseTransport | None,
    pause: Callable[[float], None],
) -> NodeClient:
    return NodeClient(
        [command.url],
        token=token,
        timeout_s=command.timeout_s,
        transport=transport,
        network=store.settings().get("network"),
        pause=pause,
    )


def _follow(command: FollowCommand, store: Store, client: NodeClient, patience: _Patience) -> int:
    screen = patience.screen
    pinned = load_keys(command.keys.read_bytes()).milestones
    is_new = not store.settings()
    try:
        genesis = None
        if command.genesis:
            hrp = store.settings().get("hrp") or patience.ask(client.info).bech32_hrp
            genesis = parse_genesis(command.genesis, hrp)
        follower = patience.ask(lambda: Follower.open(command.data, store, client, pinned, genesis))
        if is_new and not command.genesis:
            screen.note(
                "The genesis outputs were taken from the node on first use: they add up to the "
                f"supply of {follower.settings.supply_units} units. Whoever knows them pins them "
                "with --genesis-address."
            )
        if command.replay and not is_new:
            _replay(follower, screen)
        _walk(follower, patience, once=command.once)
    except KeyboardInterrupt:
        pass
    except MismatchError as error:
        screen.halted(error.halt, str(command.data))
        return 1
    screen.ended(_summary(store))
    return 0


def _replay(follower: Follower, screen: Screen) -> None:
    count = follower.store.count
    held = f"{count('blocks')} blocks and {count('milestones')} milestones"
    screen.note(f"Working the copy out again from its {held}.")
    try:
        follower.replay()
    except KeyboardInterrupt as error:
        raise FollowStartError("interrupted in its replay; the copy is as it was") from error
    screen.note("The copy was worked out again: it is what its blocks and milestones make.")


def _walk(follower: Follower, patience: _Patience, *, once: bool) -> None:
    screen = patience.screen
    taken = 0
    while True:
        if taken % TARGET_EVERY == 0:
            at = follower.latest.index if follower.latest else 0
            screen.target(at, patience.ask(follower.target))
        followed = patience.ask(follower.step)
        if followed is not None:
            taken += 1
            screen.followed(followed)
        elif once:
            return
        else:
            patience.pause(POLL_S)


def parse_genesis(texts: Sequence[str], hrp: str) -> dict[bytes, int]:
    """Return the units of each address from BECH32:UNITS texts. Raises FollowStartError."""
    genesis: dict[bytes, int] = {}
    for text in texts:
        address_text, colon, units = text.partition(":")
        if not colon or not units.isascii() or not units.isdigit():
            raise FollowStartError(f"{text!r}: write a genesis output as BECH32:UNITS")
        address = decode_address_text(hrp, address_text)
        if address in genesis:
            raise FollowStartError(f"{address_text} is given twice as a genesis address")
        genesis[address] = int(units)
    return genesis


def _summary(store: Store) -> str:
    count = store.count
    return (
        f"Everything holds up to milestone {count('milestones')}: {count('blocks')} blocks, "
        f"{count('transfers')} payments applied, {count('units')} units."
    )
