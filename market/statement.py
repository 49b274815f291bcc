"""A participant's local month as a document: what they drew, fed in, owe and are owed.

The rules stand in ``docs/money.md``, "Statements". A line's ``micro`` is > 0 where it is earned and
< 0 where it is owed, as on every statement line; the amounts of an invoice and of a credit note are
whole cents, > 0 where they are charged and credited. What a month's lines come to in cents and what
the journal holds in micro-euros meet on the ``rounding`` account: see :func:`build`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

from market import journal
from market.money import Money, round_half_up
from market.settlement import Kind
from market.statement_parts import (
    CAPACITY,
    LOCAL,
    SOLD,
    STANDING,
    Billed,
    Charge,
    Corrected,
    Header,
    Month,
    Section,
    StatementError,
)

MICRO_PER_CENT: Final = 10_000

# In this order lines stand in a section; a kind that is not named here stands before the last two.
_ORDER: Final = (
    Kind.LOCAL_BUY.value,
    Kind.RESIDUAL_IMPORT.value,
    "local-fee-building",
    "local-fee-feeder",
    Kind.LOCAL_FEE.value,
    Kind.GRID_FEE.value,
    Kind.LEVY.value,
    "tax",
    STANDING,
    CAPACITY,
)


class VatRow(NamedTuple):
    """One rate of an invoice or a credit note, in whole cents."""

    vat_ppm: int
    net_cents: int
    vat_cents: int


@dataclass(frozen=True, slots=True)
class Part:
    """An invoice or a credit note in whole cents; ``paid_cents`` moved through the wallet."""

    vat: tuple[VatRow, ...]
    paid_cents: int

    @property
    def net_cents(self) -> int:
        """All rates together, before VAT."""
        return sum(row.net_cents for row in self.vat)

    @property
    def vat_cents(self) -> int:
        """All rates' VAT."""
        return sum(row.vat_cents for row in self.vat)

    @property
    def due_cents(self) -> int:
        """What is left to pay."""
        return self.net_cents + self.vat_cents - self.paid_cents

    def payload(self, number: str) -> dict[str, object]:
        """Return the part as it stands in a document."""
        return {
            "due_cents": self.due_cents,
            "gross_cents": self.net_cents + self.vat_cents,
            "net_cents": self.net_cents,
            "number": number,
            "paid_cents": self.paid_cents,
            "vat": [row._asdict() for row in self.vat],
            "vat_cents": self.vat_cents,
        }


@dataclass(frozen=True, slots=True)
class Built:
    """A document, ready for canonical JSON, and the journal entry that it stands for."""

    document: Mapping[str, object]
    due_cents: int  # > 0: the participant pays
    entry: journal.Entry


def cents(micro: int) -> int:
    """Return micro-euros as whole cents, rounded half up."""
    return round_half_up(micro, MICRO_PER_CENT)


def build(header: Header, month: Month) -> Built:
    """Return a participant's statement of a month.

    The journal holds the billed lines already. The entry adds the charges, brings VAT to what the
    document says in cents (a VAT-liable seller's comes off it), and puts what cents leave over on
    ``rounding``, so that the participant's account holds exactly what is due.

    Raises:
        StatementError: a line of a later month or of no section, or more left to rounding than
            rounding can explain.
    """
    _check(header, month)
    lines = [line for line in month.billed if line.kind != Kind.VAT.value]
    invoice, credit = _parts(header, lines, month.charges)
    due_cents = invoice.due_cents - (credit.due_cents if credit else 0)
    entry, rounding = _entry(header, month, invoice, credit, due_cents)
    document: dict[str, object] = {
        **_header_object(header),
        "certificates": None if month.certificates_wh is None else dict(month.certificates_wh),
        "corrections": _corrections(header, lines, month.corrected),
        "credit_note": _credit_object(header, credit),
        "due_cents": due_cents,
        "invoice": invoice.payload(header.number),
        "payment": dict(header.terms) if due_cents > 0 and header.number else None,
        "rounding_micro": rounding,
        "saving": {
            "month_micro": month.saving_month_micro,
            "year_micro": month.saving_year_micro,
        },
        "sections": [
            _section_object(header, place, section, lines, month.charges)
            for place, section in enumerate(month.sections, 1)
        ],
        "version": 1,
        "wallet": _wallet(header, month),
    }
    return Built(document, due_cents, entry)


