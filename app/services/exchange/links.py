"""The links of a file as changes behind metering points: what is planned becomes what it says.

A file tells whole timelines. What of them has begun has to be what is known; what is to come is
taken back where it differs, and entered as the file has it, through the registry. A point that is
new begins with the first links that the file has of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from app.files.exchange_master import Row
from app.files.exchange_values import Fault
from app.services.house import House
from app.services.registry import additions
from app.services.registry.additions import NewPoint
from app.services.registry.changes import enter_within, undo_within
from app.services.registry.wanted import Change, Newcomer, read_begin
from app.store import registry
from app.tables import BuildingRow, FeederRow, ParticipantRow
from market.registry import Link, RegistryError, Role, Timeline
from metering.interval import Interval

_NEEDED = (Role.PARTICIPANT, Role.TARIFF, Role.FEEDER)


@dataclass(slots=True)
class Links:
    """Takes the links of one file in, point by point.

    ``newcomers`` (by id) and the rows of new ``points`` (by GSRN) leave it as they get their links.
    """

    house: House
    session: Session
    newcomers: MutableMapping[str, Newcomer]
    points: MutableMapping[str, Row]
    entered_by: str

    def take(self, rows: Sequence[Row]) -> Iterator[tuple[Row, str] | Fault]:
        """Yield (row, words) for each change that is made, and a fault for what is refused."""
        links: list[tuple[Row, Link]] = []
        for row in rows:
            try:
                links.append((row, self._link(row)))
            except RegistryError as error:
                yield row.fault(error)
        by_point: dict[str, list[tuple[Row, Link]]] = defaultdict(list)
        for row, link in links:
            by_point[link.point].append((row, link))
        for _, own in sorted(by_point.items()):
            try:
                yield from self._point(own)
            except RegistryError as error:
                yield own[0][0].fault(error)

    def _link(self, row: Row) -> Link:
        cells, zone = row.cells, self.house.settings.tz
        if cells["valid_from"]:
            begin = read_begin(cells["valid_from"], zone).key
        else:
            begin = self._first(cells["point"]).key
        end = read_begin(cells["valid_to"], zone).key if cells["valid_to"] else None
        return Link.read(cells["point"], cells["role"], cells["target"], begin, end)

    def _first(self, point: str) -> Interval:
        """Return the begin of a first link that names none: the point's, or the earliest."""
        there = registry.begin(self.session, point)
        return there or additions.begin_of(self.house, self.session)

    def _point(self, own: Sequence[tuple[Row, Link]]) -> Iterator[tuple[Row, str] | Fault]:
        """Add one point if it is new, and bring its timelines to those of the file."""
        point = own[0][1].point
        by_role: dict[Role, list[Link]] = defaultdict(list)
        for _, link in own:
            by_role[link.role].append(link)
        new = self.points.pop(point, None)
        wanted = {role: Timeline.of(links) for role, links in by_role.items()}
        if new is not None:
            added = self._added(new, wanted)
            yield added
            if isinstance(added, Fault):
                return
        yield from self._brought(point, own, wanted)

    def _brought(
        self, point: str, own: Sequence[tuple[Row, Link]], wanted: Mapping[Role, Timeline]
    ) -> Iterator[tuple[Row, str]]:
        """Bring the timelines of a point that is there to those of the file."""
        row_of = {(link.role, link.valid_from): row for row, link in own}
        known = {role: registry.timeline(self.session, point, role) for role in wanted}
        for role, new in wanted.items():
            _check_first(known[role], new)
        begins = sorted(_differing(known, wanted))
        kept: dict[Interval, dict[Role, str]] = {}
        for begin in reversed(begins):
            kept[begin] = self._take_back(point, begin)
        for begin in begins:
            targets = kept[begin] | _targets(wanted, begin)
            for role in wanted.keys() - _targets(wanted, begin).keys():
                targets.pop(role, None)
            if targets:
                self._enter(point, begin, targets)
            changed = sorted(role for role in wanted if (role, begin) in row_of)
            row = row_of[changed[0], begin] if changed else own[0][0]
            yield row, _words(point, begin, targets)
        for role, new in wanted.items():
            now = registry.timeline(self.session, point, role)
            if now != new:
                raise RegistryError(f"{now.links[-1]}: it does not become what the file says")

    def _added(self, row: Row, wanted: Mapping[Role, Timeline]) -> tuple[Row, str] | Fault:
        """Add a new point; return its row and what was done in words, or what is wrong with it."""
        try:
            return row, self._begin(row, {role: line.links[0] for role, line in wanted.items()})
        except RegistryError as error:
            return row.fault(error)

    def _begin(self, row: Row, firsts: Mapping[Role, Link]) -> str:
        """Add a new point, bound to what its first links say; return that in words.

        Raises:
            RegistryError: it cannot be one, or lacks a link.
        """
        if missing := [role for role in _NEEDED if role not in firsts]:
            raise RegistryError(f"a new point: links.csv lacks its {', '.join(missing)}")
        if len({link.valid_from for link in firsts.values()}) > 1:
            raise RegistryError("a new point: its first links begin at one time in links.csv")
        targets = {role: firsts[role].target if role in firsts else "" for role in Role}
        self._check_place(targets[Role.FEEDER], targets[Role.BUILDING])
        who, cells = targets[Role.PARTICIPANT], row.cells
        newcomer = self.newcomers.pop(who, None)
        added = additions.enter_within(
            self.house,
            self.session,
            NewPoint(
                gsrn=cells["point"],
                name=cells["name"],
                participant=who,
                feeder=targets[Role.FEEDER],
                max_power_w=int(cells["max_power_w"]),
                building=targets[Role.BUILDING],
                tariff=targets[Role.TARIFF],
                kind=cells["kind"],
                green={"yes": True, "no": False}.get(cells["green"]),
                purpose=cells["purpose"] or None,
                newcomer=newcomer,
                supplier=targets[Role.SUPPLIER],
                balance_party=targets[Role.BALANCE_PARTY],
                begin=firsts[Role.PARTICIPANT].valid_from,
            ),
            self.entered_by,
        )
        whose = f"{who} (new: {newcomer.name})" if newcomer else who
        return (
            f"new: point {cells['point']}, {cells['name']}, of {whose} from {added.begin} on, "
            f"tariff {added.tariff}, at most {cells['max_power_w']} W"
        )

    def _check_place(self, feeder: str, building: str) -> None:
        if self.session.get(FeederRow, feeder) is None:
            raise RegistryError(f"there is no feeder {feeder[:40]!r}: name it in feeders.csv")
        if building and self.session.get(BuildingRow, (feeder, building)) is None:
            raise RegistryError(
                f"feeder {feeder!r} has no building {building[:40]!r}: name it in buildings.csv"
            )

    def _take_back(self, point: str, begin: Interval) -> dict[Role, str]:
        """Take every planned change of a point at an interval back; return what it led to."""
        found = {}
        for role in Role:
            for link in registry.timeline(self.session, point, role).links[1:]:
                if link.valid_from == begin:
                    found[role] = link.target
        if found:
            who = self.session.get(ParticipantRow, found.get(Role.PARTICIPANT, ""))
            told = (who.id, who.name, who.postal_address or "") if who else None
            undo_within(self.house, self.session, [point], begin, self.entered_by)
            if told and self.session.get(ParticipantRow, told[0]) is None:
                self.newcomers[told[0]] = Newcomer.of(*told)  # they came with it, and come again
        return found

    def _enter(self, point: str, begin: Interval, targets: Mapping[Role, str]) -> None:
        newcomer = self.newcomers.pop(targets.get(Role.PARTICIPANT, ""), None)
        change = Change([point], begin, targets, newcomer)
        enter_within(self.house, self.session, change, self.entered_by)


def _check_first(known: Timeline, new: Timeline) -> None:
    first, there = new.links[0], known.links[0]
    if (first.valid_from, first.target) != (there.valid_from, there.target):
        raise RegistryError(f"{there} is its first, and stays so: the file says {first}")


def _differing(
    known: Mapping[Role, Timeline], wanted: Mapping[Role, Timeline]
) -> frozenset[Interval]:
    """Return the begins of changes that only one side has, or that lead elsewhere."""
    found: set[Interval] = set()
    for role, new in wanted.items():
        sides = [
            {(link.valid_from, link.target) for link in each.links} for each in (known[role], new)
        ]
        found |= {begin for begin, _ in sides[0] ^ sides[1]}
    return frozenset(found)


def _targets(wanted: Mapping[Role, Timeline], begin: Interval) -> dict[Role, str]:
    return {
        role: link.target
        for role, new in sorted(wanted.items())
        for link in new.links[1:]
        if link.valid_from == begin
    }


def _words(point: str, begin: Interval, targets: Mapping[Role, str]) -> str:
    if not targets:
        return f"{point} from {begin}: what was planned is taken back"
    told = ", ".join(f"{role} {target or 'none'}" for role, target in sorted(targets.items()))
    return f"{point} from {begin}: {told}"
