"""The feeders' loss meters: a row per interval, amended with corrections, judged by the local day.

``docs/money.md``, "Losses". Only feeders with a head (a metering point of purpose ``feeder-head``)
have one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from zoneinfo import ZoneInfo

from sqlmodel import Session

from app.services.house import House
from app.services.settled import borders
from app.store import losses, people
from market.losses import RUN, Day, Drift, FeederEnergy, judge_day
from market.settled import Bucket, Span, buckets
from metering.interval import Interval


def record(house: House, session: Session, key: str) -> None:
    """Write a settled interval's loss rows as known now, and judge its day once that is over.

    To be repeated after a correction of a point in the interval: rows are written anew.
    """
    heads = losses.heads(session)
    if not heads:
        return
    for feeder, energy in losses.measured(session, key, heads).items():
        losses.save(session, key, feeder, energy)
    day = buckets(Interval.parse(key), house.settings.tz)[1].start
    _, after_last = borders(Bucket(Span.DAY, day), house.settings.tz)
    last = Interval.parse(after_last).previous().key
    if any(losses.has_row(session, last, feeder) for feeder in heads):
        for feeder, judged in day_of(house, session, day).items():
            _tell(house, session, feeder, day, judged)


def day_of(house: House, session: Session, day: str) -> Mapping[str, Day]:
    """Return what each feeder's losses of a local day (YYYY-MM-DD) tell, by feeder."""
    rows = energies_of(session, house.settings.tz, day)
    ppm = house.settings.loss_alarm_ppm
    return {feeder: judge_day([e for _, e in own], ppm) for feeder, own in sorted(rows.items())}


def energies_of(
    session: Session, zone: ZoneInfo, day: str
) -> Mapping[str, Sequence[tuple[str, FeederEnergy]]]:
    """Return each feeder's energies of a local day by interval key, in time order."""
    found: dict[str, list[tuple[str, FeederEnergy]]] = defaultdict(list)
    for row in losses.between(session, *borders(Bucket(Span.DAY, day), zone)):
        found[row.feeder].append((row.interval, losses.energy_of(row)))
    return found


def _tell(house: House, session: Session, feeder: str, day: str, judged: Day) -> None:
    """Put a drift before people, once per feeder, day and kind."""
    if judged.drift is Drift.NONE:
        return
    people.notify(
        session,
        ref=f"loss/{feeder}/{day}/{judged.drift}",
        at_ms=house.clock.now_ms(),
        level="alarm",
        text=f"Feeder {feeder} on {date.fromisoformat(day):%d.%m.%Y}: "
        + _words(judged, house.settings.loss_alarm_ppm),
        point=None,
    )


def _words(judged: Day, alarm_ppm: int) -> str:
    entered, loss = judged.entered_wh, judged.loss_wh
    if judged.drift is Drift.NEGATIVE:
        return (
            f"in {RUN} quarter-hours in a row more was metered out of it than went in (over the "
            f"day {loss:,} Wh of {entered:,} Wh): a meter that feeds in is missing or its "
            "direction is wrong; compare the head with the points behind it"
        )
    share = f"{loss * 100 / entered:.1f} %"
    return (
        f"{loss:,} Wh of the {entered:,} Wh that went in were not metered ({share}, the alarm is "
        f"at {alarm_ppm / 10_000:g} %): look for a point that is not enrolled, a wrong "
        "transformer ratio or a tapped line"
    )
