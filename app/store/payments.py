"""The payments' outbox: groups of moves, their signed transactions, and what waits for what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Final

from sqlalchemy import ColumnElement, insert
from sqlmodel import Session, col, func, select

from app.store.locks import locked
from app.tables import AddressRow, Payment, PaymentInput, PaymentMove, PaymentParty

MAX_PARTIES = 60
_OPEN: Final = ("planned", "signed", "submitted")
_CHUNK = 500  # how many values one query may name


@dataclass(frozen=True, slots=True)
class Move:
    """What an address (hex) of a participant receives (> 0) or pays (< 0), in micro-euros."""

    participant: str
    address: str
    micro: int


def plan(
    session: Session,
    ref: str,
    interval: str | None,
    tagged_data: Sequence[bytes],
    moves: Sequence[Sequence[Move]],
) -> None:
    """Write planned payments ``ref/0``, ``ref/1``, ..., one per group of moves.

    The custodial addresses' planned balances move in the same commit; an address that a
    participant holds the key of has none.
    """
    for number, (data, group) in enumerate(zip(tagged_data, moves, strict=True)):
        payment = Payment(
            ref=f"{ref}/{number}", interval=interval, tagged_data=data, state="planned"
        )
        session.add(payment)
        session.flush()
        rows = [
            {"payment": payment.id, "position": position, **asdict(move)}
            for position, move in enumerate(group)
        ]
        session.connection().execute(insert(PaymentMove), rows)
        session.add_all(_parties(session, payment.id or 0, group))
    session.flush()


def _parties(session: Session, payment: int, group: Sequence[Move]) -> Iterable[PaymentParty]:
    """Add the moves to the planned balances; return each participant's net in our custody."""
    addresses = [move.address for move in group]
    query = select(AddressRow).where(col(AddressRow.address).in_(addresses))
    custodial = {row.address: row for row in session.exec(locked(query))}
    parties: dict[str, PaymentParty] = {}
    for move in group:
        if (row := custodial.get(move.address)) is None:
            continue
        row.planned_micro += move.micro
        party = parties.setdefault(
            move.participant,
            PaymentParty(
                payment=payment, participant=move.participant, address=move.address, micro=0
            ),
        )
        party.address = move.address
        party.micro += move.micro
    return parties.values()


def groups(moves: Sequence[Move]) -> list[Sequence[Move]]:
    """Cut the moves into groups of at most 60 participants, whose moves stay together.

    ``moves`` stand in participant order; the treasury joins each group when it is signed.
    """
    people = [list(own) for _, own in groupby(moves, key=lambda move: move.participant)]
    return [
        [move for own in people[at : at + MAX_PARTIES] for move in own]
        for at in range(0, len(people), MAX_PARTIES)
    ]


def is_open() -> ColumnElement[bool]:
    """Return the condition that a payment is not confirmed; the states' index answers it."""
    return col(Payment.state).in_(_OPEN)


def open_payments(session: Session) -> Sequence[Payment]:
    """Return the payments that are not confirmed, in the order of their planning.

    All of them, since what stands still must not hide what stands behind it. A transaction is only
    there for those under way, whose participants are all different.
    """
    query = select(Payment).where(is_open())
    return session.exec(query.order_by(col(Payment.id))).all()


def all_confirmed(session: Session) -> bool:
    """Return whether no payment on the ledger is under way."""
    return session.exec(select(Payment.id).where(is_open()).limit(1)).first() is None


def in_state(session: Session, state: str) -> Sequence[Payment]:
    """Return the payments in a state, in the order of their planning."""
    return session.exec(
        select(Payment).where(Payment.state == state).order_by(col(Payment.id))
    ).all()


def moves(session: Session, payments: Sequence[int]) -> Mapping[int, Sequence[Move]]:
    """Return the moves of each payment; none for one that only rearranges coins.

    A payment planned before moves were kept has one move per party.
    """
    found: dict[int, list[Move]] = defaultdict(list)
    for some in _chunks(payments):
        rows = (
            select(
                PaymentMove.payment, PaymentMove.participant, PaymentMove.address, PaymentMove.micro
            )
            .where(col(PaymentMove.payment).in_(some))
            .order_by(col(PaymentMove.payment), col(PaymentMove.position))
        )
        for payment, participant, address, micro in session.exec(rows):
            found[payment].append(Move(participant, address, micro))
    for some in _chunks([payment for payment in payments if payment not in found]):
        parties = select(PaymentParty).where(col(PaymentParty.payment).in_(some))
        for party in session.exec(parties.order_by(PaymentParty.participant)):
            found[party.payment].append(Move(party.participant, party.address, party.micro))
    return {payment: found.get(payment, []) for payment in payments}


def _chunks(payments: Sequence[int]) -> Iterator[Sequence[int]]:
    return (payments[at : at + _CHUNK] for at in range(0, len(payments), _CHUNK))


def unpaid(session: Session) -> frozenset[str]:
    """Return the keys of the intervals with a payment that is not confirmed."""
    query = select(Payment.interval).where(is_open()).distinct()
    return frozenset(key for key in session.exec(query) if key is not None)


def parties(session: Session, payment: int) -> Sequence[PaymentParty]:
    """Return a payment's parties in participant order."""
    return session.exec(
        select(PaymentParty)
        .where(PaymentParty.payment == payment)
        .order_by(PaymentParty.participant)
    ).all()


def of_interval(session: Session, key: str) -> Sequence[Payment]:
    """Return an interval's payments in group order."""
    return session.exec(
        select(Payment).where(Payment.interval == key).order_by(col(Payment.id))
    ).all()


def by_ref(session: Session, ref: str) -> Payment | None:
    """Return the payment with a reference such as ``2026-06-23T09:00:00Z/0``."""
    return session.exec(select(Payment).where(Payment.ref == ref)).first()


def inputs(session: Session, payment: int) -> Sequence[PaymentInput]:
    """Return what a payment spends, in the order of the transaction's inputs."""
    return session.exec(
        select(PaymentInput)
        .where(PaymentInput.payment == payment)
        .order_by(col(PaymentInput.position))
    ).all()


def waiting(session: Session) -> Mapping[str, int]:
    """Return the micro-euros per participant of payments that are not confirmed."""
    query = (
        select(PaymentParty.participant, func.sum(PaymentParty.micro))
        .join(Payment, col(Payment.id) == PaymentParty.payment)
        .where(is_open())
        .group_by(PaymentParty.participant)
    )
    return {participant: int(micro) for participant, micro in session.exec(query)}
