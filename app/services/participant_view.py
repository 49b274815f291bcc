"""One participant's page: balance, quarter-hours split as on the bill, notices."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from sqlmodel import Session, col, select

from app.services.accounts import booked_accounts
from app.services.house import House
from app.services.ledger_trace import traces
from app.services.notices import notices
from app.services.summary import corrected, savings
from app.store import payments, people, registry, wallets
from app.tables import CorrectionRow, IntervalRow, SettlementLine, SlotRow, StatementRow
from ledger_client.stardust.bech32 import encode_address_text
from ledger_client.verify import Statement as StatementLeaf
from market.settlement import Kind
from web.ports import LedgerTrace, ParticipantPage, QuarterLine

_QUARTERS = 24


def page(house: House, session: Session, participant: str) -> ParticipantPage:
    """Return everything that a participant sees of their own."""
    row = people.participants(session)[participant]
    account = booked_accounts(session)[participant]
    address = bytes.fromhex(wallets.current_address(session, row))
    return ParticipantPage(
        participant=row.id,
        name=row.name,
        zone=people.district(session).zone,
        clock_ms=house.clock.now_ms(),
        wallet_micro=account.wallet_micro,
        ledger_micro=account.ledger_micro,
        carry_micro=account.carry_micro,
        unconfirmed_micro=account.unconfirmed_micro,
        saving_micro=savings(session)[participant],
        address=encode_address_text(house.settings.hrp, address),
        quarters=_quarters(session, participant),
        notices=notices(session, registry.stays(session, [participant])),
    )


def _quarters(session: Session, participant: str) -> list[QuarterLine]:
    statements = session.exec(
        select(StatementRow, IntervalRow)
        .join(IntervalRow, col(IntervalRow.key) == StatementRow.interval)
        .where(StatementRow.participant == participant)
        .order_by(col(StatementRow.interval).desc())
        .limit(_QUARTERS)
    ).all()
    keys = [statement.interval for statement, _ in statements]
    lines = _lines(session, participant, keys)
    estimated = set(
        session.exec(
            select(SlotRow.interval)
            .outerjoin(CorrectionRow, corrected())
            .where(
                col(SlotRow.interval).in_(keys),
                registry.held_by([participant], SlotRow.point, SlotRow.interval),
                col(SlotRow.estimated),
                col(CorrectionRow.interval).is_(None),
            )
        )
    )
    unpaid = payments.unpaid(session)
    found = traces(session, keys)
    return [
        _quarter(
            statement,
            interval,
            lines[statement.interval],
            estimated=interval.key in estimated,
            has_proof=interval.anchor == "confirmed" and interval.key not in unpaid,
            trace=found[interval.key],
        )
        for statement, interval in statements
    ]


def _lines(
    session: Session, participant: str, keys: Sequence[str]
) -> Mapping[str, Sequence[SettlementLine]]:
    found: dict[str, list[SettlementLine]] = defaultdict(list)
    rows = session.exec(
        select(SettlementLine).where(
            SettlementLine.participant == participant, col(SettlementLine.interval).in_(keys)
        )
    )
    for row in rows:
        found[row.interval].append(row)
    return found


def _quarter(
    statement: StatementRow,
    interval: IntervalRow,
    lines: Sequence[SettlementLine],
    *,
    estimated: bool,
    has_proof: bool,
    trace: LedgerTrace,
) -> QuarterLine:
    def wh(kind: Kind) -> int:
        return sum(line.wh for line in lines if line.kind == kind)

    def micro(*kinds: Kind) -> int:
        return sum(line.micro for line in lines if line.kind in kinds)

    own: Counter[str] = Counter()
    for part in StatementLeaf.read(statement.payload).metered:
        own[part.direction] += part.own_wh
    bought, sold = wh(Kind.LOCAL_BUY), wh(Kind.LOCAL_SELL)
    drawn, fed_in = wh(Kind.RESIDUAL_IMPORT), wh(Kind.RESIDUAL_EXPORT)
    return QuarterLine(
        key=statement.interval,
        state=interval.state,
        import_wh=bought + drawn + own["import"],
        export_wh=sold + fed_in + own["export"],
        local_buy_wh=bought,
        local_sell_wh=sold,
        residual_import_wh=drawn,
        residual_export_wh=fed_in,
        price_micro_per_kwh=interval.price_micro_per_kwh,
        energy_micro=micro(
            Kind.LOCAL_BUY, Kind.LOCAL_SELL, Kind.RESIDUAL_IMPORT, Kind.RESIDUAL_EXPORT
        ),
        grid_fee_micro=micro(Kind.LOCAL_FEE, Kind.GRID_FEE),
        levy_micro=micro(Kind.LEVY),
        vat_micro=micro(Kind.VAT),
        saving_micro=statement.saving_micro,
        estimated=estimated,
        has_proof=has_proof,
        trace=trace,
    )
