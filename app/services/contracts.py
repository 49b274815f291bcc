"""Bilateral contracts: taken down for both partners, never for what has begun."""

from __future__ import annotations

from sqlmodel import Session

from app.services.house import House
from app.services.limits.instructions import next_interval
from app.store import contracts, people, registry
from app.tables import ContractRow
from market.contracts import Contract, ContractError
from metering.interval import Interval


def add(
    house: House, contract: Contract, valid_from: Interval | None, ends: Interval | None
) -> ContractRow:
    """Write a contract that holds from ``valid_from`` (else the next interval) until ``ends``.

    Raises:
        ContractError: the id is taken, a partner or point is not there, the price is off the
            district's tick, or it would begin before the next interval or end before it begins.
    """
    with house.database.write() as session:
        people.district(session, lock=True)
        start = valid_from or next_interval(house)
        _check(house, session, contract, start)
        if start.start_ms < next_interval(house).start_ms:
            raise ContractError(f"{start.key} has begun: {next_interval(house).key} is the first")
        if ends is not None and ends.start_ms <= start.start_ms:
            raise ContractError(f"it would end at {ends.key}, not after its start at {start.key}")
        row = ContractRow(
            id=contract.contract_id,
            seller=contract.seller,
            buyer=contract.buyer,
            seller_point=contract.seller_point,
            buyer_point=contract.buyer_point,
            price_micro_per_kwh=contract.price.micro_per_kwh,
            cap_wh=contract.cap.wh,
            valid_from=start.key,
            ends=ends.key if ends else None,
            known_ms=house.clock.now_ms(),
        )
        session.add(row)
        session.flush()
        session.expunge(row)
        return row


def end(house: House, contract_id: str, ends: Interval | None) -> ContractRow:
    """End a contract at ``ends`` (else at the next interval): that one is the first without it.

    Raises:
        ContractError: there is no such contract, it has ended, or the interval has begun.
    """
    with house.database.write() as session:
        people.district(session, lock=True)
        last, row = ends or next_interval(house), session.get(ContractRow, contract_id)
        if row is None:
            raise ContractError(f"there is no contract {contract_id!r}")
        if last.start_ms < next_interval(house).start_ms:
            raise ContractError(f"{last.key} has begun: {next_interval(house).key} is the first")
        if row.ends is not None and row.ends <= last.key:
            raise ContractError(f"{contract_id} ends at {row.ends} already")
        row.ends = last.key
        session.flush()
        session.expunge(row)
        return row


def listed(house: House) -> list[ContractRow]:
    """Return every contract there ever was, by id."""
    with house.database.read() as session:
        rows = list(contracts.everything(session))
        session.expunge_all()
        return rows


def _check(house: House, session: Session, contract: Contract, start: Interval) -> None:
    if session.get(ContractRow, contract.contract_id) is not None:
        raise ContractError(f"there is a contract {contract.contract_id!r} already")
    known, held = people.participants(session), registry.standing(session, start.key)
    for party, point in (
        (contract.seller, contract.seller_point),
        (contract.buyer, contract.buyer_point),
    ):
        if party not in known:
            raise ContractError(f"there is no participant {party!r}, only {', '.join(known)}")
        if point and (point not in held or held[point].participant != party):
            raise ContractError(f"{party} has no metering point {point!r} in {start.key}")
    tick = house.settings.price_tick_micro_per_kwh
    if contract.price.micro_per_kwh % tick:
        raise ContractError(
            f"{contract.price.micro_per_kwh} micro-euros per kWh are no multiple of the "
            f"district's price tick of {tick}"
        )
