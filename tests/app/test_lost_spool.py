"""After the loss of a spool: what waited arrives, and a new epoch counts once it is approved."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlmodel import select

from app.clock import RealClock, wall_ms
from app.services import changes
from app.services.events import EventDoor
from app.services.founding import GATEWAY_NAME
from app.services.house import House
from app.services.ingest import Door
from app.services.meter_change import Change, ChangeKind
from app.tables import EvidenceRow, GatewayEventRow, ReadingRow
from metering.batch import Batch
from metering.box.config import load_config
from metering.box.service import load_signers
from metering.box.upkeep import new_spool
from metering.dispatch import GatewayIdentity
from metering.event import Event, Finding, Kind, SignedEvent
from metering.event_spool import EventSpool, Reporter, send_events
from metering.gateway import Gateway, Options
from metering.poller import Meter
from metering.profiles import Profile, load_profile
from metering.reading import Clock
from metering.sender import ItemResult
from metering.signing import public_key
from metering.spool import Spool
from tests.app.box_kit import PROFILE, Box
from tests.app.served import ORIGIN, Served
from tests.metering.test_gateway import Answered, FakeMeter


class WallClock:
    """The machine's clock, as a fake meter asks it."""

    def now_ms(self) -> int:
        return wall_ms()


class SlowMeter(FakeMeter):
    """Counts nothing in the moments that this takes."""

    async def read(self, profile: Profile) -> Answered:
        self.wh -= 10
        return await super().read(profile)


@dataclass
class Site:
    """A box whose one meter is a fake, before the real door of a real district."""

    box: Box
    source: SlowMeter = field(default_factory=lambda: SlowMeter(WallClock()))

    def __post_init__(self) -> None:
        served = self.box.served
        self.door = Door(served.database, served.settings, served.keyring.receipt, RealClock())
        self.events = EventDoor(served.database, ORIGIN, RealClock())
        self.house = House(served.settings, served.database, served.keyring, RealClock(), None)
        self.config = load_config(self.box.file)

    async def post(self, batch: Batch) -> Sequence[ItemResult]:
        return [
            ItemResult(one.index, one.status, one.receipt, one.error)
            for one in self.door.receive(batch)
        ]

    async def post_events(self, events: Sequence[SignedEvent]) -> Sequence[ItemResult]:
        found = self.events.receive(events)
        return [ItemResult(one.index, one.status, error=one.error) for one in found]

    def work(self, rounds: int, *, send: bool = True) -> None:
        """Run the gateway for some rounds, with an event; what is sent has to be taken."""
        keyring = self.box.served.keyring
        spool = Spool.open(self.box.spool)
        events = EventSpool.open(self.box.spool, Reporter(ORIGIN, GATEWAY_NAME, keyring.gateway))

        async def story() -> None:
            ((signer,),) = load_signers(self.config).values()
            gateway = Gateway(
                [Meter.watched(signer, self.source, load_profile(PROFILE), spool, events)],
                spool, self, GatewayIdentity(ORIGIN, GATEWAY_NAME, keyring.gateway), wall_ms,
                lambda: Clock.SYNCHRONISED, Options(public_key(keyring.receipt)),
            )  # fmt: skip
            for _ in range(rounds):
                assert not (await gateway.poll_round(border=True)).missing
            jump = Finding(Kind.CLOCK_JUMP, {"by_ms": 2_000})
            events.report(Event(jump, None, wall_ms(), Clock.SYNCHRONISED))
            if send:
                await gateway.send()
                await send_events(events, self, wall_ms)
                assert (events.pending(), spool.pending(), spool.count_dead()) == (0, 0, 0)

        try:
            asyncio.run(story())
        finally:
            events.close()
            spool.close()

    def stored(self) -> list[tuple[int, int, str]]:
        """Epoch, number and flags of what the district has."""
        with self.house.database.read() as session:
            assert session.exec(select(EvidenceRow)).all() == [], "a number was signed twice"
            assert all(not row.double for row in session.exec(select(GatewayEventRow)))
            rows = session.exec(select(ReadingRow).order_by(ReadingRow.epoch, ReadingRow.seq))
            return [(row.epoch, row.seq, row.flags) for row in rows]

    def approve(self) -> Change:
        with self.house.database.write() as session:
            (change,) = changes.listed(session)
            return changes.approve(self.house, session, change.id, "the manager")


def damage(path: Path) -> None:
    """Overwrite everything but the first page, as a dying disk does."""
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[4_096:] = b"\xee" * (len(content) - 4_096)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "epoch", "carried"),
    [(lambda _path: None, 2, 2), (damage, 11, 0), (Path.unlink, 11, 0)],
    ids=["put aside whole", "damaged", "gone"],
)
def test_readings_come_in_again_and_count_once_that_is_approved(
    tmp_path: Path, spoil: Callable[[Path], None], epoch: int, carried: int
) -> None:
    served = Served.found(tmp_path / "hof", f"sqlite:///{tmp_path / 'district.db'}", 1)
    box = Box.laid(tmp_path / "box", served)
    box.write("http://127.0.0.1:1", 1, 60)
    (tmp_path / "box" / "data").mkdir()
    site = Site(box)
    site.work(3)
    site.work(2, send=False)
    spoil(box.spool)
    told = "\n".join(new_spool(site.config))
    assert f"{carried} readings that had no receipt yet come along" in told
    assert ("could not be read" in told) == (carried == 0)
    site.work(2)
    before = [(1, seq, "") for seq in range(1, 4 + carried)]
    assert site.stored() == [*before, *((epoch, seq, "epoch_pending") for seq in (1, 2))]
    assert site.approve().kind is ChangeKind.RESTART
    site.work(1)
    assert site.stored() == [*before, *((epoch, seq, "") for seq in (1, 2, 3))]
    served.database.close()
