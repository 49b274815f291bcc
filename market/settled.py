"""Settled energy per metering point, and what each adds to sums and bills. ``docs/money.md``.

A settled row, its roll-ups and its bill lines are one record: sums never see a row that bills do
not see. A correction is a record, too, of what is different now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

from market.correction import Correction
from market.errors import MarketError
from market.parties import MeteredPoint
from market.settlement import Direction, Kind, Line, SettledEnergy, Statement
from market.tariff import Tariff
from metering.interval import Interval
from metering.localtime import day_of, month_of
from metering.quantities import Energy


class SettledError(MarketError):
    """What was settled and what changes it do not fit together: stop and ask a person."""


class Span(StrEnum):
    """How long a roll-up's bucket is: a UTC hour, a local day or a local month."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class Bucket(NamedTuple):
    """One bucket of roll-ups; ``start`` is an interval key, YYYY-MM-DD or YYYY-MM."""

    span: Span
    start: str


class Contracted(NamedTuple):
    """What a point agreed on before delivery, in Wh."""

    import_wh: int = 0
    export_wh: int = 0


class Imbalance(NamedTuple):
    """Energy in Wh that a point drew (short) or fed in (long) beside its delivered contracts."""

    short_wh: int
    long_wh: int


@dataclass(frozen=True, slots=True)
class SettledPoint:
    """One metering point in one interval as known now; ``version``: its newest correction.

    ``contracted`` is None outside forward mode. ``saving_micro`` is what the point was better off
    all-in than on its normal tariff, on the same metered energy.
    """

    point: str
    participant: str
    supplier: str
    balance_party: str
    feeder: str
    building: str
    drawn: SettledEnergy
    fed_in: SettledEnergy
    saving_micro: int
    version: int = 0
    contracted: Contracted | None = None

    @property
    def imbalance(self) -> Imbalance | None:
        """Short and long of a point that has contracts; None without any."""
        if self.contracted is None or not any(self.contracted):
            return None
        return Imbalance(self.drawn.residual_wh, self.fed_in.residual_wh)


class Sums(NamedTuple):
    """What is added to a bucket: counts, Wh and micro-euros; the names are a roll-up's columns."""

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
    wallet_micro: int
    memo_micro: int
    saving_micro: int

    @classmethod
    def of(cls, settled: SettledPoint, lines: Iterable[Line]) -> Self:
        """Return what a settled row with its lines adds up to."""
        drawn, fed_in = settled.drawn, settled.fed_in
        wallet, memo = _money(lines)
        return cls(
            1, int(drawn.estimated),
            drawn.wh, drawn.local_wh, drawn.own_wh, drawn.residual_wh,
            fed_in.wh, fed_in.local_wh, fed_in.own_wh, fed_in.residual_wh,
            wallet, memo, settled.saving_micro,
        )  # fmt: skip

    def less(self, other: Sums) -> Sums:
        """Return the difference, figure by figure."""
        return Sums(*(mine - its for mine, its in zip(self, other, strict=True)))


class BillKey(NamedTuple):
    """Which lines stand together on a bill. ``vat_ppm`` is the rate of the point's tariff."""

    participant: str
    point: str
    kind: Kind
    vat_ppm: int
    supplier: str


class BillSum(NamedTuple):
    """The sum of such lines, and the lowest and highest price among them."""

    lines: int
    wh: int
    micro: int
    low_micro_per_kwh: int
    high_micro_per_kwh: int


@dataclass(frozen=True, slots=True)
class Record:
    """A settled row as it is now, and what it (or its correction) adds to sums and bills."""

    settled: SettledPoint
    sums: Sums
    bill: Mapping[BillKey, BillSum]


def records(
    points: Iterable[MeteredPoint],
    statements: Iterable[Statement],
    contracted: Mapping[str, Contracted] | None = None,
) -> list[Record]:
    """Return the records of one interval's statements, by point.

    ``contracted`` holds what points agreed on in forward mode; None: the interval was not of it.

    Raises:
        SettledError: a statement names a point that is not among ``points``.
    """
    known = {p.point: p for p in points}
    found = []
    for statement in statements:
        lines = _by_point(statement.lines)
        rows: dict[str, dict[Direction, SettledEnergy]] = defaultdict(dict)
        for row in statement.metered:
            rows[row.point][row.direction] = row
        for point, parts in rows.items():
            if point not in known:
                raise SettledError(f"{statement.participant}'s statement names {point}: who is it?")
            settled = _settled(known[point], statement.participant, parts, lines[point])
            if contracted is not None:
                settled = replace(settled, contracted=contracted.get(point, Contracted()))
            found.append(_record(settled, known[point].tariff, lines[point]))
    return sorted(found, key=lambda each: each.settled.point)


