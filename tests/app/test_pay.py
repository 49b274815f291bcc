"""The outboxes of payments and anchors against a ledger in trouble: late, never twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from app.jobs.anchor import anchor
from app.jobs.pay import pay
from app.services.accounts import Account
from app.services.proofs import ProofNotReadyError, settlement_proof
from app.tables import CheckpointRow, LogEntryRow, Payment, PaymentInput
from ledger_client.ledger import TransferStatus
from ledger_client.log import decode_entry
from ledger_client.stardust.codec import blake2b_256
from ledger_client.wallet import TransferInput, Wallet, build_transfer
from tests.app.district_kit import RATE, TOP_UP, Kit, key

SOLD = 300 * RATE // 1000  # what flat pays solar for 300 Wh, in micro-euros
TRADE = {"solar": (0, 900), "flat": (300, 0)}


@pytest.fixture
def kit(database_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, database_url)
    yield kit
    kit.check()
    kit.close()


def on_ledger(kit: Kit) -> dict[str, int]:
    return {name: account.ledger_micro for name, account in kit.accounts().items()}


def paid_once(kit: Kit) -> None:
    """Each payment is on the ledger exactly once, and the balances show it."""
    assert set(kit.payments().values()) == {"confirmed"}
    assert kit.node.stats().transfers_confirmed == len(kit.payments())
    wallets = kit.wallets()
    assert on_ledger(kit) == wallets
    assert all(each.unconfirmed_micro == 0 for each in kit.accounts().values())


def test_an_unavailable_ledger_stops_neither_trading_nor_sealing(kit: Kit) -> None:
    kit.ledger.down = True
    for _ in range(3):
        kit.live(**TRADE)
    assert [kit.state(key(n)) for n in range(3)] == ["sealed"] * 3
    assert {kit.interval(key(n)).payment for n in range(3)} == {"none"}
    assert {kit.interval(key(n)).anchor for n in range(3)} == {"pending"}
    assert set(kit.payments().values()) == {"planned"}
    assert kit.wallets()["solar"] == TOP_UP + 3 * SOLD
    assert kit.notices("alarm/") == []
    with pytest.raises(ProofNotReadyError):
        settlement_proof(kit.house, key(0), "solar")
    kit.ledger.down = False
    assert kit.accounts()["solar"] == Account(TOP_UP + 3 * SOLD, 0, 0, TOP_UP + 3 * SOLD)
    kit.worker.run_due()
    paid_once(kit)
    assert {kit.interval(key(n)).anchor for n in range(3)} == {"confirmed"}
    assert kit.prove(key(0), "solar").code == 0


@pytest.mark.parametrize("times", [1, 2, 5])
def test_lost_answers_never_pay_twice(kit: Kit, times: int) -> None:
    kit.ledger.loses_answers = times
    kit.live(**TRADE)
    for _ in range(times):
        kit.worker.run_due()
    paid_once(kit)
    kit.live(**TRADE)
    paid_once(kit)


def test_a_transfer_that_the_ledger_forgot_is_sent_again(kit: Kit) -> None:
    kit.ledger.drops = 1
    kit.live()  # the top-ups
    kit.worker.run_due()
    kit.worker.run_due()
    assert len(kit.ledger.sent) == 2
    assert len(set(kit.ledger.sent)) == 1
    paid_once(kit)


def test_a_pending_payment_is_asked_for_again_later(kit: Kit) -> None:
    kit.ledger.statuses = [TransferStatus.PENDING] * 9
    kit.live()
    assert kit.payments() == {"top-up/0": "submitted"}
    assert len(kit.ledger.sent) == 1
    kit.ledger.statuses = []
    kit.worker.run_due()
    paid_once(kit)


def test_a_conflicting_payment_is_built_anew(kit: Kit) -> None:
    """Somebody moves flat's money elsewhere on the ledger before the payment gets there."""
    kit.live()
    owner = Wallet(kit.keyring.wallet_seed).key(2)
    (output,) = kit.ledger.balance(owner.address).outputs
    move = build_transfer(
        kit.settings.network, [TransferInput(output, owner)], [(owner.address, output.units)]
    )
    send, kit.ledger.transfer = kit.ledger.transfer, lambda _payload: b""
    kit.ledger.statuses = [TransferStatus.PENDING]
    kit.live(**TRADE)  # signed and submitted, yet not attached: the other one comes first
    kit.ledger.transfer = send
    assert kit.payments()[f"{key(1)}/0"] == "submitted"
    (before,) = kit.rows(Payment, Payment.interval == key(1))
    kit.ledger.inner.transfer(move.payload)
    kit.ledger.inner.node.issue_milestone()
    kit.worker.run_due()  # unknown there: sent again, and ignored by the next milestone
    kit.worker.run_due()
    kit.worker.run_due()
    (after,) = kit.rows(Payment, Payment.interval == key(1))
    assert before.transaction_id != after.transaction_id
    assert [notice.level for notice in kit.notices("conflict/")] == ["alarm"]
    assert kit.payments()[f"{key(1)}/0"] == "confirmed"
    assert on_ledger(kit) == kit.wallets()
    assert kit.node.stats().transfers_confirmed == 3  # with the move
    assert len(kit.rows(PaymentInput, PaymentInput.payment == after.id)) == 3


