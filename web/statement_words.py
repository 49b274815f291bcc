"""A monthly statement's lines and sums in plain words, for its page and its PDF alike."""

from __future__ import annotations

from typing import Final

from web import present
from web.ports.statements import Document, Line, Part, Period, Section, StatementLine

KINDS: Final = {
    "local-buy": "Local energy from neighbours",
    "local-sell": "Local energy to neighbours",
    "residual-import": "Energy from the supplier",
    "residual-export": "Energy fed in to the supplier",
    "local-fee": "Grid fee, local, district level",
    "local-fee-feeder": "Grid fee, local, feeder level",
    "local-fee-building": "Grid fee, local, building level",
    "grid-fee": "Grid fee, from outside",
    "levy": "Levy",
    "tax": "Energy tax",
    "standing": "Standing charge",
    "capacity": "Capacity fee",
}
MOVEMENTS: Final = {
    "top-up": "Paid in",
    "withdrawal": "Withdrawn",
    "withdrawal-cancelled": "Withdrawal taken back",
    "paid-out": "Paid out to an address of your own",
}
CERTIFICATES: Final = {
    "issued_wh": "Issued for what your roof produced",
    "self_used_wh": "of it used by yourself",
    "bought_wh": "Received from neighbours",
    "sold_wh": "Passed on to neighbours",
    "claimed_wh": "Claimed as your green consumption",
}
STATES: Final = {
    "open": "Open",
    "partly-paid": "Partly paid",
    "disputed": "Disputed",
    "paid": "Paid",
    "paid-out": "Paid out",
}
PAYOUTS: Final = {
    "asked": "the building manager looks at it next",
    "approved": "it goes to the bank with the next file",
    "exported": "it is at the bank",
}
EXEMPT: Final = (
    "No VAT is charged on what you sold: you sell as a private person or an exempt small business."
)
SELF_BILLED: Final = (
    "Self-billing: the district makes out this credit note for what you sold. If you are liable to "
    "VAT and it says otherwise, tell the district before you use it."
)
PAID_OUT: Final = (
    "It is paid to the bank account that you last used; on the page of this statement you can name "
    "one."
)
PREVIEW: Final = "Preview: nothing is to be paid on it, and it may still change."
SIMULATED: Final = "Demo data on a simulated clock: the amounts are play money."


def euros(cents: int, *, plus: bool = False) -> str:
    """Return whole cents as euros with two decimals."""
    whole, rest = divmod(abs(cents), 100)
    return present.signed(f"€{whole:,}.{rest:02d}", cents, plus=plus)


def line_euros(micro: int) -> str:
    """Return micro-euros as euros with four decimals: a line is smaller than its sum's cent."""
    scaled = (2 * abs(micro) + 100) // 200
    whole, rest = divmod(scaled, 10_000)
    return present.signed(f"€{whole:,}.{rest:04d}", micro if scaled else 0)


def energy(wh: int) -> str:
    """Return watt-hours as kWh with all three decimals, so that sums can be checked."""
    whole, rest = divmod(abs(wh), 1000)
    return present.signed(f"{whole:,}.{rest:03d}{present.NBSP}kWh", wh)


def rate(vat_ppm: int) -> str:
    """Return a VAT rate: 19 %, 7.7 %."""
    text = f"{vat_ppm // 10_000}.{vat_ppm % 10_000:04d}".rstrip("0").rstrip(".")
    return f"{text}{present.NBSP}%"


def what(line: Line) -> str:
    """Return what a line is for."""
    title = present.words(KINDS, line.kind)
    if line.kind in ("standing", "capacity"):
        return f"{title}: {line.name}" if line.name and line.name != title else title
    return title


def quantity(line: Line) -> str:
    """Return how much a line bills: energy, or days."""
    if line.wh is not None:
        return energy(line.wh)
    days = present.count(line.days, "day", "days")
    return days if line.kind == "standing" else f"{days} of {line.days_of_month}"


def price(line: Line) -> str:
    """Return a line's price, or from which to which it changed."""
    if line.wh is None:
        per = "a day" if line.kind == "standing" else "a kW and month"
        return f"{line_euros(line.price_micro)} {per}"
    low, high = line.low_micro_per_kwh, line.high_micro_per_kwh
    unit = f"{present.NBSP}ct/kWh"
    return f"{_cents(low)}{unit}" if low == high else f"{_cents(low)} to {_cents(high)}{unit}"


def _cents(micro_per_kwh: int) -> str:
    whole, rest = divmod(abs(micro_per_kwh), present.MICRO_PER_CENT)
    text = f"{whole}.{rest:04d}".rstrip("0").ljust(len(f"{whole}.00"), "0")
    return present.signed(text, micro_per_kwh)


