"""The coins of custodial addresses: our own book of what the ledger holds for us.

Custodial addresses are moved by our own stored transactions alone, so that nobody has to ask the
ledger for them, least of all inside a database transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import insert
from sqlmodel import Session, col, delete, func, select, update

from app.store.bulk import insert_once
from app.tables import CoinRow, Payment, PaymentInput
from ledger_client.ledger import UnspentOutput
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import Transaction, output_id

_CONFIRMED = "confirmed"


class CoinTakenError(Exception):
    """A coin is not free any more: nothing was written; look again and choose anew."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """Coins by address: those to spend now, and where some are on their way or reserved."""

    free: Mapping[bytes, Sequence[UnspentOutput]]
    busy: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Touched:
    """The ids of the coins that an unconfirmed payment spends, and the addresses it changes."""

    addresses: Sequence[bytes]
    spent: frozenset[bytes]


def touched(session: Session, payment: int) -> Touched:
    """Return what an unconfirmed payment changes at custodial addresses."""
    query = select(CoinRow).where(
        (col(CoinRow.made_by) == payment) | (col(CoinRow.spent_by) == payment)
    )
    rows = session.exec(query).all()
    return Touched(
        addresses=sorted({bytes.fromhex(row.address) for row in rows}),
        spent=frozenset(bytes.fromhex(row.output_id) for row in rows if row.spent_by == payment),
    )


def is_empty(session: Session) -> bool:
    """Return whether no coin is known yet: the ledger has to be asked."""
    return session.exec(select(CoinRow.output_id).limit(1)).first() is None


def holdings(session: Session, addresses: Sequence[str]) -> Holdings:
    """Return what addresses (hex) hold; a coin is free once what made it is confirmed."""
    free: dict[bytes, list[UnspentOutput]] = defaultdict(list)
    busy: set[bytes] = set()
    rows = session.exec(
        select(CoinRow, Payment.state)
        .outerjoin(Payment, col(Payment.id) == col(CoinRow.made_by))
        .where(col(CoinRow.address).in_(addresses))
    )
    for row, state in rows:
        address = bytes.fromhex(row.address)
        if row.spent_by is None and state in (None, _CONFIRMED):
            free[address].append(coin_of(row))
        else:
            busy.add(address)
    return Holdings(free, frozenset(busy))


def coin_of(row: CoinRow) -> UnspentOutput:
    """Return a row as the wallet's object."""
    return UnspentOutput(bytes.fromhex(row.output_id), row.output_bytes, row.units)


def spend(
    session: Session,
    payment: int,
    inputs: Sequence[UnspentOutput],
    payload: bytes,
    ours: Collection[bytes],
) -> None:
    """Reserve what a signed payment spends, and book what it makes at addresses of ``ours``.

    Belongs into the commit that stores the signed payload.

    Raises:
        CoinTakenError: an input is not free any more; roll back.
    """
    names = [coin.output_id.hex() for coin in inputs]
    free = (col(CoinRow.output_id).in_(names), col(CoinRow.spent_by).is_(None))
    session.connection().execute(update(CoinRow).where(*free).values(spent_by=payment))
    taken = select(func.count()).select_from(CoinRow).where(CoinRow.spent_by == payment)
    if session.exec(taken).one() != len(names):
        raise CoinTakenError(f"payment {payment}: a coin that it was to spend is taken")
    evidence = [
        {"output_id": name, "payment": payment, "position": at, "output_bytes": coin.output_bytes}
        for at, (name, coin) in enumerate(zip(names, inputs, strict=True))
    ]
    session.connection().execute(insert(PaymentInput), evidence)
    book(session, [coin for coin in made(payload) if owner(coin) in ours], made_by=payment)


def made(payload: bytes) -> Sequence[UnspentOutput]:
    """Return the coins that a transaction payload makes."""
    transaction = Transaction.decode(payload)
    identifier = transaction.id()
    return [
        UnspentOutput(output_id(identifier, position), output.encode(), output.units)
        for position, output in enumerate(transaction.essence.outputs)
    ]


def owner(coin: UnspentOutput) -> bytes:
    """Return the address that a coin belongs to."""
    return BasicOutput.decode(coin.output_bytes).address


def book(
    session: Session,
    coins: Iterable[UnspentOutput],
    made_by: int | None = None,
    spent_by: int | None = None,
) -> None:
    """Write coins that are not known yet."""
    rows = [
        {
            "output_id": coin.output_id.hex(),
            "address": owner(coin).hex(),
            "units": coin.units,
            "output_bytes": coin.output_bytes,
            "made_by": made_by,
            "spent_by": spent_by,
        }
        for coin in coins
    ]
    insert_once(session, "coin", rows)


def confirm(session: Session, payment: int) -> None:
    """Forget what a confirmed payment spent; what it made is free with its state."""
    session.connection().execute(delete(CoinRow).where(col(CoinRow.spent_by) == payment))


def release(session: Session, payment: int) -> None:
    """Undo :func:`spend` for a payment that can never apply."""
    connection = session.connection()
    connection.execute(delete(CoinRow).where(col(CoinRow.made_by) == payment))
    spent = update(CoinRow).where(col(CoinRow.spent_by) == payment)
    connection.execute(spent.values(spent_by=None))
    connection.execute(delete(PaymentInput).where(col(PaymentInput.payment) == payment))


def forget(session: Session, output_ids: Iterable[bytes]) -> None:
    """Delete coins that the ledger does not have."""
    names = [identifier.hex() for identifier in output_ids]
    session.connection().execute(delete(CoinRow).where(col(CoinRow.output_id).in_(names)))
