"""Money in and out of wallets: top-ups, withdrawals, payouts to an address of one's own.

Every function works in the caller's writing transaction: it books the postings and plans the
payment on the ledger, which the outbox carries out. All of them may be repeated with the same
reference. docs/protocol.md, "Treasury", has the rules and the accounts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sqlmodel import Session, col, select

from app.services.founding import treasury_address
from app.services.house import House
from app.store import journal, payments, people, wallets
from app.tables import AddressRow, OwnAddressRow, ParticipantRow, WithdrawalRow
from ledger_client.stardust.bech32 import AddressTextError, decode_address_text, encode_address_text
from market.journal import BANK, Entry, Posting, entry_of, paid_out, wallet, withdrawal
from market.money import Money
from market.payout import STORAGE_DEPOSIT_UNITS, payout

TREASURY_TAG = b"treasury"
MOST_MICRO = 10**15  # a billion euros; also what canonical JSON can say exactly
RESERVED, CANCELLED, COMPLETED = "reserved", "cancelled", "completed"


class TreasuryError(Exception):
    """Root of this module's errors: nothing was written."""


class UnknownParticipantError(TreasuryError):
    """Nobody is called so: check the name, or the reference that was matched."""


class AmountError(TreasuryError):
    """The amount can never be moved: ask for another one."""


class BalanceError(TreasuryError):
    """The wallet does not hold so much now; ``available_micro`` says what it could give."""

    def __init__(self, text: str, available_micro: int) -> None:
        super().__init__(text)
        self.available_micro = available_micro


class TakenReferenceError(TreasuryError):
    """The reference stands for something else already: use another one, or ask a person."""


class WithdrawalStateError(TreasuryError):
    """The withdrawal is unknown or past this step: look at where it stands."""


class OwnAddressError(TreasuryError):
    """The address cannot be registered or paid to: the message says why; ask for another."""


class TopUp(NamedTuple):
    """Money that came in for a participant; ``ref`` names it for good."""

    participant: str
    micro: int
    ref: str


def top_up(session: Session, house: House, participant: str, micro: int, ref: str) -> bool:
    """Book money that came in at the bank, and plan its way from the treasury to the wallet.

    Returns False when this very top-up was booked before.

    Raises:
        UnknownParticipantError, AmountError, TakenReferenceError: see there; nothing was written.
    """
    return bool(top_ups(session, house, ref, [TopUp(participant, micro, ref)]))


def top_ups(session: Session, house: House, ref: str, credited: Sequence[TopUp]) -> int:
    """Book what came in together, each by itself, and plan one move per participant for all.

    Hundreds of cents for one wallet would else be hundreds of payments, one after the other.
    Returns how many were not booked before.

    Raises:
        UnknownParticipantError, AmountError, TakenReferenceError: see there; nothing was written.
    """
    addresses: dict[str, str] = {}
    for participant in sorted({each.participant for each in credited}):
        _check_known(session, participant)
        addresses[participant] = wallets.current(session, participant).address
    for each in credited:
        _check_amount(each.micro)
    there = journal.booked(session, [each.ref for each in credited], "top-up")
    received: Counter[str] = Counter()
    entries: list[Entry] = []
    for each in credited:
        movements = [(wallet(each.participant), each.micro), (BANK, -each.micro)]
        entry = entry_of(each.ref, "top-up", movements)
        if _is_new(entry, there.get(each.ref, ())):
            entries.append(entry)
            received[each.participant] += each.micro
    journal.book_all(session, entries, interval=None, booked_ms=house.clock.now_ms())
    moves = [payments.Move(who, addresses[who], micro) for who, micro in received.items()]
    groups = payments.groups(moves)
    payments.plan(session, f"top-up/{ref}", None, [TREASURY_TAG] * len(groups), groups)
    return len(entries)


def available_micro(session: Session, participant: str, step_micro: int = 1) -> int:
    """Return the most that a participant can withdraw now in whole steps (a cent is 10,000).

    Never on credit, and only as far as planned payments put it on the ledger: the rest is carried
    to the end of the payment period. What was reserved before has left the wallet already.

    Raises:
        UnknownParticipantError: there is no such participant.
    """
    _check_known(session, participant)
    held = wallets.held_at_current(session, participant)
    account = wallet(participant)
    most = max(0, min(journal.balances(session, account).get(account, 0), held))
    for limit in (most, min(most, held - STORAGE_DEPOSIT_UNITS)):
        micro = limit // step_micro * step_micro
        if micro >= STORAGE_DEPOSIT_UNITS and _leaves_no_dust(held, micro):
            return micro
    return 0


