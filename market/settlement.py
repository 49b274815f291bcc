"""From meters and trades to statements and postings: who owes whom what for one interval.

Only local energy moves on the ledger (``wallet:P``); the residual, fees, levies and VAT are memo
lines on ``receivable:P`` that the monthly statement settles. ``docs/protocol.md``, "Settlement".
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from market import journal
from market.book import Book
from market.errors import MarketError
from market.money import Money, Price
from market.order import GRID, Side
from market.parties import MeteredPoint, OwnTransfer
from market.payout import LedgerAccount, Transfer
from market.payout import transfers as ledger_transfers
from market.place import Level
from market.tariff import Tariff
from market.trade import Trade
from metering.quantities import Energy


class SettlementError(MarketError):
    """Meters, trades and carries do not fit together: stop and ask a person, post nothing."""


class Direction(StrEnum):
    """Seen from the metering point."""

    IMPORT = "import"
    EXPORT = "export"


class Kind(StrEnum):
    """What a statement line is for; the first two move the wallet, the others are memo."""

    LOCAL_BUY = "local-buy"
    LOCAL_SELL = "local-sell"
    RESIDUAL_IMPORT = "residual-import"
    RESIDUAL_EXPORT = "residual-export"
    LOCAL_FEE = "local-fee"
    LOCAL_FEE_FEEDER = "local-fee-feeder"
    LOCAL_FEE_BUILDING = "local-fee-building"
    GRID_FEE = "grid-fee"
    LEVY = "levy"
    TAX = "tax"
    VAT = "vat"

    @property
    def moves_wallet(self) -> bool:
        """Whether lines of this kind are paid on the ledger."""
        return self in (Kind.LOCAL_BUY, Kind.LOCAL_SELL)


_CREDITOR: Final = {
    Kind.LOCAL_FEE: journal.GRID_OPERATOR,
    Kind.LOCAL_FEE_FEEDER: journal.GRID_OPERATOR,
    Kind.LOCAL_FEE_BUILDING: journal.GRID_OPERATOR,
    Kind.GRID_FEE: journal.GRID_OPERATOR,
    Kind.LEVY: journal.LEVY,
    Kind.TAX: journal.TAX,
    Kind.VAT: journal.VAT,
}  # the residual's is the point's supplier
_ONE_SUPPLIER: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SettledEnergy:
    """How the metered energy of one point and direction splits up, in Wh.

    Raises:
        SettlementError: local + own + residual is not what was metered, or a part is negative.
    """

    point: str
    direction: Direction
    estimated: bool
    wh: int
    local_wh: int
    own_wh: int
    residual_wh: int

    def __post_init__(self) -> None:
        parts = (self.local_wh, self.own_wh, self.residual_wh)
        if sum(parts) != self.wh or min(parts) < 0:
            raise SettlementError(
                f"point {self.point} {self.direction}: local, own and residual {parts} do not "
                f"make up the metered {self.wh} Wh; check the trades against the book"
            )


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a statement. ``micro`` > 0 is earned, < 0 owed.

    Except for VAT, ``micro`` is +-round half up(price x wh / 1000). A VAT line has price 0 and
    the energy drawn.
    """

    kind: Kind
    point: str
    price: Price
    wh: int
    micro: int


@dataclass(frozen=True, slots=True)
class Statement:
    """What one participant drew, fed in, earned and owes in one interval.

    Raises:
        SettlementError: opening carry + sum is not transfers + closing carry.
    """

    participant: str
    metered: tuple[SettledEnergy, ...]
    lines: tuple[Line, ...]
    opening_carry: Money
    transfers: tuple[Transfer, ...]
    closing_carry: Money

    def __post_init__(self) -> None:
        left = self.opening_carry + self.sum - self.closing_carry
        if left.micro != sum(transfer.micro for transfer in self.transfers):
            raise SettlementError(
                f"statement of {self.participant}: carry and transfers do not add up"
            )

    @property
    def sum(self) -> Money:
        """The wallet lines: what local energy earned (> 0) or cost (< 0)."""
        return Money(sum(line.micro for line in self.lines if line.kind.moves_wallet))

    @property
    def memo(self) -> Money:
        """The other lines: what the monthly statement settles."""
        return Money(sum(line.micro for line in self.lines if not line.kind.moves_wallet))

    def payload(self, district: str, interval: str) -> dict[str, object]:
        """Return the statement leaf's object (``docs/protocol.md``), ready for canonical JSON."""
        return {
            "closing_carry_micro": self.closing_carry.micro,
            "district": district,
            "interval": interval,
            "lines": [line_object(line) for line in self.lines],
            "memo_micro": self.memo.micro,
            "metered": [_metered_object(row) for row in self.metered],
            "opening_carry_micro": self.opening_carry.micro,
            "participant": self.participant,
            "sum_micro": self.sum.micro,
            "transfers": [{"address": t.address, "micro": t.micro} for t in self.transfers],
        }


