"""Brings our own book of coins and the ledger together: at first, after a conflict, for recovery.

The ledger is asked while no database transaction is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from app.services.founding import treasury_address
from app.services.house import House
from app.store import coins, payments, people, wallets
from app.tables import CoinRow, NoticeRow, Payment, PaymentInput
from ledger_client.ledger import LedgerError, UnspentOutput
from ledger_client.stardust.bech32 import encode_address_text
from ledger_client.stardust.codec import ID_LENGTH
from ledger_client.stardust.output import BasicOutput

Found = Mapping[bytes, Sequence[UnspentOutput]]
"""The unspent outputs on the ledger, by address."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What the ledger has at an address and the books do not explain, in units.

    ``lost_units`` were booked and are gone, spent by a transaction that is not ours;
    ``found_units`` came from elsewhere and are left alone.
    """

    address: bytes
    lost_units: int
    found_units: int


def ask(house: House, addresses: Sequence[bytes]) -> Found:
    """Ask the ledger what addresses hold. Not within a database transaction: it may take long."""
    return {address: house.ledger.balance(address).outputs for address in addresses}


def ensure(house: House) -> None:
    """Fill the book of coins where there is none: a new district, or one from before it was kept.

    A new district asks for the treasury alone, which owns the whole supply.

    Raises:
        LedgerError: the ledger did not answer; ask again later.
    """
    with house.database.read() as session:
        if not coins.is_empty(session):
            return
        addresses = _addresses(house, session)
    _fill(house, ask(house, addresses))


def resync(house: House, *, adopt: bool = False) -> Sequence[Difference]:
    """Compare every custodial address with the ledger, mend the book, and tell what differs.

    What is gone is struck out. What our own payments made comes back in, and so does what stands in
    for lost coins of the same address and sum. Anything else on the ledger is somebody's deposit:
    it is spent only after ``adopt`` (after a restored back-up, say), and nobody's wallet grows by
    it before a person has booked it.

    Raises:
        LedgerError: the ledger did not answer; nothing was changed.
    """
    with house.database.read() as session:
        addresses = _addresses(house, session)
    found = ask(house, addresses)
    with house.database.write() as session:
        return reconcile(session, found, adopt=adopt)


def look_again(house: House, addresses: Sequence[bytes]) -> None:
    """Compare addresses with the ledger and put before people what is not explained.

    For payments that stand still: a node that was behind, or a restored back-up, heals so. Only
    the one who signs may call this, since nothing may be signed in between. A ledger that does not
    answer changes nothing.
    """
    try:
        found = ask(house, addresses)
    except LedgerError:
        return
    with house.database.write() as session:
        tell(house, session, reconcile(session, found))


def look_daily(house: House) -> None:
    """Look again at everybody's coins while a payment stands still that people were told of."""
    with house.database.read() as session:
        query = select(NoticeRow.ref).where(col(NoticeRow.ref).startswith("alarm/payment/"))
        told = frozenset(session.exec(query))
        if not any(f"alarm/payment/{row.ref}" in told for row in payments.open_payments(session)):
            return
        addresses = _addresses(house, session)
    look_again(house, addresses)


def tell(house: House, session: Session, differences: Sequence[Difference]) -> None:
    """Put before people, once each, what the books do not explain."""
    for each in differences:
        name = encode_address_text(house.settings.hrp, each.address)
        people.notify(
            session,
            ref=f"alarm/coins/{each.address.hex()}/{each.lost_units}/{each.found_units}",
            at_ms=house.clock.now_ms(),
            level="alarm",
            text=f"the ledger and the books differ at {name}: {each.lost_units} units are gone "
            f"that no payment of ours spent, {each.found_units} are there that none brought. "
            "Those are left alone",
            point=None,
        )


def reconcile(session: Session, found: Found, *, adopt: bool = False) -> Sequence[Difference]:
    """Bring the coins of the addresses in ``found`` in line with it; see :func:`resync`.

    What payments on their way spend and make is not touched: the ledger may show it or not.
    """
    flying = _flying(session)
    differences = []
    for address, outputs in found.items():
        rows = session.exec(select(CoinRow).where(CoinRow.address == address.hex())).all()
        known = {row.output_id for row in rows}
        there = {coin.output_id.hex() for coin in outputs}
        gone = [
            row
            for row in rows
            if row.spent_by is None and row.made_by not in flying and row.output_id not in there
        ]
        strange = [coin for coin in outputs if coin.output_id.hex() not in known]
        ours, others = _told_apart(session, strange)
        extra = sum(coin.units for coin in others)
        lost = max(0, sum(row.units for row in gone) - sum(coin.units for coin in ours))
        coins.forget(session, [bytes.fromhex(row.output_id) for row in gone])
        coins.book(session, [*ours, *others] if adopt or lost == extra else ours)
        if lost != extra and not adopt:
            differences.append(Difference(address, lost, extra))
    return differences


def _told_apart(
    session: Session, strange: Sequence[UnspentOutput]
) -> tuple[Sequence[UnspentOutput], Sequence[UnspentOutput]]:
    """Return the coins that our confirmed payments made, and those of others.

    Left out is what our payments on their way make, and what our confirmed ones have spent: a node
    may be behind.
    """
    names = [coin.output_id.hex() for coin in strange]
    spent = set(
        session.exec(select(PaymentInput.output_id).where(col(PaymentInput.output_id).in_(names)))
    )
    makers = {name[: 2 * ID_LENGTH] for name in names}
    query = select(Payment.transaction_id, Payment.state)
    state = dict(session.exec(query.where(col(Payment.transaction_id).in_(makers))).all())
    ours: list[UnspentOutput] = []
    others: list[UnspentOutput] = []
    for name, coin in zip(names, strange, strict=True):
        maker = state.get(name[: 2 * ID_LENGTH])
        if name not in spent and maker in (None, "confirmed"):
            (others if maker is None else ours).append(coin)
    return ours, others


def _flying(session: Session) -> frozenset[int]:
    """Return the signed payments whose fate is open."""
    query = select(Payment.id).where(col(Payment.state).in_(("signed", "submitted")))
    return frozenset(payment for payment in session.exec(query) if payment is not None)


def _fill(house: House, found: Found) -> None:
    with house.database.write() as session:
        if not coins.is_empty(session):
            return
        for payment in _flying(session):
            row = session.get_one(Payment, payment)
            inputs = [_consumed(item) for item in payments.inputs(session, payment)]
            made = [coin for coin in coins.made(row.payload or b"") if coins.owner(coin) in found]
            coins.book(session, inputs, spent_by=payment)
            coins.book(session, made, made_by=payment)
        reconcile(session, found, adopt=True)


def _consumed(row: PaymentInput) -> UnspentOutput:
    units = BasicOutput.decode(row.output_bytes).units
    return UnspentOutput(bytes.fromhex(row.output_id), row.output_bytes, units)


def _addresses(house: House, session: Session) -> Sequence[bytes]:
    """Return the addresses that may hold something: nobody's before anything was signed."""
    treasury = treasury_address(house.keyring)
    if session.exec(select(Payment.id).where(Payment.state != "planned").limit(1)).first() is None:
        return [treasury]
    owned = wallets.all_addresses(session).values()
    return [treasury, *(bytes.fromhex(address) for own in owned for address in own)]
