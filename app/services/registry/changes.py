"""Moves, supplier switches and other changes behind metering points: shown, entered, taken back.

A change holds from an interval that is neither metered nor cleared yet. Shown and entered are one
and the same; what is shown is rolled back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, SQLModel, col, func, or_, select
from sqlmodel.sql.expression import SelectOfScalar

from app.services.house import House
from app.services.registry.wanted import Change, ChangeError, Newcomer, check_id
from app.store import corrections, journal, people, registry, wallets
from app.store.bulk import insert_once
from app.tables import (
    AddressRow,
    BalancePartyRow,
    BuildingRow,
    FeederRow,
    ForwardSessionRow,
    LinkRow,
    MeteringPointRow,
    ParticipantRow,
    SupplierRow,
    TariffRow,
)
from ledger_client.wallet import Wallet
from market.registry import Link, RegistryError, Role, Timeline
from metering.interval import Interval

_NAMED: Final[Mapping[Role, type[SQLModel]]] = {
    Role.SUPPLIER: SupplierRow,
    Role.BALANCE_PARTY: BalancePartyRow,
}
_IDS: Final[Mapping[Role, SelectOfScalar[str]]] = {
    Role.PARTICIPANT: select(ParticipantRow.id),
    Role.SUPPLIER: select(SupplierRow.id),
    Role.BALANCE_PARTY: select(BalancePartyRow.id),
    Role.TARIFF: select(TariffRow.id),
    Role.FEEDER: select(FeederRow.id),
    Role.BUILDING: select(BuildingRow.id),
}
_FIELD: Final = {Role.PARTICIPANT: "to"}


@dataclass(frozen=True, slots=True)
class Effect:
    """One link that changes: ``point`` goes from ``before`` to ``after`` (ids) at ``begin``.

    ``until`` is where the next planned change begins, None where none is planned.
    """

    point: str
    role: Role
    before: str
    after: str
    begin: Interval
    until: Interval | None


@dataclass(frozen=True, slots=True)
class Leaver:
    """Who has no metering point from ``left_from`` on; their wallet now, in micro-euros."""

    id: str
    left_from: Interval
    wallet_micro: int


@dataclass(frozen=True, slots=True)
class Effects:
    """What a change does, or what taking one back does."""

    links: tuple[Effect, ...]
    newcomer: Newcomer | None
    leavers: tuple[Leaver, ...]


def preview(house: House, change: Change) -> Effects:
    """Return what a change would do now; nothing is written.

    Raises:
        RegistryError: as :func:`enter`.
    """
    with house.database.write() as session:
        found = _enter(house, session, change, "preview")
        session.rollback()
    return found


def enter(house: House, change: Change, entered_by: str) -> Effects:
    """Enter a change, all of it or nothing.

    Raises:
        RegistryError: an unknown point or target, something that is metered or cleared already, a
            change that changes nothing or meets another one; nothing was written.
    """
    with house.database.write() as session:
        return _enter(house, session, change, entered_by)


def enter_within(house: House, session: Session, change: Change, entered_by: str) -> Effects:
    """Enter a change as :func:`enter` does, in the caller's transaction.

    Raises:
        RegistryError: as :func:`enter`; the caller rolls back.
    """
    return _enter(house, session, change, entered_by)


def undo_within(
    house: House, session: Session, points: Sequence[str], begin: Interval, entered_by: str
) -> Effects:
    """Take changes back as :func:`undo` does, in the caller's transaction.

    Raises:
        RegistryError: as :func:`undo`; the caller rolls back.
    """
    return _undo(house, session, (points, tuple(Role)), begin, entered_by)


def preview_undo(
    house: House, points: Sequence[str], begin: Interval, roles: Collection[Role] = tuple(Role)
) -> Effects:
    """Return what taking back the changes of some points at an interval would do now.

    Raises:
        RegistryError: as :func:`undo`.
    """
    with house.database.write() as session:
        found = _undo(house, session, (points, roles), begin, "preview")
        session.rollback()
    return found


def undo(
    house: House,
    points: Sequence[str],
    begin: Interval,
    entered_by: str,
    roles: Collection[Role] = tuple(Role),
) -> Effects:
    """Take back every change of some points that begins at an interval: what was before goes on.

    ``roles``: only changes in these.

    A participant who came with it and has nothing else is taken out again.

    Raises:
        RegistryError: nothing begins there, or it has been metered or cleared; nothing was written.
    """
    with house.database.write() as session:
        return _undo(house, session, (points, roles), begin, entered_by)


def earliest(house: House, session: Session) -> Interval | None:
    """Return the first interval that is neither metered nor in a cleared session; None: any."""
    metered = people.district(session).metered_through
    closed = session.exec(
        select(func.max(ForwardSessionRow.last)).where(
            or_(
                ForwardSessionRow.state != "open",
                col(ForwardSessionRow.gate_ms) <= house.clock.now_ms(),
            )
        )
    ).one()
    last = max(metered, closed or "")
    return Interval.parse(last).next() if last else None


def _enter(house: House, session: Session, change: Change, by: str) -> Effects:
    people.district(session, lock=True)  # nothing is metered or opened, and nobody else changes it
    if not change.points or not change.targets:
        raise ChangeError("name the metering point and what changes")
    first, links = earliest(house, session) or change.begin, []
    if change.newcomer is not None:
        add_newcomer(house, session, change.newcomer)
    _check_paper(house, session, change)
    before = _parties(session, change.points)
    for point in sorted(set(change.points)):
        _check_point(session, point)
        for role, target in change.targets.items():
            old = registry.timeline(session, point, role)
            _check_target(session, change, role, target)
            new = old.changed(change.begin, target, first)
            registry.write(session, new, house.clock.now_ms(), by)
            links.append(_effect(old, new, change.begin))
        _check_place(session, point, change.begin)
    return _settle(house, session, change, links, before)


def _undo(
    house: House,
    session: Session,
    what: tuple[Sequence[str], Collection[Role]],
    begin: Interval,
    by: str,
) -> Effects:
    points, roles = what
    people.district(session, lock=True)
    first, links = earliest(house, session) or begin, []
    before = _parties(session, points)
    for point in sorted(set(points)):
        _check_point(session, point)
        all_of_it = [registry.timeline(session, point, role) for role in Role if role in roles]
        found = [old for old in all_of_it if any(x.valid_from == begin for x in old.links[1:])]
        if not found:
            raise ChangeError(f"{point}: no change begins at {begin}: look at its list", "begin")
        for old in found:
            new = old.undone(begin, first)
            registry.write(session, new, house.clock.now_ms(), by)
            links.append(_effect(old, new, begin))
        _check_place(session, point, begin)
    change = Change(points, begin, {})
    return _settle(house, session, change, links, before)


def _settle(
    house: House,
    session: Session,
    change: Change,
    links: Sequence[Effect],
    before: frozenset[str],
) -> Effects:
    """Bring what follows from the links in line: who has left, and the rows of now."""
    moved = [each for each in links if each.role is Role.PARTICIPANT]
    concerned = before | _parties(session, change.points) | {each.after for each in moved}
    leavers = [leaver for who in sorted(concerned) for leaver in mark(session, who)]
    for each in moved:
        _take_out(session, each.before)
    newest = Interval.containing_ms(house.clock.now_ms())
    if change.begin <= newest:
        registry.project(session, change.begin.previous().key, newest.key)
    gone = {each.before for each in moved}
    told = tuple(leaver for leaver in leavers if leaver.id in gone)
    return Effects(tuple(links), change.newcomer, told)


def mark(session: Session, participant: str) -> Sequence[Leaver]:
    """Write from when on a participant has no point, or that they have one; return who leaves."""
    row = session.get(ParticipantRow, participant)
    if row is None:
        return ()
    ends = [stay.end for stay in registry.stays(session, [participant])]
    known = [end for end in ends if end is not None]
    row.left_from = max(known) if ends and len(known) == len(ends) else None
    session.add(row)
    session.flush()
    if row.left_from is None:
        return ()
    account = f"wallet:{participant}"
    held = journal.balances(session, account).get(account, 0)
    return (Leaver(participant, Interval.parse(row.left_from), held),)


def _take_out(session: Session, participant: str) -> None:
    """Delete a participant who never had a point and to whom nothing refers."""
    if registry.stays(session, [participant]):
        return
    try:
        with session.begin_nested():
            for address in session.exec(
                select(AddressRow).where(AddressRow.participant == participant)
            ):
                session.delete(address)
            session.flush()
            session.delete(session.get_one(ParticipantRow, participant))
            session.flush()
    except IntegrityError:
        return  # money or paper of theirs is there already: they stay, without a point


def _parties(session: Session, points: Collection[str]) -> frozenset[str]:
    """Return who has, had or will have some points."""
    rows = session.exec(
        select(LinkRow.target).where(
            LinkRow.role == Role.PARTICIPANT.value, col(LinkRow.point).in_(points)
        )
    )
    return frozenset(rows.all())


def _effect(old: Timeline, new: Timeline, begin: Interval) -> Effect:
    was, now = old.at(begin), new.at(begin)
    if was is None or now is None:
        raise RegistryError(f"{old.links[0]} does not hold at {begin} yet: choose a later interval")
    return Effect(now.point, now.role, was.target, now.target, begin, _until(new, now, begin))


def _until(new: Timeline, now: Link, begin: Interval) -> Interval | None:
    follows = (link for link in new.links if link.valid_from > max(begin, now.valid_from))
    return next((link.valid_from for link in follows), None)


def add_newcomer(house: House, session: Session, newcomer: Newcomer) -> None:
    """Enter a new participant with an empty wallet and the default limits.

    Raises:
        ChangeError: their id is taken.
    """
    if session.get(ParticipantRow, newcomer.id) is not None:
        raise ChangeError(
            f"there is a participant {newcomer.id!r} already: name them without a new name, or "
            "choose another id",
            "to",
        )
    last = session.exec(select(func.max(ParticipantRow.account))).one() or 0
    wallet = Wallet(house.keyring.wallet_seed)
    session.add(
        ParticipantRow(
            id=newcomer.id,
            name=newcomer.name,
            account=last + 1,
            address=wallet.key(last + 1).address.hex(),
            credit_limit_micro=house.settings.credit_limit_micro,
            postal_address=newcomer.postal_address or None,
        )
    )
    session.flush()
    wallets.ensure(session)


def _check_paper(house: House, session: Session, change: Change) -> None:
    """Refuse that somebody comes back in the month of which they have their final statement."""
    who = change.targets.get(Role.PARTICIPANT, "")
    month = f"{change.begin.start.astimezone(house.settings.tz):%Y-%m}"
    number = corrections.statement_number(session, who, month)
    if number is not None:
        raise ChangeError(
            f"{who} left, and has the final statement of {month} ({number}): choose a begin after "
            "that month, or enter them anew under another id",
            "begin",
        )


def _check_point(session: Session, point: str) -> None:
    if session.get(MeteringPointRow, point) is None:
        raise ChangeError(f"there is no metering point {point[:40]!r}: look at the list", "point")


def _check_target(session: Session, change: Change, role: Role, target: str) -> None:
    """Refuse a target that there is not; a supplier or balance party with a name is made."""
    table = _NAMED.get(role)
    name = change.names.get(target)
    if table is not None and target and name:
        check_id(target, "target")
        insert_once(session, str(table.__tablename__), [{"id": target, "name": name}])
    known = _known(session, role)
    if target not in known:
        shown = ", ".join(repr(each) for each in known[:12])
        hint = ", or name it to enter a new one" if table or role is Role.PARTICIPANT else ""
        raise ChangeError(
            f"there is no {role} {target[:60]!r}: write one of {shown}{hint}",
            _FIELD.get(role, "target"),
        )


def _known(session: Session, role: Role) -> list[str]:
    nowhere = [""] if role is Role.BUILDING else []
    return sorted({*nowhere, *session.exec(_IDS[role])})


def _check_place(session: Session, point: str, begin: Interval) -> None:
    """Refuse a building that is not on the feeder, from ``begin`` on."""
    held = registry.standing(session, begin.key).get(point)
    if held is None or not held.building:
        return
    if session.get(BuildingRow, (held.feeder, held.building)) is None:
        raise ChangeError(
            f"{point}: feeder {held.feeder!r} has no building {held.building!r} from {begin} on: "
            "change both at once, or the building first",
            "target",
        )
