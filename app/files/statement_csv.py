"""A monthly statement as CSV: one row per line, then the sums in cents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from app.bankfiles.csvfile import write_csv
from web import statement_words as words
from web.ports.statements import Document, Line, Part

COLUMNS: Final = (
    "statement",
    "month",
    "participant",
    "row",  # line, correction, vat, part, due
    "document",  # number of the invoice or of the credit note
    "ref",
    "point",
    "supplier",
    "kind",
    "what",
    "payee",
    "wh",
    "days",
    "low_micro_per_kwh",
    "high_micro_per_kwh",
    "price_micro",
    "micro",  # > 0 earned, < 0 owed
    "vat_ppm",
    "net_cents",
    "vat_cents",
    "gross_cents",
    "paid_cents",
    "due_cents",
    "corrects",
    "origin",
    "due_day",
    "reference",
)


def statement_csv(document: Document) -> bytes:
    """Return a statement's lines and sums as a table that is safe to open."""
    rows = [[row.get(name, "") for name in COLUMNS] for row in _rows(document)]
    return write_csv(COLUMNS, rows)


def _rows(document: Document) -> Iterator[dict[str, str | int]]:
    same: dict[str, str | int] = {
        "statement": document.number,
        "month": document.month,
        "participant": document.participant,
    }
    for section in document.sections:
        place: dict[str, str | int] = {"point": section.point, "supplier": section.supplier}
        for line in section.lines:
            yield same | place | {"row": "line"} | _line(document, line)
    for line in document.corrections:
        place = {"point": line.point, "supplier": line.supplier}
        late: dict[str, str | int] = {"corrects": line.corrects, "origin": line.origin}
        yield same | place | late | {"row": "correction"} | _line(document, line)
    for part in (document.invoice, document.credit_note):
        if part is not None:
            for row in _sums(part):
                yield same | row
    due: dict[str, str | int] = {"row": "due", "due_cents": document.due_cents}
    if document.payment is not None:
        due |= {"due_day": document.payment.due_day, "reference": document.payment.reference}
    yield same | due


def _line(document: Document, line: Line) -> dict[str, str | int]:
    part = document.credit_note if words.is_sold(line) else document.invoice
    found: dict[str, str | int] = {
        "document": part.number if part else "",
        "ref": line.ref,
        "kind": line.kind,
        "what": words.what(line),
        "payee": line.payee,
        "micro": line.micro,
        "vat_ppm": line.vat_ppm,
    }
    if line.wh is None:
        return found | {"days": line.days, "price_micro": line.price_micro}
    return found | {
        "wh": line.wh,
        "low_micro_per_kwh": line.low_micro_per_kwh,
        "high_micro_per_kwh": line.high_micro_per_kwh,
    }


def _sums(part: Part) -> Iterator[dict[str, str | int]]:
    for row in part.vat:
        yield {
            "row": "vat",
            "document": part.number,
            "vat_ppm": row.vat_ppm,
            "net_cents": row.net_cents,
            "vat_cents": row.vat_cents,
        }
    yield {
        "row": "part",
        "document": part.number,
        "net_cents": part.net_cents,
        "vat_cents": part.vat_cents,
        "gross_cents": part.gross_cents,
        "paid_cents": part.paid_cents,
        "due_cents": part.due_cents,
    }
