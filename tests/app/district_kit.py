"""A small district with everything behind the door: homes, worker, embedded ledger, views.

``Kit`` drives it quarter by quarter: energies are added to the homes' registers, meters sign
border readings, and the worker does what is due at the simulated district time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlmodel import Session, col, select

from app.clock import SimulatedClock
from app.db import Database
from app.services import enrolment
from app.services.accounts import Account, accounts
from app.services.founding import (
    GATEWAY_NAME,
    Founding,
    NewParticipant,
    NewPoint,
    found,
    treasury_address,
)
from app.services.house import House
from app.services.ingest import Door
from app.services.keyring import Keyring
from app.services.live import LiveBoard
from app.services.proofs import settlement_proof
from app.services.views import DatabaseViews
from app.settings import Settings
from app.store import intervals, journal, log
from app.store.people import to_tariff
from app.tables import (
    CorrectionRow,
    EnrolmentRow,
    IntervalRow,
    JournalEntry,
    NoticeRow,
    OrderRow,
    Payment,
    PostingRow,
    SlotRow,
    StatementRow,
    TariffRow,
)
from app.worker import Worker
from ledger_client.ledger import (
    Balance,
    InclusionProof,
    Ledger,
    LedgerError,
    LedgerRefusedError,
    LedgerUnavailableError,
    TransferStatus,
)
from ledger_client.localnode import LocalLedger, LocalNode
from ledger_client.log import decode_entry
from ledger_client.verify import Seal, Verdict, verify_bytes
from market.tariffs import flat
from metering.batch import Batch
from metering.identity import gsrn_check_digit
from metering.interval import LENGTH_MS, Interval
from metering.reading import (
    FIRST_PREV,
    Clock,
    Enrolment,
    Measurement,
    Quality,
    Reading,
    SignedReading,
    link,
)
from metering.signing import Purpose, public_key, sign
from tests.app.refounding import Refounding
from tests.app.schema import lay_tables

START = Interval.parse("2026-06-23T09:00:00Z")
GRACE_MS = 300_000
TOP_UP = 5_000_000
CEILING = 200_000 + 90_000 - 40_000  # energy + grid fee - local grid fee
FEED_IN = 80_000
RATE = (CEILING + FEED_IN) // 2


def key(number: int) -> str:
    """The key of the district's ``number``-th interval, from 0."""
    return Interval.containing_ms(START.start_ms + number * LENGTH_MS).key


def gsrn(number: int) -> str:
    body = f"57{number:015d}"
    return body + gsrn_check_digit(body)


def tariff() -> TariffRow:
    return TariffRow(
        id="t",
        energy_micro_per_kwh=200_000,
        grid_fee_micro_per_kwh=90_000,
        local_grid_fee_micro_per_kwh=40_000,
        levy_micro_per_kwh=20_000,
        feed_in_micro_per_kwh=FEED_IN,
        vat_ppm=190_000,
    )


@dataclass
class Home:
    """One participant with one meter; the registers count up, the chain grows."""

    name: str
    number: int
    serial: str
    key_name: str
    valid_from: Interval = START
    import_wh: int | None = 1_000
    export_wh: int | None = 500
    seq: int = 0
    prev: str = FIRST_PREV
    epoch: int = 1

    @property
    def point(self) -> str:
        return gsrn(self.number)

    def use(self, import_wh: int = 0, export_wh: int = 0) -> None:
        if import_wh:
            self.import_wh = (self.import_wh or 0) + import_wh
        if export_wh:
            self.export_wh = (self.export_wh or 0) + export_wh


