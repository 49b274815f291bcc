"""What ingest brings to people's notice: implausible meters, double use, attacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session, col, func, insert, select

from app.clock import wall_ms
from app.services import plausibility
from app.services.plausibility import Flag
from app.store.chain import Entry, insert_once
from app.tables import SecurityEventRow
from metering.interval import Interval

_HOUR_MS: Final = 3_600_000
_ALARM_PER_HOUR: Final = 10
_KEPT_PER_HOUR: Final = 10_000  # a flood of refusals must not fill the disk

_WORDS: Final[Mapping[Flag, tuple[str, str]]] = {
    Flag.GAP: ("info", "readings are missing before number {seq}; they may still arrive"),
    Flag.COUNTER_FELL: (
        "alarm",
        "a register fell at number {seq}; it does not settle: look for a reset or an exchange",
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


@dataclass(frozen=True, slots=True)
class Event:
    """Something refused: its kind, who sent it, and how many readings; never their content."""

    kind: str
    subject: str
    count: int


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
    notices += [_evidence_notice(each, now_ms) for each in evidence]
    insert_once(session, "notice", notices)


def report(session: Session, events: Sequence[Event], now_ms: int) -> None:
    """Keep security events, and raise an alarm when they come thick and fast."""
    if not events:
        return
    at_ms = wall_ms()
    recent = session.exec(
        select(func.count())
        .select_from(SecurityEventRow)
        .where(col(SecurityEventRow.at_ms) > at_ms - _HOUR_MS)
    ).one()
    kept = [
        {
            "at_ms": at_ms,
            "kind": event.kind,
            "subject": event.subject,
            "detail": f"{event.count} refused",
            "count": event.count,
        }
        for event in events[: max(0, _KEPT_PER_HOUR - recent)]
    ]
    if kept:
        session.execute(insert(SecurityEventRow), kept)
    if recent + len(events) >= _ALARM_PER_HOUR:
        insert_once(session, "notice", [_rate_notice(at_ms // _HOUR_MS, now_ms)])


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


def _evidence_notice(each: Mapping[str, object], now_ms: int) -> dict[str, object]:
    return {
        "ref": f"equivocation/{each['key']}/{each['epoch']}/{each['seq']}",
        "at_ms": now_ms,
        "level": "alarm",
        "point": None,
        "text": f"Key {each['key']} signed number {each['seq']} twice with other bytes: both are "
        "kept as evidence; revoke the key and exchange the gateway",
    }


def _rate_notice(hour: int, now_ms: int) -> dict[str, object]:
    return {
        "ref": f"security/{hour}",
        "at_ms": now_ms,
        "level": "alarm",
        "point": None,
        "text": f"{_ALARM_PER_HOUR} or more uploads were refused within an hour: look at the "
        "security events for who sent them",
    }
