"""Takes price series in: shown first, whole or not at all, never where something is metered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sqlmodel import Session

from app.files.prices import PricedRow, name_of_file, read_prices
from app.services.house import House
from app.store import people, tariffs
from app.tables import PriceRow
from market.money import Price


class PriceImportError(Exception):
    """The prices are refused for good: mend the row that the message names."""


class Changed(NamedTuple):
    """A price that is known already, and what the file says."""

    interval: str
    was: Price
    now: Price


@dataclass(frozen=True, slots=True)
class Import:
    """What a file does to a series: ``new`` prices, ``changed`` ones, ``same`` as known."""

    series: str
    first: str
    last: str
    new: Sequence[tuple[str, Price]]
    changed: Sequence[Changed]
    same: int


def preview(house: House, file: Path, series: str, zone: str = "") -> Import:
    """Say what importing a file would do; changes nothing.

    Raises:
        PriceFileError: the file cannot be read, says which row.
        PriceImportError: it would set a price of what is metered already.
    """
    rows = read_prices(file, house.settings.tz, zone)
    with house.database.read() as session:
        return _compare(session, series, rows)


def enter(house: House, file: Path, series: str, zone: str = "") -> Import:
    """Write the prices of a file, all or none; return what that did.

    Raises:
        PriceFileError: the file cannot be read, says which row.
        PriceImportError: it would set a price of what is metered already.
    """
    rows = read_prices(file, house.settings.tz, zone)
    with house.database.write() as session:
        people.district(session, lock=True)  # metering waits, so that nothing is settled meanwhile
        found = _compare(session, series, rows)
        given = [*found.new, *((each.interval, each.now) for each in found.changed)]
        now_ms = house.clock.now_ms()
        tariffs.save_prices(session, series, given, name_of_file(file), now_ms)
        return found


def listed(house: House, series: str, first: str, last: str) -> Sequence[PriceRow]:
    """Return a series' rows of the intervals from ``first`` to ``last`` (keys, both included)."""
    with house.database.read() as session:
        rows = tariffs.price_rows(session, series, first, last)
        session.expunge_all()
        return rows


def _compare(session: Session, series: str, rows: Sequence[PricedRow]) -> Import:
    first, last = rows[0].interval.key, rows[-1].interval.key
    known = tariffs.prices(session, series, first, last)
    metered = people.district(session).metered_through
    new: list[tuple[str, Price]] = []
    changed: list[Changed] = []
    for row in rows:
        key, was = row.interval.key, known.get(row.interval.key)
        if was == row.price:
            continue
        if key <= metered:
            says = "none" if was is None else f"{was.micro_per_kwh} micro-euros per kWh"
            raise PriceImportError(
                f"row {row.row}: {key} is metered already, with the price {says}, and stays so; "
                f"leave out what is up to {metered}"
            )
        if was is None:
            new.append((key, row.price))
        else:
            changed.append(Changed(key, was, row.price))
    return Import(series, first, last, new, changed, len(rows) - len(new) - len(changed))
