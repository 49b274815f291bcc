"""The file of a month: what ``wattloom export month`` writes and ``wattloom audit`` reads.

A zip of canonical JSON, one object per line (``docs/money.md``, "Auditing a month"). All
annotations are evaluated, since the verifier's strict loader reads them.
"""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from ledger_client.verify import (
    Borders,
    Hash,
    IntervalKey,
    LogEntry,
    Natural,
    Origin,
    Point,
    Positive,
    Record,
    SignedReading,
    UnjudgedError,
)

Micro = Annotated[int, range(-(2**53) + 1, 2**53)]
MOST_LINE_BYTES = 64 * 2**20
MOST_BYTES = 16 * 2**30


@dataclass(frozen=True, slots=True)
class Head(Record):
    """Whose month it is: intervals [first, after); ``note`` covers all of its seals."""

    after: IntervalKey
    district: Origin
    exported_ms: Natural
    first: IntervalKey
    intervals: Natural
    month: str
    note: str
    type: Literal["month"]
    version: Literal[1]
    zone: str


@dataclass(frozen=True, slots=True)
class Person(Record):
    """A participant, and whether what they sell bears VAT."""

    id: str
    vat_liable: Literal[0, 1]


@dataclass(frozen=True, slots=True)
class PointRow(Record):
    """A metering point; ``purpose`` null: it settles."""

    point: Point
    purpose: str | None


@dataclass(frozen=True, slots=True)
class Bond(Record):
    """What a point is bound to in a role, from one interval on up to another."""

    point: Point
    role: str
    target: str
    valid_from: IntervalKey
    valid_to: IntervalKey | None


@dataclass(frozen=True, slots=True)
class TariffText(Record):
    """A version of a tariff: its definition, canonical, from a local day on."""

    definition: str
    first_day: str
    tariff: str


@dataclass(frozen=True, slots=True)
class SeriesPrice(Record):
    """An interval's price in a series."""

    interval: IntervalKey
    micro_per_kwh: int
    series: str
    source: str


@dataclass(frozen=True, slots=True)
class SlotRecord(Record):
    """A point in an interval, as its leaf in the seal's tree has it; borders are readings' leaves.

    ``enrolment`` is the place of its log entry.
    """

    borders: Borders | None
    enrolment: Natural
    estimated: Literal[0, 1]
    export_wh: Natural
    import_wh: Natural
    point: Point
    salt: Hash
    tariff: str


@dataclass(frozen=True, slots=True)
class SaltedOrder(Record):
    """An order's leaf."""

    leaf: str
    salt: Hash


@dataclass(frozen=True, slots=True)
class TradeRecord(Record):
    """Who bought how much from whom."""

    amount_micro: Micro
    buyer: str
    distance: Literal["building", "feeder", "district"]
    price_micro_per_kwh: int
    seller: str
    wh: Positive


@dataclass(frozen=True, slots=True)
class IntervalRecord(Record):
    """An interval: its seal, orders in their tree's order, slots in roster order, trades.

    ``readings`` are the borders of measured slots that the line before did not hold.
    """

    interval: IntervalKey
    orders: tuple[SaltedOrder, ...]
    readings: tuple[SignedReading, ...]
    seal: LogEntry | None
    slots: tuple[SlotRecord, ...]
    trades: tuple[TradeRecord, ...]


@dataclass(frozen=True, slots=True)
class Erased(Record):
    """The leaf of a border reading that was erased, on request of whose it was."""

    leaf: Hash
    point: Point


@dataclass(frozen=True, slots=True)
class Corrected(Record):
    """What became known of a point's energy; ``month``: on whose statement it stands."""

    export_wh: Natural
    import_wh: Natural
    interval: IntervalKey
    known_ms: Natural
    month: str
    point: Point
    version: Positive


@dataclass(frozen=True, slots=True)
class Opening(Record):
    """What a wallet held as the month began."""

    micro: Micro
    participant: str


@dataclass(frozen=True, slots=True)
class Movement(Record):
    """What moved a wallet in the month beside local energy."""

    booked_ms: Natural
    kind: str
    micro: Micro
    participant: str


@dataclass(frozen=True, slots=True)
class Issued(Record):
    """An issued statement, verbatim."""

    number: str
    participant: str
    payload: str


_Row = TypeVar("_Row", bound=Record)


class MonthFile:
    """A month's file, opened; its parts are read line by line."""

    def __init__(self, data: io.BufferedIOBase) -> None:
        """Open the zip.

        Raises:
            UnjudgedError: it is none, or it would unpack to more than 16 GiB.
        """
        try:
            self._zip = zipfile.ZipFile(data)
        except zipfile.BadZipFile as error:
            raise UnjudgedError("it is no zip: name what `export month` wrote") from error
        if sum(each.file_size for each in self._zip.infolist()) > MOST_BYTES:
            raise UnjudgedError(f"it unpacks to more than {MOST_BYTES} bytes")

    def has(self, part: str) -> bool:
        """Tell whether there is such a part."""
        return f"{part}.jsonl" in self._zip.namelist()

    def rows(self, part: str, kind: type[_Row]) -> Iterator[_Row]:
        """Yield the records of a part.

        Raises:
            RefusedError: a line that is not canonical or not of this kind.
            UnjudgedError: the file lacks the part, or it is damaged.
        """
        try:
            with self._zip.open(f"{part}.jsonl") as lines:
                while line := lines.readline(MOST_LINE_BYTES + 1):
                    if len(line) > MOST_LINE_BYTES:
                        raise UnjudgedError(f"{part}.jsonl holds a line that is too long")
                    yield kind.read(line.removesuffix(b"\n"))
        except KeyError as error:
            raise UnjudgedError(f"it lacks {part}.jsonl") from error
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            raise UnjudgedError(f"{part}.jsonl is damaged: {error}") from error
