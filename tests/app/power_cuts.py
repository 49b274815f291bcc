"""A small district whose power can be cut at any write step, and what it has to come to.

The disk is what survives a cut: afterwards everything is opened again from its files, the meters
send again what was not acknowledged, and the story goes on at the stored district time.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sqlalchemy import event
from sqlmodel import col, select

from app.clock import SimulatedClock
from app.db import Database
from app.services.accounts import accounts
from app.services.checkpoints import public_keys
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
from app.services.ledger import embedded_figures
from app.services.proofs import settlement_proof
from app.services.summary import summarise
from app.settings import Settings
from app.store import journal, log, people
from app.tables import (
    CheckpointRow,
    CorrectionRow,
    EnrolmentRow,
    IntervalRow,
    JournalEntry,
    LogEntryRow,
    NoticeRow,
    OrderRow,
    Payment,
    PaymentParty,
    PostingRow,
    ReadingRow,
    SettlementLine,
    SlotRow,
    StatementRow,
    TariffRow,
    TradeRow,
)
from app.worker import Worker
from ledger_client.ledger import Balance, InclusionProof, Ledger, TransferStatus
from ledger_client.localnode import LocalLedger, LocalNode
from ledger_client.localnode.settings import NodeSettings, keyed
from ledger_client.localnode.store import Connect, Store
from ledger_client.log import decode_entry
from ledger_client.merkle import leaf_hash, root
from ledger_client.verify import verify_bytes
from market.tariffs import flat
from metering.batch import Batch
from metering.identity import PublicKey, gsrn_check_digit
from metering.interval import Interval
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
from metering.signing import Purpose, sign

Answer = TypeVar("Answer")

START = Interval.parse("2026-06-23T09:00:00Z")
MINUTE_MS = 60_000
# The borders of two intervals, and the end of each one's grace.
MOMENTS_MS = tuple(START.start_ms + minute * MINUTE_MS for minute in (0, 15, 20, 30, 35))
TREASURY_UNITS = 10**12
COMMITTED = "committed"


class PowerCutError(BaseException):
    """The machine is gone: nobody catches this and goes on."""


@dataclass
class Fuse:
    """Cuts the power after ``steps_left`` steps; from then on every step fails.

    ``steps`` names what was done: a cut after n steps stands behind ``steps[n - 1]``.
    """

    steps_left: int | None = None
    steps: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        if self.steps_left is not None and len(self.steps) >= self.steps_left:
            raise PowerCutError
        self.steps.append(name)


# --- What can be cut -----------------------------------------------------------------------------


def fused_database(url: str, fuse: Fuse) -> Database:
    """Return the database; each write statement, and both sides of each COMMIT, is a step."""
    database = Database(url)
    engine = database.engine
    commit = engine.dialect.do_commit

    def before(_connection, _cursor, statement: str, *_rest: object) -> None:
        if not statement.lstrip().startswith(("SELECT", "PRAGMA", "BEGIN")):
            fuse.step("statement")

    def do_commit(connection) -> None:
        fuse.step("statement")
        commit(connection)
        fuse.step(COMMITTED)

    event.listen(engine, "before_cursor_execute", before)
    engine.dialect.do_commit = do_commit
    if url.startswith("sqlite"):
        event.listen(engine, "connect", _spare_the_disk)
    return database


def _spare_the_disk(connection: sqlite3.Connection, _record: object) -> None:
    # A cut of the process is tested, not of the disk: the file system keeps what was written.
    connection.execute("PRAGMA synchronous = OFF")


def fused_store(fuse: Fuse) -> Connect:
    """Return the connection factory of a ledger whose writes are steps."""

    class FusedConnection(sqlite3.Connection):
        def execute(self, sql: str, values: Iterable[object] = ()) -> sqlite3.Cursor:
            if sql.lstrip().startswith(("SELECT", "PRAGMA", "BEGIN", "ROLLBACK")):
                return super().execute(sql, values)
            fuse.step("statement")
            cursor = super().execute(sql, values)
            if sql == "COMMIT":
                fuse.step(COMMITTED)
            return cursor

        def executemany(self, sql: str, rows: Iterable[Iterable[object]]) -> sqlite3.Cursor:
            fuse.step("statement")
            return super().executemany(sql, rows)

    def connect(path: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, factory=FusedConnection
        )
        connection.execute("PRAGMA journal_mode = WAL")
        _spare_the_disk(connection, None)
        return connection

    return connect


class FusedLedger(Ledger):
    """A ledger whose every call is a step before and after."""

    def __init__(self, inner: Ledger, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def _cut(self, call: Callable[[bytes], Answer], argument: bytes) -> Answer:
        self._fuse.step("call")
        answer = call(argument)
        self._fuse.step("answer")
        return answer

    def anchor(self, tag: bytes, data: bytes) -> bytes:
        return self._cut(lambda data: self._inner.anchor(tag, data), data)

    def transfer(self, transaction_payload: bytes) -> bytes:
        return self._cut(self._inner.transfer, transaction_payload)

    def status(self, transaction_id: bytes) -> TransferStatus:
        return self._cut(self._inner.status, transaction_id)

    def inclusion_proof(self, identifier: bytes) -> InclusionProof | None:
        return self._cut(self._inner.inclusion_proof, identifier)

    def balance(self, address: bytes) -> Balance:
        return self._cut(self._inner.balance, address)


# --- The district --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Home:
    """A participant, one meter, and how much it counts per minute; silent at ``missed_ms``."""

    name: str
    import_wh: int
    export_wh: int
    missed_ms: tuple[int, ...] = ()

    @property
    def number(self) -> int:
        return HOMES.index(self) + 1

    @property
    def gsrn(self) -> str:
        body = f"57{self.number:015d}"
        return body + gsrn_check_digit(body)

    def newcomer(self) -> NewParticipant:
        point = NewPoint(self.gsrn, self.name, "home", "f", 50_000, self.name, "simulated")
        return NewParticipant(self.name, self.name, 5_000_000, [point])

    def measure(self, moment_ms: int) -> Measurement:
        minutes = (moment_ms - START.start_ms) // MINUTE_MS
        return Measurement(
            asked_ms=moment_ms,
            answered_ms=moment_ms,
            clock=Clock.SYNCHRONISED,
            import_wh=1_000 + minutes * self.import_wh,
            export_wh=minutes * self.export_wh,
            resolution_wh=1,
            power_w=60 * (self.import_wh - self.export_wh),
            quality=Quality.MEASURED,
            raw="ab" * 32,
        )


# The last one misses the border between the intervals: estimated first, corrected later.
HOMES = (
    Home("solar", 3, 61),
    Home("flat", 17, 0),
    Home("cars", 23, 0, missed_ms=(MOMENTS_MS[1],)),
)


def founding() -> Founding:
    """Return what the district begins with."""
    tariff = TariffRow(
        id="t",
        energy_micro_per_kwh=200_000,
        grid_fee_micro_per_kwh=90_000,
        local_grid_fee_micro_per_kwh=40_000,
        levy_micro_per_kwh=20_000,
        feed_in_micro_per_kwh=80_000,
        vat_ppm=190_000,
    )
    newcomers = [home.newcomer() for home in HOMES]
    tariffs = {"t": flat(people.to_tariff(tariff))}
    return Founding(tariffs, newcomers, START, simulated=True, seed=1)


@dataclass
class Story:
    """The life of the district; remembers across cuts which readings were acknowledged."""

    folder: Path
    url: str
    acknowledged: dict[tuple[str, int], bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = Settings(data=self.folder, database_url=self.url)

    def open(self, fuse: Fuse) -> tuple[House, LocalNode]:
        """Open everything from disk; whatever was opened is closed again when that is cut."""
        keyring = Keyring.open(self.folder / "keys")
        database = fused_database(self.url, fuse)
        try:
            database.migrate()
            with database.write() as session:
                clock = found(session, self.settings, keyring, founding()).clock_ms
            node = self._node(keyring, fuse)
        except BaseException:
            database.close()
            raise
        ledger = FusedLedger(LocalLedger(node), fuse)
        return House(self.settings, database, keyring, SimulatedClock(clock), ledger), node

    def _node(self, keyring: Keyring, fuse: Fuse) -> LocalNode:
        signer, pinned = keyed(keyring.milestone, 1)
        settings = NodeSettings(
            self.settings.network,
            self.settings.hrp,
            {treasury_address(keyring): TREASURY_UNITS},
            pinned,
            signer,
        )
        store = Store(self.folder / "ledger.db", fused_store(fuse))
        try:
            return LocalNode(store, settings)
        except BaseException:
            store.close()
            raise

    def tell(self, fuse: Fuse) -> None:
        """Live from the stored time to the end."""
        house, node = self.open(fuse)
        with closing(node), closing(house.database):
            door = Door(house.database, house.settings, house.keyring.receipt, house.clock)
            worker = Worker(house)
            for moment in MOMENTS_MS:
                if moment >= house.clock.now_ms():
                    house.clock.advance_to(moment)
                    self._send(house, door, moment)
                    worker.run_due()
                    self._store_clock(house, moment + MINUTE_MS)

    def _send(self, house: House, door: Door, moment_ms: int) -> None:
        sent = [each for home in HOMES for each in self._signed(house, home, moment_ms)]
        batch = Batch.pack(
            sent, house.keyring.gateway, house.settings.origin, GATEWAY_NAME, moment_ms
        )
        for result, signed in zip(door.receive(batch), sent, strict=True):
            assert result.status == 200, result
            reading = Reading.from_payload(signed.payload)
            self.acknowledged[reading.key, reading.seq] = signed.payload

    def _signed(self, house: House, home: Home, moment_ms: int) -> list[SignedReading]:
        """Sign the whole chain; return its reading of this moment, the same at each call."""
        with house.database.read() as session:
            row = session.exec(select(EnrolmentRow).where(EnrolmentRow.point == home.gsrn)).one()
        enrolment = Enrolment(
            district=house.settings.origin,
            point=row.point,
            serial=row.serial,
            profile=row.profile,
            key=PublicKey.parse(row.key),
            epoch=row.epoch,
            valid_from=Interval.parse(row.valid_from),
        )
        moments = [each for each in MOMENTS_MS if each <= moment_ms and each not in home.missed_ms]
        prev, found = FIRST_PREV, []
        for seq, moment in enumerate(moments, 1):
            payload = Reading.of(enrolment, home.measure(moment), seq, prev).to_payload()
            signature = sign(house.keyring.meter(row.serial), Purpose.READING, payload)
            prev = link(payload, signature)
            if moment == moment_ms:
                found.append(SignedReading(payload, signature))
        return found

    @staticmethod
    def _store_clock(house: House, moment_ms: int) -> None:
        with house.database.write() as session:
            people.district(session, lock=True).clock_ms = moment_ms

    # What it has to come to ---------------------------------------------------------------------

    def outcome(self) -> dict[str, object]:
        """Check everything that must hold by itself; return what must equal an unbroken life's."""
        house, node = self.open(Fuse())
        with closing(node), closing(house.database):
            _check_ledger(house, node)
            _check_log(house)
            self._check_readings(house)
            _check_proofs(house)
            figures = summarise(house, embedded_figures(node), None, [], Path("/keys.json"), 0.0)
            return {"summary": figures} | _rows(house)

    def _check_readings(self, house: House) -> None:
        with house.database.read() as session:
            rows = session.exec(select(ReadingRow)).all()
        stored = {(row.key, row.seq): bytes(row.payload) for row in rows}
        assert stored == self.acknowledged
        assert len(rows) == len(stored)


