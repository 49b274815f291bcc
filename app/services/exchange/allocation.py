"""Who answers for which energy: local, own and residual by supplier and balance party.

``docs/money.md``, "Files of values and master data"; pitfall 13 of toy markets: the market's
operator is not the balance responsible party, and they need these sums.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlmodel import Session

from app.services.house import House
from app.services.settled.writing import borders
from app.store.exchange import Share, shares
from market.settled import Bucket, Span
from metering.localtime import LocalTimeError, parse_day, parse_month

COLUMNS: Final = Share._fields
_FIGURES: Final = COLUMNS[COLUMNS.index("estimated") :]


class PeriodError(ValueError):
    """The day or month is refused: write it as the message says."""


class Period(NamedTuple):
    """A local day or month, and its first interval's key and that of the first one after it."""

    name: str
    first: str
    after: str


def period(text: str, zone: ZoneInfo) -> Period:
    """Return the local day (YYYY-MM-DD) or month (YYYY-MM) that a text names.

    Raises:
        PeriodError: it names none of the years 2000-2998.
    """
    advice = f"{text[:20]!r} is no day or month: write 2026-06-23 or 2026-06"
    month = len(text) == len("2026-06")
    try:
        (parse_month if month else parse_day)(text)
    except LocalTimeError as error:
        raise PeriodError(advice) from error
    return Period(text, *borders(Bucket(Span.MONTH if month else Span.DAY, text), zone))


def lines(session: Session, time: Period, *, per_interval: bool) -> Iterator[dict[str, object]]:
    """Yield the lines of an allocation, each as it stands in its file."""
    for share in shares(session, time.first, time.after, per_interval=per_interval):
        line = dict(share._asdict())
        if not per_interval:
            del line["start"]
        yield line


def totals(session: Session, time: Period) -> list[dict[str, object]]:
    """Return the sums of each supplier and balance responsible party, then that of all."""
    found: dict[tuple[str, str], list[Share]] = defaultdict(list)
    everything = list(shares(session, time.first, time.after, per_interval=False))
    for share in everything:
        found[share.supplier, share.balance_party].append(share)
    by_party = [_total(supplier, party, rows) for (supplier, party), rows in sorted(found.items())]
    return [*by_party, _total(None, None, everything)]


def _total(supplier: str | None, party: str | None, rows: Sequence[Share]) -> dict[str, object]:
    figures: dict[str, object] = {"supplier": supplier, "balance_party": party}
    figures["points"] = len({row.point for row in rows})
    for name in _FIGURES:
        told = [value for row in rows if (value := getattr(row, name)) is not None]
        figures[name] = sum(told) if told else None
    return figures


def as_csv(session: Session, time: Period, *, per_interval: bool) -> Iterator[str]:
    """Yield the lines of an allocation's CSV file, its header first."""
    columns = COLUMNS if per_interval else COLUMNS[1:]
    yield _csv_line(columns)
    for line in lines(session, time, per_interval=per_interval):
        yield _csv_line(["" if line[name] is None else line[name] for name in columns])


def as_object(
    session: Session, house: House, time: Period, *, per_interval: bool
) -> dict[str, object]:
    """Return an allocation ready for JSON: its lines, and the sums that they make up."""
    return {
        "district": house.settings.origin,
        "time": time.name,
        "first": time.first,
        "after": time.after,
        "lines": list(lines(session, time, per_interval=per_interval)),
        "totals": totals(session, time),
    }


def _csv_line(cells: Sequence[object]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
