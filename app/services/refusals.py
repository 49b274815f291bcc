"""What is refused at the door: counted per sender and hour, and an alarm when it comes thick.

A flood costs one row per kind, sender and hour; senders beyond a bound are counted together, since
whoever makes up keys could otherwise fill the disk and hide a real attack among them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session

from app.clock import wall_ms
from app.store import refusals
from app.store.bulk import insert_once
from app.store.refusals import Count

UNKNOWN: Final = "unknown"  # the sender of what is not signed
OTHERS: Final = "others"

_HOUR_MS: Final = 3_600_000
_KEPT_HOURS: Final = 90 * 24
_ALARM_PER_HOUR: Final = 10
_SENDERS: Final = 32  # per kind and hour
_NAMED: Final = 3  # in an alarm
_is_key: Final = re.compile(r"[0-9a-f]{64}").fullmatch


@dataclass(frozen=True, slots=True)
class Event:
    """An upload refused: why, who sent it, and how many readings; never their content."""

    kind: str
    subject: str
    count: int


def report(session: Session, events: Sequence[Event], now_ms: int) -> None:
    """Count refusals, and raise an alarm when they come thick and fast.

    ``now_ms`` is the district's time for the alarm; the hours that are counted are the wall's.
    """
    if not events:
        return
    at_ms = wall_ms()
    hour = at_ms // _HOUR_MS
    known = refusals.of_hour(session, hour)
    if not known:
        refusals.forget_before(session, hour - _KEPT_HOURS)
    refusals.add(session, hour, at_ms, _bounded(events, known))
    notices = [_notice(found, hour, now_ms) for found in _thick(refusals.of_hour(session, hour))]
    insert_once(session, "notice", notices)


def _bounded(events: Sequence[Event], known: Sequence[Count]) -> Sequence[Count]:
    """Sum up the events per kind and sender; new senders beyond the bound are one."""
    senders: dict[str, set[str]] = defaultdict(set)
    for each in known:
        senders[each.kind].add(each.subject)
    sums: dict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for event in events:
        there = senders[event.kind]
        full = len(there - {OTHERS}) >= _SENDERS
        subject = OTHERS if full and event.subject not in there else event.subject
        there.add(subject)
        times, count = sums[event.kind, subject]
        sums[event.kind, subject] = times + 1, count + event.count
    return [Count(*place, *found) for place, found in sums.items()]


def _thick(counts: Sequence[Count]) -> Iterator[Sequence[Count]]:
    """Yield the counters of each kind of which there are enough for an alarm."""
    kinds: dict[str, list[Count]] = defaultdict(list)
    for each in counts:
        kinds[each.kind].append(each)
    for found in kinds.values():
        if _times(found) >= _ALARM_PER_HOUR:
            yield found


def _times(counts: Sequence[Count]) -> int:
    return sum(each.times for each in counts)


def _notice(counts: Sequence[Count], hour: int, now_ms: int) -> dict[str, object]:
    """Say how often; it is said again, in a notice of its own, at ten times as many."""
    kind, at_least = counts[0].kind, 10 ** (len(str(_times(counts))) - 1)
    named = ", ".join(_sender(each.subject) for each in counts[:_NAMED])
    more = f" and {len(counts) - _NAMED} more" if len(counts) > _NAMED else ""
    return {
        "ref": f"security/{hour}/{kind}/{at_least}",
        "at_ms": now_ms,
        "level": "alarm",
        "point": None,
        "text": f"{at_least:,} or more uploads were refused within an hour ({kind}); senders: "
        f"{named}{more}. Nothing refused was stored: check who sends that",
    }


def _sender(subject: str) -> str:
    return f"key {subject[:8]}..." if _is_key(subject) else subject
