"""Money on its way out: asked -> approved -> exported -> paid, or rejected, or cancelled.

Every step is one writing transaction over the locked row, so that no payment is made twice and
none is lost: what leaves a wallet is reserved first, and comes back when it is not paid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from sqlmodel import Session

from app.bankfiles.amounts import MICRO_PER_CENT, euros, within_sepa
from app.bankfiles.errors import BankFileError
from app.bankfiles.identifiers import check_iban, grouped, token
from app.bankfiles.pain import BankAccount, Order, Transfer, sepa_text, write_pain
from app.bankfiles.statement import clean
from app.services import dues, treasury
from app.services.bank_account import need_account
from app.services.bank_errors import AskedError, BankError, NotThereError, StateError
from app.services.house import House
from app.store import bank, journal, payments, people, wallets
from app.store import dues as due_rows
from app.tables import BankExportRow, BankMovementRow, BankPayoutRow
from ledger_client.stardust.bech32 import encode_address_text
from market.journal import BANK, entry_of, paid_out
from metering.interval import from_ms

SUSPENSE: Final = "suspense"
_REASON: Final = 140


@contextmanager
def treasury_in_words() -> Iterator[None]:
    """Turn what the treasury refuses into errors of this rail."""
    try:
        yield
    except treasury.BalanceError as error:
        most = euros(error.available_micro // MICRO_PER_CENT * MICRO_PER_CENT)
        raise AskedError(
            f"{most} euros are the most that can be withdrawn now; local energy of the running "
            "payment period counts at its end",
            "amount",
        ) from error
    except treasury.OwnAddressError as error:
        raise AskedError(str(error), "address") from error
    except treasury.AmountError as error:
        raise AskedError(str(error), "amount") from error
    except treasury.UnknownParticipantError as error:
        raise AskedError(str(error), "participant") from error
    except treasury.TreasuryError as error:
        raise StateError(str(error)) from error


def ask_bank(
    house: House, participant: str, micro: int, *, iban: str, holder: str, nonce: str
) -> str:
    """Reserve a withdrawal to a bank account; return its reference.

    ``holder`` is the account's ('' for the participant's own name); ``nonce`` names the form, so
    that a form sent twice asks once.

    Raises:
        AskedError: the amount or the account cannot be used; it names the field.
        NoAccountError: the district has no account to pay from.
        StateError: this form was sent before with something else in it.
    """
    if micro <= 0 or micro % MICRO_PER_CENT:
        raise AskedError("write an amount of whole cents, from 0.01 euro", "amount")
    try:
        account = check_iban(iban)
    except BankFileError as error:
        raise AskedError(str(error), "iban") from error
    try:
        within_sepa(micro)
    except BankFileError as error:
        raise AskedError(str(error), "amount") from error
    with house.database.write() as session:
        if account == need_account(session, house.settings).iban:
            raise AskedError("that is the district's own account: write yours", "iban")
        own = _name(session, participant)
        name = clean(holder, 70) or own
        if not sepa_text(name, 70):
            raise AskedError("write the account holder's name in Latin letters", "holder")
        return _ask(session, house, participant, micro, ("bank", name, account, nonce))


def ask_ledger(house: House, participant: str, micro: int, *, nonce: str) -> str:
    """Reserve a withdrawal to the ledger address that the participant registered.

    Raises:
        AskedError: no address is registered, or the amount cannot be used.
        StateError: this form was sent before with something else in it.
    """
    with house.database.write() as session:
        own = wallets.own_address(session, participant)
        if own is None:
            raise AskedError("register an address of your own first", "address")
        text = encode_address_text(house.settings.hrp, bytes.fromhex(own.address))
        name = _name(session, participant)
        return _ask(session, house, participant, micro, ("ledger", name, text, nonce))


def _ask(
    session: Session, house: House, participant: str, micro: int, how: tuple[str, str, str, str]
) -> str:
    kind, name, target, nonce = how
    ref = "W" + token("wattloom-withdrawal-v1", house.settings.origin, participant, nonce)
    with treasury_in_words():
        wallets.current(session, participant)  # locked: the form may come twice at this moment
        if (there := bank.payout(session, ref)) is not None:
            return _asked_before(there, kind, micro, target)
        treasury.reserve_withdrawal(session, house, participant, micro, ref, target)
    session.add(
        BankPayoutRow(
            ref=ref,
            kind=kind,
            participant=participant,
            micro=micro,
            name=name,
            target=target,
            state="asked",
            asked_ms=house.clock.now_ms(),
        )
    )
    return ref


def _asked_before(there: BankPayoutRow, kind: str, micro: int, target: str) -> str:
    told = there.kind, there.micro, there.target
    if told != (kind, micro, target) or there.state in {"rejected", "cancelled"}:
        raise StateError(
            f"this form was sent before, for {euros(there.micro)} euros ({there.state}): load the "
            "page again and ask anew"
        )
    return there.ref


def _name(session: Session, participant: str) -> str:
    row = people.participants(session).get(participant)
    if row is None:
        raise AskedError(f"there is no participant {participant!r}", "participant")
    return row.name


def cancel(house: House, ref: str, participant: str) -> None:
    """Undo a withdrawal of one's own, as long as it was not handed to the bank.

    Raises:
        NotThereError: the participant has no such withdrawal.
        StateError: it is past undoing.
    """
    with house.database.write() as session:
        row = _locked(session, ref)
        if row.participant != participant:
            raise NotThereError(f"there is no withdrawal {ref} of {participant}")
        _step(house, row, {"asked", "approved"}, "cancelled")
        _give_back(session, house, row)


def approve(house: House, ref: str) -> None:
    """Let a withdrawal go: to the next file for the bank, or at once to the ledger address.

    Raises:
        NotThereError, StateError: see there.
    """
    with house.database.write() as session:
        row = _locked(session, ref)
        _step(house, row, {"asked"}, "paid" if row.kind == "ledger" else "approved")
        if row.kind == "ledger":
            _pay_on_ledger(session, house, row)


def reject(house: House, ref: str, reason: str) -> None:
    """Refuse what was asked for (or approved, but not exported); the money is back at once.

    Raises:
        AskedError: without a reason, which the participant will read.
        NotThereError, StateError: see there.
    """
    _undo(house, ref, {"asked", "approved"}, reason)


def refused_by_bank(house: House, ref: str, reason: str) -> None:
    """Take an exported payment back that the bank certainly did not make; the money is back.

    Raises:
        AskedError, NotThereError, StateError: see :func:`reject`.
    """
    _undo(house, ref, {"exported"}, reason)


def _undo(house: House, ref: str, states: set[str], reason: str) -> None:
    words = clean(reason, _REASON)
    if not words:
        raise AskedError("write the reason: the participant will read it", "reason")
    with house.database.write() as session:
        row = _locked(session, ref)
        _step(house, row, states, "rejected")
        row.reason = words
        _give_back(session, house, row)


def _give_back(session: Session, house: House, row: BankPayoutRow) -> None:
    """Put the money where it came from: into the wallet, or back on the list."""
    if row.kind == "return":
        _movement(session, row).state = "open"
    if row.kind in {"return", dues.KIND}:  # nothing was taken from a wallet
        return
    with treasury_in_words():
        treasury.cancel_withdrawal(session, house, row.ref)


def send_back(house: House, ref: str) -> str:
    """Send a credit that nobody can place back to whom it came from, with the next export.

    Raises:
        AskedError: the statement named no account that can be paid to.
        NotThereError, StateError: see there.
    """
    with house.database.write() as session:
        row = open_credit(session, ref)
        try:
            iban = check_iban(row.iban)
        except BankFileError as error:
            raise AskedError(f"it cannot be sent back by itself: {error}") from error
        if not sepa_text(row.name, 70):
            raise AskedError("it cannot be sent back by itself: the payer's name is not known")
        if row.micro % MICRO_PER_CENT:
            raise AskedError("it cannot be sent back by itself: it is no amount of whole cents")
        earlier = sum(each.movement == ref for each in bank.payouts(session, limit=10**6))
        payout = "W" + token("wattloom-return-v1", house.settings.origin, ref, str(earlier))
        now_ms = house.clock.now_ms()
        session.add(
            BankPayoutRow(
                ref=payout,
                kind="return",
                movement=ref,
                micro=row.micro,
                name=row.name,
                target=iban,
                state="approved",
                asked_ms=now_ms,
                decided_ms=now_ms,
            )
        )
        row.state = "returning"
        return payout


def open_credit(session: Session, ref: str) -> BankMovementRow:
    """Return a credit that waits for a person, locked.

    Raises:
        NotThereError, StateError: see there.
    """
    row = bank.movement(session, ref, lock=True)
    if row is None:
        raise NotThereError(f"there is no bank movement {ref!r}")
    if row.state != "open" or row.micro <= 0:
        raise StateError(f"{ref} does not wait to be assigned: it is {row.state}")
    return row


def export(house: House) -> tuple[BankExportRow | None, int]:
    """Hand every approved payment to a file for the bank, once; return it and how many wait.

    A withdrawal waits until its units are back in the treasury, confirmed by the ledger. None
    where nothing is ready.

    Raises:
        NoAccountError: the district has no account to pay from.
        BankFileError: a payment or the account's name cannot be written for SEPA.
    """
    with house.database.write() as session:
        approved = bank.to_export(session)
        ready = [row for row in approved if _is_covered(session, row)]
        if not ready:
            return None, len(approved)
        made = _write(session, house, ready)
        session.add(made)
        session.flush()
        for row in ready:
            row.state, row.export = "exported", made.id
        return made, len(approved) - len(ready)


def _is_covered(session: Session, row: BankPayoutRow) -> bool:
    return row.kind in {"return", dues.KIND} or treasury.is_collected(session, row.ref)


def _write(session: Session, house: House, rows: Sequence[BankPayoutRow]) -> BankExportRow:
    now_ms = house.clock.now_ms()
    day = local_day(session, now_ms)
    name = token("wattloom-export-v1", house.settings.origin, *(row.ref for row in rows))
    district = people.district(session).name
    of_statements = due_rows.of_payouts(session, [row.ref for row in rows])
    order = Order(
        message_id=f"WL-{day:%Y%m%d}-{name}",
        created=from_ms(now_ms),
        execute_on=day,
        account=need_account(session, house.settings),
        transfers=tuple(
            Transfer(
                end_to_end=row.ref,
                micro=row.micro,
                to=BankAccount(row.name, row.target),
                remittance=" ".join(filter(None, (district, of_statements.get(row.ref), row.ref))),
            )
            for row in rows
        ),
    )
    return BankExportRow(
        message_id=order.message_id,
        at_ms=now_ms,
        content=write_pain(order),
        payments=len(rows),
        micro=sum(row.micro for row in rows),
    )


def exported_file(house: House, message_id: str) -> bytes:
    """Return an exported file again, byte for byte: a bank takes one message id once.

    Raises:
        NotThereError: no file has this message id.
    """
    with house.database.read() as session:
        row = bank.export(session, message_id)
    if row is None:
        raise NotThereError(f"no file with the message id {message_id[:60]!r} was exported")
    return row.content


def settle(session: Session, house: House, row: BankPayoutRow) -> None:
    """Book that the bank paid: its statement shows the debit. The row is exported and locked."""
    row.state = "paid"
    if row.kind == "return":
        _movement(session, row).state = "returned"
        moved = [(SUSPENSE, -row.micro), (BANK, row.micro)]
        _book(session, house, row.ref, "returned", moved)
        return
    if row.kind == dues.KIND:
        dues.paid_out(session, house, row)
        return
    with treasury_in_words():
        treasury.complete_withdrawal(session, house, row.ref)


def _pay_on_ledger(session: Session, house: House, row: BankPayoutRow) -> None:
    """Let the treasury pay what was reserved to the participant's own address."""
    who = row.participant or ""
    own = wallets.own_address(session, who)
    text = encode_address_text(house.settings.hrp, bytes.fromhex(own.address)) if own else ""
    if own is None or text != row.target:
        raise StateError("the address is not registered any more: reject it, and let them ask anew")
    with treasury_in_words():
        treasury.complete_withdrawal(session, house, row.ref)
    _book(session, house, row.ref, "payout", [(BANK, -row.micro), (paid_out(who), row.micro)])
    move = payments.Move(who, own.address, row.micro)
    payments.plan(session, f"payout/{row.ref}", None, [treasury.TREASURY_TAG], [[move]])