def reserve_withdrawal(
    session: Session, house: House, participant: str, micro: int, ref: str, target: str
) -> bool:
    """Take money out of a wallet, to be paid out by the bank to ``target``.

    It stands in ``withdrawal:P`` until :func:`complete_withdrawal` or :func:`cancel_withdrawal`.
    Returns False when this very withdrawal was reserved before.

    Raises:
        UnknownParticipantError, AmountError, BalanceError, TakenReferenceError: nothing was
            written.
    """
    _check(session, participant, micro)
    wallets.current(session, participant)  # locked before anything is looked at
    if (there := session.get(WithdrawalRow, ref)) is not None:
        return _repeated(there, participant, micro, target)
    taken = _take(session, participant, micro)
    _record(session, house, ref, taken, target, RESERVED)
    movements = [(wallet(participant), -micro), (withdrawal(participant), micro)]
    _book(session, house, ref, "withdrawal", movements)
    _plan(session, f"withdrawal/{ref}", [taken])
    return True


def cancel_withdrawal(session: Session, house: House, ref: str) -> bool:
    """Put a reserved withdrawal back into the wallet; only before it went to the bank.

    Returns False when it was cancelled before.

    Raises:
        WithdrawalStateError: there is no such withdrawal, or it is completed.
    """
    row = _locked(session, ref)
    if not _advance(row, CANCELLED):
        return False
    movements = [(wallet(row.participant), row.micro), (withdrawal(row.participant), -row.micro)]
    _book(session, house, ref, "withdrawal-cancelled", movements)
    address = wallets.current(session, row.participant).address
    back = payments.Move(row.participant, address, row.micro)
    _plan(session, f"withdrawal-cancelled/{ref}", [back])
    return True


def complete_withdrawal(session: Session, house: House, ref: str) -> bool:
    """Book that the bank paid a reserved withdrawal out. Returns False when that was done before.

    Raises:
        WithdrawalStateError: there is no such withdrawal, or it was cancelled.
    """
    row = _locked(session, ref)
    if not _advance(row, COMPLETED):
        return False
    movements = [(withdrawal(row.participant), -row.micro), (BANK, row.micro)]
    return _book(session, house, ref, "withdrawal-paid", movements)


def is_collected(session: Session, ref: str) -> bool:
    """Return whether a withdrawal's units are back in the treasury, confirmed on the ledger."""
    payment = payments.by_ref(session, f"withdrawal/{ref}/0")
    return payment is not None and payment.state == "confirmed"


def register_address(session: Session, house: House, participant: str, text: str) -> OwnAddressRow:
    """Register a ledger address (Bech32) of the participant's own for payouts from now on.

    It takes the place of the one before, which stays on record; the same one again changes nothing.

    Raises:
        UnknownParticipantError: there is no such participant.
        OwnAddressError: mistyped, of another network, no Ed25519 address, ours, or somebody's.
    """
    _check_known(session, participant)
    people.district(session, lock=True)  # two may register one address at this moment
    try:
        address = decode_address_text(house.settings.hrp, text.strip()).hex()
    except AddressTextError as error:
        raise OwnAddressError(str(error)) from error
    wallets.ensure(session)
    ours = treasury_address(house.keyring).hex() == address
    if ours or session.get(AddressRow, address) is not None:
        raise OwnAddressError(f"{text.strip()} is held by the district: register one of your own")
    in_force = (OwnAddressRow.address == address, col(OwnAddressRow.until_ms).is_(None))
    holder = session.exec(select(OwnAddressRow).where(*in_force)).first()
    if holder is not None and holder.participant == participant:
        return holder
    if holder is not None:
        raise OwnAddressError(f"{text.strip()} is registered by somebody else: use another one")
    revoke_address(session, house, participant)
    row = OwnAddressRow(participant=participant, address=address, from_ms=house.clock.now_ms())
    session.add(row)
    session.flush()
    return row


def revoke_address(session: Session, house: House, participant: str) -> bool:
    """End the registration of a participant's own address; payouts planned before still go there.

    Returns False when none is in force.
    """
    row = wallets.own_address(session, participant)
    if row is not None:
        row.until_ms = house.clock.now_ms()
        session.flush()
    return row is not None