def corrected(before: SettledPoint, correction: Correction, tariff: Tariff, version: int) -> Record:
    """Return the record of a correction: the row as it is now, and what that changes.

    Raises:
        SettledError: the correction is of another point or participant, or its version is old.
    """
    fits = (correction.drawn.point, correction.participant) == (before.point, before.participant)
    if not fits or version <= before.version:
        raise SettledError(
            f"version {version} for {correction.participant}, {correction.drawn.point} does not "
            f"follow version {before.version} of {before.participant}, {before.point}"
        )
    paid_more = sum(line.micro for line in correction.lines)
    normal = _normal_micro(tariff, correction.drawn.wh, correction.fed_in.wh)
    normal -= _normal_micro(tariff, before.drawn.wh, before.fed_in.wh)
    now = replace(
        before,
        drawn=correction.drawn,
        fed_in=correction.fed_in,
        saving_micro=before.saving_micro + paid_more - normal,
        version=version,
    )
    sums = Sums.of(now, correction.lines).less(Sums.of(before, ()))
    return Record(now, sums, _bill(now, tariff, correction.lines))


def buckets(interval: Interval, zone: ZoneInfo) -> tuple[Bucket, Bucket, Bucket]:
    """Return the UTC hour, the local day and the local month in which an interval starts."""
    hour = Interval(interval.start.replace(minute=0))
    return (
        Bucket(Span.HOUR, hour.key),
        Bucket(Span.DAY, day_of(interval.start, zone).isoformat()),
        Bucket(Span.MONTH, month_of(interval.start, zone)),
    )


def _settled(
    p: MeteredPoint,
    participant: str,
    parts: Mapping[Direction, SettledEnergy],
    lines: Sequence[Line],
) -> SettledPoint:
    drawn, fed_in = parts[Direction.IMPORT], parts[Direction.EXPORT]
    paid = sum(line.micro for line in lines)
    return SettledPoint(
        point=p.point,
        participant=participant,
        supplier=p.supplier,
        balance_party=p.balance_party,
        feeder=p.place.feeder,
        building=p.place.building,
        drawn=drawn,
        fed_in=fed_in,
        saving_micro=paid - _normal_micro(p.tariff, drawn.wh, fed_in.wh),
    )


def _record(settled: SettledPoint, tariff: Tariff, lines: Sequence[Line]) -> Record:
    return Record(settled, Sums.of(settled, lines), _bill(settled, tariff, lines))


def _normal_micro(tariff: Tariff, import_wh: int, export_wh: int) -> int:
    """Return what a point would earn (< 0: owe) on its normal tariff alone, all-in."""
    earned = tariff.feed_in.of(Energy(export_wh)) - tariff.cost_of_import(Energy(import_wh))
    return earned.micro


def _bill(
    settled: SettledPoint, tariff: Tariff, lines: Iterable[Line]
) -> Mapping[BillKey, BillSum]:
    by_kind: dict[Kind, list[Line]] = defaultdict(list)
    for line in lines:
        by_kind[line.kind].append(line)
    who, point, supplier = settled.participant, settled.point, settled.supplier
    return {
        BillKey(who, point, kind, tariff.vat_ppm, supplier): BillSum(
            len(its),
            sum(line.wh for line in its),
            sum(line.micro for line in its),
            min(line.price.micro_per_kwh for line in its),
            max(line.price.micro_per_kwh for line in its),
        )
        for kind, its in by_kind.items()
    }


def _money(lines: Iterable[Line]) -> tuple[int, int]:
    """Return what moves the wallet and what is memo."""
    wallet = memo = 0
    for line in lines:
        if line.kind.moves_wallet:
            wallet += line.micro
        else:
            memo += line.micro
    return wallet, memo


def _by_point(lines: Iterable[Line]) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        found[line.point].append(line)
    return found