def _book(
    session: Session, house: House, ref: str, kind: str, moved: list[tuple[str, int]]
) -> None:
    now_ms = house.clock.now_ms()
    journal.book(session, entry_of(ref, kind, moved), interval=None, booked_ms=now_ms)


def _locked(session: Session, ref: str) -> BankPayoutRow:
    row = bank.payout(session, ref, lock=True)
    if row is None:
        raise NotThereError(f"there is no withdrawal {ref[:40]!r}")
    return row


def _movement(session: Session, row: BankPayoutRow) -> BankMovementRow:
    found = bank.movement(session, row.movement or "", lock=True)
    if found is None:
        raise BankError(f"{row.ref} sends back a movement that is not there: ask a person")
    return found


def _step(house: House, row: BankPayoutRow, states: set[str], to: str) -> None:
    if row.state not in states:
        raise StateError(f"{row.ref} ({euros(row.micro)} euros) is {row.state} already")
    row.state, row.decided_ms = to, house.clock.now_ms()


def local_day(session: Session, moment_ms: int) -> date:
    """Return the day of the district at a moment."""
    return from_ms(moment_ms).astimezone(ZoneInfo(people.district(session).zone)).date()


def shown_target(row: BankPayoutRow) -> str:
    """Return where a payout goes, as people read it."""
    return row.target if row.kind == "ledger" else grouped(row.target)
