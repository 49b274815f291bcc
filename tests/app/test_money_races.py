"""Two processes at one district's money, on PostgreSQL: the second comes while the first commits.

The first one is held right before its COMMIT until the second waits for a lock or is done: the
worst moment, at every run.
"""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import event, text

from app.bankfiles.errors import BankFileError
from app.db import Database
from app.jobs.pay import pay
from app.services import bank_import, bank_payouts, bank_suspense, treasury
from app.services.bank_errors import BankError
from app.services.house import House
from app.services.treasury import TreasuryError
from app.store import bank
from app.tables import BankMovementRow, BankPayoutRow, OwnAddressRow, Payment
from ledger_client.stardust.bech32 import encode_address_text
from tests.app.bank_district import NAMES, BankKit
from tests.app.bank_kit import EURO, PAYER, Line, camt
from tests.app.district_kit import TOP_UP
from tests.conftest import PostgresCluster

Action = Callable[[House], object]
REFUSED = (BankError, BankFileError, TreasuryError)
OWN = encode_address_text("wl", bytes(range(32)))
PATIENCE_S = 60


@dataclass
class RaceKit(BankKit):
    """Two houses over one database: what the first one writes can be held back."""

    def __post_init__(self) -> None:
        super().__post_init__()
        other = Database(self.url)
        self._stack.callback(other.close)
        self.second = replace(self.house, database=other)
        self.held: int | None = None  # the thread whose commits wait
        self.reached, self.go_on = threading.Event(), threading.Event()
        event.listen(self.database.engine, "commit", self._hold)

    def _hold(self, _connection: object) -> None:
        if threading.get_ident() == self.held:
            self.reached.set()
            assert self.go_on.wait(PATIENCE_S)

    def race(self, first: Action, second: Action) -> list[object]:
        """Return what both came to: a value, or what was refused in words."""
        self.reached.clear()
        self.go_on.clear()
        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(self._first, first)
            while not (one.done() or self.reached.wait(0.01)):
                pass
            two = pool.submit(second, self.second)
            try:
                self._until_stuck(two)
            finally:
                self.go_on.set()
            return [outcome(each) for each in (one, two)]

    def _first(self, action: Action) -> object:
        self.held = threading.get_ident()
        try:
            return action(self.house)
        finally:
            self.held = None

    def _until_stuck(self, future: Future[object]) -> None:
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock'"
        )
        deadline = time.monotonic() + PATIENCE_S
        while not future.done():
            assert time.monotonic() < deadline
            with self.second.database.read() as session:
                if session.execute(waiting).scalar_one():
                    return


def outcome(future: Future[object]) -> object:
    try:
        return future.result(PATIENCE_S)
    except REFUSED as error:
        return error


@pytest.fixture(scope="module")
def founded(
    postgres_cluster: PostgresCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """A founded and paid district to copy: a database's name, and a folder."""
    name, folder = f"races_{uuid.uuid4().hex}", tmp_path_factory.mktemp("races") / "district"
    folder.mkdir()
    postgres_cluster.execute(f"CREATE DATABASE {name}")
    kit = BankKit(folder, postgres_cluster.url(name), NAMES)
    kit.pay()
    kit.close()
    yield name, folder
    postgres_cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def kit(
    postgres_cluster: PostgresCluster, founded: tuple[str, Path], tmp_path: Path
) -> Iterator[RaceKit]:
    name, folder = f"test_{uuid.uuid4().hex}", tmp_path / "district"
    postgres_cluster.execute(f"CREATE DATABASE {name} TEMPLATE {founded[0]}")
    shutil.copytree(founded[1], folder)
    kit = RaceKit(folder, postgres_cluster.url(name), NAMES)
    try:
        yield kit
        kit.pay()
        kit.check()
        assert set(kit.payments().values()) == {"confirmed"}
    finally:
        kit.close()
        postgres_cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")


def refused(outcomes: list[object]) -> int:
    return sum(isinstance(each, REFUSED) for each in outcomes)


# --- Files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [("shown", "taken"), ("taken", "shown"), ("taken", "taken"), ("confirmed", "confirmed"),
     ("confirmed", "taken")],
)  # fmt: skip
def test_one_file_from_two_sides_at_once(kit: RaceKit, first: str, second: str) -> None:
    content = camt([Line("A1", 7 * EURO, kit.reference("solar")), Line("A2", EURO, "?")])
    ways: dict[str, Action] = {
        "shown": lambda house: bank_import.preview(house, "a.xml", content, None)[0],
        "taken": lambda house: bank_import.take(house, "a.xml", content, None),
    }
    if "confirmed" in (first, second):
        digest = str(ways["shown"](kit.house))
        ways["confirmed"] = lambda house: bank_import.confirm(house, digest)
    assert refused(kit.race(ways[first], ways[second])) == 0
    ways["taken"](kit.house)
    assert kit.wallets()["solar"] == TOP_UP + 7 * EURO
    assert kit.balances("suspense") == {"suspense": EURO}


