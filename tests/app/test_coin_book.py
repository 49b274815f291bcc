"""Our own book of coins beside the ledger: many groups at once, conflicts, gifts, recovery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlmodel import select

from app.jobs.pay import pay
from app.jobs.sign import sign_ready
from app.services import coins as coin_service
from app.services import treasury
from app.services.founding import treasury_address
from app.store import coins, payments
from app.tables import AddressRow, CoinRow, Payment
from ledger_client.ledger import Balance, InclusionProof, Ledger, TransferStatus
from ledger_client.stardust.transaction import Transaction
from ledger_client.wallet import TransferInput, Wallet, build_transfer
from tests.app.district_kit import TOP_UP, Kit, key

TRADE = {"solar": (0, 900), "flat": (300, 0)}


@pytest.fixture
def kit(database_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, database_url)
    yield kit
    kit.close()


@pytest.fixture
def plain(sqlite_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, sqlite_url)
    yield kit
    kit.close()


def homes(count: int) -> list[str]:
    return [f"home-{number:03}" for number in range(count)]


def book(kit: Kit) -> set[tuple[str, str, int]]:
    return {(row.output_id, row.address, row.units) for row in kit.rows(CoinRow)}


def on_ledger(kit: Kit) -> set[tuple[str, str, int]]:
    addresses = [row.address for row in kit.rows(AddressRow)]
    return {
        (output.output_id.hex(), address, output.units)
        for address in [*addresses, treasury_address(kit.keyring).hex()]
        for output in kit.ledger.balance(bytes.fromhex(address)).outputs
    }


def move(kit: Kit, account: int, *targets: tuple[bytes, int]) -> None:
    """Whoever holds the seed spends behind the book's back."""
    owner = Wallet(kit.keyring.wallet_seed).key(account)
    outputs = kit.ledger.balance(owner.address).outputs
    left = sum(each.units for each in outputs) - sum(units for _, units in targets)
    made = [*targets, (owner.address, left)] if left else list(targets)
    inputs = [TransferInput(each, owner) for each in outputs]
    kit.ledger.inner.transfer(build_transfer(kit.settings.network, inputs, made).payload)
    kit.ledger.inner.node.issue_milestone()


# --- The book ------------------------------------------------------------------------------------


def test_the_book_is_what_the_ledger_holds(kit: Kit) -> None:
    for _ in range(3):
        kit.live(**TRADE)
        assert book(kit) == on_ledger(kit)
    assert all(row.spent_by is None for row in kit.rows(CoinRow))
    assert coin_service.resync(kit.house) == []
    assert book(kit) == on_ledger(kit)
    kit.check()


class FakeWatchedLedger(Ledger):
    """Counts questions, and fails when one is asked while a database transaction is open."""

    def __init__(self, kit: Kit) -> None:
        self.inner = kit.ledger
        self.calls: list[str] = []
        self.open = 0
        engine = kit.database.engine
        event.listen(engine, "begin", lambda _connection: self._count(1))
        event.listen(engine, "commit", lambda _connection: self._count(-1))
        event.listen(engine, "rollback", lambda _connection: self._count(-1))

    def _count(self, change: int) -> None:
        self.open += change

    def _asked(self, name: str) -> None:
        assert self.open == 0, f"{name} is asked within a database transaction"
        self.calls.append(name)

    def anchor(self, tag: bytes, data: bytes) -> bytes:
        self._asked("anchor")
        return self.inner.anchor(tag, data)

    def transfer(self, transaction_payload: bytes) -> bytes:
        self._asked("transfer")
        return self.inner.transfer(transaction_payload)

    def status(self, identifier: bytes) -> TransferStatus:
        self._asked("status")
        return self.inner.status(identifier)

    def inclusion_proof(self, identifier: bytes) -> InclusionProof | None:
        return self.inner.inclusion_proof(identifier)

    def balance(self, address: bytes) -> Balance:
        self._asked("balance")
        return self.inner.balance(address)


def test_the_ledger_is_asked_once_for_the_treasury_and_in_no_transaction(plain: Kit) -> None:
    kit = plain
    watched = FakeWatchedLedger(kit)
    object.__setattr__(kit.house, "ledger", watched)
    for _ in range(3):
        kit.live(**TRADE)
    assert watched.calls.count("balance") == 1
    assert watched.calls.count("transfer") == 4
    move(kit, 2, (treasury_address(kit.keyring), 1_000))
    kit.live(**TRADE)
    kit.worker.run_due()
    assert watched.calls.count("balance") > 1  # a conflict is looked into, still outside


# --- Many groups at once -------------------------------------------------------------------------