@dataclass(frozen=True, slots=True)
class Settlement:
    """All statements of one interval by participant id, and the journal entries behind them."""

    points: tuple[MeteredPoint, ...]
    statements: tuple[Statement, ...]
    entries: tuple[journal.Entry, ...]


def settle(
    ref: str,
    points: Iterable[MeteredPoint],
    own: Sequence[OwnTransfer],
    book: Book,
    trades: Sequence[Trade],
    opening_carries: Mapping[str, Money],
    accounts: Mapping[str, LedgerAccount],
) -> Settlement:
    """Settle one interval (``ref``: its key).

    Trades with ``GRID`` are left aside: what local trades and own transfers do not cover settles
    as residual at the point's tariff. A participant without a ledger account is carried, and so
    is everyone between two payment dates (``accounts`` empty). One who has an account and no point
    any more is paid what was carried for them.

    Raises:
        SettlementError: trades exceed what was metered, touch an estimate, or name no order.
    """
    points = tuple(sorted(points, key=lambda p: p.point))
    local = [trade for trade in trades if GRID not in (trade.seller, trade.buyer)]
    by_point = _trade_lines(book, local)
    near = _near(points, own, book, local)
    own_wh = _own_wh(own)
    rows = {p.point: _settled_rows(p, own_wh, by_point.get(p.point, [])) for p in points}
    if unknown := by_point.keys() - rows.keys():
        raise SettlementError(f"trades of unmetered points {sorted(unknown)}: settle them together")
    by_participant: dict[str, list[MeteredPoint]] = defaultdict(list)
    for p in points:
        by_participant[p.participant].append(p)
    statements = []
    for participant in sorted(by_participant.keys() | accounts.keys()):
        its_points = by_participant.get(participant, [])
        lines = [
            line
            for p in its_points
            for line in _point_lines(p, rows[p.point], by_point.get(p.point, []), near)
        ]
        metered = tuple(row for p in its_points for row in rows[p.point])
        opening = opening_carries.get(participant, Money(0))
        statements.append(
            _statement(participant, metered, lines, opening, accounts.get(participant))
        )
    suppliers = {p.point: p.supplier for p in points}
    return Settlement(points, tuple(statements), _entries(ref, statements, suppliers))


def saving(settlement: Settlement) -> dict[str, Money]:
    """Return per participant what the market saved all-in against the normal tariff alone."""
    total = {s.participant: Money(0) for s in settlement.statements}
    by_point = saving_by_point(settlement)
    for p in settlement.points:
        total[p.participant] += by_point[p.point]
    return total


def saving_by_point(settlement: Settlement) -> dict[str, Money]:
    """Return per metering point what the market saved all-in on the same metered energy.

    Against the point's own normal tariff: all its import with the outside fee, all its export fed
    in. Standing charges and capacity fees are due with and without a market, and left aside.
    """
    found = {
        p.point: p.tariff.cost_of_import(p.imported) - p.tariff.feed_in.of(p.exported)
        for p in settlement.points
    }
    for statement in settlement.statements:
        for line in statement.lines:
            found[line.point] += Money(line.micro)
    return found