# --- Withdrawals ---------------------------------------------------------------------------------


def ask(name: str, micro: int, nonce: str) -> Action:
    return lambda house: bank_payouts.ask_bank(
        house, name, micro, iban=PAYER, holder="", nonce=nonce
    )


def test_a_form_sent_twice_in_parallel_asks_once(kit: RaceKit) -> None:
    one, two = kit.race(ask("solar", EURO, "n"), ask("solar", EURO, "n"))
    assert one == two
    assert kit.wallets()["solar"] == TOP_UP - EURO


def test_all_of_it_twice_in_parallel_is_taken_once(kit: RaceKit) -> None:
    outcomes = kit.race(ask("solar", TOP_UP, "n"), ask("solar", TOP_UP, "m"))
    assert refused(outcomes) == 1
    assert kit.wallets()["solar"] == 0


DECISIONS: dict[str, Callable[[str], Action]] = {
    "approve": lambda ref: lambda house: bank_payouts.approve(house, ref),
    "reject": lambda ref: lambda house: bank_payouts.reject(house, ref, "no"),
    "cancel": lambda ref: lambda house: bank_payouts.cancel(house, ref, "solar"),
    "export": lambda _ref: lambda house: bank_payouts.export(house)[0],
}
ENDS = {"approve", "reject", "cancel"}


@pytest.mark.parametrize("kind", ["bank", "ledger"])
@pytest.mark.parametrize(
    ("first", "second"),
    [("approve", "cancel"), ("cancel", "approve"), ("approve", "approve"), ("reject", "cancel")],
)
def test_two_decisions_at_once(kit: RaceKit, kind: str, first: str, second: str) -> None:
    if kind == "ledger":
        with kit.database.write() as session:
            treasury.register_address(session, kit.house, "solar", OWN)
        ref = bank_payouts.ask_ledger(kit.house, "solar", EURO, nonce="n")
    else:
        ref = str(ask("solar", EURO, "n")(kit.house))
    outcomes = kit.race(DECISIONS[first](ref), DECISIONS[second](ref))
    # What was approved for the bank may still be undone afterwards; nothing else happens twice.
    undone_later = kind == "bank" and first == "approve" and second in {"cancel", "reject"}
    assert refused(outcomes) == (0 if undone_later else 1)
    kit.pay()
    paid = kit.ledger.balance(bytes(range(32))).units
    assert paid == (EURO if kind == "ledger" and first == "approve" else 0)


