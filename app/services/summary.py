"""The figures of a run, as ``wattloom demo --summary`` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, TypedDict

from sqlalchemy import ColumnElement, and_
from sqlalchemy.orm import aliased
from sqlmodel import Session, SQLModel, col, func, select

from app.services.accounts import accounts
from app.services.house import House
from app.services.ledger import LedgerFigures
from app.store import journal, people
from app.tables import (
    BillLineRow,
    CorrectionRow,
    EnrolmentRow,
    IntervalRow,
    MeteringPointRow,
    ReadingRow,
    RollupRow,
    SecurityEventRow,
    SlotRow,
    TradeRow,
)
from market.settled import Span
from market.settlement import Kind
from metering.interval import from_ms


class Summary(TypedDict):
    """Energies in Wh, money in micro-euros, ``local_share`` a decimal string, paths absolute."""

    intervals: int
    participants: int
    metering_points: int
    district_clock: str
    readings_accepted: int
    readings_rejected: int
    trades: int
    traded_wh: int
    import_wh: int
    export_wh: int
    local_share: str
    saving_micro: Mapping[str, int]
    postings_sum_micro: int
    ledger: LedgerFigures
    balances_micro: Mapping[str, int]
    journal_minus_ledger_micro: int
    last_seq_by_meter: Mapping[str, int]
    interval_states: Mapping[str, str]
    proofs: Sequence[str]
    keys: str
    wall_seconds: float


def summarise(
    house: House,
    ledger: LedgerFigures,
    wanted: int | None,
    proofs: Sequence[Path],
    keys: Path,
    wall_seconds: float,
) -> Summary:
    """Return the figures of a run that took ``wall_seconds``.

    ``interval_states`` names the first ``wanted`` intervals: the one that is open by then is no
    part of the run. None means all.
    """
    with house.database.read() as session:
        energy = energies(session)
        books = accounts(house, session)
        states = dict(session.exec(select(IntervalRow.key, IntervalRow.state)).all())
        sealed = {key: state for key, state in states.items() if state in ("sealed", "final")}
        return {
            "intervals": len(sealed),
            "participants": len(books),
            "metering_points": _count(session, MeteringPointRow),
            "district_clock": from_ms(house.clock.now_ms()).isoformat().replace("+00:00", "Z"),
            "readings_accepted": _count(session, ReadingRow),
            "readings_rejected": rejected(session),
            "trades": _count(session, TradeRow),
            "traded_wh": energy.traded_wh,
            "import_wh": energy.import_wh,
            "export_wh": energy.export_wh,
            "local_share": local_share(energy.traded_wh, energy.import_wh),
            "saving_micro": savings(session),
            "postings_sum_micro": journal.total(session),
            "ledger": ledger,
            "balances_micro": {who: account.wallet_micro for who, account in books.items()},
            "journal_minus_ledger_micro": sum(
                abs(account.difference_micro) for account in books.values()
            ),
            "last_seq_by_meter": _last_seq(session),
            "interval_states": dict(sorted(states.items())[:wanted]),
            "proofs": [str(path.resolve()) for path in proofs],
            "keys": str(keys.resolve()),
            "wall_seconds": wall_seconds,
        }


def corrected() -> ColumnElement[bool]:
    """Return the condition that joins a slot to the newest version of its correction."""
    version = aliased(CorrectionRow)
    newest = (
        select(func.max(version.version))
        .where(version.interval == SlotRow.interval, version.point == SlotRow.point)
        .correlate(SlotRow)
        .scalar_subquery()
    )
    return and_(
        col(CorrectionRow.interval) == SlotRow.interval,
        col(CorrectionRow.point) == SlotRow.point,
        col(CorrectionRow.version) == newest,
    )


class Energies(NamedTuple):
    """Energies of all settled intervals, corrections included."""

    traded_wh: int
    import_wh: int
    export_wh: int


def energies(session: Session) -> Energies:
    """Return what was traded, imported and exported so far, from the sums by month.

    What was traded stays traded: corrections leave it as it is.
    """
    traded = session.exec(
        select(func.coalesce(func.sum(BillLineRow.wh), 0)).where(
            BillLineRow.kind == Kind.LOCAL_SELL.value
        )
    ).one()
    imported, exported = session.exec(
        select(
            func.coalesce(func.sum(RollupRow.import_wh), 0),
            func.coalesce(func.sum(RollupRow.export_wh), 0),
        ).where(RollupRow.span == Span.MONTH.value)
    ).one()
    return Energies(int(traded), int(imported), int(exported))


def local_share(traded_wh: int, import_wh: int) -> str:
    """Return traded / imported energy as a decimal string of four places."""
    if not import_wh:
        return "0.0000"
    return str((Decimal(traded_wh) / Decimal(import_wh)).quantize(Decimal("0.0001")))


def savings(session: Session) -> Mapping[str, int]:
    """Return what each participant saved against the normal tariff, in micro-euros, as known now.

    A participant's is the sum over their months; corrections are in it.
    """
    found = dict.fromkeys(people.participants(session), 0)
    rows = session.exec(
        select(RollupRow.participant, func.sum(RollupRow.saving_micro))
        .where(RollupRow.span == Span.MONTH.value)
        .group_by(RollupRow.participant)
    )
    return found | {participant: int(micro) for participant, micro in rows}


def _count(session: Session, table: type[SQLModel]) -> int:
    return session.exec(select(func.count()).select_from(table)).one()


def rejected(session: Session) -> int:
    """Return how many readings were refused: alone, or with their whole batch."""
    return int(session.exec(select(func.coalesce(func.sum(SecurityEventRow.count), 0))).one())


def _last_seq(session: Session) -> dict[str, int]:
    rows = session.exec(
        select(EnrolmentRow.serial, func.max(ReadingRow.seq))
        .join(EnrolmentRow, col(EnrolmentRow.key) == ReadingRow.key)
        .group_by(EnrolmentRow.serial)
    )
    return dict(rows.all())
