"""What stands behind a metering point, and since when: links with validity, and their timelines.

A link binds a point, in one role, to one target from one interval on up to another (not included).
The links of a point and role form a timeline: from its first interval on, exactly one target holds
at any instant, so that no energy is nobody's and none is two people's (docs/money.md, "Who is
behind a metering point").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Self

from market.errors import MarketError
from metering.interval import Interval, IntervalError


class RegistryError(MarketError):
    """A link or a change of one is refused for good: the message says how to mend it."""


class Role(StrEnum):
    """In what a metering point is bound to a target."""

    PARTICIPANT = "participant"
    SUPPLIER = "supplier"
    BALANCE_PARTY = "balance-party"
    TARIFF = "tariff"
    FEEDER = "feeder"
    BUILDING = "building"


@dataclass(frozen=True, slots=True)
class Link:
    """What a point is bound to in ``role``: ``target`` in [``valid_from``, ``valid_to``).

    ``target`` is an id, '' where there is none (of a building, or the district's one supplier);
    ``valid_to`` None: no end is known.

    Raises:
        RegistryError: it ends before it holds for one interval, or has nobody for participant,
            tariff or feeder.
    """

    point: str
    role: Role
    target: str
    valid_from: Interval
    valid_to: Interval | None = None

    def __post_init__(self) -> None:
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            raise RegistryError(
                f"{self} ends at or before its begin: its end is the first interval that it no "
                "longer holds in"
            )
        if not self.target and self.role in _NEVER_EMPTY:
            raise RegistryError(f"{self}: every point has a {self.role} at any time: name one")

    @classmethod
    def read(
        cls, point: str, role: str, target: str, valid_from: str, valid_to: str | None = None
    ) -> Self:
        """Return the link that a row's texts say; its validity as interval keys.

        Raises:
            RegistryError: an unknown role, validity off the interval grid, or as in the class.
        """
        row = f"{role} {target!r} of {point}"
        if role not in _ROLES:
            raise RegistryError(f"{row}: {role!r} is no role: write one of {', '.join(_ROLES)}")
        try:
            begin = Interval.parse(valid_from)
            end = None if valid_to is None else Interval.parse(valid_to)
        except IntervalError as error:
            raise RegistryError(f"{row}: {error}") from error
        return cls(point, Role(role), target, begin, end)

    def holds(self, interval: Interval) -> bool:
        """Tell whether the link holds in an interval."""
        return self.valid_from <= interval and (self.valid_to is None or interval < self.valid_to)

    def __str__(self) -> str:
        until = f"to {self.valid_to}" if self.valid_to else "on"
        return f"{self.role} {self.target!r} of {self.point} from {self.valid_from} {until}"


_ROLES = tuple(role.value for role in Role)
_NEVER_EMPTY = frozenset({Role.PARTICIPANT, Role.TARIFF, Role.FEEDER})


@dataclass(frozen=True, slots=True)
class Timeline:
    """All links of one point and role, oldest first, without a gap; the last has no end.

    Raises:
        RegistryError: there is none, they are of several points or roles, two overlap, there is a
            gap between two, or the last one ends with nobody after it; each by its row.
    """

    links: tuple[Link, ...]

    def __post_init__(self) -> None:
        if not self.links:
            raise RegistryError("a point has a link in every role: this one has none")
        for before, after in pairwise(self.links):
            _check_neighbours(before, after)
        last = self.links[-1]
        if last.valid_to is not None:
            raise RegistryError(
                f"{last}: nobody follows it, and every point has exactly one {last.role} at any "
                "time: leave its end open, or add the link that follows"
            )

    @classmethod
    def of(cls, links: Iterable[Link]) -> Self:
        """Return the timeline of links in any order.

        Raises:
            RegistryError: as in the class.
        """
        return cls(tuple(sorted(links, key=lambda link: (link.valid_from, link.target))))

    def at(self, interval: Interval) -> Link | None:
        """Return the link that holds in an interval; None before the point began."""
        return next((link for link in reversed(self.links) if link.holds(interval)), None)

    def changed(self, begin: Interval, target: str, earliest: Interval) -> Timeline:
        """Return the timeline with another target from ``begin`` on, until the next change.

        Args:
            begin: the first interval of ``target``.
            target: whom or what the point is bound to from then on.
            earliest: the first interval of which nothing was metered or cleared yet.

        Raises:
            RegistryError: ``begin`` lies before ``earliest`` or the point's begin, ``target``
                holds there already, or a change begins at that very interval.
        """
        old = self._changeable(begin, earliest)
        if old.target == target:
            raise RegistryError(f"{old} already: nothing would change at {begin}")
        if old.valid_from == begin:
            raise RegistryError(
                f"{old} begins at that very interval: undo it first, or name another interval"
            )
        after = next((link for link in self.links if link.valid_from == old.valid_to), None)
        if after is not None and after.target == target:
            raise RegistryError(f"{after} is planned already: undo it first, then enter it anew")
        new = Link(old.point, old.role, target, begin, old.valid_to)
        kept = [link for link in self.links if link is not old]
        return Timeline.of([*kept, replace(old, valid_to=begin), new])

    def undone(self, begin: Interval, earliest: Interval) -> Timeline:
        """Return the timeline without the change at ``begin``: what was before it goes on.

        Raises:
            RegistryError: no change begins there, it is the point's first link, or it has begun.
        """
        old = self._changeable(begin, earliest)
        if old.valid_from != begin:
            raise RegistryError(f"{old}: no change of it begins at {begin}: look at its list first")
        place = self.links.index(old)
        if place == 0:
            raise RegistryError(f"{old} is the first: there is nothing before it to go back to")
        before, rest = self.links[place - 1], self.links[place + 1 :]
        end = old.valid_to
        if rest and rest[0].target == before.target:
            end, rest = rest[0].valid_to, rest[1:]
        return Timeline((*self.links[: place - 1], replace(before, valid_to=end), *rest))

    def _changeable(self, begin: Interval, earliest: Interval) -> Link:
        first = self.links[0]
        if begin < earliest:
            raise RegistryError(
                f"{first.role} of {first.point}: what lies before {earliest} is metered or cleared "
                f"already and stays as it is: choose {earliest} or later instead of {begin}"
            )
        old = self.at(begin)
        if old is None:
            raise RegistryError(f"{first} is its first: it cannot change at {begin}, before that")
        return old


def _check_neighbours(before: Link, after: Link) -> None:
    if (before.point, before.role) != (after.point, after.role):
        raise RegistryError(f"{before} and {after} are not of one timeline")
    if before.valid_to is None or before.valid_to > after.valid_from:
        raise RegistryError(
            f"{before} and {after} overlap: let the first end at {after.valid_from}"
        )
    if before.valid_to < after.valid_from:
        raise RegistryError(
            f"{before} and {after} leave a gap: let the first end at {after.valid_from}, or add "
            "the link between them"
        )


def timelines(rows: Iterable[Link]) -> Mapping[tuple[str, Role], Timeline]:
    """Return the timeline of each point and role that the links are of.

    Raises:
        RegistryError: as :class:`Timeline`.
    """
    found: dict[tuple[str, Role], list[Link]] = defaultdict(list)
    for link in rows:
        found[link.point, link.role].append(link)
    return {key: Timeline.of(links) for key, links in found.items()}
