"""Gathers what participants' statements of a month are made of: sums, never quarters of a year."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlmodel import Session, select

from app.bankfiles.identifiers import statement_reference
from app.services.bank_account import account_of
from app.services.house import House
from app.services.statements.span import Span
from app.store import people, statements, tariffs
from app.store.statements import Bound
from app.store.tariffs import Shelf
from app.tables import (
    BillLineRow,
    CertificateMonthRow,
    CorrectionRow,
    ParticipantRow,
    RollupRow,
    SupplierRow,
)
from market import journal
from market.dues import due_day
from market.registry import Role
from market.settlement import Kind, creditor
from market.statement_charges import Day, charges
from market.statement_parts import (
    LOCAL,
    NEIGHBOURS,
    Billed,
    Charge,
    Corrected,
    Energy,
    Header,
    Month,
    Section,
)
from metering.interval import Interval, from_ms

_PARTS = (
    "intervals",
    "estimated",
    "import_wh",
    "import_local_wh",
    "import_own_wh",
    "import_residual_wh",
    "export_wh",
    "export_local_wh",
    "export_own_wh",
    "export_residual_wh",
)


@dataclass(frozen=True, slots=True)
class Ground:
    """What all statements of a month share, read once per issue.

    ``until`` is the key of the first interval that does not count yet: the month's end, or now.
    """

    span: Span
    until: str
    issued_ms: int
    people: Mapping[str, ParticipantRow]
    names: Mapping[str, str]  # of metering points
    payees: Mapping[str, str]
    parties: Mapping[str, Sequence[Bound]]  # by point, with participants as targets
    suppliers: Mapping[str, Sequence[Bound]]
    tariffs: Mapping[str, Sequence[Bound]]
    shelf: Shelf
    wallets: Mapping[str, int]
    movements: Mapping[str, Sequence[tuple[str, int]]]
    savings: Mapping[str, tuple[int, int]]

    def holders(self) -> set[str]:
        """Return whose metering points settled in the month."""
        return {bound.target for bounds in self.parties.values() for bound in bounds}


def ground(session: Session, span: Span, now_ms: int) -> Ground:
    """Read what all statements of a month share; of a running month what there is so far."""
    until = min(span.after, Interval.containing_ms(max(now_ms, span.start_ms)).key)

    def bound(role: Role) -> Mapping[str, Sequence[Bound]]:
        return statements.bound(session, role, span.first, until)

    return Ground(
        span=span,
        until=until,
        issued_ms=now_ms,
        people=people.participants(session),
        names={gsrn: row.name for gsrn, row in people.points(session).items()},
        payees=_payees(session),
        parties=bound(Role.PARTICIPANT),
        suppliers=bound(Role.SUPPLIER),
        tariffs=bound(Role.TARIFF),
        shelf=tariffs.shelf(session, span.zone, []),
        wallets=statements.opening_wallets(session, span.month, span.first, span.start_ms),
        movements=statements.wallet_movements(session, (span.start_ms, span.end_ms)),
        savings=statements.savings(session, span.month),
    )


def header(
    house: House, ground: Ground, participant: str, numbers: tuple[str, str] = ("", "")
) -> Header:
    """Return who sends what to whom; ``numbers`` of the statement and its credit note."""
    settings, row, days = house.settings, ground.people[participant], ground.span.days
    issued = from_ms(ground.issued_ms).astimezone(ground.span.zone)
    return Header(
        district=settings.origin,
        month=ground.span.month,
        first_day=days[0].isoformat(),
        last_day=days[-1].isoformat(),
        zone=settings.zone,
        clock="simulated" if house.clock.simulated else "real",
        issued_day=issued.date().isoformat(),
        issued_ms=ground.issued_ms,
        issuer={
            "address": settings.issuer_address,
            "name": settings.issuer_name or settings.name,
            "tax_number": settings.issuer_tax_number,
        },
        participant=participant,
        recipient={
            "address": row.postal_address or "",
            "name": row.name,
            "tax_number": row.tax_number or "",
        },
        vat_liable=bool(row.vat_liable),
        final=row.left_from is not None and row.left_from <= ground.span.after,
        payees=ground.payees,
        number=numbers[0],
        credit_note=numbers[1],
        terms=_terms(house, numbers[0], issued.date()) if numbers[0] else {},
    )


def _terms(house: House, number: str, issued: date) -> Mapping[str, str]:
    """Return by when, where to and with which reference a statement is paid."""
    account = account_of(house.settings, simulated=house.clock.simulated)
    return {
        "bic": account.bic if account else "",
        "due_day": due_day(issued).isoformat(),
        "holder": account.name if account else "",
        "iban": account.iban if account else "",
        "reference": statement_reference(number),
    }


def months_of(session: Session, ground: Ground, participants: Sequence[str]) -> Mapping[str, Month]:
    """Return what each participant's statement is made of; of a running month, so far."""
    month = ground.span.month
    lines = statements.bill_lines(session, month, participants)
    sums = statements.rollups(session, month, participants)
    peaks = statements.peaks(session, month, participants)
    held = statements.certificates(session, month, participants)
    points = {point for who in participants for point in _points(ground, who)}
    produced = statements.produced(session, ground.span.first, ground.until, points)
    late = _late(ground.span, statements.corrections(session, month, participants))
    found = {}
    for who in participants:
        account, saved = journal.wallet(who), ground.savings.get(who, (0, 0))
        billed = [_billed(row) for row in lines.get(who, ())]
        due = [
            charge
            for point in _points(ground, who)
            for charge in _charges(ground, who, point, peaks.get((who, point), {}))
        ]
        found[who] = Month(
            sections=_sections(ground, who, sums.get(who, ()), [*billed, *due], produced),
            billed=billed,
            charges=due,
            corrected=late.get(who, {}),
            wallet_opening_micro=ground.wallets.get(account, 0),
            wallet_movements=ground.movements.get(account, ()),
            certificates_wh=_certificates(held.get(who)),
            saving_month_micro=saved[0],
            saving_year_micro=saved[1],
        )
    return found