def memo_lines(
    point: str, tariff: Tariff, quantities: MemoQuantities, local_buy: Money
) -> list[Line]:
    """Return what a point owes and earns beside its local energy, VAT on all it draws included.

    Where the tariff knows one local fee, all local energy is on one line, from wherever it comes.
    """
    q = quantities if tariff.by_level else replace(quantities, feeder_wh=0, building_wh=0)
    drawn_wh = q.residual_import_wh + q.local_import_wh
    district_wh = q.local_import_wh - q.feeder_wh - q.building_wh
    owed = [
        Line(kind, point, price, wh, -price.of(Energy(wh)).micro)
        for kind, price, wh in (
            (Kind.RESIDUAL_IMPORT, tariff.residual_price, q.residual_import_wh),
            (Kind.LOCAL_FEE, tariff.local_grid_fee, district_wh),
            (Kind.LOCAL_FEE_FEEDER, tariff.local_fee(Level.FEEDER), q.feeder_wh),
            (Kind.LOCAL_FEE_BUILDING, tariff.local_fee(Level.BUILDING), q.building_wh),
            (Kind.GRID_FEE, tariff.grid_fee, q.residual_import_wh),
            (Kind.LEVY, tariff.levy, drawn_wh),
            (Kind.TAX, tariff.tax, drawn_wh if tariff.tax != Price(0) else 0),
        )
    ]
    taxed = Money(-sum(line.micro for line in owed)) - local_buy
    fed_in = tariff.residual_feed_in
    earned = fed_in.of(Energy(q.residual_export_wh)).micro
    lines = [
        *owed,
        Line(Kind.RESIDUAL_EXPORT, point, fed_in, q.residual_export_wh, earned),
        Line(Kind.VAT, point, Price(0), drawn_wh, -taxed.share(tariff.vat_ppm).micro),
    ]
    return [line for line in lines if line.wh or line.micro]


@dataclass(frozen=True, slots=True)
class MemoQuantities:
    """Energies in Wh that memo lines bill; ``local_import_wh`` holds own energy, too.

    ``feeder_wh`` and ``building_wh`` are the parts of it that came no farther than from the
    point's feeder, or its building.

    Raises:
        SettlementError: the parts are negative, or more than the whole.
    """

    residual_import_wh: int
    local_import_wh: int
    residual_export_wh: int
    feeder_wh: int = 0
    building_wh: int = 0

    def __post_init__(self) -> None:
        near_wh = (self.feeder_wh, self.building_wh)
        if min(near_wh) < 0 or sum(near_wh) > self.local_import_wh:
            raise SettlementError(
                f"{near_wh} Wh from feeder and building are not part of {self.local_import_wh} Wh "
                "of local and own energy; check the trades' levels"
            )


def memo_movements(
    participant: str, lines: Iterable[Line], suppliers: Mapping[str, str] = _ONE_SUPPLIER
) -> list[tuple[str, int]]:
    """Return the (account, micro) movements of memo lines: receivable against each creditor.

    ``suppliers`` holds the supplier's id by metering point; '' for those that it does not name.
    """
    memo = [line for line in lines if not line.kind.moves_wallet]
    return [(journal.receivable(participant), line.micro) for line in memo] + [
        (creditor(line.kind, suppliers.get(line.point, "")), -line.micro) for line in memo
    ]


def creditor(kind: Kind, supplier: str) -> str:
    """Return whose account a memo line of this kind is owed to; ``supplier`` is the point's."""
    return _CREDITOR.get(kind) or journal.supplier(supplier)


def line_object(line: Line) -> dict[str, object]:
    """Return a line as it stands in a statement leaf."""
    return {
        "kind": str(line.kind),
        "micro": line.micro,
        "point": line.point,
        "price_micro_per_kwh": line.price.micro_per_kwh,
        "wh": line.wh,
    }


def _metered_object(row: SettledEnergy) -> dict[str, object]:
    return {
        "direction": str(row.direction),
        "estimated": int(row.estimated),
        "local_wh": row.local_wh,
        "own_wh": row.own_wh,
        "point": row.point,
        "residual_wh": row.residual_wh,
        "wh": row.wh,
    }


def _trade_lines(book: Book, trades: Sequence[Trade]) -> dict[str, list[Line]]:
    """Return the local lines by point, one per trade and side, so that each rounds as the trade."""
    point_of = {order.order_id: (order.point, order.side) for order in book.orders}
    lines: dict[str, list[Line]] = defaultdict(list)
    for trade in trades:
        for order_id, side, kind, sign in (
            (trade.seller, Side.OFFER, Kind.LOCAL_SELL, 1),
            (trade.buyer, Side.BID, Kind.LOCAL_BUY, -1),
        ):
            point, stands_on = point_of.get(order_id, ("", None))
            if stands_on is not side:
                raise SettlementError(f"a trade names {order_id!r}, which is no {side} of the book")
            micro = sign * trade.amount.micro
            lines[point].append(Line(kind, point, trade.price, trade.energy.wh, micro))
    return lines