def test_what_is_wrongly_called_conflicting_is_not_paid_twice(kit: Kit) -> None:
    kit.ledger.statuses = [TransferStatus.CONFLICTING] * 9
    kit.live(**TRADE)  # comes back
    assert kit.ledger.statuses
    assert kit.state(key(0)) == "sealed"
    (alarm,) = kit.notices("alarm/payment/")
    assert "may still apply" in alarm.text
    kit.ledger.statuses = []
    kit.worker.run_due()
    paid_once(kit)
    assert len(kit.ledger.sent) == 2


def test_a_refused_payment_stops_payments_alone(kit: Kit) -> None:
    kit.ledger.refuses_transfers = True
    kit.live(**TRADE)
    kit.live(**TRADE)
    assert [kit.state(key(n)) for n in range(2)] == ["sealed"] * 2
    assert kit.interval(key(1)).anchor == "confirmed"
    (alarm,) = kit.notices("alarm/")
    assert (alarm.ref, alarm.level) == ("alarm/payment/top-up/0", "alarm")
    assert "no transfers today" in alarm.text
    assert set(kit.payments().values()) == {"signed", "planned"}
    kit.ledger.refuses_transfers = False
    kit.worker.run_due()
    paid_once(kit)


def test_an_anchor_that_the_ledger_forgot_is_sent_again(kit: Kit) -> None:
    kit.ledger.refuses_anchors = True
    kit.live(**TRADE)
    kit.ledger.refuses_anchors = False
    blocks = kit.node.stats().blocks
    with kit.database.write() as session:
        for row in session.exec(select(CheckpointRow).where(CheckpointRow.state != "confirmed")):
            row.block_id, row.state = "00" * 32, "submitted"
    assert not anchor(kit.house)
    assert kit.node.stats().blocks > blocks
    while anchor(kit.house):
        pass
    kit.worker.run_due()
    for row in kit.rows(CheckpointRow):
        assert row.state == "confirmed"
        assert kit.node.store.block(bytes.fromhex(row.block_id or "")) is not None
    settlement_proof(kit.house, key(0), "solar")


def test_a_refused_anchor_stops_anchors_alone(kit: Kit) -> None:
    kit.ledger.refuses_anchors = True
    kit.live(**TRADE)
    kit.live(**TRADE)
    paid_once(kit)
    assert [kit.interval(key(n)).anchor for n in range(2)] == ["pending"] * 2
    assert len(kit.notices("alarm/anchor/")) == 1
    with pytest.raises(ProofNotReadyError, match="on its way"):
        settlement_proof(kit.house, key(0), "solar")
    kit.ledger.refuses_anchors = False
    kit.worker.run_due()
    assert {row.state for row in kit.rows(CheckpointRow)} == {"confirmed"}


def test_an_empty_treasury_waits_for_a_person(tmp_path: Path, sqlite_url: str) -> None:
    kit = Kit(tmp_path, sqlite_url, top_up_micro=10**12)
    kit.live(**TRADE)
    assert kit.state(key(0)) == "sealed"
    (alarm,) = kit.notices("alarm/payment/")
    assert "units are needed" in alarm.text
    assert set(kit.payments().values()) == {"planned"}
    kit.close()


def test_an_unpaid_interval_is_never_final(tmp_path: Path, sqlite_url: str) -> None:
    kit = Kit(tmp_path, sqlite_url, changes={"correction_days": 0})
    kit.ledger.refuses_transfers = True
    for _ in range(3):
        kit.live(**TRADE)
    assert kit.state(key(0)) == "sealed"
    with pytest.raises(ProofNotReadyError):
        settlement_proof(kit.house, key(0), "solar")
    kit.ledger.refuses_transfers = False
    kit.worker.run_due()
    kit.worker.run_due()
    assert kit.state(key(0)) == "final"
    kit.close()


def test_payments_are_logged_once_confirmed(kit: Kit) -> None:
    kit.live(**TRADE)
    (payment,) = kit.rows(Payment, Payment.interval == key(0))
    entries = [decode_entry(bytes(row.entry)) for row in kit.rows(LogEntryRow)]
    (text,) = [body for kind, body in entries if kind == "payments"]
    assert payment.transaction_id is not None
    assert payment.transaction_id in text
    assert blake2b_256(bytes(payment.payload or b"")).hex() == payment.transaction_id
    seal = kit.seal(key(0))
    assert bytes(payment.tagged_data) == seal.settlement_root + bytes(2)


def test_nothing_to_pay_moves_nothing(kit: Kit) -> None:
    kit.live(**TRADE)
    assert not pay(kit.house)


def test_more_than_sixty_parties_pay_in_groups(tmp_path: Path, sqlite_url: str) -> None:
    names = [f"home-{number:02}" for number in range(63)]
    kit = Kit(tmp_path, sqlite_url, names=names)
    energies = dict.fromkeys(names[1:], (100, 0))
    kit.live(**{names[0]: (0, 9_000)}, **energies)
    assert [kit.payments()[f"{key(0)}/{n}"] for n in range(2)] == ["confirmed"] * 2
    paid_once(kit)
    assert kit.interval(key(0)).payment == "confirmed"
    for name in (names[0], names[30], names[62]):
        assert kit.prove(key(0), name).code == 0
    kit.check()
    kit.close()
