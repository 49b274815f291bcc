"""A fresh address per participant and month: the roll-over, and its proofs offline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from app.jobs.pay import pay
from app.services import treasury
from app.services.proofs import settlement_proof
from app.store import payments, wallets
from app.tables import AddressRow, CoinRow, DistrictRow, PaymentMove
from ledger_client.stardust.bech32 import encode_address_text
from ledger_client.verify import verify_bytes
from ledger_client.wallet import Wallet
from metering.interval import Interval
from tests.app.district_kit import RATE, TOP_UP, Kit
from web.ports import Role, Viewer

# Berlin is two hours ahead of UTC in June: the month ends at 22:00 UTC.
START = Interval.parse("2026-06-30T21:30:00Z")
SOLD = 300 * RATE // 1000
TRADE = {"solar": (0, 900), "flat": (300, 0)}
MakeKit = Callable[..., Kit]


@pytest.fixture
def make(database_url: str, tmp_path: Path) -> Iterator[MakeKit]:
    kits: list[Kit] = []

    def make(**options: object) -> Kit:
        kits.append(Kit(tmp_path, database_url, start=START, **options))
        return kits[-1]

    yield make
    for kit in kits:
        kit.check()
        kit.close()


@pytest.fixture
def make_plain(sqlite_url: str, tmp_path: Path) -> Iterator[MakeKit]:
    def make(**options: object) -> Kit:
        return Kit(tmp_path, sqlite_url, **({"start": START} | options))

    return make


def addresses(kit: Kit, name: str) -> list[tuple[int, str, int]]:
    rows = kit.rows(AddressRow, AddressRow.participant == name)
    return sorted((row.month, row.address, row.planned_micro) for row in rows)


def units(kit: Kit, address: str) -> int:
    return kit.ledger.balance(bytes.fromhex(address)).units


def moves(kit: Kit, interval: str, name: str) -> list[tuple[str, int]]:
    return [(t["address"], t["micro"]) for t in kit.statement(interval, name)["transfers"]]


def test_what_an_address_holds_moves_on_at_the_months_end(make: MakeKit) -> None:
    kit = make()
    keys = [kit.live(**TRADE) for _ in range(4)]  # the last two are July's in Berlin
    (first, old, nothing), (second, new, held) = addresses(kit, "solar")
    assert (first, second, nothing, held) == (0, 1, 0, TOP_UP + 4 * SOLD)
    assert new == Wallet(kit.keyring.wallet_seed).key(1, 1).address.hex()
    assert moves(kit, keys[1], "solar") == [(old, SOLD)]
    assert moves(kit, keys[2], "solar") == [(old, -(TOP_UP + 2 * SOLD)), (new, TOP_UP + 3 * SOLD)]
    assert moves(kit, keys[3], "solar") == [(new, SOLD)]
    assert (units(kit, old), units(kit, new)) == (0, TOP_UP + 4 * SOLD)
    # Somebody who traded nothing moves on as well.
    (_, shop, _), (_, shops_new, _) = addresses(kit, "shop")
    assert moves(kit, keys[2], "shop") == [(shop, -TOP_UP), (shops_new, TOP_UP)]
    for interval in keys:
        for name in kit.names:
            proof = kit.prove(interval, name)
            assert proof.code == 0, proof
    assert kit.accounts()["shop"].wallet_micro == TOP_UP
    page = kit.views("x").participant(Viewer(Role.PROSUMER, "shop", "token"), "shop")
    assert page.address == encode_address_text("wl", bytes.fromhex(shops_new))


def test_a_proof_over_the_months_end_fails_when_a_transfer_is_changed(make_plain: MakeKit) -> None:
    kit = make_plain()
    for _ in range(2):
        kit.live(**TRADE)
    rolled = kit.live(**TRADE)
    proof, keys = settlement_proof(kit.house, rolled, "solar"), kit.keys()
    assert verify_bytes(proof, keys).code == 0
    (_, old, _), (_, new, _) = addresses(kit, "solar")
    for address in (old, new):
        assert proof.count(address.encode()) >= 1
        forged = proof.replace(address.encode(), addresses(kit, "shop")[0][1].encode())
        assert verify_bytes(forged, keys).code == 1
    kit.close()


def test_carries_and_dust_go_over_the_months_end(make_plain: MakeKit) -> None:
    """A period of an hour: its payment comes after the month's end, and carries add up."""
    kit = make_plain(changes={"settle_every": 4}, top_up_micro=100_000)
    keys = [kit.live(**TRADE) for _ in range(6)]
    paid = [interval for interval in keys if moves(kit, interval, "solar")]
    assert paid == [keys[1], keys[5]]  # 22:00 and 23:00 UTC
    for interval in keys:
        statement = kit.statement(interval, "flat")
        total = sum(t["micro"] for t in statement["transfers"])
        opening, closing = statement["opening_carry_micro"], statement["closing_carry_micro"]
        assert opening + statement["sum_micro"] == total + closing
        assert kit.prove(interval, "flat").code == 0
    flat = kit.accounts()["flat"]
    assert flat.wallet_micro == 100_000 - 6 * SOLD
    assert flat.ledger_micro == 0  # all it had is gone, the rest is credit
    assert flat.carry_micro == flat.wallet_micro
    assert [row.month for row in kit.rows(AddressRow, AddressRow.participant == "flat")] == [0, 1]
    kit.check()
    kit.close()


