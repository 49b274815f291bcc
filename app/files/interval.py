"""The file of one interval: what ``wattloom export interval`` writes, ``wattloom audit`` reads.

Canonical JSON, read by the verifier's strict loader: no unknown field, no second spelling. All
annotations are evaluated, since the loader reads them.
"""

from dataclasses import dataclass
from typing import Literal

from ledger_client.verify import (
    Hash,
    IntervalKey,
    LogEntry,
    Natural,
    Origin,
    Place,
    Point,
    Positive,
    Record,
)


@dataclass(frozen=True, slots=True)
class Leaf(Record):
    """The text of an order's or statement's leaf, and its salt."""

    leaf: str
    salt: Hash


@dataclass(frozen=True, slots=True)
class PointTariff(Record):
    """The tariff leaf of a point, and where it stands if its local fees go by that."""

    leaf: str
    point: Point
    salt: Hash
    place: Place = ""


@dataclass(frozen=True, slots=True)
class Traded(Record):
    """A trade between two orders of the book."""

    amount_micro: int
    buyer: str
    level: Literal["building", "feeder", "district"]
    price_micro_per_kwh: int
    product: Literal["any", "green"]
    seller: str
    wh: Positive


@dataclass(frozen=True, slots=True)
class MemberShare(Record):
    """A member's share of a generating point's surplus."""

    point: Point
    ppm: Natural


@dataclass(frozen=True, slots=True)
class SharingKey(Record):
    """The key of a generating point that held in the interval."""

    generator: Point
    members: tuple[MemberShare, ...]
    price_micro_per_kwh: int
    redistribute: Literal[0, 1]
    rule: Literal["static", "equal", "by-volume"]


@dataclass(frozen=True, slots=True)
class Contracted(Record):
    """What two points agreed on in a forward session."""

    buyer: str
    seller: str
    wh: Positive


@dataclass(frozen=True, slots=True)
class IntervalFile(Record):
    """Everything that an interval was cleared from, and what came of it.

    ``orders`` stand in the order of their tree, ``tariffs`` in roster order, ``statements`` in the
    order of their participants. ``note`` is a checkpoint over a log that holds the seal (and in
    forward mode the ``session``'s entry). ``contracts`` and ``sharing_keys`` are empty where the
    mode has none; floor and ceiling are null where the mode or the book has none. ``alone`` are the
    roster's points that only measure: they have a tariff leaf, and stand in no statement.
    """

    ceiling_micro_per_kwh: int | None
    contracts: tuple[Contracted, ...]
    district: Origin
    floor_micro_per_kwh: int | None
    interval: IntervalKey
    mode: Literal["metered", "forward", "sharing"]
    note: str
    orders: tuple[Leaf, ...]
    rule: str
    seal: LogEntry
    session: LogEntry | None
    sharing_keys: tuple[SharingKey, ...]
    statements: tuple[Leaf, ...]
    tariffs: tuple[PointTariff, ...]
    tie_key: str
    trades: tuple[Traded, ...]
    type: Literal["interval"]
    version: Literal[1]
    alone: tuple[Point, ...] = ()
    cosignatures: tuple[str, ...] = ()
