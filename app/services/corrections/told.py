"""Corrections as plain rows: what a file would change, and what is on record."""

from __future__ import annotations

from collections.abc import Mapping

from sqlmodel import Session

from app.services.corrections.record import READINGS
from app.services.corrections.values import Preview
from app.store import corrections
from app.tables import CorrectionRow, RefusedCorrectionRow
from market.correction import Metered
from metering.interval import from_ms


def changes(preview: Preview) -> list[dict[str, object]]:
    """Return a row per value that says something new; ``micro`` > 0 favours the participant."""
    return [
        {
            "point": each.slot.point,
            "interval": each.slot.interval,
            "participant": each.settled.participant,
            "version": each.version,
            "import_wh_before": each.before.import_wh,
            "import_wh": each.now.import_wh,
            "export_wh_before": each.before.export_wh,
            "export_wh": each.now.export_wh,
            "micro": each.done.amount.micro,
            "month": each.month,
            "corrects": each.original,
            "note": each.note,
        }
        for each in preview.drafts
    ]


def by_participant(preview: Preview) -> Mapping[str, tuple[Metered, int]]:
    """Return by participant what changes in Wh and micro-euros, in id order."""
    found: dict[str, tuple[Metered, int]] = {}
    for each in preview.drafts:
        wh, micro = found.get(each.settled.participant, (Metered(0, 0), 0))
        changed = Metered(
            wh.import_wh + each.now.import_wh - each.before.import_wh,
            wh.export_wh + each.now.export_wh - each.before.export_wh,
        )
        found[each.settled.participant] = changed, micro + each.done.amount.micro
    return dict(sorted(found.items()))


def known(session: Session, limit: int) -> list[dict[str, object]]:
    """Return the newest corrections, version by version."""
    return [_known(row) for row in corrections.newest_first(session, limit)]


def late(session: Session, limit: int) -> list[dict[str, object]]:
    """Return what came too late to be corrected."""
    return [_late(row) for row in corrections.refused(session, limit)]


def _known(row: CorrectionRow) -> dict[str, object]:
    return {
        "known": f"{from_ms(row.known_ms):%Y-%m-%dT%H:%M:%SZ}",
        "point": row.point,
        "interval": row.interval,
        "participant": row.participant,
        "version": row.version,
        "source": row.source or READINGS,
        "import_wh": row.import_wh,
        "export_wh": row.export_wh,
        "micro": row.micro,
        "month": row.month,
        "corrects": row.original,
        "note": row.note,
        "reason": row.reason,
        "log_index": row.log_index,
    }


def _late(row: RefusedCorrectionRow) -> dict[str, object]:
    return {
        "known": f"{from_ms(row.known_ms):%Y-%m-%dT%H:%M:%SZ}",
        "point": row.point,
        "interval": row.interval,
        "source": row.source,
        "import_wh": row.import_wh,
        "export_wh": row.export_wh,
        "reason": row.reason,
    }