class FakeTroubleLedger(Ledger):
    """The embedded ledger with troubles: set the attributes to bring them on and away."""

    def __init__(self, inner: LocalLedger) -> None:
        self.inner = inner
        self.down = False
        self.refuses_transfers = False
        self.refuses_anchors = False
        self.loses_answers = 0  # so many transfers and anchors are done and not acknowledged
        self.drops = 0  # so many transfers are acknowledged and never done
        self.statuses: list[TransferStatus] = []  # told instead of the truth, one per question
        self.sent: list[bytes] = []

    def anchor(self, tag: bytes, data: bytes) -> bytes:
        self._answer()
        if self.refuses_anchors:
            raise LedgerRefusedError("no anchors today")
        return self._acknowledged(self.inner.anchor(tag, data))

    def transfer(self, transaction_payload: bytes) -> bytes:
        self._answer()
        if self.refuses_transfers:
            raise LedgerRefusedError("no transfers today")
        self.sent.append(transaction_payload)
        if self.drops:
            self.drops -= 1
            return bytes(32)
        return self._acknowledged(self.inner.transfer(transaction_payload))

    def status(self, transaction_id: bytes) -> TransferStatus:
        self._answer()
        return self.statuses.pop(0) if self.statuses else self.inner.status(transaction_id)

    def inclusion_proof(self, identifier: bytes) -> InclusionProof | None:
        self._answer()
        return self.inner.inclusion_proof(identifier)

    def balance(self, address: bytes) -> Balance:
        self._answer()
        return self.inner.balance(address)

    def _answer(self) -> None:
        if self.down:
            raise LedgerUnavailableError("down")

    def _acknowledged(self, answer: bytes) -> bytes:
        if self.loses_answers:
            self.loses_answers -= 1
            raise LedgerUnavailableError("the answer got lost")
        return answer