def _check(header: Header, month: Month) -> None:
    places = {(section.point, section.supplier) for section in month.sections}
    for line in month.billed:
        if line.origin > header.month:
            fault = f"lines of {line.origin} are to come"
        elif line.origin == header.month and (line.point, line.supplier) not in places:
            fault = f"lines of point {line.point} (supplier {line.supplier!r}) that was not theirs"
        else:
            continue
        raise StatementError(
            f"{header.participant}, {header.month}: {fault}; compare bill lines and roll-ups"
        )
    for charge in month.charges:
        if (charge.point, charge.supplier) not in places:
            raise StatementError(f"{header.participant}, {header.month}: a charge without section")


def sells(billed: Iterable[Billed]) -> bool:
    """Tell whether a month needs a credit note: something was sold in it, or corrected of that."""
    return any(line.kind in SOLD for line in billed)


def _parts(
    header: Header, lines: Sequence[Billed], charges: Sequence[Charge]
) -> tuple[Part, Part | None]:
    """Return the invoice over what was drawn, and the credit note over what was sold."""
    drawn = [line for line in lines if line.kind not in SOLD]
    sold = [line for line in lines if line.kind in SOLD]
    owed = [(line.vat_ppm, -line.micro) for line in drawn]
    owed += [(charge.vat_ppm, -charge.micro) for charge in charges]
    bought = sum(-line.micro for line in drawn if line.kind in LOCAL)
    invoice = Part(_vat_rows(owed), cents(bought))
    if not sold:
        return invoice, None
    earned = [(line.vat_ppm if header.vat_liable else 0, line.micro) for line in sold]
    paid = sum(line.micro for line in sold if line.kind in LOCAL)
    return invoice, Part(_vat_rows(earned), cents(paid))


def _vat_rows(amounts: Iterable[tuple[int, int]]) -> tuple[VatRow, ...]:
    """Return each rate's net in cents, and VAT on just that."""
    nets: dict[int, int] = defaultdict(int)
    for vat_ppm, micro in amounts:
        nets[vat_ppm] += micro
    return tuple(
        VatRow(vat_ppm, cents(micro), Money(cents(micro)).share(vat_ppm).micro)
        for vat_ppm, micro in sorted(nets.items())
    )


def _entry(
    header: Header, month: Month, invoice: Part, credit: Part | None, due_cents: int
) -> tuple[journal.Entry, int]:
    """Return the entry, and what it puts on ``rounding``."""
    memo = sum(line.micro for line in month.billed if line.kind not in LOCAL)
    booked_vat = sum(-line.micro for line in month.billed if line.kind == Kind.VAT.value)
    vat = (invoice.vat_cents - (credit.vat_cents if credit else 0)) * MICRO_PER_CENT
    movements = [
        (journal.receivable(header.participant), -due_cents * MICRO_PER_CENT - memo),
        (journal.VAT, vat - booked_vat),
        *((charge.account, -charge.micro) for charge in month.charges),
    ]
    rounding = -sum(micro for _, micro in movements)
    # A net of each rate and what was paid are rounded, by at most half a cent each.
    rounded = sum(len(part.vat) + 1 for part in (invoice, credit) if part)
    if 2 * abs(rounding) > rounded * MICRO_PER_CENT:
        raise StatementError(
            f"{header.participant}, {header.month}: {rounding} micro-euros are left over, and "
            f"{rounded} roundings to cents cannot leave so much: compare bill lines and journal"
        )
    movements.append((journal.ROUNDING, rounding))
    ref = f"statement/{header.month}/{header.participant}"
    return journal.entry_of(ref, "statement", movements), rounding


def _header_object(header: Header) -> dict[str, object]:
    return {
        "clock": header.clock,
        "district": header.district,
        "final": int(header.final),
        "issued_day": header.issued_day,
        "issued_ms": header.issued_ms,
        "issuer": dict(header.issuer),
        "month": header.month,
        "number": header.number,
        "participant": header.participant,
        "period": {"first": header.first_day, "last": header.last_day, "zone": header.zone},
        "recipient": dict(header.recipient),
    }


