"""When a milestone signer signs: one essence per index, each built on the one before.

Pure functions over what was signed last. docs/adr/0006-milestones-signed-by-k-of-n.md says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from ledger_client.stardust.codec import ID_LENGTH, StardustSyntaxError
from ledger_client.stardust.milestone import Milestone, MilestoneEssence
from ledger_client.verify import Milestones, RefusedError, check_milestone

AHEAD_S: Final = 5 * 60
"""How far a milestone's time stamp may be ahead of the signer's clock, unless told otherwise."""


class SignerError(Exception):
    """Root of the signer's errors; ``status`` is the HTTP status that tells them apart."""

    status: ClassVar[int] = 503


class SignerUnavailableError(SignerError):
    """The signer cannot write its state or check the essence now: ask again later."""


class SignerSettingsError(SignerError):
    """The folder belongs to another network or key: stop and ask a person."""


class SignRefusedError(SignerError):
    """The signer will not sign this: do not ask again with the same essence, look at the reason."""

    status = 409


class EssenceCheckError(SignRefusedError):
    """What the essence says is not what the signer found out itself: a person has to look."""

    status = 422


class TimestampError(SignRefusedError):
    """The time stamp does not come after the last one, or lies in the future: mend the clock."""

    status = 422


class AlreadySignedError(SignRefusedError):
    """Another essence of this index is signed already. Two nodes at once, or a fraud."""


class OldIndexError(SignRefusedError):
    """The index lies behind what was signed: the node is not up to date."""


class GapError(SignRefusedError):
    """Indices were signed without this signer: ask again with the milestone before as proof."""


class ForkError(SignRefusedError):
    """The essence builds on another milestone than the one that was signed here."""


class KeyCopiedError(SignRefusedError):
    """This key signed what this folder never saw: the key was copied, or the folder is old."""


class EssenceCheck(Protocol):
    """A second opinion on an essence, a follower's for instance, before it is signed."""

    def check(self, essence: MilestoneEssence) -> None:
        """Return if both roots and the past are right.

        Raises EssenceCheckError when they are wrong, SignerUnavailableError when that cannot be
        told now.
        """


@dataclass(frozen=True, slots=True)
class Head:
    """A milestone to build on; ``timestamp`` in seconds."""

    index: int
    milestone_id: bytes
    timestamp: int

    @classmethod
    def of(cls, essence: MilestoneEssence) -> Head:
        """Return the head that ``essence`` makes."""
        return cls(essence.index, essence.id(), essence.timestamp)


NOTHING: Final = Head(0, bytes(ID_LENGTH), 0)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs and whom it believes.

    ``pinned`` are the milestone keys that a proof is checked against (none: gaps stay closed).
    Below ``from_index`` the signer signs nothing, and takes what its key signed there for granted:
    this is how a key comes here from elsewhere.
    """

    public_key: bytes
    network: str
    pinned: Milestones | None = None
    from_index: int = 1


def require_next(
    me: Identity, last: Head, essence: MilestoneEssence, previous: bytes | None, latest_s: int
) -> None:
    """Return if ``essence`` may be signed after ``last``; nothing of its index is signed yet.

    Args:
        me: the signer.
        last: what it signed last, or NOTHING.
        essence: what it is asked to sign.
        previous: payload of the milestone before, needed where that is not ``last``.
        latest_s: the latest time stamp that is believed, in seconds.

    Raises:
        SignRefusedError: the branch says why.
    """
    if essence.index <= last.index or essence.index < me.from_index:
        raise OldIndexError(
            f"index {essence.index} lies behind: signed up to {last.index}, "
            f"and nothing below {me.from_index} is signed here"
        )
    follows = essence.index == last.index + 1 and essence.previous_id == last.milestone_id
    base = last if follows else _proved(me, last, essence, previous)
    if essence.timestamp <= base.timestamp:
        raise TimestampError(
            f"time stamp {essence.timestamp} is not later than {base.timestamp} "
            f"of milestone {base.index}"
        )
    if essence.timestamp > latest_s:
        raise TimestampError(
            f"time stamp {essence.timestamp} is too far ahead of this signer's clock, which "
            f"allows {latest_s}: compare the clocks"
        )


def _proved(me: Identity, last: Head, essence: MilestoneEssence, previous: bytes | None) -> Head:
    """Return the milestone before ``essence``, proved by the pinned keys."""
    before = essence.index - 1
    if previous is None or me.pinned is None:
        if before == last.index:
            raise ForkError(
                f"index {essence.index} builds on another milestone {before} than was signed here"
            )
        cure = f"send milestone {before} as `previous`" if me.pinned else "start it with --keys"
        raise GapError(f"signed up to {last.index}, asked for {essence.index}: {cure}")
    try:
        check_milestone(previous, me.pinned)
        proof = Milestone.decode(previous)
    except (RefusedError, StardustSyntaxError) as error:
        raise GapError(f"`previous` does not prove milestone {before}: {error}") from error
    head = Head.of(proof.essence)
    if (head.index, head.milestone_id) != (before, essence.previous_id):
        raise GapError(
            f"`previous` is milestone {head.index}, but index {essence.index} builds on "
            f"{essence.previous_id.hex()} of {before}"
        )
    _require_not_mine(me, proof)
    return head


def _require_not_mine(me: Identity, proof: Milestone) -> None:
    """Refuse a proof that bears this key: what this folder signed needs no proof."""
    index = proof.essence.index
    if index >= me.from_index and any(s.public_key == me.public_key for s in proof.signatures):
        raise KeyCopiedError(
            f"milestone {index} bears this signer's key, but this folder never signed it: the key "
            "is used elsewhere, or the folder was restored from an old copy. Take a new key, or "
            f"start with --from-index {index + 1} if the key was moved here on purpose"
        )
