"""What the pages of monthly statements ask of the house: the document as read, and the protocol.

The document is that of ``docs/money.md``, "Statements", field by field: micro-euros > 0 are earned,
< 0 owed; cents are charged (invoice) or credited (credit note); days are local ISO days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest quarter-hour's power of a local day."""

    day: str
    w: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line: of energy (with prices per kWh), a charge (with days), or a correction."""

    account: str
    kind: str
    micro: int
    payee: str
    ref: str
    vat_ppm: int
    wh: int | None = None
    low_micro_per_kwh: int = 0
    high_micro_per_kwh: int = 0
    # Of a charge: price per day (standing), or per kW and month (capacity).
    name: str = ""
    days: int = 0
    days_of_month: int = 0
    price_micro: int = 0
    peaks: tuple[Peak, ...] = ()
    # Of a correction: what it corrects.
    corrects: str = ""
    origin: str = ""
    first_interval: str = ""
    last_interval: str = ""
    intervals: int = 0
    reasons: tuple[str, ...] = ()
    point: str = ""
    supplier: str = ""


@dataclass(frozen=True, slots=True)
class Energy:
    """What a metering point drew and fed in, in Wh; of it estimated so many quarter-hours."""

    intervals: int
    estimated: int
    import_wh: int
    import_local_wh: int
    import_own_wh: int
    import_residual_wh: int
    export_wh: int
    export_local_wh: int
    export_own_wh: int
    export_residual_wh: int
    produced_wh: int | None
    self_used_wh: int | None


@dataclass(frozen=True, slots=True)
class Period:
    """Local days from ``first`` to ``last``, both included."""

    first: str
    last: str
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A metering point with one supplier."""

    point: str
    name: str
    supplier: str
    supplier_name: str
    periods: tuple[Period, ...]
    energy: Energy
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class VatRow:
    """One rate."""

    vat_ppm: int
    net_cents: int
    vat_cents: int


@dataclass(frozen=True, slots=True)
class Part:
    """An invoice, or a self-billed credit note."""

    number: str
    vat: tuple[VatRow, ...]
    net_cents: int
    vat_cents: int
    gross_cents: int
    paid_cents: int
    due_cents: int
    vat_liable: int = 0


@dataclass(frozen=True, slots=True)
class Party:
    """Who sends or receives it."""

    name: str
    address: str
    tax_number: str


@dataclass(frozen=True, slots=True)
class Terms:
    """How it is paid: up to which local day, where to ('' without a bank), which reference."""

    due_day: str
    holder: str
    iban: str
    bic: str
    reference: str


@dataclass(frozen=True, slots=True)
class Movement:
    """What moved a wallet beside local energy."""

    kind: str
    micro: int


@dataclass(frozen=True, slots=True)
class Wallet:
    """The wallet's month: opening + bought + sold + movements = closing."""

    opening_micro: int
    bought_micro: int
    sold_micro: int
    movements: tuple[Movement, ...]
    closing_micro: int


@dataclass(frozen=True, slots=True)
class Certificates:
    """Watt-hours of certificates in the month."""

    issued_wh: int
    bought_wh: int
    sold_wh: int
    claimed_wh: int
    self_used_wh: int


@dataclass(frozen=True, slots=True)
class Saving:
    """Against the normal tariff on the same energy; the year is up to this month."""

    month_micro: int
    year_micro: int


@dataclass(frozen=True, slots=True)
class Document:
    """A participant's statement of a month; ``number`` is '' in a preview."""

    version: int
    district: str
    number: str
    month: str
    participant: str
    final: int
    clock: str
    issued_day: str
    issued_ms: int
    issuer: Party
    recipient: Party
    period: Period
    sections: tuple[Section, ...]
    corrections: tuple[Line, ...]
    invoice: Part
    credit_note: Part | None
    due_cents: int
    rounding_micro: int
    wallet: Wallet
    certificates: Certificates | None
    saving: Saving
    payment: Terms | None = None  # None where nothing is to be paid by the participant


@dataclass(frozen=True, slots=True)
class Seal:
    """Where an issued statement stands in the district's log; all hex."""

    leaf: str
    salt: str
    root: str
    log_index: int
    anchored: bool


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One statement in a list. ``due_cents`` > 0 is to be paid by the participant."""

    number: str
    credit_note: str
    month: str
    participant: str
    name: str
    final: bool
    issued_ms: int
    due_cents: int
    saving_micro: int
    state: str = ""  # open, partly-paid, disputed, paid, paid-out; '' of a preview
    open_cents: int = 0  # > 0 by the participant, < 0 to them
    overdue: bool = False


@dataclass(frozen=True, slots=True)
class OwnStatements:
    """A participant's statements, newest first, and the running month so far, if there is any."""

    participant: str
    name: str
    zone: str
    lines: Sequence[StatementLine]
    current: Document | None


@dataclass(frozen=True, slots=True)
class Settling:
    """Where an issued statement's money stands; cents as in its line, ``held_cents`` disputed.

    ``code`` is the text of the payment's QR code ('' where there is nothing or nowhere to pay);
    ``payout`` is the state of a payout under way ('' without one), to ``target``.
    """

    line: StatementLine
    held_cents: int
    due_day: str
    reference: str  # in groups of four
    holder: str
    account: str  # IBAN in groups of four, '' without a bank
    code: str
    payout: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class StatementPage:
    """One statement; ``seal`` None: a preview, which nothing is to be paid on."""

    name: str
    zone: str
    document: Document
    seal: Seal | None
    settling: Settling | None = None


@dataclass(frozen=True, slots=True)
class MonthPage:
    """A month's statements as its manager sees them.

    ``ready`` is how many can be issued now, ``others`` how many of all are not the manager's to
    see; ``why_not`` says why some have to wait.
    """

    month: str
    zone: str
    months: Sequence[str]
    issued: Sequence[StatementLine]
    previews: Sequence[StatementLine]
    ready: int
    others: int
    why_not: str


class Statements(Protocol):
    """Monthly statements. What is not there raises NotFoundError, what is refused RefusedError."""

    def own(self, participant: str) -> OwnStatements:
        """Return a participant's list."""
        ...

    def one(self, participant: str, number: str) -> StatementPage:
        """Return one of their statements; ``current`` is the running month so far."""
        ...

    def file(self, participant: str, number: str, form: str) -> tuple[bytes, str]:
        """Return one as pdf, csv or json, with its media type."""
        ...

    def ask_payout(self, participant: str, number: str, iban: str, holder: str) -> None:
        """Have what the district owes on one of their statements paid to a bank account."""
        ...

    def month(self, month: str) -> MonthPage:
        """Return a month's list with previews; '' is the newest month that is over."""
        ...

    def issue(self, month: str, by: str) -> int:
        """Issue what is due of a month; return how many."""
        ...
