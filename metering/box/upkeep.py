"""What a person does to a gateway's spool by hand: look at refused readings, begin a new spool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from metering.box.config import BoxConfig
from metering.box.files import sync_folder
from metering.box.keys import load_key
from metering.box.salvage import Salvage
from metering.box.service import begun_mark, load_signers
from metering.event_spool import EventSpool, Reporter
from metering.reading import FIRST_PREV, MalformedReadingError, Reading
from metering.signing import public_key
from metering.spool import DeadLetter, Signer, Spool

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
    """Put the spool's files aside as evidence and begin a new one, in which new epochs begin.

    What waited in the old one and can be read comes along. Until this is done to the end no
    gateway starts. Returns what to tell the person.

    Raises:
        ConfigError, SpoolError, OSError: it is not done: mend the cause and begin it again.
    """
    signers = [one for each in load_signers(config).values() for one in each]
    moment = datetime.now(UTC)
    begun, lost_before = begun_mark(config), len(list(config.data.glob("spool-*Z")))
    begun.touch(0o600)
    sync_folder(config.data)
    old = Salvage.of(config.spool)
    ended = {
        who.enrolment.key.hex: last
        for who in signers
        if (last := old.last_epoch(who.enrolment.key.hex, who.enrolment.epoch, lost_before))
    }
    fresh = _fresh(config, old, ended, moment)
    aside = config.data / f"spool-{moment:%Y%m%dT%H%M%S%fZ}"
    aside.mkdir(mode=0o700)
    for suffix in _FILES:
        file = Path(f"{config.spool}{suffix}")
        if file.exists():
            file.rename(aside / file.name)
    sync_folder(aside)
    fresh.rename(config.spool)
    sync_folder(config.data)
    begun.unlink()
    sync_folder(config.data)
    return tuple(_told(signers, aside, old, ended))


def _fresh(config: BoxConfig, old: Salvage, ended: Mapping[str, int], moment: datetime) -> Path:
    """Return the file of a new spool: nothing is signed up to the ``ended`` epochs of its keys."""
    fresh = config.data / "spool-new.db"
    for suffix in _FILES:
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    key = load_key(config.key_file)
    events = EventSpool.open(fresh, Reporter(config.district, config.name, key))
    events.close()
    spool = Spool.open(fresh)
    try:
        for of_meter, epoch in ended.items():
            spool.end_epoch(of_meter, epoch, f"its spool was put aside on {moment:%Y-%m-%d}")
    finally:
        spool.close()
    rows = {**old.rows}
    if "event_chain" in old.torn:
        # No event had so high a number: there is one at most in a millisecond.
        head = (public_key(key).hex, int(moment.timestamp() * 1_000), FIRST_PREV)
        rows["event_chain"] = [head, *rows.get("event_chain", [])]
    replace(old, rows=rows).put_into(fresh)
    return fresh


def _told(
    signers: Sequence[Signer], aside: Path, old: Salvage, ended: Mapping[str, int]
) -> Iterator[str]:
    yield f"the old spool is kept in {aside}: never delete it, it is evidence"
    waiting = len(old.rows.get("reading", ()))
    yield f"{waiting:,} readings that had no receipt yet come along"
    if "reading" in old.torn:
        yield "others could not be read: what they said stands in that file, or is lost"
    for who in signers:
        last = ended.get(who.enrolment.key.hex)
        if last is not None:
            yield (
                f"meter {who.enrolment.serial} of {who.enrolment.point} goes on in epoch "
                f"{last + 1}: its readings settle once that is approved under Meter changes"
            )


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