def test_all_groups_go_in_one_milestone(tmp_path: Path, sqlite_url: str) -> None:
    """The treasury is cut into one coin per group first, and that lasts."""
    names = homes(121)
    kit = Kit(tmp_path, sqlite_url, names=names)
    trade = {names[0]: (0, 12_000)} | dict.fromkeys(names[1:], (90, 0))
    kit.live(**trade)
    assert set(kit.payments().values()) == {"confirmed"}
    shuffles = [ref for ref in kit.payments() if ref.startswith("coins/")]
    assert len(shuffles) == 1
    before = kit.node.stats().transfers_confirmed
    kit.quarter(**trade)
    send, sent = kit.ledger.transfer, []
    kit.ledger.statuses = [TransferStatus.PENDING] * 3
    kit.ledger.transfer = lambda payload: sent.append(payload) or send(payload)
    kit.clock.advance_to(kit.clock.now_ms() + 300_000)
    kit.worker._open_and_close()
    assert kit.worker._bring_to_seal(key(1))
    assert pay(kit.house)  # signed and sent, all of it
    assert len(sent) == 3
    assert [kit.payments()[f"{key(1)}/{n}"] for n in range(3)] == ["submitted"] * 3
    milestones = kit.node.stats().milestones
    assert pay(kit.house)
    assert kit.node.stats().milestones == milestones + 1
    assert [kit.payments()[f"{key(1)}/{n}"] for n in range(3)] == ["confirmed"] * 3
    assert kit.node.stats().transfers_confirmed == before + 3
    spends = [Transaction.decode(payload).essence for payload in sent]
    assert max(len(each.inputs) for each in spends) <= 122
    assert len(kit.ledger.balance(treasury_address(kit.keyring)).outputs) == 3
    assert kit.notices("alarm/") == []
    kit.check()
    kit.close()


def test_a_refused_group_stops_only_its_own_people(tmp_path: Path, sqlite_url: str) -> None:
    names = homes(121)
    kit = Kit(tmp_path, sqlite_url, names=names)
    kit.live()
    trade = {names[0]: (0, 12_000)} | dict.fromkeys(names[1:], (90, 0))
    send = kit.ledger.transfer

    def transfer(payload: bytes) -> bytes:
        essence = Transaction.decode(payload).essence
        data = essence.payload.data if essence.payload else b""
        kit.ledger.refuses_transfers = len(data) == 34 and data[-1] == 1
        try:
            return send(payload)
        finally:
            kit.ledger.refuses_transfers = False

    kit.ledger.transfer = transfer
    kit.live(**trade)
    states = [kit.payments()[f"{key(1)}/{n}"] for n in range(3)]
    assert states == ["confirmed", "signed", "confirmed"]
    kit.live(**trade)
    states = [kit.payments()[f"{key(2)}/{n}"] for n in range(3)]
    assert states == ["confirmed", "planned", "confirmed"]
    assert len(kit.notices("alarm/")) == 1
    kit.ledger.transfer = send
    kit.worker.run_due()
    assert set(kit.payments().values()) == {"confirmed"}
    kit.check()
    kit.close()


def test_too_few_treasury_coins_make_groups_wait_quietly(tmp_path: Path, sqlite_url: str) -> None:
    kit = Kit(tmp_path, sqlite_url, names=homes(70), top_up_micro=0)
    kit.worker.run_due()  # nothing to pay: the fan-out is prepared ahead
    assert [ref.split("/")[0] for ref in kit.payments()] == ["coins"]
    kit.ledger.statuses = [TransferStatus.PENDING] * 50
    for number, name in enumerate(kit.names[:4]):
        with kit.database.write() as session:
            treasury.top_up(session, kit.house, name, 100_000, f"t{number}")
    pay(kit.house)
    pay(kit.house)
    states = [kit.payments()[f"top-up/t{n}/0"] for n in range(4)]
    assert states == ["submitted", "submitted", "planned", "planned"]
    assert kit.notices("alarm/") == []
    kit.ledger.statuses = []
    kit.worker.run_due()
    assert set(kit.payments().values()) == {"confirmed"}
    kit.check()
    kit.close()