def _check_ledger(house: House, node: LocalNode) -> None:
    """Each payment is on the ledger exactly once, and nothing else is."""
    with house.database.read() as session:
        payments = session.exec(select(Payment)).all()
        assert journal.total(session) == 0
        books = accounts(house, session)
        assert [account.difference_micro for account in books.values()] == [0] * len(HOMES)
    identifiers = [bytes.fromhex(row.transaction_id or "") for row in payments]
    assert len(set(identifiers)) == len(payments) == node.stats().transfers_confirmed
    assert {row.state for row in payments} == {"confirmed"}
    for identifier in identifiers:
        assert house.ledger.status(identifier) is TransferStatus.CONFIRMED
        assert len(node.store.blocks_with_payload(identifier)) == 1
    before = node.store.ledger_rows()
    node.rebuild()
    assert node.store.ledger_rows() == before
    node.check_supply()


def _check_log(house: House) -> None:
    """The log only grew: every checkpoint ever signed is one of its prefixes, and is anchored."""
    with house.database.read() as session:
        rows = session.exec(select(LogEntryRow).order_by(col(LogEntryRow.position))).all()
        leaves = [leaf_hash(bytes(row.entry)) for row in rows]
        assert [row.position for row in rows] == list(range(len(rows)))
        assert [bytes(row.leaf) for row in rows] == leaves
        for checkpoint in session.exec(select(CheckpointRow)):
            expected = root(leaves[: checkpoint.size])
            assert bytes(checkpoint.root) == expected == log.root(session, checkpoint.size)
            assert checkpoint.state == "confirmed"


