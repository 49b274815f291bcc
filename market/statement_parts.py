"""What a monthly statement is made of: billed lines, charges, energies, and who it is for.

``docs/money.md``, "Statements". Money > 0 is earned, < 0 owed, in micro-euros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from market.errors import MarketError
from market.settlement import Kind

STANDING: Final = "standing"
CAPACITY: Final = "capacity"
SOLD: Final = (Kind.LOCAL_SELL.value, Kind.RESIDUAL_EXPORT.value)
LOCAL: Final = (Kind.LOCAL_BUY.value, Kind.LOCAL_SELL.value)
NEIGHBOURS: Final = "local"  # in place of an account: local energy goes from wallet to wallet


class StatementError(MarketError):
    """A month's statement does not add up: stop and ask a person, issue nothing."""


@dataclass(frozen=True, slots=True)
class Billed:
    """The lines of one kind that a month's settlement left for the statement, summed.

    ``origin`` is the local month (YYYY-MM) in which the energy flowed. Prices are the lowest and
    the highest among them, micro-euros per kWh. A line of kind ``vat`` is the VAT as booked.
    """

    point: str
    supplier: str
    origin: str
    kind: str
    vat_ppm: int
    lines: int
    wh: int
    micro: int
    low_micro_per_kwh: int
    high_micro_per_kwh: int
    account: str  # of the journal: who is paid


@dataclass(frozen=True, slots=True)
class Charge:
    """What is due by the day or by the highest peaks, and was not booked before the statement.

    ``price_micro`` is per day (standing) or per kW and month (capacity); ``peaks_w`` are the
    highest daily peaks by local day.
    """

    point: str
    supplier: str
    kind: str
    name: str  # of the component in the tariff
    vat_ppm: int
    micro: int
    price_micro: int
    days: int
    days_of_month: int
    account: str
    peaks_w: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Energy:
    """What a metering point drew and fed in, in Wh; per direction local + own + residual = all.

    ``produced_wh`` is what production sub-meters behind it counted, None without one.

    Raises:
        StatementError: the parts are not the whole.
    """

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
    produced_wh: int | None = None

    def __post_init__(self) -> None:
        drawn = self.import_local_wh + self.import_own_wh + self.import_residual_wh
        fed_in = self.export_local_wh + self.export_own_wh + self.export_residual_wh
        if (drawn, fed_in) != (self.import_wh, self.export_wh):
            raise StatementError(
                f"local + own + residual are {drawn} Wh drawn and {fed_in} Wh fed in, and "
                f"{self.import_wh} and {self.export_wh} Wh were metered: look at the roll-ups"
            )

    @property
    def self_used_wh(self) -> int | None:
        """What was produced behind the meter and used there; None where nothing tells."""
        return None if self.produced_wh is None else max(0, self.produced_wh - self.export_wh)


@dataclass(frozen=True, slots=True)
class Section:
    """A metering point with one supplier, and the local days (first, last) on which it was so."""

    point: str
    name: str
    supplier: str
    periods: tuple[tuple[str, str], ...]
    energy: Energy


class Corrected(NamedTuple):
    """What is known of the corrections behind a line: the first, last and number of intervals."""

    original: str  # the number of the statement that they correct; '' where there was none
    first: str
    last: str
    intervals: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """Who sends what to whom, about which month; days are local (YYYY-MM-DD)."""

    district: str
    month: str
    first_day: str
    last_day: str
    zone: str
    clock: str  # real, simulated
    issued_day: str
    issued_ms: int
    issuer: Mapping[str, str]  # name, address, tax_number
    participant: str
    recipient: Mapping[str, str]  # name, address, tax_number
    vat_liable: bool
    final: bool
    payees: Mapping[str, str]  # name by account of the journal
    number: str = ""  # '': a preview
    credit_note: str = ""
    terms: Mapping[str, str] = field(default_factory=dict)  # how an invoice is paid


@dataclass(frozen=True, slots=True)
class Month:
    """Everything that a statement is made of."""

    sections: Sequence[Section]
    billed: Sequence[Billed]
    charges: Sequence[Charge] = ()
    corrected: Mapping[tuple[str, str], Corrected] = field(default_factory=dict)  # point, origin
    wallet_opening_micro: int = 0
    wallet_movements: Sequence[tuple[str, int]] = ()  # (kind, micro) beside local energy
    certificates_wh: Mapping[str, int] | None = None
    saving_month_micro: int = 0
    saving_year_micro: int = 0
