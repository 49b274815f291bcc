"""Settled rows, roll-ups and bill lines: written in bulk, added to where a row stands already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import and_, update
from sqlmodel import Session, SQLModel, func, select

from app.store.bulk import add_to, insert_all
from app.tables import MonthlyStatementRow, SettledRow, StatementRow
from ledger_client.verify import Statement as StatementLeaf
from market.money import Money, Price
from market.payout import Transfer
from market.settled import BillKey, BillSum, Bucket, Contracted, Record, SettledPoint
from market.settlement import Direction, Kind, Line, SettledEnergy, Statement

_ROLLUP: Final = SQLModel.metadata.tables["rollup"]
_BILL: Final = SQLModel.metadata.tables["bill_line"]
_SETTLED: Final = SQLModel.metadata.tables["settled"]


def insert_settled(session: Session, key: str, rows: Iterable[SettledPoint]) -> None:
    """Write the settled rows of an interval that has none yet."""
    insert_all(session, SettledRow, [{"interval": key, **_columns(row)} for row in rows])


def update_settled(session: Session, key: str, row: SettledPoint) -> None:
    """Write a settled row as it is known now."""
    where = and_(_SETTLED.c.interval == key, _SETTLED.c.point == row.point)
    session.connection().execute(update(_SETTLED).where(where).values(**_columns(row)))


def settled_point(session: Session, key: str, point: str) -> SettledPoint | None:
    """Return a point's settled row in an interval, if there is one."""
    query = select(SettledRow).where(SettledRow.interval == key, SettledRow.point == point)
    row = session.exec(query.execution_options(populate_existing=True)).first()
    return _point(row) if row is not None else None


def add_sums(session: Session, into: Sequence[Bucket], changes: Iterable[Record]) -> None:
    """Add each record to its row of every bucket; peaks rise with it and never fall here."""
    changes = list(changes)
    rows = [
        {
            "span": bucket.span.value,
            "start": bucket.start,
            **_parties(each.settled),
            **each.sums._asdict(),
            "peak_import_wh": each.settled.drawn.wh,
            "peak_export_wh": each.settled.fed_in.wh,
        }
        for bucket in sorted(into)
        for each in changes
    ]
    add_to(session, _ROLLUP, rows, highest=("peak_import_wh", "peak_export_wh"))


def add_bill_lines(
    session: Session, months: Mapping[str, str], origin: str, changes: Iterable[Record]
) -> None:
    """Add each record's lines to the bills; ``months``: on whose statement, by participant."""
    rows = [
        _bill_row(months[key.participant], origin, key, total)
        for each in changes
        for key, total in sorted(each.bill.items())
    ]
    add_to(session, _BILL, rows, highest=("high_micro_per_kwh",), lowest=("low_micro_per_kwh",))


def set_peaks(
    session: Session, bucket: Bucket, of: SettledPoint, first: str, after_last: str
) -> None:
    """Take the peaks of a row of roll-ups from the settled rows in [first, after_last)."""
    parties = _parties(of)
    query = select(func.max(SettledRow.import_wh), func.max(SettledRow.export_wh)).where(
        SettledRow.interval >= first,
        SettledRow.interval < after_last,
        *(_SETTLED.c[name] == value for name, value in parties.items()),
    )
    drawn, fed_in = session.exec(query).one()
    here = {"span": bucket.span.value, "start": bucket.start, **parties}
    session.connection().execute(
        update(_ROLLUP)
        .where(*(_ROLLUP.c[name] == value for name, value in here.items()))
        .values(peak_import_wh=drawn, peak_export_wh=fed_in)
    )


def issued_months(
    session: Session, participants: Iterable[str], since: str
) -> Mapping[str, frozenset[str]]:
    """Return the months from ``since`` on whose statement each of the participants was sent."""
    query = select(MonthlyStatementRow.participant, MonthlyStatementRow.month).where(
        MonthlyStatementRow.month >= since
    )
    found: dict[str, set[str]] = {who: set() for who in participants}
    if len(found) == 1:
        query = query.where(MonthlyStatementRow.participant == next(iter(found)))
    for who, month in session.exec(query):
        if who in found:
            found[who].add(month)
    return {who: frozenset(months) for who, months in found.items()}


def statements(session: Session, key: str) -> list[Statement]:
    """Return an interval's statements as they were settled at first."""
    rows = select(StatementRow).where(StatementRow.interval == key)
    leaves = [StatementLeaf.read(row.payload) for row in session.exec(rows)]
    return [
        Statement(
            participant=leaf.participant,
            metered=tuple(
                SettledEnergy(
                    item.point,
                    Direction(item.direction),
                    bool(item.estimated),
                    item.wh,
                    item.local_wh,
                    item.own_wh,
                    item.residual_wh,
                )
                for item in leaf.metered
            ),
            lines=tuple(
                Line(
                    Kind(item.kind),
                    item.point,
                    Price(item.price_micro_per_kwh),
                    item.wh,
                    item.micro,
                )
                for item in leaf.lines
            ),
            opening_carry=Money(leaf.opening_carry_micro),
            transfers=tuple(Transfer(item.address.hex(), item.micro) for item in leaf.transfers),
            closing_carry=Money(leaf.closing_carry_micro),
        )
        for leaf in leaves
    ]


def _parties(row: SettledPoint) -> dict[str, str]:
    return {
        "point": row.point,
        "participant": row.participant,
        "feeder": row.feeder,
        "building": row.building,
        "supplier": row.supplier,
        "balance_party": row.balance_party,
    }


def _columns(row: SettledPoint) -> dict[str, object]:
    contracted = row.contracted
    return {
        **_parties(row),
        "version": row.version,
        "estimated": row.drawn.estimated,
        "import_wh": row.drawn.wh,
        "import_local_wh": row.drawn.local_wh,
        "import_own_wh": row.drawn.own_wh,
        "import_residual_wh": row.drawn.residual_wh,
        "export_wh": row.fed_in.wh,
        "export_local_wh": row.fed_in.local_wh,
        "export_own_wh": row.fed_in.own_wh,
        "export_residual_wh": row.fed_in.residual_wh,
        "contracted_import_wh": contracted.import_wh if contracted else None,
        "contracted_export_wh": contracted.export_wh if contracted else None,
        "saving_micro": row.saving_micro,
    }


def _point(row: SettledRow) -> SettledPoint:
    drawn = (row.import_wh, row.import_local_wh, row.import_own_wh, row.import_residual_wh)
    fed_in = (row.export_wh, row.export_local_wh, row.export_own_wh, row.export_residual_wh)
    contracted = (
        None
        if row.contracted_import_wh is None or row.contracted_export_wh is None
        else Contracted(row.contracted_import_wh, row.contracted_export_wh)
    )
    return SettledPoint(
        point=row.point,
        participant=row.participant,
        supplier=row.supplier,
        balance_party=row.balance_party,
        feeder=row.feeder,
        building=row.building,
        drawn=SettledEnergy(row.point, Direction.IMPORT, row.estimated, *drawn),
        fed_in=SettledEnergy(row.point, Direction.EXPORT, row.estimated, *fed_in),
        saving_micro=row.saving_micro,
        version=row.version,
        contracted=contracted,
    )


def _bill_row(month: str, origin: str, key: BillKey, total: BillSum) -> dict[str, object]:
    return {"month": month, "origin": origin, **key._asdict(), **total._asdict()} | {
        "kind": key.kind.value
    }
