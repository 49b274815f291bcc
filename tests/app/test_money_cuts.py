"""The power is cut at every commit while money moves in all ways at once: nothing is paid twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from app.services import bank_payouts, treasury
from ledger_client.stardust.bech32 import encode_address_text
from tests.app.bank_district import NAMES, BankKit
from tests.app.bank_kit import EURO, Line
from tests.app.district_kit import Home

OWN = bytes(range(32))
Outcome = tuple[dict[str, str], dict[str, int], dict[str, int], int]


class PowerCutError(BaseException):
    """The machine is gone: nobody catches this and goes on."""


@contextmanager
def cut(kit: BankKit, commit: int, *, behind: bool) -> Iterator[list[int]]:
    """Cut the power at so many commits, right before or right behind one; count them."""
    dialect = kit.database.engine.dialect
    do_commit, done = dialect.do_commit, [0]

    def fused(connection: Connection) -> None:
        done[0] += 1
        if done[0] > commit or (done[0] == commit and not behind):
            raise PowerCutError
        do_commit(connection)
        if done[0] == commit:
            raise PowerCutError

    dialect.do_commit = fused
    try:
        yield done
    except PowerCutError:
        pass
    finally:
        del dialect.do_commit


def begin(folder: Path) -> tuple[dict[str, Home], int]:
    """Leave a top-up, a withdrawal, a payout and a period's payment, all of them to be done."""
    kit = BankKit(folder, f"sqlite:///{folder / 'district.db'}", NAMES)
    kit.pay()
    with kit.database.write() as session:
        text = encode_address_text("wl", OWN)
        treasury.register_address(session, kit.house, "solar", text)
    mine = bank_payouts.ask_ledger(kit.house, "solar", EURO, nonce="l")
    kit.pay()
    bank_payouts.approve(kit.house, mine)
    kit.take(Line("A1", 7 * EURO, kit.reference("flat")))
    kit.withdraw("shop", 2 * EURO)
    kit.quarter(solar=(0, 900), flat=(300, 0), shop=(200, 0))
    homes, now = kit.homes, kit.clock.now_ms()
    kit.close()
    return homes, now


def tell(folder: Path, at_ms: int, commit: int, *, behind: bool) -> tuple[int, Outcome]:
    """Let the worker work, cut it, open everything again, and let it work to the end."""
    url = f"sqlite:///{folder / 'district.db'}"
    kit = BankKit(folder, url, NAMES)
    kit.clock.advance_to(at_ms)
    with cut(kit, commit, behind=behind) as done:
        kit.settle()
    kit.close()
    kit = BankKit(folder, url, NAMES)
    kit.clock.advance_to(at_ms)
    kit.settle()
    kit.pay()
    kit.check()
    held = {name: account.ledger_micro for name, account in kit.accounts().items()}
    transfers = kit.node.stats().transfers_confirmed
    outcome = kit.payments(), kit.balances(), held, transfers
    assert kit.ledger.balance(OWN).units == EURO
    kit.close()
    return done[0], outcome


@pytest.mark.parametrize("behind", [False, True])
def test_a_cut_at_every_commit_pays_once(tmp_path: Path, behind: bool) -> None:
    source = tmp_path / "begun"
    source.mkdir()
    _, now = begin(source)
    shutil.copytree(source, tmp_path / "calm")
    commits, calm = tell(tmp_path / "calm", now, 10**6, behind=behind)
    assert set(calm[0].values()) == {"confirmed"}
    assert commits > 8
    for commit in range(1, commits + 1):
        folder = tmp_path / str(commit)
        shutil.copytree(source, folder)
        _, outcome = tell(folder, now, commit, behind=behind)
        assert outcome == calm, f"cut at commit {commit}"
        shutil.rmtree(folder)
