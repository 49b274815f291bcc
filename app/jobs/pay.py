"""The outbox of payments: planned -> signed -> submitted -> confirmed, one after the other.

The signed transaction is committed, with the outputs that it spends, before it is sent; sending
it again is harmless, so that a stop at any line pays exactly once.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, select

from app.services.alarms import alarm
from app.services.house import House
from app.store import intervals, log, payments, people
from app.tables import Payment, PaymentInput, PaymentParty
from ledger_client.ledger import (
    LedgerError,
    LedgerUnavailableError,
    TransferStatus,
    UnspentOutput,
)
from ledger_client.stardust.transaction import TaggedData
from ledger_client.verify import PAY_TAG
from ledger_client.wallet import OwnerKey, TransferInput, Wallet, WalletError, build_transfer
from ledger_client.wallet import select as choose

TREASURY_ACCOUNT = 0


def pay(house: House) -> bool:
    """Take the oldest open payment one step further; return whether anything moved.

    A ledger that does not answer leaves everything as it is, to be tried again; what it refuses
    for good, or what the wallet cannot cover, waits for a person.
    """
    with house.database.read() as session:
        payment = payments.oldest_open(session)
    if payment is None:
        return False
    try:
        return _STEPS[payment.state](house, payment)
    except LedgerUnavailableError:
        return False
    except (LedgerError, WalletError) as error:
        alarm(house, f"payment/{payment.ref}", f"payment {payment.ref} stands still: {error}")
        return False


def _sign(house: House, payment: Payment) -> bool:
    with house.database.write() as session:
        row = _lock(session, payment, "planned")
        if row is None:
            return False
        parties = payments.parties(session, _id(row))
        inputs, outputs = _moves(house, session, parties)
        signed = build_transfer(
            house.settings.network, inputs, outputs, TaggedData(PAY_TAG, row.tagged_data)
        )
        row.payload = signed.payload
        row.transaction_id = signed.transaction_id.hex()
        row.state = "signed"
        session.add_all(
            PaymentInput(
                output_id=item.output.output_id.hex(),
                payment=_id(row),
                position=position,
                output_bytes=item.output.output_bytes,
            )
            for position, item in enumerate(inputs)
        )
    return True


def _moves(
    house: House, session: Session, parties: Sequence[PaymentParty]
) -> tuple[list[TransferInput], list[tuple[bytes, int]]]:
    """Return inputs and outputs: each party's few outputs merge into one new one.

    The treasury is a party of every group and takes what the others leave over.
    """
    wallet = Wallet(house.keyring.wallet_seed)
    reserved = payments.reserved(session)
    accounts = {who: row.account for who, row in people.participants(session).items()}
    moves = [(wallet.key(accounts[party.participant]), party.micro) for party in parties]
    moves.append((wallet.key(TREASURY_ACCOUNT), -sum(party.micro for party in parties)))
    inputs: list[TransferInput] = []
    outputs: list[tuple[bytes, int]] = []
    for key, micro in moves:
        free = _free(house, key, reserved)
        spent = choose(free, max(0, -micro))
        inputs += [TransferInput(output, key) for output in spent]
        left = sum(output.units for output in spent) + micro
        if left:
            outputs.append((key.address, left))
    return inputs, outputs


def _free(house: House, key: OwnerKey, reserved: frozenset[str]) -> list[UnspentOutput]:
    outputs = house.ledger.balance(key.address).outputs
    return [output for output in outputs if output.output_id.hex() not in reserved]


def _submit(house: House, payment: Payment) -> bool:
    house.ledger.transfer(payment.payload or b"")
    with house.database.write() as session:
        row = _lock(session, payment, "signed")
        if row is None:
            return False
        row.state = "submitted"
        if row.interval:
            intervals.get(session, row.interval).payment = "submitted"
    return True


def _look(house: House, payment: Payment) -> bool:
    """Ask by transaction id: only its included block says that it was applied."""
    status = house.ledger.status(bytes.fromhex(payment.transaction_id or ""))
    if status is TransferStatus.CONFIRMED:
        return _confirm(house, payment)
    if status is TransferStatus.UNKNOWN:
        house.ledger.transfer(payment.payload or b"")
    if status is TransferStatus.CONFLICTING:
        return _replan(house, payment)
    return False


def _confirm(house: House, payment: Payment) -> bool:
    with house.database.write() as session:
        row = _lock(session, payment, "submitted")
        if row is None:
            return False
        row.state = "confirmed"
        session.flush()
        if row.interval:
            _conclude(session, house.settings.origin, row.interval)
    return True


def _conclude(session: Session, district: str, key: str) -> None:
    """Log an interval's transactions once the last of its groups is confirmed."""
    groups = payments.of_interval(session, key)
    if any(group.state != "confirmed" for group in groups):
        return
    intervals.get(session, key).payment = "confirmed"
    log.append(
        session,
        "payments",
        {
            "district": district,
            "interval": key,
            "transactions": [group.transaction_id for group in groups],
        },
    )


def _replan(house: House, payment: Payment) -> bool:
    """Build a payment anew, because another confirmed transaction spent one of its inputs.

    Nothing more moves in this run, so that what keeps conflicting cannot keep the worker.
    """
    with house.database.write() as session:
        row = _lock(session, payment, "submitted")
        if row is None:
            return False
        if not _is_dead(house, session, row):
            raise LedgerError(
                "it is called conflicting, yet it may still apply: look at its inputs"
            )
        payments.release(session, _id(row))
        people.notify(
            session,
            ref=f"conflict/{row.transaction_id}",
            at_ms=house.clock.now_ms(),
            level="alarm",
            text=f"payment {row.ref} conflicted on the ledger and is issued again",
            point=None,
        )
        row.payload, row.transaction_id, row.state = None, None, "planned"
    return False


def _is_dead(house: House, session: Session, payment: Payment) -> bool:
    """Return whether a payment can never apply: an input is spent, and not by itself.

    Only then another one may take its place, or both would be paid.
    """
    parties = payments.parties(session, _id(payment))
    addresses = {bytes.fromhex(party.address) for party in parties}
    addresses.add(Wallet(house.keyring.wallet_seed).key(TREASURY_ACCOUNT).address)
    unspent = {
        output.output_id.hex()
        for address in addresses
        for output in house.ledger.balance(address).outputs
    }
    applied = any(output.startswith(payment.transaction_id or "?") for output in unspent)
    consumed = {row.output_id for row in payments.inputs(session, _id(payment))}
    return not applied and not consumed <= unspent


def _lock(session: Session, payment: Payment, expected: str) -> Payment | None:
    row = session.exec(select(Payment).where(Payment.id == payment.id).with_for_update()).one()
    return row if row.state == expected else None


def _id(payment: Payment) -> int:
    assert payment.id is not None  # noqa: S101  (read from the database)
    return payment.id


_STEPS = {"planned": _sign, "signed": _submit, "submitted": _look}