@pytest.mark.parametrize(
    ("first", "second"),
    [("export", "export"), ("export", "cancel"), ("cancel", "export"), ("reject", "export")],
)
def test_a_payment_is_exported_or_undone(kit: RaceKit, first: str, second: str) -> None:
    ref = str(ask("solar", EURO, "n")(kit.house))
    bank_payouts.approve(kit.house, ref)
    kit.pay()
    kit.race(DECISIONS[first](ref), DECISIONS[second](ref))
    (row,) = kit.rows(BankPayoutRow)
    assert row.state == ("exported" if first == "export" else row.state)
    exports = kit.look(lambda session: bank.exports(session, 9))
    assert len(exports) == (row.state == "exported")
    assert kit.wallets()["solar"] == TOP_UP - (EURO if exports else 0)


@pytest.mark.parametrize("kind", ["bank", "return"])
@pytest.mark.parametrize("statement_first", [True, False])
def test_a_debit_while_it_is_called_refused(kit: RaceKit, kind: str, statement_first: bool) -> None:
    """The statement shows the debit while a person says that the bank refused it."""
    opening = 0
    if kind == "return":
        kit.take(Line("A0", EURO, "?"), ref="S0")
        opening = EURO
        ref = bank_payouts.send_back(kit.house, next(iter(kit.movements())))
    else:
        ref = str(ask("solar", EURO, "n")(kit.house))
        bank_payouts.approve(kit.house, ref)
    kit.export()
    content = camt([Line("A1", -EURO, end_to_end=ref)], ref="S1", opening=opening)

    def take(house: House) -> object:
        return bank_import.take(house, "a.xml", content, None)

    def refuse(house: House) -> object:
        bank_payouts.refused_by_bank(house, ref, "no")
        return None

    outcomes = kit.race(*((take, refuse) if statement_first else (refuse, take)))
    assert not isinstance(outcomes[0], BankError)
    bank_import.take(kit.house, "a.xml", content, None)
    assert kit.payout(ref).state == ("paid" if statement_first else "rejected")
    states = sorted(row.state for row in kit.rows(BankMovementRow))
    # Refused first: the debit is there all the same and waits for a person.
    assert ("open" in states) is not statement_first
    assert sum(kit.balances().values()) == 0


# --- What waits ----------------------------------------------------------------------------------

CLAIMS: dict[str, Callable[[str], Action]] = {
    "solar": lambda ref: lambda house: bank_suspense.assign(house, ref, "solar"),
    "flat": lambda ref: lambda house: bank_suspense.assign(house, ref, "flat"),
    "charge": lambda ref: lambda house: bank_suspense.charge(house, ref, "interest"),
    "return": lambda ref: lambda house: bank_payouts.send_back(house, ref),
}


@pytest.mark.parametrize(
    ("first", "second"),
    [("solar", "flat"), ("solar", "solar"), ("charge", "flat"), ("return", "solar"),
     ("return", "return"), ("charge", "return")],
)  # fmt: skip
def test_a_credit_is_claimed_once(kit: RaceKit, first: str, second: str) -> None:
    kit.take(Line("A1", EURO, "?"))
    (ref,) = kit.movements()
    outcomes = kit.race(CLAIMS[first](ref), CLAIMS[second](ref))
    assert [isinstance(each, BankError) for each in outcomes] == [False, True]


def test_an_address_registered_by_two_at_once_is_one_s(kit: RaceKit) -> None:
    def register(name: str) -> Action:
        def act(house: House) -> None:
            with house.database.write() as session:
                treasury.register_address(session, house, name, OWN)

        return act

    assert refused(kit.race(register("solar"), register("flat"))) == 1
    assert refused(kit.race(register("solar"), register("solar"))) == 0
    assert len(kit.rows(OwnAddressRow)) == 1


# --- Workers -------------------------------------------------------------------------------------


def test_two_workers_at_once_pay_once(kit: RaceKit) -> None:
    kit.take(*(Line(f"A{name}", EURO, kit.reference(name)) for name in NAMES))
    kit.race(pay, pay)
    for _ in range(3):
        pay(kit.house)
        pay(kit.second)
    assert {row.state for row in kit.rows(Payment)} == {"confirmed"}
    assert kit.wallets() == dict.fromkeys(NAMES, TOP_UP + EURO)
