"""Amends settled rows, roll-ups and bills where a correction comes."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from sqlmodel import Session

from app.services.settled.writing import add, borders
from app.store import settled
from market.correction import Correction
from market.settled import SettledError, SettledPoint, buckets, corrected
from market.tariff import Tariff
from metering.interval import Interval


def amend(
    session: Session,
    zone: ZoneInfo,
    key: str,
    correction: Correction,
    tariff: Tariff,
    version: int,
) -> SettledPoint:
    """Amend a point's settled row, its roll-ups and its bills by a correction; return the row.

    ``tariff`` is the one on which the point was in the interval. Lines go to the bill of the
    interval's month, or of the first month after it whose statement was not issued yet.

    Raises:
        SettledError: the point was not settled in the interval (in a folder from before there were
            settled rows: run :func:`app.services.settled.ensure` first), or the version is not
            newer than the row's.
    """
    point = correction.drawn.point
    before = settled.settled_point(session, key, point)
    if before is None:
        raise SettledError(f"point {point} was not settled in {key}: there is nothing to correct")
    change = corrected(before, correction, tariff, version)
    settled.update_settled(session, key, change.settled)
    add(session, zone, key, [change])
    for bucket in buckets(Interval.parse(key), zone):
        first, after_last = borders(bucket, zone)
        settled.set_peaks(session, bucket, change.settled, first, after_last)
    return change.settled
