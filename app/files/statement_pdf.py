"""A monthly statement as PDF: A4, the same bytes whenever it is written.

The core fonts of PDF with the encoding cp1252 have the euro sign and Western Europe's letters, so
that no font file is shipped. A letter beyond it loses its accent here; JSON and CSV keep it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from fpdf import FPDF
from fpdf.enums import Align, TableBordersLayout, XPos, YPos
from fpdf.fonts import FontFace

from web import present
from web import statement_words as words
from web.ports.statements import Document, Line, Part, Seal, Section

_FONT: Final = "Helvetica"
_MARGIN_MM: Final = 18
_WIDTH_MM: Final = 210 - 2 * _MARGIN_MM
_SMALL, _PLAIN, _HEAD, _TITLE = 7.5, 9.0, 11.0, 17.0
_LINE: Final = (200, 204, 210)
_SHADE: Final = (240, 243, 246)
_GREY: Final = (95, 102, 112)
_SPELT: Final = str.maketrans({"\u2212": "-", "\u202f": "\u00a0", "Ł": "L", "ł": "l"})


class _Table(NamedTuple):
    """Column widths in mm, alignments (L, R) and headings."""

    widths: Sequence[int]
    aligns: str
    headings: Sequence[str]


_DRAWN: Final = _Table(
    (10, 44, 23, 39, 37, 21), "LLRRLR", ("No.", "Drawn", "Quantity", "Price, net", "To", "Charged")
)
_SOLD: Final = _DRAWN._replace(headings=("No.", "Sold", "Quantity", "Price, net", "By", "Credited"))
_LATE: Final = _Table(
    (11, 43, 24, 72, 24), "LLRLR", ("No.", "Correction", "Quantity", "Of", "Net amount")
)
_FLOWS: Final = _Table((102, 36, 36), "LRR", ("Energy at the meter", "Drawn", "Fed in"))
_SUMS: Final = _Table((140, 34), "LR", ())


def statement_pdf(document: Document, seal: Seal | None) -> bytes:
    """Return a statement as PDF; ``seal`` None marks it as a preview."""
    return bytes(_Paper(document, seal).written().output())


def printable(text: str) -> str:
    """Return text as the PDF's fonts can show it: without the accents that they lack."""
    plain = text.translate(_SPELT)
    return "".join(
        letter if _is_known(letter) else _plainer(letter)
        for letter in plain
        if letter.isprintable() or letter in {"\n", present.NBSP}
    )


def _is_known(letter: str) -> bool:
    try:
        letter.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


def _plainer(letter: str) -> str:
    base = unicodedata.normalize("NFKD", letter)[0]
    return base if _is_known(base) else "?"