def amount(line: Line) -> str:
    """Return a line's net amount: charged > 0 of what was drawn, credited > 0 of what was sold."""
    return line_euros(line.micro if is_sold(line) else -line.micro)


def is_sold(line: Line) -> bool:
    """Tell whether a line stands on the credit note."""
    return line.kind in ("local-sell", "residual-export")


def drawn(section: Section) -> list[Line]:
    """Return the lines of a section that are charged."""
    return [line for line in section.lines if not is_sold(line)]


def sold(section: Section) -> list[Line]:
    """Return the lines of a section that are credited."""
    return [line for line in section.lines if is_sold(line)]


def payee(line: Line) -> str:
    """Return who is paid, or who pays."""
    return line.payee[:1].upper() + line.payee[1:]


def peaks(line: Line) -> str:
    """Return the peaks that a capacity fee goes by."""
    return ", ".join(f"{present.power(peak.w)} on {present.date(peak.day)}" for peak in line.peaks)


def month(iso: str) -> str:
    """Return a month such as 2026-06 as June 2026."""
    return f"{_MONTHS[int(iso[5:7]) - 1]} {iso[:4]}"


_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def periods(found: tuple[Period, ...]) -> str:
    """Return the days that a section is about."""
    return ", ".join(
        present.date(span.first)
        if span.first == span.last
        else f"{present.date(span.first)} to {present.date(span.last)}"
        for span in found
    )


def correction(line: Line, zone: str) -> str:
    """Return which statement and quarter-hours a correction is about, and why it came."""
    original = line.corrects or "no statement"
    text = f"{month(line.origin)}, statement {original}"
    if line.intervals:
        first, last = (
            present.quarter_day(key, zone) for key in (line.first_interval, line.last_interval)
        )
        when = first if first == last else f"{first} to {last}"
        text += f"; {present.count(line.intervals, 'quarter-hour', 'quarter-hours')}, {when}"
    if line.reasons:
        text += f"; {'; '.join(line.reasons)}"
    return text


def flows(section: Section) -> list[tuple[str, int, int]]:
    """Return (what, drawn, fed in) in Wh of a metering point."""
    e = section.energy
    return [
        ("Local, traded with neighbours", e.import_local_wh, e.export_local_wh),
        ("Own, between your meters", e.import_own_wh, e.export_own_wh),
        ("Supplier", e.import_residual_wh, e.export_residual_wh),
        ("Metered", e.import_wh, e.export_wh),
    ]


def outcome(document: Document) -> str:
    """Return in one sentence what is to be paid."""
    if document.due_cents > 0:
        return f"You pay {euros(document.due_cents)}."
    if document.due_cents < 0:
        return f"You get {euros(-document.due_cents)}."
    return "Nothing is to be paid."


def terms(document: Document) -> str:
    """Return how it is paid, '' where nothing is to be paid by the participant."""
    found = document.payment
    if found is None:
        return "" if document.due_cents >= 0 or not document.number else PAID_OUT
    where = f" to {found.holder}, IBAN {grouped(found.iban)}," if found.iban else ""
    by = present.date(found.due_day)
    return f"Please pay by {by}{where} with the reference {grouped(found.reference)}."


def grouped(text: str) -> str:
    """Return an IBAN or a reference in groups of four."""
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def state(line: StatementLine) -> str:
    """Return where an issued statement stands."""
    if line.overdue:
        return "Overdue"
    if line.due_cents > 0 > line.open_cents:
        return "Paid, and too much"
    if line.due_cents == 0 and line.state == "paid":
        return "Nothing to pay"
    return STATES[line.state]


def saving(micro: int) -> str:
    """Return a saving, or what it cost more, in cents."""
    cents = (2 * abs(micro) + 10_000) // 20_000
    return euros(cents if micro >= 0 else -cents)


def totals(part: Part, *, sold: bool) -> list[tuple[str, int, bool]]:
    """Return (what, cents, whether it is a total) of an invoice or a credit note."""
    rows: list[tuple[str, int, bool]] = []
    for row in part.vat:
        taxed = f" at {rate(row.vat_ppm)} VAT" if row.vat_ppm else " without VAT"
        rows.append((f"Net{taxed}", row.net_cents, False))
        if row.vat_ppm:
            rows.append((f"VAT {rate(row.vat_ppm)}", row.vat_cents, False))
    rows.append(("Total with VAT" if part.vat_cents else "Total", part.gross_cents, True))
    paid = "Paid to your wallet already" if sold else "Paid from your wallet already"
    if part.paid_cents:
        rows.append((f"{paid}, local energy", -part.paid_cents, False))
        rows.append(("Left", part.due_cents, True))
    return rows
