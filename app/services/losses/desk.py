"""The page of losses, from the loss rows: satisfies :class:`web.ports.losses.Losses`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date

from sqlmodel import Session, col, select

from app.services.house import House
from app.services.losses.recording import energies_of
from app.services.privacy import too_few
from app.store import losses
from app.tables import RollupRow
from market.losses import FeederEnergy, judge_day
from market.settled import Span, buckets
from metering.interval import Interval
from metering.localtime import LocalTimeError, parse_day
from web.ports import RefusedError, Role, Viewer
from web.ports.losses import FeederLosses, LossesPage, QuarterLoss


class LossesDesk:
    """The feeders' losses. ``managed`` are the participants of the manager, who count as one."""

    def __init__(self, house: House, managed: Collection[str]) -> None:
        self._house = house
        self._managed = managed

    def losses(self, viewer: Viewer, day: str) -> LossesPage:
        """Return a local day's losses ('': the newest that has any)."""
        zone = self._house.settings.tz
        with self._house.database.read() as session:
            ends = losses.first_and_last(session)
            known = [buckets(Interval.parse(key), zone)[1].start for key in ends]
            shown = _checked(day) if day else (known[-1] if known else "")
            rows = energies_of(session, zone, shown) if shown else {}
            return LossesPage(
                zone=self._house.settings.zone,
                day=shown,
                before=_moved(shown, -1) if known and shown > known[0] else None,
                after=_moved(shown, 1) if known and shown < known[-1] else None,
                alarm_ppm=self._house.settings.loss_alarm_ppm,
                feeders=[
                    self._feeder(session, viewer, shown, feeder, own)
                    for feeder, own in sorted(rows.items())
                ],
            )

    def _feeder(
        self,
        session: Session,
        viewer: Viewer,
        day: str,
        feeder: str,
        own: Sequence[tuple[str, FeederEnergy]],
    ) -> FeederLosses:
        hidden = viewer.role is not Role.OPERATOR and self._is_small(session, day, feeder)
        told = [] if hidden else own
        judged = judge_day([each for _, each in told], self._house.settings.loss_alarm_ppm)
        return FeederLosses(
            feeder=feeder,
            hidden=hidden,
            intervals=judged.intervals,
            measured=judged.measured,
            entered_wh=judged.entered_wh,
            loss_wh=judged.loss_wh,
            loss_ppm=judged.loss_ppm,
            drift=judged.drift.value,
            quarters=[
                QuarterLoss(key, each.entered_wh, each.loss_wh, each.estimated)
                for key, each in told
            ],
        )

    def _is_small(self, session: Session, day: str, feeder: str) -> bool:
        """Whether fewer than five participants had a point at the feeder that day."""
        there = session.exec(
            select(RollupRow.participant)
            .where(
                RollupRow.span == Span.DAY.value,
                RollupRow.start == day,
                col(RollupRow.feeder) == feeder,
            )
            .distinct()
        )
        return too_few(frozenset(there), frozenset(self._managed))


def _checked(day: str) -> str:
    try:
        return parse_day(day).isoformat()
    except LocalTimeError as error:
        raise RefusedError(str(error), "day") from error


def _moved(day: str, days: int) -> str:
    return date.fromordinal(date.fromisoformat(day).toordinal() + days).isoformat()