def withdraw_to_address(
    session: Session, house: House, participant: str, micro: int, ref: str
) -> bool:
    """Plan a payout from a wallet to the participant's registered address on the ledger.

    The units leave our custody: ``paid-out:P`` holds them from now on. Returns False when this
    very payout was planned before.

    Raises:
        OwnAddressError: no address is registered.
        UnknownParticipantError, AmountError, BalanceError, TakenReferenceError: nothing was
            written.
    """
    _check(session, participant, micro)
    wallets.current(session, participant)
    if (there := session.get(WithdrawalRow, ref)) is not None:
        return _repeated(there, participant, micro, there.target)
    own = wallets.own_address(session, participant)
    if own is None:
        raise OwnAddressError(f"{participant} has no address of their own: register one first")
    taken = _take(session, participant, micro)
    target = encode_address_text(house.settings.hrp, bytes.fromhex(own.address))
    _record(session, house, ref, taken, target, COMPLETED)
    movements = [(wallet(participant), -micro), (paid_out(participant), micro)]
    _book(session, house, ref, "payout", movements)
    _plan(session, f"payout/{ref}", [taken, payments.Move(participant, own.address, micro)])
    return True


# --- Below ---------------------------------------------------------------------------------------


def _check_known(session: Session, participant: str) -> None:
    if session.get(ParticipantRow, participant) is None:
        raise UnknownParticipantError(f"there is no participant {participant[:80]!r}")


def _check(session: Session, participant: str, micro: int) -> None:
    _check_known(session, participant)
    _check_amount(micro)


def _check_amount(micro: int) -> None:
    if not STORAGE_DEPOSIT_UNITS <= micro <= MOST_MICRO:
        raise AmountError(
            f"{micro} micro-euros cannot be moved: name {STORAGE_DEPOSIT_UNITS} to {MOST_MICRO}"
        )


def _leaves_no_dust(held: int, micro: int) -> bool:
    return payout(Money(-micro), Money(held)) == Money(-micro)


def _take(session: Session, participant: str, micro: int) -> payments.Move:
    """Return the move of an amount out of a wallet, if it is there."""
    row = wallets.current(session, participant)
    available = available_micro(session, participant)
    if micro > available or not _leaves_no_dust(row.planned_micro, micro):
        raise BalanceError(
            f"{participant} cannot withdraw {micro} micro-euros now; {available} are the most, and "
            f"what stays has to be 0 or at least {STORAGE_DEPOSIT_UNITS}. Local energy of this "
            "payment period counts at its end",
            available,
        )
    return payments.Move(participant, row.address, -micro)


def _repeated(there: WithdrawalRow, participant: str, micro: int, target: str) -> bool:
    """Return False, the answer to a repeated request, unless it is another one."""
    if (there.participant, there.micro, there.target) != (participant, micro, target):
        raise TakenReferenceError(f"{there.ref} is another withdrawal already: use a new reference")
    return False


def _record(
    session: Session, house: House, ref: str, taken: payments.Move, target: str, state: str
) -> None:
    session.add(
        WithdrawalRow(
            ref=ref,
            participant=taken.participant,
            micro=-taken.micro,
            target=target,
            state=state,
            asked_ms=house.clock.now_ms(),
        )
    )
    session.flush()


def _locked(session: Session, ref: str) -> WithdrawalRow:
    row = session.get(WithdrawalRow, ref, with_for_update=True)
    if row is None:
        raise WithdrawalStateError(f"there is no withdrawal {ref[:80]!r}")
    return row


def _advance(row: WithdrawalRow, state: str) -> bool:
    """Take a reserved withdrawal to its end; return whether that is new."""
    if row.state not in (RESERVED, state):
        raise WithdrawalStateError(f"withdrawal {row.ref} is {row.state}: it cannot be {state} now")
    was, row.state = row.state, state
    return was != state


def _book(
    session: Session, house: House, ref: str, kind: str, movements: Sequence[tuple[str, int]]
) -> bool:
    """Book an entry once; return whether it is new."""
    entry = entry_of(ref, kind, movements)
    if not _is_new(entry, journal.postings(session, ref, kind)):
        return False
    journal.book(session, entry, interval=None, booked_ms=house.clock.now_ms())
    return True


def _is_new(entry: Entry, there: Sequence[Posting]) -> bool:
    if there and there != entry.postings:
        raise TakenReferenceError(f"{entry.kind} {entry.ref} is booked with other amounts already")
    return not there


def _plan(session: Session, ref: str, moves: Sequence[payments.Move]) -> None:
    payments.plan(session, ref, None, [TREASURY_TAG], [moves])
