"""A feeder's loss meter through the jobs: rows, amended rows, and the alarm over a local day."""

from __future__ import annotations

from pathlib import Path

from app.tables import FeederRow, LossRow, MeteringPointRow, OrderRow, SettledRow
from metering.interval import Interval
from tests.app.district_kit import Kit

START = Interval.parse("2026-06-23T21:15:00Z")  # the last three quarter-hours of a local day
# What the head lets in, and what is behind it: 1,000 Wh enter, 850 are metered.
ENERGIES = {"head": (700, 0), "solar": (0, 300), "flat": (850, 0)}


def test_losses(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'district.db'}"
    kit = Kit(tmp_path, url, names=("head", "solar", "flat"), start=START)
    with kit.database.write() as session:
        head = kit.homes["head"].point
        session.get_one(MeteringPointRow, head).purpose = "feeder-head"
        session.get_one(FeederRow, "f").head = head
    kit.live(**ENERGIES)
    kit.live(silent=["flat"], **ENERGIES)
    first, gap = kit.rows(LossRow)
    assert (first.head_import_wh, first.points_export_wh, first.points_import_wh) == (700, 300, 850)
    assert (first.loss_wh, first.estimated) == (150, False)
    assert (gap.estimated, kit.notices("loss/")) == (True, [])
    # The day is over: judged on the two that were measured by then; then the meter is back.
    kit.live(**ENERGIES)
    assert [(row.loss_wh, row.estimated) for row in kit.rows(LossRow)] == 3 * [(150, False)]
    (notice,) = kit.notices("loss/")
    assert notice.ref == "loss/f/2026-06-23/high"
    assert (notice.level, notice.point) == ("alarm", None)
    assert notice.text.startswith(
        "Feeder f on 23.06.2026: 300 Wh of the 2,000 Wh that went in were not metered "
        "(15.0 %, the alarm is at 8 %)"
    )
    # The head measures alone: it trades nothing, and nobody is billed for what went through it.
    traded = {row.point for row in kit.rows(OrderRow)} | {row.point for row in kit.rows(SettledRow)}
    assert head not in traded
    kit.check()
    kit.close()