def test_a_top_up_between_the_months_goes_to_the_address_in_use(make_plain: MakeKit) -> None:
    kit = make_plain()
    kit.live(**TRADE)
    kit.live(**TRADE)
    with kit.database.write() as session:
        assert treasury.top_up(session, kit.house, "flat", 70_000, "july")
    kit.worker.run_due()
    (only,) = addresses(kit, "flat")
    kit.live(**TRADE)
    (_, old, nothing), (_, new, held) = addresses(kit, "flat")
    assert (old, nothing) == (only[1], 0)
    assert (units(kit, old), units(kit, new)) == (0, held)
    assert held == TOP_UP + 70_000 - 3 * SOLD
    kit.check()
    kit.close()


@pytest.mark.parametrize(
    ("first", "later", "months"),
    [
        ("2026-06-30T21:30:00Z", "2026-06-30T21:45:00Z", 0),
        ("2026-06-30T21:30:00Z", "2026-06-30T22:00:00Z", 1),  # summer time: UTC + 2
        ("2026-06-30T22:00:00Z", "2026-07-31T21:45:00Z", 0),
        ("2026-12-31T22:45:00Z", "2026-12-31T23:00:00Z", 1),  # winter time: UTC + 1
        ("2026-06-15T09:00:00Z", "2028-05-31T22:00:00Z", 24),
        ("2026-06-30T22:00:00Z", "2026-06-30T21:45:00Z", 0),  # never below the first
    ],
)
def test_months_are_those_of_the_districts_calendar(
    make_plain: MakeKit, first: str, later: str, months: int
) -> None:
    kit = make_plain(start=Interval.parse(first))
    with kit.database.read() as session:
        assert session.exec(select(DistrictRow.zone)).one() == "Europe/Berlin"
        assert wallets.month_of(session, Interval.parse(later)) == months
    kit.close()


# --- Data folders from before months were told apart ---------------------------------------------


def forget_wallets(kit: Kit) -> None:
    """Take away what an earlier version did not write."""
    with kit.database.write() as session:
        for table in (PaymentMove, CoinRow, AddressRow):
            for row in session.exec(select(table)):
                session.delete(row)


@pytest.mark.parametrize("state", ["planned", "signed", "submitted", "applied", "confirmed"])
def test_an_older_folder_goes_on_wherever_its_payments_stood(
    make_plain: MakeKit, state: str
) -> None:
    kit = make_plain(start=Interval.parse("2026-06-10T09:00:00Z"))
    kit.live(**TRADE)
    send = kit.ledger.transfer
    kit.ledger.down = state == "planned"
    kit.ledger.refuses_transfers = state == "signed"
    if state == "submitted":
        kit.ledger.transfer = lambda _payload: b""
    interval = kit.live(**TRADE)
    if state == "planned":  # the one before is signed, and this one waits for it
        interval = kit.live(**TRADE)
    kit.ledger.down = kit.ledger.refuses_transfers = False
    kit.ledger.transfer = send
    if state == "applied":  # on the ledger, and nobody has looked yet
        with kit.database.write() as session:
            payments.by_ref(session, f"{interval}/0").state = "submitted"
    expected = "submitted" if state == "applied" else state
    assert kit.payments()[f"{interval}/0"] == expected
    forget_wallets(kit)
    with kit.database.write() as session:
        wallets.ensure(session)
    kit.live(**TRADE)
    kit.live(**TRADE)
    kit.worker.run_due()
    assert set(kit.payments().values()) == {"confirmed"}
    assert {name: each.ledger_micro for name, each in kit.accounts().items()} == kit.wallets()
    assert kit.node.stats().transfers_confirmed == len(kit.payments())
    assert not pay(kit.house)
    kit.check()
    kit.close()
