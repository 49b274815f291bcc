"""The quarter-hour: keyed by its UTC start, on the grid, never by a number within a local day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import total_ordering
from typing import Final

LENGTH: Final = timedelta(minutes=15)
LENGTH_MS: Final = 900_000
_KEY_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"
# A meter without a clock says 1970: such a moment has its interval, so that the reading can be
# refused by name, but no key of ours is older than 2000.
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_KEY: Final = "2000-01-01T00:00:00Z"
_AFTER_LAST: Final = datetime(3000, 1, 1, tzinfo=UTC)


class IntervalError(ValueError):
    """The time is vague, off the grid or outside its years: reject for good."""


@total_ordering
@dataclass(frozen=True, slots=True)
class Interval:
    """Fifteen minutes [start, end), keyed by the UTC start.

    Raises:
        IntervalError: ``start`` is naive, not UTC, not on the quarter-hour grid, or not in the
            years 1970-2999 (so every key has 20 characters, and its end is a moment, too).
    """

    start: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise IntervalError(f"naive time {self.start.isoformat()}: add its zone, e.g. 'Z'")
        if self.start.utcoffset() != timedelta(0):
            raise IntervalError(f"{self.start.isoformat()} is not UTC: convert it first")
        if not _FIRST <= self.start < _AFTER_LAST:
            raise IntervalError(
                f"{self.start.isoformat()} is not in the years 1970-2999: check whose clock said so"
            )
        if to_ms(self.start) % LENGTH_MS:
            raise IntervalError(
                f"{self.start.isoformat()} is off the grid: an interval starts at "
                "minute 0, 15, 30 or 45"
            )

    @classmethod
    def containing(cls, moment: datetime) -> Interval:
        """Return the interval that holds ``moment`` (aware)."""
        if moment.tzinfo is None:
            raise IntervalError(f"naive time {moment.isoformat()}: add its zone, e.g. 'Z'")
        return cls.containing_ms(to_ms(moment))

    @classmethod
    def containing_ms(cls, moment_ms: int) -> Interval:
        """Return the interval that holds a moment given in UTC milliseconds since 1970."""
        if not to_ms(_FIRST) <= moment_ms < to_ms(_AFTER_LAST):
            raise IntervalError(
                f"moment {moment_ms} ms is not in the years 1970-2999: check whose clock said so"
            )
        return cls(from_ms(moment_ms - moment_ms % LENGTH_MS))

    @classmethod
    def parse(cls, key: str) -> Interval:
        """Return the interval of a key such as ``2026-06-23T09:00:00Z``, in this very spelling.

        Raises:
            IntervalError: ``key`` is another spelling, or not in the years 2000-2999.
        """
        advice = (
            f"{key[:40]!r} is not an interval key of the years 2000-2999: "
            "write its UTC start as 2026-06-23T09:00:00Z"
        )
        try:
            interval = cls(datetime.strptime(key, _KEY_FORMAT).replace(tzinfo=UTC))
        except ValueError as error:
            raise IntervalError(advice) from error
        # strptime also takes single digits and other scripts' digits; one interval has one key.
        if interval.key != key or key < _FIRST_KEY:
            raise IntervalError(advice)
        return interval

    @property
    def key(self) -> str:
        """The UTC start as ``YYYY-MM-DDThh:mm:ssZ`` (20 characters)."""
        return self.start.strftime(_KEY_FORMAT)

    @property
    def end(self) -> datetime:
        """The border at which the next interval begins."""
        return self.start + LENGTH

    @property
    def start_ms(self) -> int:
        """The start in UTC milliseconds since 1970."""
        return to_ms(self.start)

    @property
    def end_ms(self) -> int:
        """The end in UTC milliseconds since 1970."""
        return self.start_ms + LENGTH_MS

    def next(self) -> Interval:
        """Return the interval that follows."""
        return Interval(self.end)

    def previous(self) -> Interval:
        """Return the interval before."""
        return Interval(self.start - LENGTH)

    def __lt__(self, other: object) -> bool:
        return self.start < other.start if isinstance(other, Interval) else NotImplemented

    def __str__(self) -> str:
        return self.key


def to_ms(moment: datetime) -> int:
    """Return UTC milliseconds since 1970 of an aware moment, floored."""
    if moment.tzinfo is None:
        raise IntervalError(f"naive time {moment.isoformat()}: add its zone, e.g. 'Z'")
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def from_ms(moment_ms: int) -> datetime:
    """Return the UTC moment of milliseconds since 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=moment_ms)
