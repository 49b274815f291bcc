"""The page of meter changes: satisfies :class:`web.ports.changes.MeterChanges`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from sqlmodel import Session

from app.services import changes, events
from app.services.house import House
from app.services.meter_change import Change, ChangeError, ChangeValuesError, Values
from app.store import people, registry
from app.store.changes import APPROVED, PROPOSED, REJECTED
from metering.interval import Interval
from web.ports import RefusedError
from web.ports.changes import ChangeLine, ChangesPage, CounterValues, EventLine, TypedValues

_EVENTS: Final = 50


@contextmanager
def _on_the_page() -> Iterator[None]:
    try:
        yield
    except ChangeError as error:
        raise RefusedError(str(error), error.field) from error


class ChangesDesk:
    """Changes at the points of ``managed``, the participants that the manager manages."""

    def __init__(self, house: House, managed: Collection[str]) -> None:
        self._house = house
        self._managed = managed

    def page(self) -> ChangesPage:
        """Return the page."""
        with self._house.database.read() as session:
            points = self._points(session)
            names = {point: row.name for point, row in people.points(session).items()}

            def lines(*states: str) -> list[ChangeLine]:
                found = changes.listed(session, points, states)
                return [_line(each, names[each.point]) for each in found]

            return ChangesPage(
                zone=people.district(session).zone,
                waiting=lines(PROPOSED),
                decided=lines(APPROVED, REJECTED),
                events=[
                    EventLine(each.at_ms, each.level, names[each.point or ""], each.text)
                    for each in events.of_points(session, points, _EVENTS)
                ],
            )

    def approve(self, change: int, typed: TypedValues, role: str) -> None:
        """Let a change count, with what was typed in place of what the readings show."""
        with _on_the_page(), self._house.database.write() as session:
            points = self._points(session)
            seen = changes.get(session, change, points)
            closing = _other(seen.closing, typed.closing_import, typed.closing_export, "closing")
            opening = _other(seen.opening, typed.opening_import, typed.opening_export, "opening")
            changes.approve(self._house, session, change, role, closing, opening, points)

    def reject(self, change: int, reason: str, role: str) -> None:
        """Let a change not count."""
        with _on_the_page(), self._house.database.write() as session:
            changes.reject(self._house, session, change, role, reason, self._points(session))

    def _points(self, session: Session) -> frozenset[str]:
        now = Interval.containing_ms(self._house.clock.now_ms()).key
        return frozenset(
            point for each in self._managed for point in registry.of(session, each, now)
        )


def _other(seen: Values | None, import_: str, export: str, field: str) -> Values | None:
    """Return what the readings show with what was typed in its place; None: nothing was typed."""
    given = {
        name: _wh(text, field)
        for name, text in (("import_wh", import_), ("export_wh", export))
        if text.strip()
    }
    if not given:
        return None
    if seen is None:
        raise ChangeValuesError("no reading tells yet when that was: wait for one", field)
    return replace(seen, **given)


def _wh(text: str, field: str) -> int:
    digits = text.strip().replace(",", "").replace(" ", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 15):
        raise ChangeValuesError(f"{text.strip()!r} is no counter value: whole Wh, 1234567", field)
    return int(digits)


def _line(change: Change, name: str) -> ChangeLine:
    return ChangeLine(
        change=change.id, name=name, point=change.point, kind=change.kind.value,
        state=change.state, old_serial=change.old.serial, new_serial=change.new.serial,
        old_epoch=change.old.epoch, new_epoch=change.new.epoch, closing=_values(change.closing),
        opening=_values(change.opening), proposed_ms=change.proposed_ms,
        decided_by=change.decided_by, decided_ms=change.decided_ms, reason=change.reason,
        waits=change.waits,
    )  # fmt: skip


def _values(values: Values | None) -> CounterValues | None:
    if values is None:
        return None
    return CounterValues(values.at_ms, values.import_wh, values.export_wh)