def _credit_object(header: Header, credit: Part | None) -> dict[str, object] | None:
    if credit is None:
        return None
    return {**credit.payload(header.credit_note), "vat_liable": int(header.vat_liable)}


def _section_object(
    header: Header,
    place: int,
    section: Section,
    lines: Iterable[Billed],
    charges: Iterable[Charge],
) -> dict[str, object]:
    here = (section.point, section.supplier)
    objects = [
        *(
            _line_object(header, line)
            for line in lines
            if (line.point, line.supplier) == here and line.origin == header.month
        ),
        *(
            _charge_object(header, charge)
            for charge in charges
            if (charge.point, charge.supplier) == here
        ),
    ]
    objects.sort(key=lambda item: (_rank(str(item["kind"])), str(item["vat_ppm"]).zfill(8)))
    energy = asdict(section.energy)
    energy["self_used_wh"] = section.energy.self_used_wh
    return {
        "energy": energy,
        "lines": [{**item, "ref": f"{place}.{n}"} for n, item in enumerate(objects, 1)],
        "name": section.name,
        "periods": [{"first": first, "last": last} for first, last in section.periods],
        "point": section.point,
        "supplier": section.supplier,
        "supplier_name": header.payees.get(journal.supplier(section.supplier), section.supplier),
    }


def _rank(kind: str) -> int:
    if kind in SOLD:
        return len(_ORDER) + 1 + SOLD.index(kind)
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def _line_object(header: Header, line: Billed) -> dict[str, object]:
    return {
        "account": line.account,
        "high_micro_per_kwh": line.high_micro_per_kwh,
        "kind": line.kind,
        "low_micro_per_kwh": line.low_micro_per_kwh,
        "micro": line.micro,
        "payee": header.payees.get(line.account, line.account),
        "vat_ppm": line.vat_ppm,
        "wh": line.wh,
    }


def _charge_object(header: Header, charge: Charge) -> dict[str, object]:
    return {
        "account": charge.account,
        "days": charge.days,
        "days_of_month": charge.days_of_month,
        "kind": charge.kind,
        "micro": charge.micro,
        "name": charge.name,
        "payee": header.payees.get(charge.account, charge.account),
        "peaks": [{"day": day, "w": w} for day, w in charge.peaks_w],
        "price_micro": charge.price_micro,
        "vat_ppm": charge.vat_ppm,
    }


def _corrections(
    header: Header,
    lines: Iterable[Billed],
    corrected: Mapping[tuple[str, str], Corrected],
) -> list[dict[str, object]]:
    """Return the lines of earlier months, each with what it corrects."""
    late = sorted(
        (line for line in lines if line.origin != header.month),
        key=lambda line: (line.origin, line.point, line.supplier, _rank(line.kind), line.vat_ppm),
    )
    objects: list[dict[str, object]] = []
    for place, line in enumerate(late, 1):
        known = corrected.get((line.point, line.origin), Corrected("", "", "", 0, ()))
        objects.append(
            {
                **_line_object(header, line),
                "corrects": known.original,
                "first_interval": known.first,
                "intervals": known.intervals,
                "last_interval": known.last,
                "origin": line.origin,
                "point": line.point,
                "reasons": list(known.reasons),
                "ref": f"C{place}",
                "supplier": line.supplier,
            }
        )
    return objects


def _wallet(header: Header, month: Month) -> dict[str, object]:
    """Return what moved in the wallet: local energy of the month's intervals, and the rest."""

    def local(kind: Kind) -> int:
        return sum(
            line.micro
            for line in month.billed
            if line.kind == kind.value and line.origin == header.month
        )

    bought, sold = local(Kind.LOCAL_BUY), local(Kind.LOCAL_SELL)
    moved = [{"kind": kind, "micro": micro} for kind, micro in month.wallet_movements]
    rest = sum(micro for _, micro in month.wallet_movements)
    return {
        "bought_micro": bought,
        "closing_micro": month.wallet_opening_micro + bought + sold + rest,
        "movements": moved,
        "opening_micro": month.wallet_opening_micro,
        "sold_micro": sold,
    }
