"""planned -> signed: all payments that are ready, at once, each with coins of its own.

Everything is chosen and signed from a reading view; one short writing transaction stores it, and
nothing at all if a coin was taken meanwhile. The ledger is not asked.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session, col, func, select

from app.services import coins as coin_service
from app.services.alarms import alarm
from app.services.founding import treasury_address
from app.services.house import House
from app.store import coins, payments
from app.tables import AddressRow, ParticipantRow, Payment
from ledger_client.coins import (
    LEAST_UNITS,
    Due,
    Purse,
    ScatteredCoinsError,
    Spending,
    TreasuryShortError,
    melt,
    takes_nothing,
)
from ledger_client.coins import pay as choose
from ledger_client.stardust.transaction import TaggedData
from ledger_client.verify import PAY_TAG
from ledger_client.wallet import (
    TREASURY_ACCOUNT,
    SignedTransaction,
    TransferInput,
    Wallet,
    WalletError,
    build_transfer,
)

_MELT_DATA: Final = b"coins"
_MOST_TREASURY_COINS: Final = 90
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Draft:
    """A payment with its coins; ``payment`` None is a new one that only rearranges coins."""

    payment: int | None
    ref: str
    data: bytes
    spending: Spending


@dataclass(frozen=True, slots=True)
class View:
    """What one pass sees: the outbox in order, and the coins of everybody in it."""

    queue: Sequence[Payment]
    moves: Mapping[int, Sequence[payments.Move]]
    holdings: coins.Holdings
    owners: Mapping[bytes, tuple[int, int]]  # custodial address -> (account, index)
    treasury: bytes
    wanted: int

    def dues(self, payment: Payment) -> list[Due]:
        """Return a payment's moves in the wallet's words."""
        moves = self.moves[payment.id or 0]
        return [Due(m.participant, bytes.fromhex(m.address), m.micro) for m in moves]


def wanted_coins(session: Session) -> int:
    """Return how many coins the treasury keeps: one per group of a period of the whole district."""
    participants = session.exec(select(func.count()).select_from(ParticipantRow)).one()
    groups = -(-participants // payments.MAX_PARTIES)
    return max(1, min(groups, _MOST_TREASURY_COINS))


def sign_ready(house: House) -> bool:
    """Sign every payment that waits for nothing; return whether there was one.

    A payment waits, without an alarm, for earlier ones of its participants and for coins on their
    way. What cannot be covered even so is put before people, and stops nobody else: later payments
    of its participants go ahead of it where they take nothing away from it.
    """
    with house.database.read() as session:
        view = _view(house, session)
    drafts, errors = _choose(view)
    signed: list[tuple[Draft, SignedTransaction]] = []
    for draft in drafts:
        try:
            signed.append((draft, _sign(house, view, draft)))
        except WalletError as error:
            errors[draft.ref] = error
    stored = bool(signed) and _store(house, view, signed)
    news = [
        ref
        for ref, reason in errors.items()
        if alarm(house, f"payment/{ref}", f"payment {ref} stands still: {reason}")
    ]
    if news:
        coin_service.look_again(house, _addresses(view, news))
    return stored


def _addresses(view: View, refs: Collection[str]) -> Sequence[bytes]:
    """Return whose coins some payments would spend: the books may be behind the ledger there."""
    dues = [due for payment in view.queue if payment.ref in refs for due in view.dues(payment)]
    paying = {due.address for due in dues if due.units < 0}
    return [view.treasury, *sorted(paying & view.owners.keys())]


def _view(house: House, session: Session) -> View:
    queue = payments.open_payments(session)
    moves = payments.moves(session, [row.id or 0 for row in queue])
    planned = {
        move.address for row in queue if row.state == "planned" for move in moves[row.id or 0]
    }
    treasury = treasury_address(house.keyring)
    query = (
        select(AddressRow.address, ParticipantRow.account, AddressRow.month)
        .join(ParticipantRow, col(ParticipantRow.id) == AddressRow.participant)
        .where(col(AddressRow.address).in_(planned))
    )
    owners = {
        bytes.fromhex(address): (account, month) for address, account, month in session.exec(query)
    }
    owners[treasury] = (TREASURY_ACCOUNT, 0)
    holdings = coins.holdings(session, [address.hex() for address in owners])
    return View(queue, moves, holdings, owners, treasury, wanted_coins(session))


def _ready(view: View) -> Iterator[Payment]:
    """Yield the planned payments that wait for no earlier one and for no coin on its way."""
    before: set[str] = set()
    for payment in view.queue:
        dues = view.dues(payment)
        parties = {due.party for due in dues}
        waits = parties & before or {due.address for due in dues} & view.holdings.busy
        if payment.state == "planned" and not waits:
            yield payment
        before |= parties


def _choose(view: View) -> tuple[list[Draft], dict[str, WalletError]]:
    """Return what to sign now, and what cannot be paid."""
    purse, ready = Purse(view.holdings.free), list(_ready(view))
    if fan_out := _fan_out(view, purse, ready):
        return [fan_out], {}
    drafts: list[Draft] = []
    errors: dict[str, WalletError] = {}
    melting: set[bytes] = set()
    for payment in ready:
        try:
            spending = choose(view.dues(payment), purse, view.treasury, view.wanted)
        except ScatteredCoinsError as error:
            if error.address not in melting and not _waits(view, drafts, error.address):
                drafts.append(_melting(view, purse, error.address, payment))
                melting.add(error.address)
                purse.remove(drafts[-1].spending)
        except TreasuryShortError as error:
            if not _waits(view, drafts, view.treasury):
                errors[payment.ref] = error
        except WalletError as error:
            errors[payment.ref] = error
        else:
            purse.remove(spending)
            drafts.append(Draft(payment.id, payment.ref, bytes(payment.tagged_data), spending))
    if errors:
        _go_ahead(view, purse, drafts)
    return drafts, errors


def _go_ahead(view: View, purse: Purse, drafts: list[Draft]) -> None:
    """Add what need not wait for earlier payments that stand still; what cannot be waits on."""
    drafted = {draft.payment for draft in drafts}
    moving: set[str] = set()  # the parties of what is under way
    standing: dict[bytes, list[int]] = defaultdict(list)  # what is due at an address before
    for payment in view.queue:
        dues = view.dues(payment)
        parties, addresses = {due.party for due in dues}, {due.address for due in dues}
        waits = parties & moving or addresses & view.holdings.busy
        if payment.state != "planned" or payment.id in drafted:
            moving |= parties
        elif not waits and addresses & standing.keys() and takes_nothing(dues, purse, standing):
            try:
                spending = choose(dues, purse, view.treasury, view.wanted)
            except WalletError:
                _stand(standing, dues)
            else:
                purse.remove(spending)
                drafts.append(Draft(payment.id, payment.ref, bytes(payment.tagged_data), spending))
                moving |= parties
        else:
            _stand(standing, dues)


def _stand(standing: dict[bytes, list[int]], dues: Sequence[Due]) -> None:
    for due in dues:
        standing[due.address].append(due.units)


def _waits(view: View, drafts: Sequence[Draft], address: bytes) -> bool:
    """Return whether an address has coins on their way, those of this pass among them."""
    return address in view.holdings.busy or any(
        owner == address for draft in drafts for owner, _ in draft.spending.inputs
    )


def _fan_out(view: View, purse: Purse, ready: Sequence[Payment]) -> Draft | None:
    """Return what cuts the treasury's coins anew, where there are fewer than payments wait for.

    With nothing to pay it is prepared ahead, so that a usual period finds its coins there.
    """
    free = purse.coins(view.treasury)
    planned = any(payment.state == "planned" for payment in view.queue)
    sought = min(view.wanted, len(ready)) if planned else view.wanted
    if not free or len(free) >= sought or view.treasury in view.holdings.busy:
        return None
    needs = (sum(due.units for due in view.dues(payment)) for payment in ready)
    spending = melt(view.treasury, free, (need for need in needs if need > 0), view.wanted)
    return _melted(spending) if len(spending.outputs) > len(free) else None


def _melting(view: View, purse: Purse, address: bytes, payment: Payment) -> Draft:
    """Return what makes few coins of many, so that ``payment`` can be covered next time."""
    free = purse.coins(address)
    if address != view.treasury:
        return _melted(melt(address, free))
    need = max(0, sum(due.units for due in view.dues(payment)))
    enough = purse.units(address) >= need + view.wanted * LEAST_UNITS
    return _melted(melt(address, free, [need], view.wanted if enough else 1))


def _melted(spending: Spending) -> Draft:
    """Return a payment without parties; its name is that of the first coin, spent but once."""
    return Draft(None, f"coins/{spending.inputs[0][1].output_id.hex()}", _MELT_DATA, spending)


def _sign(house: House, view: View, draft: Draft) -> SignedTransaction:
    wallet = Wallet(house.keyring.wallet_seed)
    keys = {owner: wallet.key(*view.owners[owner]) for owner, _ in draft.spending.inputs}
    inputs = [TransferInput(coin, keys[owner]) for owner, coin in draft.spending.inputs]
    data = TaggedData(PAY_TAG, draft.data)
    return build_transfer(house.settings.network, inputs, draft.spending.outputs, data)


def _store(house: House, view: View, signed: Sequence[tuple[Draft, SignedTransaction]]) -> bool:
    try:
        with house.database.write() as session:
            for draft, transaction in signed:
                row = _row(session, draft)
                row.payload = transaction.payload
                row.transaction_id = transaction.transaction_id.hex()
                row.state = "signed"
                session.flush()
                spent = [coin for _, coin in draft.spending.inputs]
                coins.spend(session, row.id or 0, spent, transaction.payload, view.owners)
    except coins.CoinTakenError as error:
        _log.warning("%s; nothing was signed, trying again", error)
        return False
    return True


def _row(session: Session, draft: Draft) -> Payment:
    """Return the payment to be signed, locked and still planned."""
    if draft.payment is None:
        row = Payment(ref=draft.ref, tagged_data=draft.data, state="planned")
        session.add(row)
        session.flush()
        return row
    row = session.get_one(Payment, draft.payment, with_for_update=True)
    if row.state != "planned":
        raise coins.CoinTakenError(f"payment {row.ref} is {row.state} already")
    return row