class _Paper(FPDF):
    """The pages of one statement."""

    def __init__(self, document: Document, seal: Seal | None) -> None:
        super().__init__(format="A4")
        self._document, self._seal = document, seal
        self.core_fonts_encoding = "cp1252"
        self.set_margins(_MARGIN_MM, 16, _MARGIN_MM)
        self.set_auto_page_break(auto=True, margin=20)
        self.set_creation_date(datetime.fromtimestamp(document.issued_ms // 1000, UTC))
        self.set_title(printable(f"Statement {document.number or 'preview'}"))
        self.set_author(printable(document.issuer.name))
        self.set_lang("en")
        self.set_draw_color(*_LINE)
        self.set_line_width(0.2)

    def footer(self) -> None:
        """Put number and page below every page."""
        self.set_y(-14)
        self._font(_SMALL, grey=True)
        number = self._document.number or "Preview"
        text = f"{self._document.issuer.name} · {number} · {words.month(self._document.month)}"
        self.cell(_WIDTH_MM / 2, 5, printable(text))
        self.cell(_WIDTH_MM / 2, 5, f"Page {self.page_no()} of {{nb}}", align=Align.R)

    def written(self) -> _Paper:
        """Write everything."""
        document = self._document
        self.add_page()
        self._head()
        self._outcome()
        for section in document.sections:
            self._section(section)
        if document.corrections:
            self._corrections()
        self._part(f"Invoice {document.invoice.number}".strip(), document.invoice, sold=False)
        if document.credit_note is not None:
            self._credit_note(document.credit_note)
            self._balance()
        self._wallet()
        self._certificates()
        self._notes()
        return self

    def _head(self) -> None:
        document = self._document
        issuer = document.issuer
        self._font(_PLAIN, grey=True)
        sender = [issuer.name, issuer.address, _tax(issuer.tax_number)]
        self._text(" · ".join(part for part in sender if part))
        self.ln(4)
        self._font(_TITLE, bold=True)
        title = "Final statement" if document.final else "Statement"
        self._text(f"{title} of {words.month(document.month)}", height=9)
        self.ln(2)
        top = self.get_y()
        self._font(_HEAD)
        recipient = document.recipient
        lines = [recipient.name, *recipient.address.split(", "), _tax(recipient.tax_number)]
        address = "\n".join(line for line in lines if line)
        self.multi_cell(90, 5.2, printable(address), align=Align.L)
        low = self.get_y()
        self.set_xy(_MARGIN_MM + 100, top)
        self._facts()
        self.set_y(max(low, self.get_y()) + 4)

    def _facts(self) -> None:
        document = self._document
        period = document.period
        facts = [
            ("Statement", document.number or "preview"),
            ("Issued" if document.number else "As of", present.date(document.issued_day)),
            ("Period", f"{present.date(period.first)} to {present.date(period.last)}"),
            ("Time", period.zone),
            ("Account", document.participant),
        ]
        for name, value in facts:
            self.set_x(_MARGIN_MM + 100)
            self._font(_PLAIN, grey=True)
            self.cell(20, 4.6, name)
            self._font(_PLAIN)
            self.cell(54, 4.6, printable(value), new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _outcome(self) -> None:
        document = self._document
        self.set_fill_color(*_SHADE)
        self._font(13, bold=True)
        self.cell(
            _WIDTH_MM,
            11,
            printable(" " + words.outcome(document)),
            fill=True,
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
        )
        self._font(_PLAIN)
        self.ln(1.5)
        if self._seal is None:
            self._text(words.PREVIEW)
        if document.clock == "simulated":
            self._text(words.SIMULATED)
        if terms := words.terms(document):
            self._text(_unbroken(document, terms))
        saving = document.saving
        self._text(
            "Saved against the normal tariff on the same energy, all-in: "
            f"{words.saving(saving.month_micro)} in {words.month(document.month)}, "
            f"{words.saving(saving.year_micro)} in {document.month[:4]} so far."
        )

    def _section(self, section: Section) -> None:
        title = f"{section.name}, metering point {section.point}"
        self._title(title, room=46)
        self._font(_PLAIN, grey=True)
        days = words.periods(section.periods) or words.month(self._document.month)
        self._text(f"{days}; supplier: {section.supplier_name}" if section.supplier else days)
        e = section.energy
        rows = [(name, words.energy(a), words.energy(b)) for name, a, b in words.flows(section)]
        self._table(_FLOWS, rows, sums=1)
        self.ln(1)
        told = [f"{present.count(e.intervals, 'quarter-hour', 'quarter-hours')} settled"]
        if e.estimated:
            told.append(f"{e.estimated} of them estimated")
        if e.produced_wh is not None and e.self_used_wh is not None:
            told.append(f"produced behind the meter: {words.energy(e.produced_wh)}")
            told.append(f"of it used by yourself: {words.energy(e.self_used_wh)}")
        self._font(_SMALL, grey=True)
        self._text("; ".join(told) + ".", height=3.8)
        for table, lines in ((_DRAWN, words.drawn(section)), (_SOLD, words.sold(section))):
            if lines:
                self.ln(1.5)
                self._table(table, [_row(line) for line in lines])
            for line in lines:
                if line.peaks:
                    self._font(_SMALL, grey=True)
                    self._text(f"{line.ref}: highest daily peaks {words.peaks(line)}.", height=3.8)

    def _corrections(self) -> None:
        self._title("Corrections of earlier statements", room=24)
        zone = self._document.period.zone
        rows, said = [], dict[str, str]()
        for line in self._document.corrections:
            of = words.correction(line, zone)
            first = said.setdefault(of, line.ref)
            rows.append(
                (
                    line.ref,
                    words.what(line) + (" (credit note)" if words.is_sold(line) else ""),
                    words.quantity(line),
                    of if first == line.ref else f"as {first}",
                    words.amount(line),
                )
            )
        self._table(_LATE, rows)

    def _part(self, title: str, part: Part, *, sold: bool) -> None:
        rows = words.totals(part, sold=sold)
        self._title(title, room=12 + 6 * len(rows))
        self._sums(rows)

    def _credit_note(self, part: Part) -> None:
        self._part(f"Self-billed credit note {part.number}".strip(), part, sold=True)
        self._font(_SMALL, grey=True)
        text = words.SELF_BILLED if part.vat_liable else f"{words.SELF_BILLED} {words.EXEMPT}"
        self._text(text, height=3.8)

    def _balance(self) -> None:
        document = self._document
        credited = document.credit_note.due_cents if document.credit_note else 0
        self._title("To be paid", room=30)
        self._sums(
            [
                ("Invoice", document.invoice.due_cents, False),
                ("Credit note", -credited, False),
                ("You get" if document.due_cents < 0 else "You pay", abs(document.due_cents), True),
            ]
        )

    def _wallet(self) -> None:
        wallet = self._document.wallet
        moved = [
            (present.words(words.MOVEMENTS, each.kind), each.micro) for each in wallet.movements
        ]
        rows = [
            ("Balance at the beginning", wallet.opening_micro),
            *moved,
            ("Bought from neighbours", wallet.bought_micro),
            ("Sold to neighbours", wallet.sold_micro),
            ("Balance at the end", wallet.closing_micro),
        ]
        self._title("Your wallet", room=40)
        self._table(_SUMS, [(name, words.line_euros(micro)) for name, micro in rows], sums=1)

    def _certificates(self) -> None:
        held = self._document.certificates
        if held is None:
            return
        self._title("Certificates of green energy", room=36)
        rows = [(text, words.energy(getattr(held, n))) for n, text in words.CERTIFICATES.items()]
        self._table(_SUMS, rows)

    def _notes(self) -> None:
        self._title("How to check this", room=34)
        self._font(_SMALL, grey=True)
        self._text(
            "Each line is rounded once, to a millionth of a euro. The net of each VAT rate is "
            "rounded to a cent, and VAT is worked out on that; what cents leave over "
            f"({words.line_euros(self._document.rounding_micro)}) stands on the district's account "
            "for rounding. Estimated quarter-hours are made good by a correction on a later "
            "statement once the meter tells. Grid fees are due on energy drawn alone and never "
            "netted against what was fed in.",
            height=3.8,
        )
        if self._seal is None:
            return
        seal = self._seal
        self.ln(1)
        self._text(
            f"This statement is leaf {seal.leaf} of the tree with root {seal.root}, which entry "
            f"{seal.log_index} of the log of {self._document.district} holds; the ledger anchors "
            f"that log. To get its proof: wattloom statement prove {self._document.number}",
            height=3.8,
        )

    # --- How things look -------------------------------------------------------------------------

    def _font(self, size: float, *, bold: bool = False, grey: bool = False) -> None:
        self.set_font(_FONT, "B" if bold else "", size)
        self.set_text_color(*(_GREY if grey else (0, 0, 0)))

    def _text(self, text: str, height: float = 4.6) -> None:
        self.multi_cell(
            _WIDTH_MM, height, printable(text), align=Align.L, new_x=XPos.LMARGIN, new_y=YPos.NEXT
        )

    def _title(self, text: str, room: float) -> None:
        """Write a heading, on a new page where less than ``room`` mm are left for what follows."""
        if self.will_page_break(room):
            self.add_page()
        self.ln(5)
        self._font(_HEAD, bold=True)
        self._text(text, height=6)

    def _sums(self, rows: Iterable[tuple[str, int, bool]]) -> None:
        found = list(rows)
        bold = {place for place, (_, _, total) in enumerate(found) if total}
        cells = [(name, words.euros(cents)) for name, cents, _ in found]
        self._table(_SUMS, cells, bold=bold)

    def _table(
        self,
        kind: _Table,
        rows: Sequence[Sequence[str]],
        *,
        sums: int = 0,
        bold: Iterable[int] = (),
    ) -> None:
        """Write a table, its headings again on each page; the last ``sums`` rows are bold."""
        heavy = {*bold, *range(len(rows) - sums, len(rows))}
        self._font(_PLAIN - 0.5)
        self.set_fill_color(255)
        with self.table(
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            col_widths=tuple(kind.widths),
            headings_style=FontFace(emphasis="BOLD", fill_color=_SHADE),
            line_height=4.2,
            padding=(0.7, 1.4),
            text_align=tuple(Align.R if each == "R" else Align.L for each in kind.aligns),
            width=_WIDTH_MM,
            align=Align.L,
            first_row_as_headings=bool(kind.headings),
        ) as table:
            if kind.headings:
                table.row([printable(text) for text in kind.headings])
            for place, row in enumerate(rows):
                style = FontFace(emphasis="BOLD") if place in heavy else None
                table.row([printable(text) for text in row], style=style)


def _row(line: Line) -> tuple[str, ...]:
    return (
        line.ref,
        words.what(line),
        words.quantity(line),
        words.price(line),
        words.payee(line),
        words.amount(line),
    )


def _unbroken(document: Document, text: str) -> str:
    """Return text with the IBAN and the reference each kept on one line."""
    payment = document.payment
    for code in (payment.iban, payment.reference) if payment else ():
        shown = words.grouped(code)
        text = text.replace(shown, shown.replace(" ", present.NBSP)) if shown else text
    return text


def _tax(number: str) -> str:
    return f"Tax number {number}" if number else ""
