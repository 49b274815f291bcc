"""What a person does to a gateway's spool by hand: look at refused readings, begin a new spool."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from metering.box.config import BoxConfig
from metering.box.keys import sync_folder
from metering.box.service import begun_mark, load_signers
from metering.reading import MalformedReadingError, Reading
from metering.spool import DeadLetter, Signer, Spool

Chain = tuple[str, int]
"""A key (hex) and an epoch."""

_FILES: Final = ("-wal", "-shm", "")


@dataclass(frozen=True, slots=True)
class DeadReading:
    """A reading that the server refused for good, as people see it; times are UTC ms."""

    id: int
    point: str
    meter: str
    key: str
    epoch: int
    seq: int
    answered_ms: int
    refused_ms: int
    status: int
    error: str

    def to_json(self) -> dict[str, object]:
        """Return it as an object of JSON."""
        return asdict(self)


def dead_readings(config: BoxConfig) -> list[DeadReading]:
    """Return the refused readings, oldest first; the gateway may run meanwhile.

    Raises:
        SpoolError: the spool cannot be opened.
    """
    if not config.spool.exists():
        return []
    spool = Spool.open(config.spool)
    try:
        return [_shown(one) for one in spool.dead_letters()]
    finally:
        spool.close()


def requeue(config: BoxConfig) -> int:
    """Offer every refused reading again; return how many.

    Raises:
        SpoolError: the spool cannot be opened or written.
    """
    spool = Spool.open(config.spool)
    try:
        dead = [one.id for one in spool.dead_letters()]
        spool.requeue(dead)
        return len(dead)
    finally:
        spool.close()


def new_spool(config: BoxConfig) -> Sequence[str]:
    """Put the spool's files aside as evidence and begin a new one in which their epochs are over.

    What the old one still held is not sent by itself: it stands in the files put aside. Until this
    is done to the end no gateway starts. Returns what to tell the person.

    Raises:
        ConfigError, SpoolError, OSError: it is not done: mend the cause and begin it again.
    """
    signers = load_signers(config)
    moment = datetime.now(UTC)
    last = _last_numbers(config.spool)
    epochs = {(who.enrolment.key.hex, who.enrolment.epoch) for who in signers.values()}
    begun = begun_mark(config)
    begun.touch(0o600)
    sync_folder(config.data)
    fresh = _fresh(config, epochs | last.keys(), f"its spool was put aside on {moment:%Y-%m-%d}")
    aside = config.data / f"spool-{moment:%Y%m%dT%H%M%S%fZ}"
    aside.mkdir(mode=0o700)
    for suffix in _FILES:
        old = Path(f"{config.spool}{suffix}")
        if old.exists():
            old.rename(aside / old.name)
    sync_folder(aside)
    fresh.rename(config.spool)
    sync_folder(config.data)
    begun.unlink()
    sync_folder(config.data)
    return tuple(_told(config, signers, aside, last))


def _fresh(config: BoxConfig, ended: Iterable[tuple[str, int]], reason: str) -> Path:
    """Return the file of a new spool in which nothing more is signed in the ``ended`` epochs."""
    fresh = config.data / "spool-new.db"
    for suffix in _FILES:
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    spool = Spool.open(fresh)
    try:
        for key, epoch in sorted(ended):
            spool.end_epoch(key, epoch, reason)
    finally:
        spool.close()
    return fresh


def _told(
    config: BoxConfig, signers: Mapping[str, Signer], aside: Path, last: Mapping[Chain, int]
) -> Iterator[str]:
    yield f"the old spool is kept in {aside}: never delete it, it is evidence"
    for entry in config.meters:
        number = last.get((signers[entry.point].enrolment.key.hex, entry.epoch))
        known = "its last number is not known" if number is None else f"its last number is {number}"
        yield (
            f"meter {entry.serial} of {entry.point}: epoch {entry.epoch} is over, {known}; enter "
            f"epoch {entry.epoch + 1} at the district, then set it in {entry.written_in}"
        )


def _last_numbers(path: Path) -> dict[Chain, int]:
    """Return the last number of each chain as far as the file tells; nothing in it is changed."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            rows = file.execute("SELECT key, epoch, seq FROM chain").fetchall()
    except sqlite3.Error:
        return {}
    return {(str(key), int(epoch)): int(seq) for key, epoch, seq in rows}


def _shown(dead: DeadLetter) -> DeadReading:
    try:
        reading = Reading.from_payload(dead.reading.payload)
        point, meter, answered_ms = reading.point, reading.meter, reading.answered_ms
    except MalformedReadingError:
        point, meter, answered_ms = "", "", 0
    return DeadReading(
        dead.id, point, meter, dead.key, dead.epoch, dead.seq, answered_ms, dead.decided_ms,
        dead.status, dead.error or "",
    )  # fmt: skip
