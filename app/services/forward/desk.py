"""The order pages' view of the house: satisfies :class:`web.ports.forward.Forward`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median_low
from typing import Final

from sqlmodel import Session

from app.services.forward import orders as forward_orders
from app.services.forward.book import Wanted, own_id_of, session_of
from app.services.forward.file import read_file, write_file
from app.services.forward.forecast import BY
from app.services.forward.orders import ForwardError, GateError
from app.services.forward.view import cleared_session
from app.services.forward.words import in_words, read_form, to_form
from app.services.house import House
from app.store import forward, people, registry, tariffs
from app.store.forward import Said
from app.tables import ForwardOrderRow, ForwardSessionRow, MeteringPointRow
from market.money import Price
from metering.interval import Interval
from web.ports import NotFoundError, RefusedError
from web.ports.forward import (
    ClearedSession,
    EnteredOrder,
    FileLine,
    FilePreview,
    GateClosedError,
    OpenSession,
    OrdersPage,
    Typed,
)

_SESSIONS: Final = 60


@contextmanager
def _on_the_page() -> Iterator[None]:
    try:
        yield
    except GateError as error:
        raise GateClosedError(str(error)) from error
    except ForwardError as error:
        raise RefusedError(str(error), error.field) from error


class ForwardDesk:
    """Forward orders of one district, for its pages."""

    def __init__(self, house: House) -> None:
        self._house = house

    def page(self, participant: str, session: str | None) -> OrdersPage:
        """Return a participant's own page."""
        settings = self._house.settings
        with self._house.database.read() as db:
            held_by = next(iter(forward.in_state(db, "open")), None)
            mine = self._own(db, participant, held_by)
            key = (
                held_by.first if held_by else Interval.containing_ms(self._house.clock.now_ms()).key
            )
            on = tariffs.holding(db, key, settings.tz)
            own = [on[row.gsrn] for row in mine]
            standing = forward.standing(db).get(participant)
            cleared = [row for row in forward.newest(db, _SESSIONS) if row.log_index is not None]
            return OrdersPage(
                participant=participant,
                name=people.participants(db)[participant].name,
                mode=settings.mode,
                zone=settings.zone,
                clock_ms=self._house.clock.now_ms(),
                points=[(row.gsrn, row.name) for row in mine],
                tick_micro_per_kwh=settings.price_tick_micro_per_kwh,
                ceiling_micro_per_kwh=_median([each.ceiling for each in own]),
                floor_micro_per_kwh=_median([each.floor for each in own]),
                open=_open(held_by, self._house.clock.now_ms()),
                orders=self._entered(db, held_by, participant) if held_by else [],
                by_forecast=standing.by_forecast if standing else False,
                cleared=_cleared(db, cleared, participant, session, settings.zone),
                sessions=[row.first for row in cleared],
            )

    def enter(self, participant: str, entered_by: str, typed: Typed) -> str:
        """Enter an order, or amend the one whose id it names; return its id."""
        with _on_the_page():
            keys = self._keys(typed["session"])
            wanted = Wanted(typed["order_id"].strip(), typed["point"], read_form(typed, keys))
            changed = forward_orders.enter(
                self._house, participant, entered_by, typed["session"], [wanted]
            )
        return changed[0] if changed else wanted.own_id

    def cancel(self, participant: str, entered_by: str, session: str, order_id: str) -> None:
        """Cancel one of one's own orders."""
        with _on_the_page():
            forward_orders.cancel(self._house, participant, entered_by, session, order_id)

    def undo(self, participant: str, entered_by: str, session: str, order_id: str) -> None:
        """Take back the last change of an order."""
        with _on_the_page():
            forward_orders.undo(self._house, participant, entered_by, session, order_id)

    def set_by_forecast(self, participant: str, entered_by: str, *, wanted: bool) -> None:
        """Say whether orders are made by forecast where the participant enters none."""
        forward_orders.set_by_forecast(self._house, participant, entered_by, wanted=wanted)

    def preview(self, participant: str, name: str, content: bytes) -> FilePreview:
        """Read a file of orders and say what it would change."""
        with _on_the_page(), self._house.database.read() as db:
            held_by = next(iter(forward.in_state(db, "open")), None)
            if held_by is None:
                raise GateError("no session takes orders now: load the page again")
            wanted = self._read(content, held_by, participant)
            names = {row.gsrn: row.name for row in people.points(db).values()}
            rows = forward.final_orders(db, held_by.first, participant)
            before = {row.order_id: row for row in rows}
        with _on_the_page():
            saids = forward_orders.try_out(self._house, participant, held_by.first, wanted)
        keys, zone = session_of(held_by).keys, self._house.settings.zone
        lines = [
            FileLine(
                order_id=own_id_of(said),
                kind=said.kind,
                point=names[said.point],
                text=in_words(said, keys, zone),
                becomes=_becomes(before.get(said.order_id), said),
            )
            for said in saids
        ]
        return FilePreview(participant, held_by.first, name, content.decode(), lines)

    def confirm(self, participant: str, entered_by: str, session: str, content: str) -> int:
        """Enter all orders of a file that was shown; return how many changed."""
        with _on_the_page():
            with self._house.database.read() as db:
                held_by = forward.get(db, session)
            if held_by is None:
                raise GateError("no session takes orders for that time: load the page again")
            wanted = self._read(content.encode(), held_by, participant)
            changed = forward_orders.enter(self._house, participant, entered_by, session, wanted)
        return len(changed)

    def orders_csv(self, participant: str) -> bytes:
        """Return the orders that stand in the open session, as such a file."""
        with self._house.database.read() as db:
            held_by = next(iter(forward.in_state(db, "open")), None)
            rows = forward.final_orders(db, held_by.first, participant) if held_by else []
            return write_file(forward.entered(rows))

    def _read(self, content: bytes, held_by: ForwardSessionRow, participant: str) -> list[Wanted]:
        tick = self._house.settings.price_tick_micro_per_kwh
        return read_file(content, session_of(held_by), participant, tick)

    def _keys(self, first: str) -> Sequence[str]:
        with self._house.database.read() as db:
            held_by = forward.get(db, first)
        if held_by is None:
            raise GateError("no session takes orders for that time: load the page again")
        return session_of(held_by).keys

    def _entered(
        self, db: Session, held_by: ForwardSessionRow, participant: str
    ) -> list[EnteredOrder]:
        keys, names = session_of(held_by).keys, self._names(db)
        points = {row.gsrn: row.name for row in people.points(db).values()}
        return [
            EnteredOrder(
                order_id=own_id_of(row),
                kind=row.kind,
                point=points[row.point],
                text=in_words(row, keys, self._house.settings.zone),
                state=row.state,
                version=row.version,
                known_ms=row.known_ms,
                entered_by=names.get(row.entered_by, row.entered_by),
                fields=to_form(row, keys),
            )
            for row in forward.final_orders(db, held_by.first, participant)
        ]

    def _own(
        self, db: Session, participant: str, held_by: ForwardSessionRow | None
    ) -> list[MeteringPointRow]:
        """Return the points that are the participant's throughout the open session."""
        now = Interval.containing_ms(self._house.clock.now_ms()).key
        first, last = (held_by.first, held_by.last) if held_by else (now, now)
        theirs = registry.holders(db, first, last)
        rows = people.points(db)
        return [rows[point] for point, who in theirs.items() if who == participant]

    def _names(self, db: Session) -> Mapping[str, str]:
        names = {row.id: row.name for row in people.participants(db).values()}
        return {**names, "building-manager": "the building manager", BY: "your forecast"}


def _median(prices: Sequence[Price]) -> int:
    return median_low(prices).micro_per_kwh if prices else 0


def _open(held_by: ForwardSessionRow | None, now_ms: int) -> OpenSession | None:
    """Return the open session while its gate is, too."""
    if held_by is None or now_ms >= held_by.gate_ms:
        return None
    return OpenSession(held_by.first, session_of(held_by).keys, held_by.gate_ms)


def _becomes(before: ForwardOrderRow | None, said: Said) -> str:
    if before is None:
        return "new"
    return "unchanged" if Said.of(before) == said else "amended"


def _cleared(
    db: Session,
    known: Sequence[ForwardSessionRow],
    participant: str,
    asked: str | None,
    zone: str,
) -> ClearedSession | None:
    """Return the cleared session that was asked for, the newest where none was."""
    found = forward.get(db, asked) if asked else next(iter(known), None)
    if asked and (found is None or found.log_index is None):
        raise NotFoundError(f"there is no cleared session {asked[:40]!r}")
    return None if found is None else cleared_session(db, found, participant, zone)
