"""The outbox of payments: planned -> signed -> submitted -> confirmed, all groups side by side.

The signed transaction is committed, with the coins that it spends, before it is sent; sending it
again is harmless, so that a stop at any line pays exactly once. The ledger is never asked within a
database transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlmodel import Session, col, select

from app.jobs.sign import sign_ready, wanted_coins
from app.services import coins as coin_service
from app.services.alarms import alarm
from app.services.house import House
from app.store import coins, intervals, log, payments, people
from app.store.locks import locked
from app.tables import Payment
from ledger_client.ledger import LedgerError, LedgerUnavailableError, TransferStatus


def pay(house: House) -> bool:
    """Take all open payments as far as they go; return whether anything moved.

    A ledger that does not answer leaves everything as it is, to be tried again; what it refuses
    for good, or what a wallet cannot cover, waits for a person and stops no one else.
    """
    if not _has_work(house):
        return False
    try:
        coin_service.ensure(house)
    except LedgerUnavailableError:
        return False
    except LedgerError as error:
        alarm(house, "coins", f"the ledger does not tell what the treasury holds: {error}")
        return False
    signed = sign_ready(house)
    sent = _submit(house)
    confirmed, replanned = _look(house)
    # What keeps conflicting must not keep the worker: it is built anew in the next run.
    return (signed or sent or confirmed) and not replanned


def _has_work(house: House) -> bool:
    with house.database.read() as session:
        return not payments.all_confirmed(session) or wanted_coins(session) > 1


def _in_state(house: House, state: str) -> Sequence[Payment]:
    with house.database.read() as session:
        return payments.in_state(session, state)


def _each(
    house: House, rows: Sequence[Payment], step: Callable[[Payment], bool]
) -> Sequence[Payment]:
    """Return the payments that a step succeeded for; an unavailable ledger ends the round."""
    done = []
    for row in rows:
        try:
            if step(row):
                done.append(row)
        except LedgerUnavailableError:
            break
        except LedgerError as error:
            alarm(house, f"payment/{row.ref}", f"payment {row.ref} stands still: {error}")
    return done


def _submit(house: House) -> bool:
    def send(row: Payment) -> bool:
        house.ledger.transfer(row.payload or b"")
        return True

    sent = _each(house, _in_state(house, "signed"), send)
    if sent:
        with house.database.write() as session:
            for row in _locked(session, sent, "signed"):
                row.state = "submitted"
                if row.interval:
                    intervals.get(session, row.interval).payment = "submitted"
    return bool(sent)


def _look(house: House) -> tuple[bool, bool]:
    """Ask by transaction id: only its included block says that it was applied.

    Returns whether payments were confirmed, and whether some have to be built anew.
    """
    dead: list[Payment] = []

    def is_confirmed(row: Payment) -> bool:
        status = house.ledger.status(_identifier(row))
        if status is TransferStatus.UNKNOWN:
            house.ledger.transfer(row.payload or b"")
        if status is TransferStatus.CONFLICTING:
            _replan(house, row)
            dead.append(row)
        return status is TransferStatus.CONFIRMED

    confirmed = _each(house, _in_state(house, "submitted"), is_confirmed)
    if confirmed:
        _confirm(house, confirmed)
    return bool(confirmed), bool(dead)


def _confirm(house: House, rows: Sequence[Payment]) -> None:
    with house.database.write() as session:
        confirmed = _locked(session, rows, "submitted")
        for row in confirmed:
            row.state = "confirmed"
            coins.confirm(session, row.id or 0)
        session.flush()
        for key in dict.fromkeys(row.interval for row in confirmed if row.interval):
            _conclude(session, house.settings.origin, key)


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


def _replan(house: House, payment: Payment) -> None:
    """Build a payment anew, because another confirmed transaction spent one of its inputs.

    One that only rearranged coins is dropped: whoever needs it makes another.

    Raises:
        LedgerError: it may still apply, so that another one could pay twice.
    """
    made = coins.made(payment.payload or b"")
    with house.database.read() as session:
        touched = coins.touched(session, payment.id or 0)
        moves = payments.moves(session, [payment.id or 0])[payment.id or 0]
    # Addresses of people's own as well: of some payments nothing else is left to be seen.
    asked = {*touched.addresses, *map(coins.owner, made)}
    found = coin_service.ask(house, sorted(asked))
    there = {coin.output_id for outputs in found.values() for coin in outputs}
    # Asked again behind the coins: had it been applied in between, its inputs would be gone, too.
    again = house.ledger.status(_identifier(payment))
    seen = any(coin.output_id in there for coin in made)
    applied = again is not TransferStatus.CONFLICTING or seen
    if applied or touched.spent <= there:
        raise LedgerError("it is called conflicting, yet it may still apply: look at its inputs")
    with house.database.write() as session:
        for row in _locked(session, [payment], "submitted"):
            coins.release(session, row.id or 0)
            then = "is issued again" if moves else "is dropped: it only rearranged coins"
            people.notify(
                session,
                ref=f"conflict/{row.transaction_id}",
                at_ms=house.clock.now_ms(),
                level="alarm",
                text=f"payment {row.ref} conflicted on the ledger and {then}",
                point=None,
            )
            row.payload, row.transaction_id, row.state = None, None, "planned"
            if not moves:
                session.delete(row)
            session.flush()
            ours = {address: found[address] for address in touched.addresses}
            coin_service.tell(house, session, coin_service.reconcile(session, ours))


def _locked(session: Session, rows: Sequence[Payment], state: str) -> Sequence[Payment]:
    """Return those of the payments that are still in a state, locked, in order."""
    identifiers = [row.id for row in rows]
    query = select(Payment).where(col(Payment.id).in_(identifiers), Payment.state == state)
    return session.exec(locked(query.order_by(col(Payment.id)))).all()


def _identifier(payment: Payment) -> bytes:
    return bytes.fromhex(payment.transaction_id or "")