def _near(
    points: Sequence[MeteredPoint],
    own: Sequence[OwnTransfer],
    book: Book,
    trades: Sequence[Trade],
) -> Counter[tuple[str, Level]]:
    """Return what each point drew of local and own energy by how far that came, in Wh."""
    places = {p.point: p.place for p in points}
    found: Counter[tuple[str, Level]] = Counter()
    for transfer in own:
        level = places[transfer.from_point].level_to(places[transfer.to_point])
        found[transfer.to_point, level] += transfer.wh
    point_of = {order.order_id: order.point for order in book.orders}
    for trade in trades:
        found[point_of[trade.buyer], trade.level] += trade.energy.wh
    return found


def _own_wh(own: Iterable[OwnTransfer]) -> Mapping[tuple[str, Direction], int]:
    found = Counter[tuple[str, Direction]]()
    for transfer in own:
        found[transfer.to_point, Direction.IMPORT] += transfer.wh
        found[transfer.from_point, Direction.EXPORT] += transfer.wh
    return found


def _settled_rows(
    p: MeteredPoint, own_wh: Mapping[tuple[str, Direction], int], local: Sequence[Line]
) -> tuple[SettledEnergy, SettledEnergy]:
    """Return the import row and the export row of a point."""
    bought = sum(line.wh for line in local if line.kind is Kind.LOCAL_BUY)
    sold = sum(line.wh for line in local if line.kind is Kind.LOCAL_SELL)
    from_own = own_wh.get((p.point, Direction.IMPORT), 0)
    to_own = own_wh.get((p.point, Direction.EXPORT), 0)
    if p.estimated and (bought or sold or from_own or to_own):
        raise SettlementError(f"point {p.point} is estimated: it settles as residual alone")

    def row(direction: Direction, wh: int, local_wh: int, own_wh: int) -> SettledEnergy:
        residual_wh = wh - local_wh - own_wh
        return SettledEnergy(p.point, direction, p.estimated, wh, local_wh, own_wh, residual_wh)

    return (
        row(Direction.IMPORT, p.imported.wh, bought, from_own),
        row(Direction.EXPORT, p.exported.wh, sold, to_own),
    )


def _point_lines(
    p: MeteredPoint,
    rows: tuple[SettledEnergy, SettledEnergy],
    local: Sequence[Line],
    near: Mapping[tuple[str, Level], int],
) -> list[Line]:
    """Return all lines of a point: its trades in their order, then memo lines."""
    drawn, fed_in = rows
    quantities = MemoQuantities(
        drawn.residual_wh,
        drawn.local_wh + drawn.own_wh,
        fed_in.residual_wh,
        near.get((p.point, Level.FEEDER), 0),
        near.get((p.point, Level.BUILDING), 0),
    )
    local_buy = Money(sum(line.micro for line in local if line.kind is Kind.LOCAL_BUY))
    return [*local, *memo_lines(p.point, p.tariff, quantities, local_buy)]


def _statement(
    participant: str,
    metered: tuple[SettledEnergy, ...],
    lines: Sequence[Line],
    opening: Money,
    account: LedgerAccount | None,
) -> Statement:
    want = opening + Money(sum(line.micro for line in lines if line.kind.moves_wallet))
    transfers = ledger_transfers(want, account) if account else ()
    moved = Money(sum(transfer.micro for transfer in transfers))
    return Statement(participant, metered, tuple(lines), opening, transfers, want - moved)


def _entries(
    ref: str, statements: Sequence[Statement], suppliers: Mapping[str, str]
) -> tuple[journal.Entry, ...]:
    """Return the interval's entries: local energy between wallets, and the memo."""
    local = [
        (journal.wallet(s.participant), line.micro)
        for s in statements
        for line in s.lines
        if line.kind.moves_wallet
    ]
    memo = [m for s in statements for m in memo_movements(s.participant, s.lines, suppliers)]
    entries = (journal.entry_of(ref, "local", local), journal.entry_of(ref, "memo", memo))
    return tuple(entry for entry in entries if entry.postings)