def _check_proofs(house: House) -> None:
    keys = public_keys(house)
    with house.database.read() as session:
        rows = session.exec(select(StatementRow.interval, StatementRow.participant)).all()
    assert len(rows) == 2 * len(HOMES)
    for interval, participant in rows:
        verdict = verify_bytes(settlement_proof(house, interval, participant), keys)
        assert verdict.code == 0, verdict


def _rows(house: House) -> dict[str, object]:
    """Return the content of the tables, less row numbers, salts and what depends on them."""
    wanted = {
        "intervals": (IntervalRow, "key state payment anchor rule price_micro_per_kwh traded_wh"),
        "slots": (SlotRow, "interval point position estimated import_wh export_wh count"),
        "orders": (OrderRow, "interval order_id wh limit_micro_per_kwh cleared_wh"),
        "trades": (TradeRow, "interval number seller_order buyer_order wh amount_micro"),
        "corrections": (CorrectionRow, "interval point version import_wh export_wh known_ms"),
        "statements": (
            StatementRow,
            "interval participant sum_micro closing_carry_micro saving_micro",
        ),
        "lines": (SettlementLine, "interval version participant point kind wh micro"),
        "entries": (JournalEntry, "ref kind interval booked_ms"),
        "payments": (Payment, "ref interval state"),
        "notices": (NoticeRow, "ref at_ms level point text"),
    }
    found: dict[str, object] = {}
    with house.database.read() as session:
        for name, (table, columns) in wanted.items():
            rows = session.exec(select(table)).all()
            found[name] = sorted(
                [tuple(getattr(row, column) for column in columns.split()) for row in rows],
                key=repr,
            )
        postings = select(
            JournalEntry.ref, JournalEntry.kind, PostingRow.account, PostingRow.micro
        ).join(JournalEntry, col(JournalEntry.id) == PostingRow.entry)
        parties = select(Payment.ref, PaymentParty.participant, PaymentParty.micro).join(
            Payment, col(Payment.id) == PaymentParty.payment
        )
        found["postings"] = sorted(map(tuple, session.exec(postings)))
        found["parties"] = sorted(map(tuple, session.exec(parties)))
        entries = session.exec(select(LogEntryRow.entry).order_by(col(LogEntryRow.position)))
        found["log"] = [_told(bytes(entry)) for entry in entries]
    return found


def _told(entry: bytes) -> tuple[str, object]:
    """Return a log entry's kind and which interval it is about: what salts do not change."""
    kind, text = decode_entry(entry)
    return kind, json.loads(text).get("interval")


# --- A folder to begin with ----------------------------------------------------------------------


def copied(template: Path, folder: Path, url: str) -> Story:
    """Return a story in a copy of ``template``, which holds keys and perhaps databases."""
    shutil.copytree(template, folder)
    return Story(folder, url)