@pytest.mark.parametrize("share", [4, 2])
def test_a_top_up_larger_than_any_coin_melts_them(
    tmp_path: Path, sqlite_url: str, share: int
) -> None:
    kit = Kit(tmp_path, sqlite_url, names=homes(190), top_up_micro=0)
    kit.worker.run_due()
    whole = sum(each.units for each in kit.ledger.balance(treasury_address(kit.keyring)).outputs)
    with kit.database.write() as session:
        treasury.top_up(session, kit.house, "home-000", whole - whole // share, "big")
    kit.worker.run_due()
    assert kit.payments()["top-up/big/0"] == "confirmed"
    with kit.database.write() as session:
        treasury.top_up(session, kit.house, "home-001", whole // share, "rest")
    kit.worker.run_due()
    assert kit.payments()["top-up/rest/0"] == "confirmed"
    assert kit.ledger.balance(treasury_address(kit.keyring)).units == 0
    assert len(kit.payments()) < 8
    kit.check()
    kit.close()


# --- Coins that come and go behind the book ------------------------------------------------------


def test_a_gift_is_told_left_alone_and_taken_over_on_demand(kit: Kit) -> None:
    kit.live()
    flat = Wallet(kit.keyring.wallet_seed).key(2).address
    do_gift(kit, flat, 500)
    known = book(kit)
    (difference,) = coin_service.resync(kit.house)
    assert (difference.address, difference.lost_units, difference.found_units) == (flat, 0, 500)
    assert book(kit) == known
    for _ in range(2):
        kit.live(**TRADE)
    assert set(kit.payments().values()) == {"confirmed"}
    assert kit.ledger.balance(flat).units == kit.wallets()["flat"] + 500
    assert coin_service.resync(kit.house, adopt=True) == []
    assert len([each for each in book(kit) if each[1] == flat.hex()]) == 2
    kit.live(**TRADE)
    assert len([each for each in book(kit) if each[1] == flat.hex()]) == 1
    assert kit.ledger.balance(flat).units == kit.wallets()["flat"] + 500
    assert coin_service.resync(kit.house) == []


def do_gift(kit: Kit, address: bytes, *units: int) -> None:
    """Somebody who was paid out sends units back to a custodial address."""
    own = Wallet(bytes(range(32))).key(0)
    with kit.database.write() as session:
        paid = payments.Move("solar", own.address.hex(), 10_000_000)
        payments.plan(session, "gift", None, [b"gift"], [[paid]])
    kit.worker.run_due()
    (output,) = kit.ledger.balance(own.address).outputs
    left = output.units - sum(units)
    made = [*((address, each) for each in units), (own.address, left)]
    gift = build_transfer(kit.settings.network, [TransferInput(output, own)], made)
    kit.ledger.inner.transfer(gift.payload)
    kit.ledger.inner.node.issue_milestone()


def test_a_wallet_full_of_gifts_is_melted_before_it_pays(plain: Kit) -> None:
    kit = plain
    kit.live()
    flat = Wallet(kit.keyring.wallet_seed).key(2).address
    do_gift(kit, flat, *range(40, 160))
    coin_service.resync(kit.house, adopt=True)
    assert len(kit.ledger.balance(flat).outputs) == 121
    with kit.database.write() as session:
        treasury.reserve_withdrawal(session, kit.house, "flat", TOP_UP, "all", "DE00")
    kit.worker.run_due()
    assert kit.payments()["withdrawal/all/0"] == "confirmed"
    assert kit.ledger.balance(flat).units == sum(range(40, 160))
    assert kit.notices("alarm/") == []
    assert len(kit.ledger.balance(flat).outputs) < 100


def test_stolen_coins_stop_one_wallet_and_are_told(plain: Kit) -> None:
    kit = plain
    kit.live()
    thief = Wallet(bytes(range(16))).key(0).address
    move(kit, 2, (thief, TOP_UP))
    (difference,) = coin_service.resync(kit.house)
    assert (difference.lost_units, difference.found_units) == (TOP_UP, 0)
    kit.live(**TRADE)
    kit.live(**TRADE)
    assert kit.payments()[f"{key(1)}/0"] == "planned"
    (alarm,) = kit.notices("alarm/payment/")
    assert "units are needed" in alarm.text
    assert kit.state(key(2)) == "sealed"


def test_a_damaged_book_finds_its_coins_again(plain: Kit) -> None:
    """One coin is lost, another was never there; what our payments made is ours."""
    kit = plain
    kit.live(**TRADE)
    kit.live(**TRADE)
    before = book(kit)
    with kit.database.write() as session:
        lost, wrong, *_ = session.exec(select(CoinRow).order_by(CoinRow.address))
        session.delete(lost)
        wrong.output_id = "ee" * 34
    assert book(kit) != before
    assert coin_service.resync(kit.house) == []
    assert book(kit) == before
    kit.live(**TRADE)
    kit.check()


def test_a_shuffle_that_conflicts_is_dropped(tmp_path: Path, sqlite_url: str) -> None:
    kit = Kit(tmp_path, sqlite_url, names=homes(70), top_up_micro=0)
    coin_service.ensure(kit.house)
    assert sign_ready(kit.house)
    (shuffle,) = kit.payments()
    move(kit, 0)
    for _ in range(3):
        kit.worker.run_due()
    assert shuffle not in kit.payments()
    (notice,) = kit.notices("conflict/")
    assert "is dropped" in notice.text
    assert set(kit.payments().values()) == {"confirmed"}
    assert book(kit) == on_ledger(kit)
    assert len(book(kit)) == 2
    kit.close()


def test_a_coin_taken_meanwhile_signs_nothing(plain: Kit) -> None:
    kit = plain
    kit.ledger.refuses_transfers = True
    kit.live()
    (payment,) = kit.rows(Payment)
    spent = [row for row in kit.rows(CoinRow) if row.spent_by == payment.id]
    taken = [coins.coin_of(row) for row in spent]

    def spend_again() -> None:
        with kit.database.write() as session:
            other = Payment(ref="other", tagged_data=b"", state="signed")
            session.add(other)
            session.flush()
            coins.spend(session, other.id or 0, taken, payment.payload or b"", set())

    with pytest.raises(coins.CoinTakenError):
        spend_again()
    assert kit.payments() == {"top-up/0": "signed"}
