"""The books in memory: a small trial balance that sums to 0."""

from __future__ import annotations

from dataclasses import replace

from web.ports import NotFoundError, RefusedError
from web.ports.books import (
    AccountLine,
    AccountPage,
    EntryLine,
    GroupLine,
    GroupPage,
    Period,
    TrialBalance,
    Turnover,
    WalletParts,
)

HOSTILE = "<script>alert(8)</script>"
EURO = 1_000_000
PERIOD = Period("Europe/Berlin", "2026-06", ["2026-07", "2026-06"], None)
WALLETS = Turnover(100 * EURO, 25_000, 2 * EURO + 25_000)
BANK = Turnover(-100 * EURO, 2 * EURO, 0)
TRIAL = TrialBalance(
    PERIOD,
    [
        GroupLine("wallet", "Wallets", "What participants hold", 2, True, WALLETS),
        GroupLine("bank", "Bank", HOSTILE, 1, False, BANK),
    ],
    WALLETS + BANK,
)
GROUP = GroupPage(
    period=PERIOD,
    key="wallet",
    title="Wallets",
    note="What participants hold",
    lines=[AccountLine("wallet:weber", HOSTILE, WALLETS)],
    others=7,
    others_turnover=Turnover(EURO, 0, 0),
    page=2,
    pages=2,
)
ACCOUNT = AccountPage(
    period=PERIOD,
    group="wallet",
    group_title="Wallets",
    folded=True,
    account="wallet:weber",
    name="Weber",
    note="What participants hold",
    turnover=WALLETS,
    parts=WalletParts(101 * EURO, EURO, 7, 0),
    entries=[
        EntryLine(9, 1_782_205_500_000, "local", "ref-9", "2026-06-23T09:00:00Z", -25_000),
        EntryLine(4, 1_782_205_500_000, "top-up", HOSTILE, None, 2 * EURO),
    ],
    older=4,
)


class FakeBooks:
    """Answers with what it was given; ``asked`` remembers the last question."""

    def __init__(self) -> None:
        self.balance = TRIAL
        self.asked: tuple[object, ...] = ()

    def trial(self, month: str, at: str) -> TrialBalance:
        self.asked = (month, at)
        if month == "2026-13":
            raise RefusedError("'2026-13' is no month", "month")
        period = replace(PERIOD, until_ms=1_782_205_500_000 if at else None)
        return replace(self.balance, period=period)

    def group(self, key: str, month: str, page: int) -> GroupPage:
        self.asked = (key, month, page)
        if key != "wallet":
            raise NotFoundError("nothing is booked on such accounts")
        return GROUP

    def account(self, account: str, month: str, before: int | None) -> AccountPage:
        self.asked = (account, month, before)
        if account != "wallet:weber":
            raise NotFoundError("nothing is booked on such an account")
        return ACCOUNT

    def csv(self, month: str, at: str) -> bytes:
        if month == "2026-13":
            raise RefusedError("'2026-13' is no month", "month")
        return b"group;account\r\n"
