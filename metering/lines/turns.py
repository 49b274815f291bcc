"""Whose turn it is on a line that carries one request at a time. Pure: the caller has the clock.

A unit that answers promptly goes before one that lately was slow or silent (*doubtful*), and keeps
the line for its whole poll. However many doubtful units there are, a poll of a prompt one waits
for one of their requests at most: the one under way. Doubtful units have the line whenever no
prompt one wants it, and once in :data:`SHARE_S` where it is never free.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

SHARE_S: Final = 4.0
"""On a line that is never free, a doubtful unit is served once in this many seconds."""

IN_A_ROW: Final = 8
"""Requests that a unit may make one after the other while others wait: a poll has fewer."""


class Ask(Protocol):
    """A request that waits for its turn."""

    @property
    def unit(self) -> int:
        """Whose request it is."""

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for it any more."""

    @property
    def claims(self) -> bool:
        """Whether it reads nothing and only keeps the line for this unit's next request."""


AskT = TypeVar("AskT", bound=Ask)


@dataclass(slots=True)
class Turns(Generic[AskT]):
    """The requests that wait on one line; times are seconds of a clock that never goes back."""

    _waiting: list[AskT] = field(default_factory=list)
    _doubtful: set[int] = field(default_factory=set)
    _alone_until: dict[int, float] = field(default_factory=dict)
    _last_unit: int | None = None
    _in_a_row: int = 0
    _shared_at: float = 0.0
    _claimed_by: int | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, ask: AskT) -> None:
        """Put a request at the end of the queue."""
        self._waiting.append(ask)

    def take(self, now: float) -> AskT | None:
        """Return the request whose turn it is, and take it off; ``None`` if none may go now."""
        self._waiting = [ask for ask in self._waiting if not ask.given_up]
        ready = self._waiting
        if self._alone_until:
            ready = [ask for ask in ready if self._may_go(ask.unit, now)]
        chosen = self._choose(ready, now) if len(ready) > 1 else next(iter(ready), None)
        if chosen is not None:
            self._waiting.remove(chosen)
            self._in_a_row = self._in_a_row + 1 if chosen.unit == self._last_unit else 1
            self._last_unit = chosen.unit
        self._claimed_by = chosen.unit if chosen is not None and chosen.claims else None
        return chosen

    def next_at(self) -> float | None:
        """Return when the first of those that are left alone may be asked, if somebody wants to."""
        times = (self._alone_until.get(ask.unit) for ask in self._waiting)
        return min((at for at in times if at is not None), default=None)

    def prompt(self, unit: int) -> None:
        """Note that ``unit`` answered as it should."""
        self._doubtful.discard(unit)

    def doubt(self, unit: int) -> None:
        """Note that ``unit`` was slow or silent."""
        self._doubtful.add(unit)

    def leave_alone(self, unit: int, until: float) -> None:
        """Ask nothing of ``unit`` before ``until``: a late reply of it may be on the way."""
        self._alone_until[unit] = until

    def served(self, unit: int, now: float) -> None:
        """Note that a request of ``unit`` has ended, however it went."""
        if unit in self._doubtful:
            self._shared_at = now

    def drain(self) -> Iterable[AskT]:
        """Return everything that waits, and forget it."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def _may_go(self, unit: int, now: float) -> bool:
        until = self._alone_until.get(unit)
        if until is not None and until <= now:
            del self._alone_until[unit]
        return until is None or until <= now

    def _choose(self, ready: Sequence[AskT], now: float) -> AskT | None:
        for ask in ready:
            if ask.unit == self._claimed_by:
                return ask
        prompt = [ask for ask in ready if ask.unit not in self._doubtful]
        shy = next((ask for ask in ready if ask.unit in self._doubtful), None)
        same = next((ask for ask in prompt if ask.unit == self._last_unit), None)
        if same is not None and self._in_a_row < IN_A_ROW:
            return same
        if shy is not None and (not prompt or now - self._shared_at >= SHARE_S):
            return shy
        return next((ask for ask in prompt if ask is not same), same)
