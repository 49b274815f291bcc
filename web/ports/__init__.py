"""What the pages ask of the house: view models and the protocols that ``app`` satisfies.

Every number carries its unit in its name; turning units into text is :mod:`web.present`'s work.
Moments are UTC milliseconds of the district clock; intervals are keyed by their UTC start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from web.ports.transparency import TransparencyPage


class PortError(Exception):
    """Root of what a view may raise."""


class NotFoundError(PortError):
    """There is no such thing, or the viewer may not know of it: answer 404."""


class RefusedError(PortError):
    """What was asked for cannot be done so: show the message beside ``field`` ('' for the page)."""

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.field = field


class Role(StrEnum):
    """In which role somebody looks at the pages."""

    MANAGER = "building-manager"
    PROSUMER = "prosumer"
    OPERATOR = "grid-operator"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: the role, and the participant whose own lines may be shown (prosumer only)."""

    role: Role
    participant: str | None
    csrf_token: str


@dataclass(frozen=True, slots=True)
class PointNow:
    """One metering point's latest live value; ``power_w`` > 0 imports, None when unknown.

    ``private`` points are other people's: the viewer may know that the meter answers, not what.
    """

    point: str
    name: str
    kind: str  # home, home-pv, school, office, bakery, heat-pump, ev-hub
    power_w: int | None
    at_ms: int | None
    online: bool
    private: bool = False


@dataclass(frozen=True, slots=True)
class FlowsNow:
    """The district's flows at one moment, from live values. All >= 0 and in watts."""

    exporting_w: int
    importing_w: int
    shared_w: int
    from_grid_w: int
    to_grid_w: int


@dataclass(frozen=True, slots=True)
class IntervalSummary:
    """One row of the list of intervals. Price is None when nothing was traded.

    Energies hold the corrections; of the points, those without a measured reading are counted.
    """

    key: str
    state: str
    payment: str
    anchor: str
    price_micro_per_kwh: int | None
    traded_wh: int
    import_wh: int
    export_wh: int
    estimated_points: int  # still estimated
    corrected_points: int = 0  # estimated once, corrected since


@dataclass(frozen=True, slots=True)
class Notice:
    """Something people must see: a meter that dropped out, a reading that is implausible."""

    at_ms: int
    level: str  # info, warning, alarm
    text: str


@dataclass(frozen=True, slots=True)
class District:
    """The live page of the district."""

    name: str
    zone: str
    clock_ms: int
    clock_simulated: bool
    clock_speed: str
    flows: FlowsNow
    points: Sequence[PointNow]
    intervals: Sequence[IntervalSummary]  # newest first
    notices: Sequence[Notice]  # newest first
    retail_micro_per_kwh: int  # all-in, with VAT
    feed_in_micro_per_kwh: int
    # What a neighbour's kWh of the newest priced interval listed costs its buyer: local price,
    # local grid fee and levy, with VAT. None without such an interval.
    local_all_in_micro_per_kwh: int | None
    local_share_ppm: int | None
    saving_micro: int
    idle_devices: Sequence[str]  # battery, chargers, operator's limit: they come later
    mode: str = "metered"  # metered, forward, sharing


@dataclass(frozen=True, slots=True)
class LedgerTrace:
    """Where an interval stands on the ledger: ids in hex, empty while they are on their way."""

    anchor_block: str | None = None
    transactions: Sequence[str] = ()  # of its payments


@dataclass(frozen=True, slots=True)
class QuarterLine:
    """One participant's quarter-hour, split as on the bill. Money > 0 is earned, < 0 owed."""

    key: str
    state: str
    import_wh: int
    export_wh: int
    local_buy_wh: int
    local_sell_wh: int
    residual_import_wh: int
    residual_export_wh: int
    price_micro_per_kwh: int | None
    energy_micro: int
    grid_fee_micro: int
    levy_micro: int
    vat_micro: int
    saving_micro: int
    estimated: bool
    has_proof: bool
    trace: LedgerTrace = LedgerTrace()


