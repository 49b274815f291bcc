"""An issued statement beside what it should say, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast
from zoneinfo import ZoneInfo

from app.audit.bills import Bill, Key, Links, Paper, Sum, Value, charges, papers, rounding
from app.audit.evidence import key_of
from app.audit.monthfile import Issued
from app.audit.rates import Book
from app.audit.settling import LOCAL, VAT
from ledger_client.verify import ClaimError, parse

_ENERGY = (
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


class Difference(NamedTuple):
    """Where an issued statement says something else than the evidence gives."""

    statement: str
    line: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Settled:
    """What one participant's statement has to agree with."""

    bill: Bill
    links: Links
    book: Book
    zone: ZoneInfo
    month: str
    after: str
    vat_liable: bool
    opening_micro: int
    moved: Mapping[str, int]


def compare(statement: Issued, ground: Settled) -> list[Difference]:
    """Return every part that differs, missing and surplus ones included.

    Raises:
        ClaimError: the document is not of the form that statements have.
    """
    try:
        document = cast("dict[str, object]", parse(statement.payload.encode()))
        says = dict(_said(document))
        due = dict(_due(statement.participant, document, ground))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ClaimError(f"{statement.number} is not of the form of statements: {error}") from error
    return [
        Difference(
            statement.number, part, _shown(due.get(part, "none")), _shown(says.get(part, "none"))
        )
        for part in sorted({*says, *due})
        if says.get(part) != due.get(part)
    ]


def _shown(value: Value) -> str:
    return str(value)


def _said(document: Mapping[str, object]) -> Iterator[tuple[str, Value]]:
    """Yield every part of a document that is judged, by name."""
    for section in _objects(document["sections"]):
        place = f"{section['point']}{_of(section['supplier'])}"
        energy = cast("Mapping[str, int]", section["energy"])
        yield from ((f"{place} {name}", energy[name]) for name in _ENERGY if energy[name])
        for line in _objects(section["lines"]):
            if "peaks" in line:
                peaks = tuple((str(p["day"]), _int(p["w"])) for p in _objects(line["peaks"]))
                name = f"{place} {line['kind']} {line['name']} {line['vat_ppm']} ppm"
                name += f" {line['price_micro']}"
                yield name, (_int(line["micro"]), _int(line["days"]), peaks)
            else:
                yield f"{place} {line['kind']} {line['vat_ppm']} ppm", _line(line)
    for line in _objects(document["corrections"]):
        place = f"{line['point']}{_of(line['supplier'])} of {line['origin']}"
        yield f"{place} {line['kind']} {line['vat_ppm']} ppm", _line(line)
    for part in ("invoice", "credit_note"):
        paper = cast("Mapping[str, object] | None", document[part])
        if paper is not None:
            rows = tuple(
                (_int(row["vat_ppm"]), _int(row["net_cents"]), _int(row["vat_cents"]))
                for row in _objects(paper["vat"])
            )
            shown = Paper(rows, _int(paper["paid_cents"]))
            yield from _paper(part, shown, _int(paper["due_cents"]))
            gross = sum(net + vat for _, net, vat in rows)
            yield f"{part} gross_cents", (_int(paper["gross_cents"]), gross)
    wallet = cast("Mapping[str, object]", document["wallet"])
    for name in ("opening_micro", "bought_micro", "sold_micro", "closing_micro"):
        yield f"wallet {name}", _int(wallet[name])
    for move in _objects(wallet["movements"]):
        yield f"wallet {move['kind']}", _int(move["micro"])
    saving = cast("Mapping[str, object]", document["saving"])
    yield "saving month_micro", _int(saving["month_micro"])
    yield "rounding_micro", _int(document["rounding_micro"])
    yield "due_cents", _int(document["due_cents"])


def _due(who: str, document: Mapping[str, object], ground: Settled) -> Iterator[tuple[str, Value]]:
    """Yield every part as the evidence gives it, by the same names."""
    bill, month = ground.bill, ground.month
    until = min(ground.after, key_of(_int(document["issued_ms"])))
    due = charges(who, bill, ground.links, ground.book, (month, until), ground.zone)
    for (point, supplier), sums in bill.energy.items():
        place = f"{point}{_of(supplier)}"
        yield from ((f"{place} {name}", n) for name, n in zip(_ENERGY, sums, strict=True) if n)
    for key, line in bill.lines.items():
        if key.kind != VAT:
            yield _named(key, month), line.value
    for charge in due:
        name = f"{charge.point}{_of(charge.supplier)} {charge.kind} {charge.name}"
        name += f" {charge.vat_ppm} ppm {charge.price}"
        yield name, (charge.micro, charge.days, charge.peaks_w)
    invoice, credit = papers(bill.lines, due, vat_liable=ground.vat_liable)
    for part, paper in (("invoice", invoice), ("credit_note", credit)):
        if paper is not None:
            yield from _paper(part, paper, paper.due)
            gross = sum(net + vat for _, net, vat in paper.rows)
            yield f"{part} gross_cents", (gross, gross)
    yield from _wallet(ground)
    yield "saving month_micro", bill.saving
    yield "rounding_micro", rounding(bill.lines, due, invoice, credit)
    yield "due_cents", invoice.due - (credit.due if credit else 0)


def _named(key: Key, month: str) -> str:
    late = "" if key.origin == month else f" of {key.origin}"
    return f"{key.point}{_of(key.supplier)}{late} {key.kind} {key.vat_ppm} ppm"


def _paper(part: str, paper: Paper, due_cents: int) -> Iterator[tuple[str, Value]]:
    for vat_ppm, net, vat in paper.rows:
        yield f"{part} {vat_ppm} ppm", (net, vat)
    yield f"{part} paid_cents", paper.paid
    yield f"{part} due_cents", due_cents


def _wallet(ground: Settled) -> Iterator[tuple[str, Value]]:
    sums = dict.fromkeys(LOCAL, 0)
    for key, line in ground.bill.lines.items():
        if key.kind in LOCAL and key.origin == ground.month:
            sums[key.kind] += line.micro
    bought, sold = (sums[kind] for kind in LOCAL)
    yield "wallet opening_micro", ground.opening_micro
    yield "wallet bought_micro", bought
    yield "wallet sold_micro", sold
    yield from ((f"wallet {kind}", micro) for kind, micro in ground.moved.items())
    closing = ground.opening_micro + bought + sold + sum(ground.moved.values())
    yield "wallet closing_micro", closing


def _line(line: Mapping[str, object]) -> Value:
    return Sum(
        _int(line["wh"]),
        _int(line["micro"]),
        _int(line["low_micro_per_kwh"]),
        _int(line["high_micro_per_kwh"]),
    ).value


def _objects(value: object) -> list[Mapping[str, object]]:
    return cast("list[Mapping[str, object]]", value)


def _of(supplier: object) -> str:
    return f" (supplier {supplier})" if supplier else ""


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value
