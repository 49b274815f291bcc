"""The pages of the books: satisfies :class:`web.ports.books.Books`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from sqlmodel import Session

from app.bankfiles.csvfile import write_csv
from app.services.accounts import booked_accounts
from app.services.books.chart import Group, group_of, is_folded, owner, rank
from app.services.books.trial import Asked, PeriodError, asked, turnovers
from app.services.house import House
from app.services.privacy import too_few
from app.store import journal, months, people
from app.store.journal import Booked
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

_PAGE: Final = 50
# Energy and its bills; what goes through the bank is the treasury's to see, whose ever it is.
_PRIVATE: Final = frozenset({"local", "memo", "correction", "statement"})
_CSV: Final = ("group", "account", "name", "opening", "debit", "credit", "closing")


class BooksDesk:
    """The books of one district. ``managed`` are the participants whose accounts are shown."""

    def __init__(self, house: House, managed: Collection[str]) -> None:
        self._house = house
        self._managed = managed

    def trial(self, month: str, at: str) -> TrialBalance:
        """Return the trial balance of a month ('': the current one), or at a local moment."""
        with self._house.database.read() as session:
            wanted = self._asked(session, month, at)
            found = turnovers(session, wanted)
            lines = [
                GroupLine(
                    group.key,
                    group.title,
                    group.note,
                    len(accounts),
                    is_folded(group),
                    _sum(found[account] for account in accounts),
                )
                for group, accounts in _grouped(found)
            ]
            return TrialBalance(_period(session, wanted), lines, _sum(found.values()))

    def group(self, key: str, month: str, page: int) -> GroupPage:
        """Return a page of a group's accounts, those of other people as one sum."""
        with self._house.database.read() as session:
            wanted = self._asked(session, month, "")
            found = turnovers(session, wanted)
            group, accounts = next(
                ((group, own) for group, own in _grouped(found) if group.key == key), (None, [])
            )
            if group is None:
                raise NotFoundError("nothing is booked on such accounts")
            names = self._names(session)
            shown = [account for account in accounts if self._may_see(account)]
            others = [found[account] for account in accounts if not self._may_see(account)]
            pages = max(1, -(-len(shown) // _PAGE))
            page = min(max(page, 1), pages)
            return GroupPage(
                period=_period(session, wanted),
                key=key,
                title=group.title,
                note=group.note,
                lines=[
                    AccountLine(account, names.get(account, ""), found[account])
                    for account in shown[(page - 1) * _PAGE : page * _PAGE]
                ],
                others=len(others),
                others_turnover=_sum(others),
                page=page,
                pages=pages,
            )

    def account(self, account: str, month: str, before: int | None) -> AccountPage:
        """Return an account and a page of its entries, newest first."""
        with self._house.database.read() as session:
            wanted = self._asked(session, month, "")
            turnover = turnovers(session, wanted).get(account)
            if turnover is None or not self._may_see(account):
                raise NotFoundError("nothing is booked on such an account of yours")
            rows = journal.of_account(
                session, account, wanted.month, before=before, limit=_PAGE + 1
            )
            group = group_of(account)
            return AccountPage(
                period=_period(session, wanted),
                group=group.key,
                group_title=group.title,
                folded=is_folded(group),
                account=account,
                name=self._names(session).get(account, ""),
                note=group.note,
                turnover=turnover,
                parts=_parts(session, account) if group.key == "wallet" else None,
                entries=self._entries(session, rows[:_PAGE]),
                older=rows[_PAGE - 1].entry if len(rows) > _PAGE else None,
            )

    def csv(self, month: str, at: str) -> bytes:
        """Return the trial balance with a row per account, in micro-euros."""
        with self._house.database.read() as session:
            found = turnovers(session, self._asked(session, month, at))
            names = self._names(session)
        rows: list[tuple[str | int, ...]] = []
        for group, accounts in _grouped(found):
            shown = [account for account in accounts if self._may_see(account)]
            others = [found[account] for account in accounts if not self._may_see(account)]
            rows += [
                (group.key, account, names.get(account, ""), *_numbers(found[account]))
                for account in shown
            ]
            if others:
                rows.append((group.key, "", f"{len(others)} others", *_numbers(_sum(others))))
        rows.append(("sum", "", "", *_numbers(_sum(found.values()))))
        return write_csv([*_CSV[:3], *(f"{name}_micro" for name in _CSV[3:])], rows)

    def _entries(self, session: Session, rows: Sequence[Booked]) -> list[EntryLine]:
        """Return entries; of those that tell of a few other people only that there are some."""
        told = [row.entry for row in rows if row.kind in _PRIVATE and not owner(row.account)]
        behind = journal.people_of(session, told)
        managed = frozenset(self._managed)
        hidden = {
            entry
            for entry, people in behind.items()
            if not people <= managed and too_few(people, managed)
        }
        return [
            EntryLine(row.entry, row.booked_ms, row.kind, "", None, None)
            if row.entry in hidden
            else EntryLine(row.entry, row.booked_ms, row.kind, row.ref, row.interval, row.micro)
            for row in rows
        ]

    def _asked(self, session: Session, month: str, at: str) -> Asked:
        try:
            return asked(month, at, self._house.clock.now_ms(), months.zone_of(session))
        except PeriodError as error:
            raise RefusedError(str(error), error.field) from error

    def _may_see(self, account: str) -> bool:
        return not (who := owner(account)) or who in self._managed

    def _names(self, session: Session) -> Mapping[str, str]:
        """Return whose the participants' accounts are, by account."""
        known = people.participants(session).values()
        return {of(row.id): row.name for row in known for of in journal.OF_PARTICIPANTS}


def _grouped(found: Iterable[str]) -> list[tuple[Group, list[str]]]:
    groups: dict[Group, list[str]] = defaultdict(list)
    for account in sorted(found):
        groups[group_of(account)].append(account)
    return sorted(groups.items(), key=lambda item: rank(item[0]))


def _sum(turnovers_: Iterable[Turnover]) -> Turnover:
    return sum(turnovers_, Turnover())


def _numbers(turnover: Turnover) -> tuple[int, int, int, int]:
    return (
        turnover.opening_micro,
        turnover.debit_micro,
        turnover.credit_micro,
        turnover.closing_micro,
    )


def _period(session: Session, wanted: Asked) -> Period:
    known = sorted({*months.known(session), wanted.month}, reverse=True)
    return Period(people.district(session).zone, wanted.month, known, wanted.until_ms)


def _parts(session: Session, account: str) -> WalletParts | None:
    found = booked_accounts(session).get(owner(account))
    if found is None:
        return None
    return WalletParts(
        found.ledger_micro, found.unconfirmed_micro, found.carry_micro, found.difference_micro
    )
