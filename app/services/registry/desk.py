"""The page of people and points: satisfies :class:`web.ports.people.People`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final

from sqlmodel import Session

from app.services.house import House
from app.services.registry import changes, view
from app.services.registry.view import LinkLine, PointLines
from app.services.registry.wanted import Change, ChangeError, Newcomer, new_id, read_begin
from app.services.registry.words import told
from app.store import people, registry
from market.registry import RegistryError, Role
from metering.interval import Interval
from web.ports import RefusedError
from web.ports.people import AskedChange, LeftLine, LinkShown, PeoplePage, PointPeople

_STRANGER: Final = "somebody whom you do not manage"


@contextmanager
def _on_the_page() -> Iterator[None]:
    try:
        yield
    except ChangeError as error:
        raise RefusedError(str(error), error.field) from error
    except RegistryError as error:
        raise RefusedError(str(error), "begin") from error


class PeopleDesk:
    """Who and what is behind the points of the ``managed`` participants."""

    def __init__(self, house: House, managed: Collection[str]) -> None:
        self._house = house
        self._managed = managed

    def page(self) -> PeoplePage:
        """Return the page."""
        now = Interval.containing_ms(self._house.clock.now_ms())
        managed = frozenset(self._managed)
        with self._house.database.read() as session:
            names = view.names(session)
            today = now.start.astimezone(self._house.settings.tz).date()
            return PeoplePage(
                zone=people.district(session).zone,
                clock_ms=self._house.clock.now_ms(),
                points=[
                    _shown(each, managed) for each in view.points(self._house, session, managed)
                ],
                left=[
                    LeftLine(
                        each.id,
                        each.name,
                        each.left_from,
                        each.left_from <= now.key,
                        each.wallet_micro,
                    )
                    for each in view.gone(session, managed)
                ],
                people=_choices(names, Role.PARTICIPANT, managed),
                suppliers=_choices(names, Role.SUPPLIER),
                first_day=(today + timedelta(days=1)).isoformat(),
            )

    def preview(self, asked: AskedChange) -> Sequence[str]:
        """Return in sentences what a change would do; nothing is written."""
        with _on_the_page():
            found = changes.preview(self._house, self._change(asked))
        with self._house.database.read() as session:
            names = view.names(session)
            points = {gsrn: row.name for gsrn, row in people.points(session).items()}
        if asked.kind == "switch":
            names = {**names, (Role.SUPPLIER, found.links[0].after): self._supplier(asked, names)}
        return told(found, names, points, self._house.settings.tz)

    def enter(self, asked: AskedChange, entered_by: str) -> None:
        """Enter a change."""
        with _on_the_page():
            changes.enter(self._house, self._change(asked), entered_by)

    def undo(self, point: str, kind: str, begin: str, entered_by: str) -> None:
        """Take back the change of a point in a role that begins in an interval."""
        with _on_the_page():
            roles = [role for role in Role if role.value == kind]
            start = read_begin(begin, self._house.settings.tz)
            self._check_managed(point, start)
            changes.undo(self._house, [point], start, entered_by, roles)

    def _change(self, asked: AskedChange) -> Change:
        begin = read_begin(asked.interval or asked.day, self._house.settings.tz)
        self._check_managed(asked.point, begin)
        with self._house.database.read() as session:
            if asked.kind == "switch":
                return self._switch(session, asked, begin)
            return self._move(session, asked, begin)

    def _move(self, session: Session, asked: AskedChange, begin: Interval) -> Change:
        if asked.to:
            if asked.to not in self._managed:
                raise ChangeError("choose one of the list, or somebody new", "to")
            return Change([asked.point], begin, {Role.PARTICIPANT: asked.to})
        taken = people.participants(session)
        newcomer = Newcomer.of(new_id(asked.name, taken), asked.name, asked.address)
        return Change([asked.point], begin, {Role.PARTICIPANT: newcomer.id}, newcomer)

    def _switch(self, session: Session, asked: AskedChange, begin: Interval) -> Change:
        if not asked.supplier_name.strip():
            return Change([asked.point], begin, {Role.SUPPLIER: asked.supplier})
        known = {target for role, target in view.names(session) if role is Role.SUPPLIER}
        supplier = new_id(asked.supplier_name, known)
        name = self._supplier(asked, {})
        return Change([asked.point], begin, {Role.SUPPLIER: supplier}, names={supplier: name})

    def _supplier(self, asked: AskedChange, names: view.Names) -> str:
        typed = " ".join(asked.supplier_name.split())[:120]
        return typed or names.get((Role.SUPPLIER, asked.supplier), asked.supplier)

    def _check_managed(self, point: str, begin: Interval) -> None:
        """Make sure that a point is a managed participant's in the interval of a change."""
        with self._house.database.read() as session:
            if point not in {stay.point for stay in registry.stays(session, self._managed)}:
                raise ChangeError("there is no such metering point among those you manage", "point")
            link = registry.timeline(session, point, Role.PARTICIPANT).at(begin)
        if link is not None and link.target not in self._managed:
            raise ChangeError(
                f"at {begin.key} the point is somebody's whom you do not manage: choose a time of "
                "those you do, or ask the administrator",
                "begin",
            )


def _choices(
    names: view.Names, role: Role, only: Collection[str] | None = None
) -> list[tuple[str, str]]:
    found = [
        (target, name)
        for (each, target), name in names.items()
        if each is role and (only is None or target in only)
    ]
    return sorted(found, key=lambda item: (item[1], item[0]))


def _shown(point: PointLines, managed: Collection[str]) -> PointPeople:
    """Return a point without the names of people whom one does not manage, and their contracts."""
    stays = [line for line in point.links if line.role is Role.PARTICIPANT]
    theirs = [line for line in stays if line.target in managed]
    links = [line if line in theirs else replace(line, name=_STRANGER) for line in stays]
    links += [
        line
        for line in point.links
        if line.role is not Role.PARTICIPANT and any(_overlap(line, each) for each in theirs)
    ]

    def lines(state: str) -> list[LinkShown]:
        found = [_link(line) for line in links if line.state == state]
        return sorted(found, key=lambda line: line.begin) if state != view.HOLDS else found

    return PointPeople(
        point=point.point,
        name=point.name,
        purpose=point.purpose,
        now=lines(view.HOLDS),
        coming=lines(view.COMING),
        past=lines(view.PAST),
    )


def _overlap(one: LinkLine, other: LinkLine) -> bool:
    return all(
        early.until is None or late.since < early.until
        for early, late in ((one, other), (other, one))
    )


def _link(line: LinkLine) -> LinkShown:
    return LinkShown(
        line.role.value, view.WORDS[line.role], line.name, line.since, line.until, line.entered_by
    )
