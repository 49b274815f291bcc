"""The months of a balance as somebody may see them: nothing tells what fewer than five did.

A month is told if five stand behind it; its days, if five stand behind each; a place, if five stand
behind it, and behind what is left when all others are taken off (then a further one is hidden). A
year is the sum of its told months. So no two figures differ by what a few people did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from zoneinfo import ZoneInfo

from sqlmodel import Session

from app.services import privacy
from app.services.settled.writing import borders
from app.store import balance as store
from app.store.balance import Scope, Sum
from market.balance import Flows, Month
from market.settled import Bucket, Span
from metering.interval import LENGTH, Interval

Place = tuple[str, str | None]  # feeder, and building; None: the whole feeder
NOTHING = Sum(Flows(), 0)


@dataclass(frozen=True, slots=True)
class Sight:
    """Who looks: ``own`` are their participants; ``everything``: each place, whoever is there.

    ``together`` are others' of whom one person may know everything, and look without a name: they
    count as one of the five.
    """

    own: frozenset[str] = frozenset()
    everything: bool = False
    together: frozenset[str] = frozenset()

    @property
    def one(self) -> frozenset[str]:
        """Who count as one."""
        return self.own | self.together

    def sees(self, others: int, *, mine: bool) -> bool:
        """Whether a sum over so many others (and perhaps who count as one) may be told."""
        all_own = not others and not self.together
        return self.everything or all_own or others + mine >= privacy.FEWEST


@dataclass(frozen=True, slots=True)
class MonthView:
    """A month as somebody sees it; ``total`` None: hidden. ``places`` hold None where hidden."""

    name: str
    total: Sum | None
    avoided_mg: int | None
    places: Mapping[Place, Sum | None]
    settled: int
    of: int

    @property
    def month(self) -> Month:
        """The month for a year's balance; a hidden one counts as not settled."""
        if self.total is None:
            return Month(self.name, Flows(), 0, self.of)
        return Month(self.name, self.total.flows, self.settled, self.of)


def added(sums: Sequence[Sum]) -> Sum:
    """Return the sum of sums."""
    return reduce(
        lambda one, other: Sum(one.flows + other.flows, one.saving_micro + other.saving_micro),
        sums,
        NOTHING,
    )


def view(
    session: Session, zone: ZoneInfo, month: str, sight: Sight, whose: str | None = None
) -> MonthView:
    """Return a month of the district, or of a participant of one's own (``whose``)."""
    people = frozenset({whose}) if whose is not None else None
    scope = Scope(Span.MONTH, month, month, people)
    behind = store.behind(session, scope, sight.one).get(month)
    intervals = store.settled_intervals(session, scope).get(month, 0)
    whole = intervals_of(Span.MONTH, month, zone)
    if behind is None or not sight.sees(behind[0], mine=behind[1]):
        return MonthView(month, None, None, {}, intervals, whole)
    sums = store.sums(session, zone, scope)
    places = _places(
        {(cell.feeder, cell.building): each for cell, each in sums.items()},
        store.participants(session, scope),
        sight,
    )
    avoided = store.avoided_mg(session, month, month, people)
    return MonthView(month, added(list(sums.values())), avoided, places, intervals, whole)


def days(
    session: Session, zone: ZoneInfo, month: str, sight: Sight, whose: str | None = None
) -> Mapping[str, Sum] | None:
    """Return the sums of a month's days; None where one of them may not be told."""
    people = frozenset({whose}) if whose is not None else None
    scope = Scope(Span.DAY, f"{month}-01", f"{month}-31", people)
    behind = store.behind(session, scope, sight.one)
    if not all(sight.sees(others, mine=mine) for others, mine in behind.values()):
        return None
    found: dict[str, list[Sum]] = {start: [] for start in behind}
    for cell, each in store.sums(session, zone, scope).items():
        found[cell.start].append(each)
    return {start: added(each) for start, each in found.items()}


def intervals_of(span: Span, start: str, zone: ZoneInfo) -> int:
    """Return how many quarter-hours a local day or month has."""
    first, after = borders(Bucket(span, start), zone)
    return (Interval.parse(after).start - Interval.parse(first).start) // LENGTH


def _places(
    sums: Mapping[tuple[str, str], Sum],
    behind: Mapping[tuple[str, str], frozenset[str]],
    sight: Sight,
) -> Mapping[Place, Sum | None]:
    """Return each feeder, then its buildings; None where fewer than five stand behind."""
    feeders: dict[tuple[str, str], frozenset[str]] = {}
    for (feeder, _), people in behind.items():
        feeders[feeder, ""] = feeders.get((feeder, ""), frozenset()) | people
    hidden_feeders = {feeder for feeder, _ in _hidden(feeders, sight)}
    found: dict[Place, Sum | None] = {}
    for feeder, _ in sorted(feeders):
        own = {place: people for place, people in behind.items() if place[0] == feeder}
        hide, gone = feeder in hidden_feeders, _hidden(own, sight)
        if hide:
            gone |= {place for place, people in own.items() if not people <= sight.own}
        found[feeder, None] = None if hide else added([sums[place] for place in sorted(own)])
        for place in sorted(own):
            found[place] = None if place in gone else sums[place]
    return found


def _hidden(groups: Mapping[tuple[str, str], frozenset[str]], sight: Sight) -> set[tuple[str, str]]:
    """Return which groups are hidden, so that what is hidden together tells of no few people."""
    if sight.everything:
        return set()
    others = {key for key, people in groups.items() if not people <= sight.own}
    hidden = {key for key in others if privacy.too_few(groups[key], sight.one)}
    shown = sorted(others - hidden, key=lambda key: (-len(groups[key]), key))
    while hidden and shown:
        together = frozenset[str]().union(*(groups[key] for key in hidden))
        if not privacy.too_few(together, sight.one):
            break
        hidden.add(shown.pop())  # the smallest
    return hidden