@dataclass(frozen=True, slots=True)
class ParticipantPage:
    """What a participant sees of their own."""

    participant: str
    name: str
    zone: str
    clock_ms: int
    wallet_micro: int  # the journal's wallet account
    ledger_micro: int  # confirmed on the ledger
    carry_micro: int
    unconfirmed_micro: int
    saving_micro: int
    address: str  # bech32
    quarters: Sequence[QuarterLine]  # newest first
    notices: Sequence[Notice]


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One order, or (for others' orders) all orders of one price tick together."""

    side: str  # bid, offer
    who: str  # own name, or "3 others"
    limit_micro_per_kwh: int
    quantity_wh: int
    cleared_wh: int
    own: bool


@dataclass(frozen=True, slots=True)
class TradeLine:
    """One trade, with pseudonyms for everybody but the viewer."""

    seller: str
    buyer: str
    wh: int
    price_micro_per_kwh: int
    amount_micro: int
    own: bool


@dataclass(frozen=True, slots=True)
class PostingLine:
    """One posting of the journal."""

    entry: str
    account: str
    micro: int


@dataclass(frozen=True, slots=True)
class SealLine:
    """One field of the seal in plain words: its name and its value."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class IntervalPage:
    """What one interval holds, as far as the viewer may see it."""

    summary: IntervalSummary
    zone: str
    clock_ms: int
    rule: str
    orders: Sequence[OrderLine]  # empty when hidden
    orders_hidden: bool  # below five participants
    trades: Sequence[TradeLine]
    postings: Sequence[PostingLine]
    postings_sum_micro: int
    seal: Sequence[SealLine]  # empty until sealed
    proof_participants: Sequence[str]  # whose proof the viewer may download
    previous_key: str | None
    next_key: str | None
    prices_hidden: bool  # the grid operator sees energy, never prices or balances
    trace: LedgerTrace = LedgerTrace()


@dataclass(frozen=True, slots=True)
class VerdictStep:
    """One step of a verification in plain words."""

    name: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class VerdictPage:
    """What the offline verifier says of a proof: code 0 holds, 1 does not, 2 not judged."""

    code: int
    steps: Sequence[VerdictStep]
    remarks: Sequence[str] = ()


class Views(Protocol):
    """Read-only views of the district. Each raises NotFoundError for what is not the viewer's."""

    def district(self, viewer: Viewer) -> District:
        """Return the district as it is now."""
        ...

    def participants(self, viewer: Viewer) -> Sequence[tuple[str, str]]:
        """Return (id, name) of the participants whose pages the viewer may open."""
        ...

    def participant(self, viewer: Viewer, participant: str) -> ParticipantPage:
        """Return one participant's own page."""
        ...

    def intervals(
        self, viewer: Viewer, before: str | None, limit: int
    ) -> Sequence[IntervalSummary]:
        """Return at most ``limit`` intervals, newest first, before the key when one is given."""
        ...

    def interval(self, viewer: Viewer, key: str) -> IntervalPage:
        """Return what one interval holds."""
        ...

    def proof_file(self, viewer: Viewer, key: str, participant: str) -> bytes:
        """Return the proof file of one participant and interval."""
        ...

    def keys_file(self) -> bytes:
        """Return the district's public KEYS file."""
        ...

    def verify(self, proof: bytes) -> VerdictPage:
        """Judge a proof file with the district's own KEYS."""
        ...

    def transparency(self, before: int | None, limit: int) -> TransparencyPage:
        """Return the checkpoints below a size (all when None) and the keys: for everybody."""
        ...

    def consistency_file(self, old: int, new: int) -> bytes:
        """Return the proof that the log only grew between two checkpoints' sizes."""
        ...

    def revision(self) -> int:
        """Return a number that rises whenever something on a page may have changed."""
        ...


class Sessions(Protocol):
    """Who is logged in. The cookie holds an opaque id; only its hash is at rest."""

    def viewer(self, cookie: str | None) -> Viewer | None:
        """Return who is logged in under the cookie; None without a living session."""
        ...

    def demo_enter(self, role: Role) -> str:
        """Open a demo session and return its cookie; raises NotFoundError outside the demo."""
        ...

    def leave(self, cookie: str) -> None:
        """End the session; an unknown cookie is no error."""
        ...

    def demo(self) -> bool:
        """Return whether demo logins exist here (never in a production profile)."""
        ...
