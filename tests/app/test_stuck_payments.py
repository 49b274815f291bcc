"""A payment that stands still: whom it holds up, whom it does not, what people are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from app.jobs.pay import pay
from app.jobs.reconcile import reconcile_daily
from app.services import treasury
from app.services.bank_desk import BankDesk
from app.store import payments
from app.tables import CoinRow, Payment
from ledger_client.coins import Due, Purse, is_holdable, takes_nothing
from ledger_client.ledger import TransferStatus, UnspentOutput
from ledger_client.wallet import Wallet
from tests.app.district_kit import RATE, TOP_UP, Kit, key
from tests.app.test_coin_book import move

TRADE = {"solar": (0, 900), "flat": (300, 0)}
SUPPLY = 10**12
THIEF = Wallet(bytes(range(16))).key(0).address


@pytest.fixture
def kit(sqlite_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, sqlite_url)
    yield kit
    kit.close()


def top_up(kit: Kit, name: str, micro: int, ref: str) -> None:
    with kit.database.write() as session:
        treasury.top_up(session, kit.house, name, micro, ref)


def withdraw(kit: Kit, name: str, micro: int, ref: str) -> None:
    with kit.database.write() as session:
        treasury.reserve_withdrawal(session, kit.house, name, micro, ref, "DE00")


def test_hundreds_that_wait_for_one_hide_nobody_behind_them(kit: Kit) -> None:
    kit.live()
    top_up(kit, "flat", SUPPLY, "too much")
    for number in range(300):
        top_up(kit, "flat", 10_000, f"later{number}")
    top_up(kit, "shop", 10_000, "other")
    withdraw(kit, "solar", TOP_UP, "out")
    pay(kit.house)
    pay(kit.house)
    states = kit.payments()
    assert states["top-up/too much/0"] == "planned"
    assert states["top-up/other/0"] == states["withdrawal/out/0"] == "confirmed"
    # What comes in for the one whose payment stands still goes ahead of it, too.
    assert states["top-up/later0/0"] == "confirmed"


def test_group_mates_of_a_stuck_payment_have_their_money(kit: Kit) -> None:
    kit.live()
    move(kit, 2, (THIEF, TOP_UP))
    kit.live(**TRADE)
    stuck = f"{key(1)}/0"
    assert kit.payments()[stuck] != "confirmed"
    top_up(kit, "shop", 10_000, "in")
    withdraw(kit, "solar", TOP_UP - 1_000_000, "out")
    withdraw(kit, "shop", TOP_UP + 10_000, "all")
    for _ in range(4):
        kit.worker.run_due()
    states = kit.payments()
    assert states[stuck] == "planned"
    assert states["top-up/in/0"] == states["withdrawal/out/0"] == "confirmed"
    assert states["withdrawal/all/0"] == "confirmed"
    (alarm,) = kit.notices("alarm/payment/")
    assert "units are needed" in alarm.text
    (told,) = kit.notices("alarm/coins/")
    assert f"{TOP_UP} units are gone" in told.text
    # And what is missing, once it is there again by a top-up, pays what stood still.
    top_up(kit, "flat", TOP_UP, "again")
    for _ in range(3):
        kit.worker.run_due()
    assert kit.payments()[stuck] == "confirmed"
    assert kit.accounts()["solar"].ledger_micro == 1_000_000 + 300 * RATE // 1000


def test_what_an_earlier_payment_needs_or_brings_is_waited_for(kit: Kit) -> None:
    kit.live()
    move(kit, 2, (THIEF, TOP_UP))
    kit.live(solar=(0, 900), flat=(300, 0), shop=(300, 0))
    sold = 300 * RATE // 1000
    withdraw(kit, "shop", TOP_UP - sold, "all but what shop is to pay")
    withdraw(kit, "solar", TOP_UP + 2 * sold, "all with what solar is to have")
    for _ in range(3):
        kit.worker.run_due()
    assert kit.payments()["withdrawal/all but what shop is to pay/0"] == "confirmed"
    assert kit.payments()["withdrawal/all with what solar is to have/0"] == "planned"
    assert [kit.accounts()[name].ledger_micro for name in ("shop", "solar")] == [sold, TOP_UP]
    assert len(kit.notices("alarm/payment/")) == 1
    top_up(kit, "flat", TOP_UP, "again")
    for _ in range(4):
        kit.worker.run_due()
    assert set(kit.payments().values()) == {"confirmed"}
    assert [kit.accounts()[name].ledger_micro for name in ("shop", "solar")] == [0, 0]


UNITS = st.integers(-200, 200).filter(lambda units: units)


@given(
    st.integers(0, 300).filter(is_holdable),
    st.lists(UNITS, max_size=6),
    UNITS,
)
def test_going_ahead_takes_nothing_away(held: int, earlier: list[int], units: int) -> None:
    """Whatever the payments that stand still could pay, they can pay after it."""
    address = bytes(32)
    purse = Purse({address: [UnspentOutput(bytes(34), b"", held)] if held else []})
    ahead = takes_nothing([Due("x", address, units)], purse, {address: earlier})
    before, after = held, held + units
    possible = [is_holdable(before)]
    kept = [is_holdable(after)]
    for step in earlier:
        before, after = before + step, after + step
        possible.append(is_holdable(before))
        kept.append(is_holdable(after))
    lost = any(could and not can for could, can in zip(possible, kept, strict=True))
    assert ahead is not (lost or (units < 0 and not all(kept)))


def test_a_book_that_forgot_a_coin_mends_itself(kit: Kit) -> None:
    """As after an older back-up: the ledger is asked once the payment stands still."""
    kit.live(**TRADE)
    (flat,) = kit.rows(CoinRow, CoinRow.units == TOP_UP - 300 * RATE // 1000)
    with kit.database.write() as session:
        session.delete(
            session.exec(select(CoinRow).where(CoinRow.output_id == flat.output_id)).one()
        )
    kit.live(**TRADE)
    kit.worker.run_due()
    assert set(kit.payments().values()) == {"confirmed"}
    kit.check()


def test_a_ledger_that_was_silent_is_asked_again_the_next_day(kit: Kit) -> None:
    kit.live(**TRADE)
    with kit.database.write() as session:
        for row in session.exec(select(CoinRow).where(CoinRow.units < SUPPLY // 2)):
            session.delete(row)
    kit.ledger.down = True
    kit.live(**TRADE)
    kit.ledger.down = False
    kit.worker.run_due()
    assert kit.payments()[f"{key(1)}/0"] == "planned"
    assert reconcile_daily(kit.house, "yesterday") > "2026"
    kit.worker.run_due()
    assert set(kit.payments().values()) == {"confirmed"}
    kit.check()


def test_a_payment_called_conflicting_that_left_nothing_of_ours_is_not_paid_twice(
    tmp_path: Path, sqlite_url: str
) -> None:
    """The treasury's last coin went to somebody's own address: only there it can be seen."""
    kit = Kit(tmp_path, sqlite_url, top_up_micro=0)
    kit.worker.run_due()
    with kit.database.write() as session:
        moves = [payments.Move("solar", THIEF.hex(), SUPPLY)]
        payments.plan(session, "payout/x", None, [b"x"], [moves])
    kit.ledger.statuses = [TransferStatus.PENDING]
    pay(kit.house)
    kit.node.issue_milestone()
    assert kit.ledger.balance(THIEF).units == SUPPLY
    kit.ledger.statuses = [TransferStatus.CONFLICTING] * 6
    pay(kit.house)
    pay(kit.house)
    assert len(kit.notices("alarm/payment/")) == 1
    kit.ledger.statuses = []
    pay(kit.house)
    assert kit.payments() == {"payout/x/0": "confirmed"}
    assert len(set(kit.ledger.sent)) == 1
    kit.close()


def test_looking_at_one_s_money_writes_nothing(kit: Kit) -> None:
    kit.live()
    (before,) = kit.rows(Payment)
    with kit.database.write():  # somebody else holds the lock
        page = BankDesk(kit.house).money("solar")
    assert page.available_micro == TOP_UP
    assert kit.rows(Payment) == [before]
