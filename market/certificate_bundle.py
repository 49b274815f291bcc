"""Bundles of certificates in accounts: taken apart, passed on, claimed, cancelled, withdrawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Final

from market.certificate import CertificateError, Status


class Action(StrEnum):
    """What an account holder may do with certificates that are Active."""

    TRANSFER = "transfer"
    CLAIM = "claim"
    CANCEL = "cancel"
    WITHDRAW = "withdraw"


_RESULT: Final = {
    Action.TRANSFER: Status.ACTIVE,
    Action.CLAIM: Status.CLAIMED,
    Action.CANCEL: Status.CANCELLED,
    Action.WITHDRAW: Status.WITHDRAWN,
}
_NOT_ANY_MORE: Final = {
    Status.CLAIMED: "claimed already: a claimed certificate stays claimed",
    Status.CANCELLED: "cancelled already",
    Status.WITHDRAWN: "withdrawn already",
    Status.EXPIRED: "expired",
    Status.LOCKED: "locked for the storage that holds the energy",
    Status.RESERVED: "reserved until their quarter-hour is final",
}


@dataclass(frozen=True, slots=True)
class Bundle:
    """Certificates ``first`` to ``last`` (both included) of one issuance, 1 Wh each.

    Raises:
        CertificateError: an empty range.
    """

    issuance: str
    device: str
    interval: str
    account: str
    status: Status
    first: int
    last: int
    expires: str  # YYYY-MM-DD
    beneficiary: str = ""
    is_storage: bool = False
    row: int | None = None  # where it is stored

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.last:
            raise CertificateError(f"{self.issuance}: {self.first} to {self.last} is no range")

    @property
    def wh(self) -> int:
        """How many certificates it holds: watt-hours."""
        return self.last - self.first + 1

    @property
    def place(self) -> tuple[str, str, int]:
        """Its rank among an account's bundles: the oldest production first."""
        return self.interval, self.issuance, self.first

    def cut(self, wh: int) -> tuple[Bundle, Bundle | None]:
        """Return the first ``wh`` of it (1 or more) and what is left, if anything."""
        if wh >= self.wh:
            return self, None
        head = replace(self, last=self.first + wh - 1, row=None)
        return head, replace(self, first=self.first + wh)

    def cut_end(self, wh: int) -> tuple[Bundle, Bundle | None]:
        """Return the last ``wh`` of it (1 or more) and what is left, if anything."""
        if wh >= self.wh:
            return self, None
        tail = replace(self, first=self.last - wh + 1, row=None)
        return tail, replace(self, last=self.last - wh)


@dataclass(frozen=True, slots=True)
class Change:
    """A bundle (or the part that was cut off it) as it was and as it is; what was left of it."""

    before: Bundle
    after: Bundle
    rest: Bundle | None


def take(bundles: Sequence[Bundle], wh: int) -> Iterator[tuple[Bundle, Bundle | None]]:
    """Yield the oldest ``wh`` certificates of the bundles, and what is left of the last one."""
    for bundle in sorted(bundles, key=lambda each: each.place):
        if not wh:
            return
        part, rest = bundle.cut(min(wh, bundle.wh))
        wh -= part.wh
        yield part, rest


def take_back(bundles: Sequence[Bundle], wh: int) -> Iterator[tuple[Bundle, Bundle | None]]:
    """Yield the newest ``wh`` certificates of the bundles: the end of the last range first."""
    for bundle in sorted(bundles, key=lambda each: each.place, reverse=True):
        if not wh:
            return
        part, rest = bundle.cut_end(min(wh, bundle.wh))
        wh -= part.wh
        yield part, rest


def perform(
    action: Action, chosen: Sequence[Bundle], wh: int | None, to: str, today: str
) -> list[Change]:
    """Return what an action does to the chosen bundles of one account, the oldest first.

    ``wh`` None means all that are Active. ``to`` is the account of a transfer; for a claim or a
    cancellation whom it is for, '' being the holder.

    Raises:
        CertificateError: less than ``wh`` are Active, and the reason for each of the others.
    """
    active = [b for b in chosen if b.status is Status.ACTIVE and b.expires >= today]
    there_wh = sum(bundle.wh for bundle in active)
    asked_wh = there_wh if wh is None else wh
    if asked_wh < 1 or asked_wh > there_wh:
        raise CertificateError(_refusal(action, chosen, asked_wh, there_wh, today))
    return [Change(part, _changed(part, action, to), rest) for part, rest in take(active, asked_wh)]


def _changed(bundle: Bundle, action: Action, to: str) -> Bundle:
    if action is Action.TRANSFER:
        return replace(bundle, account=to)
    purpose = to or bundle.account if action in (Action.CLAIM, Action.CANCEL) else ""
    return replace(bundle, status=_RESULT[action], beneficiary=purpose)


def _refusal(
    action: Action, chosen: Sequence[Bundle], asked_wh: int, there_wh: int, today: str
) -> str:
    """Say how many are there, and why the others cannot be had."""
    held: Counter[Status] = Counter()
    for bundle in chosen:
        late = bundle.status is Status.ACTIVE and bundle.expires < today
        held[Status.EXPIRED if late else bundle.status] += bundle.wh
    reasons = [
        f"{wh} Wh are {_NOT_ANY_MORE[s]}" for s, wh in sorted(held.items()) if s in _NOT_ANY_MORE
    ]
    if asked_wh < 1 and there_wh:
        return f"{asked_wh} Wh cannot be the amount of a {action}: say at least 1 Wh"
    wanted = f"a {action} of {asked_wh} Wh is" if asked_wh > 0 else f"a {action} is"
    why = "; ".join(reasons) if reasons else "there are no others here"
    return f"{wanted} not possible: {there_wh} Wh are Active; {why}"


def overlaps(bundles: Sequence[Bundle]) -> tuple[Bundle, Bundle] | None:
    """Return two bundles that hold the same certificate, if there are any."""
    ordered = sorted(bundles, key=lambda each: (each.issuance, each.first))
    for one, other in pairwise(ordered):
        if one.issuance == other.issuance and other.first <= one.last:
            return one, other
    return None