def _payees(session: Session) -> Mapping[str, str]:
    rows = session.exec(select(SupplierRow))
    return {
        journal.SUPPLIER: "the district's supplier",
        **{journal.supplier(row.id): row.name for row in rows},
        journal.GRID_OPERATOR: "Grid operator",
        journal.LEVY: "Levies",
        journal.TAX: "Tax office",
        NEIGHBOURS: "Neighbours in the district",
    }


def _points(ground: Ground, participant: str) -> list[str]:
    return [
        point
        for point, bounds in ground.parties.items()
        if any(bound.target == participant for bound in bounds)
    ]


def _billed(row: BillLineRow) -> Billed:
    local = row.kind in LOCAL
    return Billed(
        point=row.point,
        supplier=row.supplier,
        origin=row.origin,
        kind=row.kind,
        vat_ppm=row.vat_ppm,
        lines=row.lines,
        wh=row.wh,
        micro=row.micro,
        low_micro_per_kwh=row.low_micro_per_kwh,
        high_micro_per_kwh=row.high_micro_per_kwh,
        account=NEIGHBOURS if local else creditor(Kind(row.kind), row.supplier),
    )


def _charges(
    ground: Ground, participant: str, point: str, peaks_wh: Mapping[str, int]
) -> list[Charge]:
    """Return a point's charges over the days in whose last interval it was the participant's."""
    days: dict[str, Day] = {}
    for day in ground.span.days:
        last = ground.span.last_interval(day)
        if _at(ground.parties[point], last) != participant:
            continue
        tariff, supplier = _at(ground.tariffs[point], last), _at(ground.suppliers[point], last)
        version = ground.shelf.version_on(tariff or "", day)
        days[day.isoformat()] = Day(supplier or "", version)
    return charges(point, days, peaks_wh, len(ground.span.days))


def _at(bounds: Iterable[Bound], key: str) -> str | None:
    return next((b.target for b in bounds if b.start <= key < b.end), None)


def _sections(
    ground: Ground,
    participant: str,
    sums: Iterable[RollupRow],
    lines: Iterable[Billed | Charge],
    produced: Mapping[tuple[str, str, str], int],
) -> list[Section]:
    """Return one section per point and supplier that has energies, lines, charges or days."""
    by_place: dict[tuple[str, str], list[RollupRow]] = defaultdict(list)
    for row in sums:
        by_place[row.point, row.supplier].append(row)
    places = {
        (line.point, line.supplier)
        for line in lines
        if isinstance(line, Charge) or line.origin == ground.span.month
    }
    periods = _periods(ground, participant)
    return [
        Section(
            point=point,
            name=ground.names.get(point, point),
            supplier=supplier,
            periods=tuple(periods.get((point, supplier), ())),
            energy=_energy(
                by_place.get((point, supplier), ()), produced.get((point, participant, supplier))
            ),
        )
        for point, supplier in sorted({*places, *by_place, *periods})
    ]


def _energy(rows: Sequence[RollupRow], produced_wh: int | None) -> Energy:
    sums = {name: sum(getattr(row, name) for row in rows) for name in _PARTS}
    return Energy(**sums, produced_wh=produced_wh)


def _periods(
    ground: Ground, participant: str
) -> Mapping[tuple[str, str], Sequence[tuple[str, str]]]:
    """Return the local days on which points were a participant's, by point and supplier."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for point in _points(ground, participant):
        for own in ground.parties[point]:
            for sold in ground.suppliers[point] if own.target == participant else ():
                start, end = max(own.start, sold.start), min(own.end, sold.end)
                if start < end:
                    last = Interval.parse(end).previous().key
                    span = ground.span.day_of(start), ground.span.day_of(last)
                    found[point, sold.target].append(span)
    return found


def _late(
    span: Span, rows: Iterable[CorrectionRow]
) -> Mapping[str, Mapping[tuple[str, str], Corrected]]:
    """Return what is known of earlier months' corrections, by participant, point and month."""
    found: dict[str, dict[tuple[str, str], Corrected]] = defaultdict(dict)
    for row in rows:
        origin = span.day_of(row.interval)[:7]
        if row.participant is None or origin == span.month:
            continue
        known = found[row.participant].get((row.point, origin))
        first = known.first if known else row.interval
        reasons = known.reasons if known else ()
        number = known.intervals if known else 0
        found[row.participant][row.point, origin] = Corrected(
            original=row.original or (known.original if known else ""),
            first=first,
            last=row.interval,
            intervals=number + (known is None or known.last != row.interval),
            reasons=reasons if row.reason in reasons else (*reasons, row.reason),
        )
    return found


def _certificates(row: CertificateMonthRow | None) -> Mapping[str, int] | None:
    if row is None:
        return None
    return {
        "bought_wh": row.received_wh,
        "claimed_wh": row.claimed_wh,
        "issued_wh": row.issued_wh,
        "self_used_wh": row.self_used_wh,
        "sold_wh": row.sent_wh,
    }
