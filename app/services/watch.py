"""What ingest brings to people's notice about meters: implausible readings, double use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlmodel import Session, col, select

from app.services import changes, plausibility
from app.services.plausibility import Flag
from app.store.bulk import insert_once
from app.store.chain import Entry
from app.tables import EnrolmentRow, MeteringPointRow
from metering.interval import Interval

_WORDS: Final[Mapping[Flag, tuple[str, str]]] = {
    Flag.GAP: ("info", "readings are missing before number {seq}; they may still arrive"),
    Flag.COUNTER_FELL: (
        "alarm",
        "a register fell at number {seq}; it does not settle: look for a reset or an exchange",
    ),
    Flag.STUCK: (
        "alarm",
        (
            "a register stands still at number {seq} while power flows; it does not settle: have "
            "the meter looked at"
        ),
    ),
    Flag.DIRECTION: (
        "alarm",
        (
            "at number {seq} the register of the wrong direction rose; it does not settle: check "
            "the wiring and the meter's settings"
        ),
    ),
    Flag.NOT_SETTLEABLE_CLOCK: (
        "warning",
        (
            "number {seq} was signed under an unsure clock; it does not settle: check the "
            "gateway's time source"
        ),
    ),
    Flag.IMPOSSIBLE_POWER: (
        "warning",
        "number {seq} shows more than the fuse allows; it does not settle: check the meter",
    ),
    Flag.CHAIN_BROKEN: (
        "alarm",
        "number {seq} does not follow from the one before; it does not settle: check the gateway",
    ),
    Flag.QUARANTINED: (
        "warning",
        "number {seq} came after its key was revoked; it does not settle: ask the meter's operator",
    ),
}


def notify(
    session: Session,
    changed: Sequence[Entry],
    evidence: Sequence[Mapping[str, object]],
    now_ms: int,
) -> None:
    """Write notices of new flags and of double use: one per point, kind and interval."""
    notices = [
        _flag_notice(entry, flag, now_ms)
        for entry in changed
        for flag in plausibility.parse(entry.flags)
        if flag in _WORDS
    ]
    pending = {
        (entry.reading.key, entry.reading.epoch)
        for entry in changed
        if Flag.EPOCH_PENDING in plausibility.parse(entry.flags)
    }
    changes.found_epochs(session, pending, now_ms)
    meters = _meters(session, {str(each["key"]) for each in evidence})
    notices += [_evidence_notice(each, meters[str(each["key"])], now_ms) for each in evidence]
    insert_once(session, "notice", notices)


def _meters(session: Session, keys: Collection[str]) -> Mapping[str, str]:
    """Return what people call the meter behind each key."""
    if not keys:
        return {}
    rows = session.exec(
        select(EnrolmentRow.key, EnrolmentRow.serial, MeteringPointRow.name)
        .join(MeteringPointRow, col(MeteringPointRow.gsrn) == EnrolmentRow.point)
        .where(col(EnrolmentRow.key).in_(sorted(keys)))
    )
    return {key: f"Meter {serial} ({name})" for key, serial, name in rows}


def _flag_notice(entry: Entry, flag: Flag, now_ms: int) -> dict[str, object]:
    reading = entry.reading
    level, words = _WORDS[flag]
    interval = Interval.containing_ms(reading.answered_ms).key
    return {
        "ref": f"{flag}/{reading.point}/{interval}",
        "at_ms": now_ms,
        "level": level,
        "point": reading.point,
        "text": f"Meter {reading.meter}: {words.format(seq=reading.seq)}",
    }


def _evidence_notice(each: Mapping[str, object], meter: str, now_ms: int) -> dict[str, object]:
    key = str(each["key"])
    return {
        "ref": f"equivocation/{key}/{each['epoch']}/{each['seq']}",
        "at_ms": now_ms,
        "level": "alarm",
        "point": None,
        "text": f"{meter} signed number {each['seq']} twice with other bytes (key {key[:8]}...): "
        "both are kept as evidence; revoke the key and exchange the gateway",
    }