@dataclass
class Kit(Refounding):
    """A founded district at ``start``; nothing was read yet."""

    folder: Path
    url: str
    names: Sequence[str] = ("solar", "flat", "shop")
    changes: dict[str, object] = field(default_factory=dict)  # of the settings
    top_up_micro: int = TOP_UP
    start: Interval = START

    def __post_init__(self) -> None:
        self._stack = ExitStack()
        self.settings = Settings(data=self.folder, database_url=self.url, **self.changes)
        self.keyring = Keyring.open(self.folder / "keys")
        self.database = Database(self.url)
        self._stack.callback(self.database.close)
        if self.url.startswith("sqlite"):
            event.listen(self.database.engine, "connect", _spare_the_disk)
        lay_tables(self.database)
        self.homes = {
            n: Home(n, i, f"meter-{n}", f"meter-{n}", self.start)
            for i, n in enumerate(self.names, 1)
        }
        with self.database.write() as session:
            found(session, self.settings, self.keyring, self._founding())
        self.node = LocalNode.open(
            self.folder / "ledger.db",
            network=self.settings.network,
            hrp=self.settings.hrp,
            genesis={treasury_address(self.keyring): 10**12},
            milestone_keys=self.keyring.milestone,
        )
        self._stack.callback(self.node.close)
        self.clock = SimulatedClock(self.start.start_ms)
        self.ledger = FakeTroubleLedger(LocalLedger(self.node))
        self.house = House(self.settings, self.database, self.keyring, self.clock, self.ledger)
        self.door = Door(self.database, self.settings, self.keyring.receipt, self.clock)
        self.worker = Worker(self.house)
        self.board = LiveBoard()

    def close(self) -> None:
        self._stack.close()

    def _founding(self) -> Founding:
        people = [
            NewParticipant(
                home.name,
                home.name.title(),
                self.top_up_micro,
                [NewPoint(home.point, home.name, "home", "f", 50_000, home.serial, "simulated")],
            )
            for home in self.homes.values()
        ]
        return Founding(
            {"t": flat(to_tariff(tariff()))}, people, self.start, simulated=True, seed=1
        )

    # --- Meters ----------------------------------------------------------------------------------

    def sign(self, name: str, moment_ms: int, **fields: Any) -> SignedReading:
        """Sign a home's next reading; ``fields`` change the measurement."""
        home = self.homes[name]
        signing, enrolment = self.keyring.meter(home.key_name), self.enrolment(home)
        values: dict[str, Any] = {
            "asked_ms": moment_ms,
            "answered_ms": moment_ms,
            "clock": Clock.SYNCHRONISED,
            "import_wh": home.import_wh,
            "export_wh": home.export_wh,
            "resolution_wh": 1,
            "power_w": None,
            "quality": Quality.MEASURED,
            "raw": "ab" * 32,
        }
        home.seq += 1
        measurement = Measurement(**(values | fields))
        payload = Reading.of(enrolment, measurement, home.seq, home.prev).to_payload()
        signature = sign(signing, Purpose.READING, payload)
        home.prev = link(payload, signature)
        return SignedReading(payload, signature)

    def enrolment(self, home: Home) -> Enrolment:
        return Enrolment(
            district=self.settings.origin,
            point=home.point,
            serial=home.serial,
            profile="simulated",
            key=public_key(self.keyring.meter(home.key_name)),
            epoch=home.epoch,
            valid_from=home.valid_from,
        )

    def exchange(self, name: str, serial: str, start: Interval, import_wh: int) -> None:
        """Put another meter, or another key (same serial), at a home: it signs from then on."""
        old = self.homes[name]
        new = Home(name, old.number, serial, f"{serial}-new", start, import_wh)
        key_of = self.keyring.meter(new.key_name)
        with self.database.write() as session:
            old_key = public_key(self.keyring.meter(old.key_name))
            enrolment.revoke(session, self.settings.origin, old_key, start)
            enrolment.enrol(
                session,
                self.settings.origin,
                public_key(self.keyring.registry),
                enrolment.endorse(self.enrolment(new), key_of, self.keyring.registry),
            )
        self.homes[name] = new

    def send(self, readings: Iterable[SignedReading]) -> list[int]:
        """Hand readings in; return the answers' statuses."""
        now = self.clock.now_ms()
        batch = Batch.pack(
            list(readings), self.keyring.gateway, self.settings.origin, GATEWAY_NAME, now
        )
        return [result.status for result in self.door.receive(batch)]

    def read(self, *names: str, after_ms: int = 0, **fields: Any) -> None:
        """Read the homes (all without names) ``after_ms`` from now and hand that in."""
        moment = self.clock.now_ms() + after_ms
        signed = [self.sign(name, moment, **fields) for name in names or self.homes]
        if signed:
            assert set(self.send(signed)) == {200}

    # --- Time ------------------------------------------------------------------------------------

    def to(self, minute: float) -> None:
        """Move on to so many minutes after the start."""
        self.clock.advance_to(self.start.start_ms + int(minute * 60_000))

    def quarter(self, *, silent: Iterable[str] = (), **energies_wh: tuple[int, int]) -> str:
        """Let a quarter-hour pass: (import, export) by home, border readings, and the worker.

        Homes in ``silent`` give no reading at its end. Returns its key; what is due by the end of
        its grace is done.
        """
        interval = Interval.containing_ms(self.clock.now_ms())
        at_start = self.clock.now_ms() == self.start.start_ms
        if at_start and not any(h.seq for h in self.homes.values()):
            self.read()
        for name, (import_wh, export_wh) in energies_wh.items():
            self.homes[name].use(import_wh, export_wh)
        self.clock.advance_to(interval.end_ms)
        quiet = set(silent)
        reading = [name for name in self.homes if name not in quiet]
        if reading:
            self.read(*reading)
        return interval.key

    def settle(self) -> None:
        """Move on to the end of the last full quarter-hour's grace, and do what is due."""
        end = Interval.containing_ms(self.clock.now_ms()).start_ms
        self.clock.advance_to(max(self.clock.now_ms(), end + GRACE_MS))
        self.worker.run_due()

    def live(self, *, silent: Iterable[str] = (), **energies_wh: tuple[int, int]) -> str:
        """A whole quarter-hour, up to the end of its grace."""
        found = self.quarter(silent=silent, **energies_wh)
        self.settle()
        return found

    # --- What came of it -------------------------------------------------------------------------

    def rows(self, table: type[Any], *conditions: Any) -> list[Any]:
        with self.database.read() as session:
            return list(session.exec(select(table).where(*conditions)).all())

    def ask(self, question: Callable[[Session], Any]) -> Any:
        with self.database.read() as session:
            return question(session)

    def interval(self, interval: str) -> IntervalRow:
        (row,) = self.rows(IntervalRow, IntervalRow.key == interval)
        return row

    def state(self, interval: str) -> str:
        return self.interval(interval).state

    def slot(self, interval: str, name: str) -> SlotRow:
        point = self.homes[name].point
        (row,) = self.rows(SlotRow, SlotRow.interval == interval, SlotRow.point == point)
        return row

    def energy(self, interval: str, name: str) -> tuple[int, int, bool]:
        slot = self.slot(interval, name)
        return slot.import_wh, slot.export_wh, slot.estimated

    def roster(self, interval: str) -> set[str]:
        points = {home.point: name for name, home in self.homes.items()}
        return {points[row.point] for row in self.rows(SlotRow, SlotRow.interval == interval)}

    def corrections(self, name: str) -> dict[str, tuple[int, int]]:
        rows = self.rows(CorrectionRow, CorrectionRow.point == self.homes[name].point)
        return {row.interval: (row.import_wh, row.export_wh) for row in rows}

    def seal(self, interval: str) -> Seal:
        index = self.interval(interval).seal_index
        assert index is not None
        return Seal.read(decode_entry(self.ask(lambda session: log.entry(session, index)))[1])

    def orders(self, interval: str) -> list[OrderRow]:
        return self.rows(OrderRow, OrderRow.interval == interval)

    def slots_of(self, interval: str) -> list[dict[str, Any]]:
        return [row.model_dump() for row in self.rows(SlotRow, SlotRow.interval == interval)]

    def add_history(
        self, name: str, interval: Interval, import_wh: int, *, estimated: bool = False
    ) -> None:
        """Write an interval of weeks ago, as if it had been metered then."""
        with self.database.write() as session:
            # The district's own first, or the weeks between would be metered, too.
            intervals.ensure_through(session, self.clock.now_ms(), self.settings.rule)
            session.flush()
            if session.get(IntervalRow, interval.key) is None:
                session.add(IntervalRow(key=interval.key, state="final", rule="mid-market"))
                session.flush()
            point = self.homes[name].point
            row = session.exec(select(EnrolmentRow).where(EnrolmentRow.point == point)).one()
            session.add(
                SlotRow(
                    interval=interval.key,
                    point=point,
                    position=0,
                    enrolment=row.id or 0,
                    tariff="",
                    estimated=estimated,
                    import_wh=import_wh,
                    export_wh=0,
                    salt=bytes(32),
                    count=0,
                    readings_root=bytes(32),
                    leaf=bytes(32),
                )
            )

    def statement(self, interval: str, name: str) -> dict[str, Any]:
        (row,) = self.rows(
            StatementRow, StatementRow.interval == interval, StatementRow.participant == name
        )
        return json.loads(row.payload)

    def notices(self, prefix: str = "") -> list[NoticeRow]:
        return self.rows(NoticeRow, col(NoticeRow.ref).startswith(prefix))

    def payments(self) -> dict[str, str]:
        return {row.ref: row.state for row in self.rows(Payment)}

    def wallets(self) -> dict[str, int]:
        found = self.ask(lambda session: journal.balances(session, "wallet:"))
        return {account.removeprefix("wallet:"): micro for account, micro in found.items()}

    def accounts(self) -> dict[str, Account]:
        return dict(self.ask(lambda session: accounts(self.house, session)))

    def postings(self) -> list[tuple[str, str, str, int]]:
        rows = self.ask(
            lambda session: session.exec(
                select(JournalEntry.ref, JournalEntry.kind, PostingRow.account, PostingRow.micro)
                .join(PostingRow, col(PostingRow.entry) == JournalEntry.id)
                .order_by(col(PostingRow.id))
            ).all()
        )
        return [tuple(row) for row in rows]

    def prove(self, interval: str, name: str) -> Verdict:
        return verify_bytes(settlement_proof(self.house, interval, name), self.keys())

    def keys(self) -> bytes:
        return self.keyring.public_keys_file(self.settings.origin, self.keyring.milestones())

    def views(self, *managed: str) -> DatabaseViews:
        return DatabaseViews(self.house, self.board, frozenset(managed), "x60", ())

    def check(self) -> None:
        """What holds at any time: the journal sums to 0 and agrees with the ledger."""
        assert self.ask(journal.total) == 0
        differences = {name: each.difference_micro for name, each in self.accounts().items()}
        assert set(differences.values()) == {0}, differences
        self.node.check_supply()


def _spare_the_disk(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")


__all__ = ["CEILING", "FEED_IN", "RATE", "START", "TOP_UP", "Kit", "LedgerError", "key"]
