"""A short log in memory: thirty checkpoints, two witnesses, a key of every role."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

from metering.interval import LENGTH_MS, Interval
from web.ports.transparency import CheckpointLine, KeyLine, TransparencyPage

FIRST_MS = Interval.parse("2026-06-23T09:00:00Z").start_ms
SIZES = tuple(range(13, 43))
CONSISTENT = tuple(pairwise(SIZES))
WITNESSES = ("city.example/w", "a-grid-operator-with-a-long-name.example/witness-2026")
ROLES = (
    ("log", ""),
    ("mldsa", ""),
    *(("witness", name) for name in WITNESSES),
    ("milestone", ""),
    ("registry", ""),
    ("receipts", ""),
)


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def checkpoint(place: int) -> CheckpointLine:
    size = SIZES[place]
    last = place == len(SIZES) - 1
    return CheckpointLine(
        size=size,
        root=digest(f"root {size}"),
        intervals=[Interval.containing_ms(FIRST_MS + place * LENGTH_MS).key],
        state="pending" if last else "confirmed",
        anchor_block=None if last else digest(f"block {size}"),
        cosigned_by=WITNESSES[: place % 3],
        second_signature=place % 2 == 1,
        previous_size=SIZES[place - 1] if place else 0,
    )


def key_line(role: str, name: str) -> KeyLine:
    fingerprint, key = digest(f"key {role} {name}"), digest(f"{role} {name}")
    whole = role != "mldsa"
    return KeyLine(role, name, key if whole else f"sha256:{fingerprint}", fingerprint, whole)


def transparency_page(before: int | None, limit: int, simulated: bool) -> TransparencyPage:
    places = [n for n in reversed(range(len(SIZES))) if before is None or SIZES[n] < before]
    return TransparencyPage(
        origin="lindenhof.wattloom.example",
        name="Lindenhof",
        zone="Europe/Berlin",
        clock_ms=FIRST_MS,
        simulated=simulated,
        entries=SIZES[-1],
        checkpoints=[checkpoint(n) for n in places[:limit]],
        more=len(places) > limit,
        keys=[key_line(*role) for role in ROLES],
        milestone_threshold=1,
        witness_threshold=1,
    )
