"""The payments' outbox: groups of transfers, their signed transactions, reserved outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, delete, func, select

from app.tables import Payment, PaymentInput, PaymentParty

MAX_PARTIES = 60


@dataclass(frozen=True, slots=True)
class Party:
    """What a participant's address (hex) receives (> 0) or pays (< 0), in micro-euros."""

    participant: str
    address: str
    micro: int


def plan(
    session: Session,
    ref: str,
    interval: str | None,
    tagged_data: Sequence[bytes],
    parties: Sequence[Sequence[Party]],
) -> None:
    """Write planned payments ``ref/0``, ``ref/1``, ..., one per group of parties."""
    for number, (data, group) in enumerate(zip(tagged_data, parties, strict=True)):
        payment = Payment(
            ref=f"{ref}/{number}", interval=interval, tagged_data=data, state="planned"
        )
        session.add(payment)
        session.flush()
        session.add_all(
            PaymentParty(
                payment=payment.id or 0,
                participant=party.participant,
                address=party.address,
                micro=party.micro,
            )
            for party in group
        )


def groups(parties: Sequence[Party]) -> list[Sequence[Party]]:
    """Cut the parties into groups of at most 60; the treasury joins each when it is signed."""
    return [parties[at : at + MAX_PARTIES] for at in range(0, len(parties), MAX_PARTIES)]


def oldest_open(session: Session) -> Payment | None:
    """Return the first payment that is not confirmed: payments are worked off one by one."""
    return session.exec(
        select(Payment).where(Payment.state != "confirmed").order_by(col(Payment.id)).limit(1)
    ).first()


def unpaid(session: Session) -> frozenset[str]:
    """Return the keys of the intervals with a payment that is not confirmed."""
    query = select(Payment.interval).where(Payment.state != "confirmed").distinct()
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


def reserved(session: Session) -> frozenset[str]:
    """Return the output ids that signed, unconfirmed payments spend."""
    query = (
        select(PaymentInput.output_id)
        .join(Payment, col(Payment.id) == PaymentInput.payment)
        .where(Payment.state != "confirmed")
    )
    return frozenset(session.exec(query))


def inputs(session: Session, payment: int) -> Sequence[PaymentInput]:
    """Return what a payment spends, in the order of the transaction's inputs."""
    return session.exec(
        select(PaymentInput)
        .where(PaymentInput.payment == payment)
        .order_by(col(PaymentInput.position))
    ).all()


def release(session: Session, payment: int) -> None:
    """Free the outputs of a payment that is going to be built anew."""
    session.exec(delete(PaymentInput).where(col(PaymentInput.payment) == payment))


def totals(session: Session, *, confirmed: bool | None = None) -> Mapping[str, int]:
    """Return the micro-euros moved per participant, over all payments or by confirmation."""
    query = select(PaymentParty.participant, func.sum(PaymentParty.micro)).group_by(
        PaymentParty.participant
    )
    if confirmed is not None:
        query = query.join(Payment, col(Payment.id) == PaymentParty.payment).where(
            (Payment.state == "confirmed") if confirmed else (Payment.state != "confirmed")
        )
    return {participant: int(micro) for participant, micro in session.exec(query)}
