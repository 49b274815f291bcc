"""Money in and out of wallets: postings, payments, credit, and what is refused; as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import Session

from app.services import treasury
from app.services.accounts import booked_accounts
from app.services.house import House
from app.services.treasury import (
    AmountError,
    BalanceError,
    OwnAddressError,
    TakenReferenceError,
    TreasuryError,
    UnknownParticipantError,
    WithdrawalStateError,
)
from app.store import journal
from app.tables import AddressRow, OwnAddressRow, WithdrawalRow
from ledger_client.stardust.bech32 import encode_address_text, encode_bech32
from ledger_client.wallet import Wallet
from tests.app.district_kit import RATE, TOP_UP, Kit
from tests.conftest import LONG

IBAN = "DE02120300000000202051"
SOLD = 300 * RATE // 1000
TRADE = {"solar": (0, 900), "flat": (300, 0)}
OWN = Wallet(bytes(range(32))).key(7).address
MakeKit = Callable[..., Kit]


@contextmanager
def kits(folder: Path, url: str) -> Iterator[MakeKit]:
    made: list[Kit] = []

    def make(**options: object) -> Kit:
        made.append(Kit(folder, url, **options))
        return made[-1]

    yield make
    for kit in made:
        invariant(kit)
        kit.close()


@pytest.fixture
def make(sqlite_url: str, tmp_path: Path) -> Iterator[MakeKit]:
    with kits(tmp_path, sqlite_url) as make:
        yield make


@pytest.fixture
def make_on_each(database_url: str, tmp_path: Path) -> Iterator[MakeKit]:
    with kits(tmp_path, database_url) as make:
        yield make


def invariant(kit: Kit) -> None:
    """Per participant: ledger + carry + unconfirmed = wallet; what was issued, the bank holds."""
    kit.check()
    for account in kit.ask(booked_accounts).values():
        assert account.difference_micro == 0
    totals = kit.ask(lambda session: journal.balances(session, ""))

    def of(kind: str) -> int:
        return sum(micro for name, micro in totals.items() if name.startswith(kind))

    carried = sum(account.carry_micro for account in kit.ask(booked_accounts).values())
    planned = sum(row.planned_micro for row in kit.rows(AddressRow))
    issued = planned + of("paid-out:")
    assert issued + of("withdrawal:") + carried == -of("bank")


def do(kit: Kit, call: Callable[..., object], *arguments: object) -> object:
    with kit.database.write() as session:
        return call(session, kit.house, *arguments)


def available(kit: Kit, name: str, step_micro: int = 1) -> int:
    with kit.database.write() as session:
        return treasury.available_micro(session, name, step_micro)


def text(address: bytes = OWN, hrp: str = "wl") -> str:
    return encode_address_text(hrp, address)


# --- Top-ups -------------------------------------------------------------------------------------


def test_a_top_up_is_booked_and_paid_once(make_on_each: MakeKit) -> None:
    kit = make_on_each()
    kit.live()
    assert do(kit, treasury.top_up, "flat", 250_000, "b1") is True
    assert do(kit, treasury.top_up, "flat", 250_000, "b1") is False
    invariant(kit)
    kit.worker.run_due()
    assert do(kit, treasury.top_up, "flat", 250_000, "b1") is False
    account = kit.accounts()["flat"]
    assert (account.wallet_micro, account.ledger_micro) == (TOP_UP + 250_000,) * 2
    booked = [p[2:] for p in kit.postings() if p[:2] == ("b1", "top-up")]
    assert booked == [("bank", -250_000), ("wallet:flat", 250_000)]
    for other in (("flat", 250_001, "b1"), ("shop", 250_000, "b1")):
        with pytest.raises(TakenReferenceError):
            do(kit, treasury.top_up, *other)


@pytest.mark.parametrize("micro", [0, -5, 33, 10**15 + 1])
@pytest.mark.parametrize("call", [treasury.top_up, treasury.withdraw_to_address])
def test_amounts_that_can_never_move(
    make: MakeKit, call: Callable[..., object], micro: int
) -> None:
    kit = make()
    do(kit, treasury.register_address, "flat", text())
    with pytest.raises(AmountError):
        do(kit, call, "flat", micro, "r")
    with pytest.raises(UnknownParticipantError):
        do(kit, call, "nobody", 100, "r")
    assert kit.rows(WithdrawalRow) == []


# --- Withdrawals ---------------------------------------------------------------------------------


def test_a_withdrawal_is_reserved_collected_and_paid_out(make_on_each: MakeKit) -> None:
    kit = make_on_each()
    kit.live()
    assert do(kit, treasury.reserve_withdrawal, "flat", 1_000_000, "w1", IBAN) is True
    assert do(kit, treasury.reserve_withdrawal, "flat", 1_000_000, "w1", IBAN) is False
    assert kit.wallets()["flat"] == TOP_UP - 1_000_000
    invariant(kit)
    assert not kit.ask(lambda session: treasury.is_collected(session, "w1"))
    kit.worker.run_due()
    assert kit.ask(lambda session: treasury.is_collected(session, "w1"))
    assert kit.accounts()["flat"].ledger_micro == TOP_UP - 1_000_000
    assert do(kit, treasury.complete_withdrawal, "w1") is True
    assert do(kit, treasury.complete_withdrawal, "w1") is False
    with pytest.raises(WithdrawalStateError, match="completed"):
        do(kit, treasury.cancel_withdrawal, "w1")
    booked = [(kind, *rest) for ref, kind, *rest in kit.postings() if ref == "w1"]
    assert booked == [
        ("withdrawal", "wallet:flat", -1_000_000),
        ("withdrawal", "withdrawal:flat", 1_000_000),
        ("withdrawal-paid", "bank", 1_000_000),
        ("withdrawal-paid", "withdrawal:flat", -1_000_000),
    ]
    for other in (("shop", 1_000_000, "w1", IBAN), ("flat", 1_000_000, "w1", "DE00")):
        with pytest.raises(TakenReferenceError):
            do(kit, treasury.reserve_withdrawal, *other)


@pytest.mark.parametrize("collected", [False, True])
def test_a_cancelled_withdrawal_comes_back(make: MakeKit, collected: bool) -> None:
    kit = make()
    kit.live()
    do(kit, treasury.reserve_withdrawal, "flat", TOP_UP, "w1", IBAN)
    if collected:
        kit.worker.run_due()
        assert kit.accounts()["flat"].ledger_micro == 0
    assert do(kit, treasury.cancel_withdrawal, "w1") is True
    assert do(kit, treasury.cancel_withdrawal, "w1") is False
    invariant(kit)
    kit.worker.run_due()
    assert kit.accounts()["flat"].ledger_micro == kit.wallets()["flat"] == TOP_UP
    with pytest.raises(WithdrawalStateError, match="cancelled"):
        do(kit, treasury.complete_withdrawal, "w1")
    for call in (treasury.cancel_withdrawal, treasury.complete_withdrawal):
        with pytest.raises(WithdrawalStateError, match="no withdrawal"):
            do(kit, call, "w2")


# wallet before, what happens -> available, and in whole cents
AVAILABLE = [
    (TOP_UP, {}, TOP_UP, TOP_UP),
    (TOP_UP, TRADE, TOP_UP - SOLD, 4_950_000),
    (10_020, {}, 10_020, 0),  # a cent would leave 20: not even dust stays behind
    (10_034, {}, 10_034, 10_000),
    (50, {}, 50, 0),
    (20_000, TRADE, 0, 0),  # bought on credit
]


@pytest.mark.parametrize(("top_up", "energies", "micro", "cents"), AVAILABLE)
def test_what_is_available(
    make: MakeKit, top_up: int, energies: dict[str, tuple[int, int]], micro: int, cents: int
) -> None:
    kit = make(top_up_micro=top_up)
    kit.live(**energies)
    assert available(kit, "flat") == micro
    assert available(kit, "flat", 10_000) == cents
    for too_much in (micro + 1, micro + 10**6):
        with pytest.raises((BalanceError, AmountError)) as caught:
            do(kit, treasury.reserve_withdrawal, "flat", too_much, "w", IBAN)
        if isinstance(caught.value, BalanceError):
            assert caught.value.available_micro == micro
    if micro:
        do(kit, treasury.reserve_withdrawal, "flat", micro, "w", IBAN)
        kit.worker.run_due()
        assert kit.wallets()["flat"] == kit.accounts()["flat"].ledger_micro + (
            kit.accounts()["flat"].carry_micro
        )


def test_what_is_carried_can_be_withdrawn_once_the_period_ended(make: MakeKit) -> None:
    kit = make(changes={"settle_every": 4})
    for _ in range(3):
        kit.live(**TRADE)
    assert kit.wallets()["solar"] == TOP_UP + 3 * SOLD
    assert available(kit, "solar") == TOP_UP
    assert available(kit, "flat") == TOP_UP - 3 * SOLD  # never into credit
    kit.live(**TRADE)
    assert available(kit, "solar") == TOP_UP + 4 * SOLD


def test_a_withdrawal_that_would_leave_dust_is_refused(make: MakeKit) -> None:
    kit = make()
    with pytest.raises(BalanceError, match="at least 34"):
        do(kit, treasury.reserve_withdrawal, "flat", TOP_UP - 33, "w", IBAN)
    do(kit, treasury.reserve_withdrawal, "flat", TOP_UP - 34, "w", IBAN)
    kit.worker.run_due()
    assert kit.accounts()["flat"].ledger_micro == 34


# --- An address of one's own ---------------------------------------------------------------------


def test_a_payout_to_an_address_of_ones_own(make_on_each: MakeKit) -> None:
    kit = make_on_each()
    kit.live(**TRADE)
    with pytest.raises(OwnAddressError, match="register"):
        do(kit, treasury.withdraw_to_address, "solar", 100_000, "p1")
    do(kit, treasury.register_address, "solar", text())
    assert do(kit, treasury.withdraw_to_address, "solar", 100_000, "p1") is True
    do(kit, treasury.revoke_address, "solar")
    assert do(kit, treasury.withdraw_to_address, "solar", 100_000, "p1") is False
    invariant(kit)
    kit.worker.run_due()
    assert kit.ledger.balance(OWN).units == 100_000
    assert kit.accounts()["solar"].ledger_micro == TOP_UP + SOLD - 100_000
    assert [p[2:] for p in kit.postings() if p[0] == "p1"] == [
        ("paid-out:solar", 100_000),
        ("wallet:solar", -100_000),
    ]
    (row,) = kit.rows(WithdrawalRow)
    assert (row.target, row.state) == (text(), "completed")
    kit.live(**TRADE)  # it only receives: the outbox goes on without it
    assert kit.ledger.balance(OWN).units == 100_000
    assert set(kit.payments().values()) == {"confirmed"}


def test_addresses_that_cannot_be_registered(make: MakeKit) -> None:
    kit = make()
    ours = bytes.fromhex(kit.rows(AddressRow)[0].address)
    treasury_key = Wallet(kit.keyring.wallet_seed).key(0).address
    do(kit, treasury.register_address, "solar", text())
    refused = {
        "": "prefix",
        "hello": "prefix",
        text()[:-1] + ("q" if text()[-1] != "q" else "p"): "mistyped",
        text(hrp="iota"): "another network",
        encode_bech32("wl", b"\x08" + OWN): "not an Ed25519",
        encode_bech32("wl", b"\x00" + OWN[:31]): "not an Ed25519",
        text(ours): "held by the district",
        text(treasury_key): "held by the district",
        text(): "somebody else",
    }
    for address, match in refused.items():
        with pytest.raises(OwnAddressError, match=match):
            do(kit, treasury.register_address, "flat", address)
    with pytest.raises(UnknownParticipantError):
        do(kit, treasury.register_address, "nobody", text())
    assert len(kit.rows(OwnAddressRow)) == 1


def test_registrations_are_kept(make: MakeKit) -> None:
    kit = make()
    other = Wallet(bytes(32)).key(1).address
    do(kit, treasury.register_address, "solar", f"  {text().upper()} ")
    do(kit, treasury.register_address, "solar", text())  # changes nothing
    kit.live()
    do(kit, treasury.register_address, "solar", text(other))
    do(kit, treasury.register_address, "flat", text())  # free again
    kit.live()
    assert do(kit, treasury.revoke_address, "solar") is True
    assert do(kit, treasury.revoke_address, "solar") is False
    rows = [(r.participant, r.address, r.until_ms) for r in kit.rows(OwnAddressRow)]
    assert [row[:2] for row in rows] == [
        ("solar", OWN.hex()),
        ("solar", other.hex()),
        ("flat", OWN.hex()),
    ]
    assert [row[2] is None for row in rows] == [False, False, True]


# --- Credit --------------------------------------------------------------------------------------

# What each quarter-hour brings flat: (drawn Wh, fed in Wh, top-up); -> wallet, ledger, carry.
CREDIT = {
    "drawn on and paid back by a top-up": (
        [(300, 0, 0), (300, 0, 0), (0, 0, 500_000), (0, 0, 0)],
        [(-SOLD, 0, -SOLD), (-2 * SOLD, 0, -2 * SOLD)]
        + [(500_000 - 2 * SOLD, 500_000 - 2 * SOLD, 0)] * 2,
    ),
    "paid back by what is sold": (
        [(300, 0, 0), (0, 600, 0), (0, 0, 0)],
        [(-SOLD, 0, -SOLD), (SOLD, SOLD, 0), (SOLD, SOLD, 0)],
    ),
    "paid back in part": (
        [(300, 0, 0), (0, 100, 0), (0, 0, 20_000)],
        [(-SOLD, 0, -SOLD), (-SOLD + 16_500, 0, -SOLD + 16_500), (-13_000, 0, -13_000)],
    ),
    "what is there goes first": (
        [(0, 0, 30_000), (300, 0, 0)],
        [(30_000, 30_000, 0), (30_000 - SOLD, 0, 30_000 - SOLD)],
    ),
}


@pytest.mark.parametrize("case", CREDIT)
def test_credit_lines(make: MakeKit, case: str) -> None:
    """The treasury fronts what a buyer lacks, sellers have it at once, and it is paid back."""
    story, expected = CREDIT[case]
    kit = make(top_up_micro=0, names=("solar", "flat", "shop"))
    solar = 0
    for number, ((drawn, fed_in, top_up), (wallet, ledger, carry)) in enumerate(
        zip(story, expected, strict=True)
    ):
        if top_up:
            do(kit, treasury.top_up, "flat", top_up, f"t{number}")
        kit.live(solar=(fed_in, drawn), flat=(drawn, fed_in))
        account = kit.accounts()["flat"]
        assert (account.wallet_micro, account.ledger_micro, account.carry_micro) == (
            wallet,
            ledger,
            carry,
        )
        solar += (drawn - fed_in) * RATE // 1000
        assert kit.wallets().get("solar", 0) == solar
        invariant(kit)
    assert set(kit.payments().values()) <= {"confirmed"}


def test_past_the_limit_one_draws_at_the_normal_tariff(make: MakeKit) -> None:
    kit = make(top_up_micro=0, changes={"credit_limit_micro": SOLD})
    first, second = kit.live(**TRADE), kit.live(**TRADE)
    local = [kit.interval(interval).traded_wh for interval in (first, second)]
    assert local == [300, 0]
    assert kit.accounts()["solar"].ledger_micro == SOLD  # paid by the treasury
    do(kit, treasury.top_up, "flat", SOLD, "back")
    kit.live(**TRADE)
    assert kit.wallets()["flat"] == -SOLD
    assert kit.accounts()["solar"].ledger_micro == 2 * SOLD


# --- Anything in any order -----------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["top-up", "reserve", "cancel", "complete", "payout", "live", "pay"]),
        st.sampled_from(["solar", "flat"]),
        st.integers(34, 3 * TOP_UP),
    ),
    max_size=14,
)


@settings(
    max_examples=100 if LONG else 5, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
def test_the_books_agree_at_any_moment(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    kit = Kit(folder, f"sqlite:///{folder / 'd.db'}", names=("solar", "flat"))
    do(kit, treasury.register_address, "solar", text())
    do(kit, treasury.register_address, "flat", text(bytes(32)))
    for number, (what, who, micro) in enumerate(steps):
        with suppress(TreasuryError):
            _take_step(kit, what, who, micro, number)
        with kit.database.read() as session:
            for account in booked_accounts(session).values():
                assert account.difference_micro == 0
            assert journal.total(session) == 0
    kit.worker.run_due()
    kit.worker.run_due()
    assert set(kit.payments().values()) <= {"confirmed"}
    # The steps bring no bank statement, and the daily reconciliation rightly says so.
    alarms = [notice.ref for notice in kit.notices("alarm/")]
    assert [ref for ref in alarms if not ref.startswith("alarm/reconcile/")] == []
    invariant(kit)
    kit.close()


def _take_step(kit: Kit, what: str, who: str, micro: int, number: int) -> None:
    calls: dict[str, Callable[[Session, House], object]] = {
        "top-up": lambda s, h: treasury.top_up(s, h, who, micro, f"r{number}"),
        "reserve": lambda s, h: treasury.reserve_withdrawal(s, h, who, micro, f"r{number}", IBAN),
        "cancel": lambda s, h: treasury.cancel_withdrawal(s, h, f"r{micro % (number + 1)}"),
        "complete": lambda s, h: treasury.complete_withdrawal(s, h, f"r{micro % (number + 1)}"),
        "payout": lambda s, h: treasury.withdraw_to_address(s, h, who, micro, f"r{number}"),
    }
    if what == "live":
        kit.live(solar=(0, micro % 900), flat=(micro % 700, 0))
    elif what == "pay":
        kit.worker.run_due()
    else:
        with kit.database.write() as session:
            calls[what](session, kit.house)
