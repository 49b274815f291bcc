"""Takes sharing keys in, lists them and withdraws them: versions, never overwritten.

A version holds from a local midnight to come, and a later one replaces it. All keys that hold at
one time name one internal price, since the seal of an interval has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlmodel import Session

from app.services.house import House
from app.services.sharing.file import (
    Draft,
    Fault,
    SharingFileError,
    SharingInputError,
    read_keys,
)
from app.store import intervals, people, sharing, tariffs
from app.tables import SharingVersionRow
from market.money import Price
from market.sharing import Share
from market.tariff import Tariff
from metering.interval import Interval


class SharingVersionError(SharingInputError):
    """This version cannot be withdrawn: the message says why, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Version:
    """A stored version with its members; ``state`` is holds, to-come, replaced or withdrawn."""

    number: int
    row: SharingVersionRow
    shares: tuple[Share, ...]
    state: str


@dataclass(frozen=True, slots=True)
class Planned:
    """A version that a file brings, and the number of the one that holds until then, if any."""

    draft: Draft
    replaces: int | None


class _Spell(NamedTuple):
    """From when on a key holds and at what price (None: it shares nothing out)."""

    point: str
    valid_from: str
    price: int | None
    name: str
    row: int | None = None  # of the file


def plan(session: Session, house: House, drafts: Sequence[Draft]) -> tuple[Planned, ...]:
    """Return what taking a file's versions would do now; nothing is written.

    Raises:
        SharingFileError: unknown points, a midnight that is over or has its version already, a
            price beyond the tariffs of those it concerns, or two prices at one time.
    """
    versions = [each for each in listed(session, house) if each.row.withdrawn_ms is None]
    faults = [
        *_unknown(session, drafts),
        *_too_late(session, house, drafts),
        *_doubled(versions, drafts),
    ]
    if not faults:
        faults += _beyond_tariffs(session, drafts)
    spells = [*map(_stored, versions), *map(_drafted, drafts)]
    first = min(draft.start.key for draft in drafts)
    for one, other in _two_prices(spells, first):
        told = other if other.row else one
        against = one if told is other else other
        text = (
            f"its price is {told.price}, and {against.name} names {against.price} for the same "
            "time: one internal price per district, give all keys the same from one midnight on"
        )
        faults.append(Fault(told.row, text))
    if faults:
        raise SharingFileError(sorted(set(faults), key=lambda fault: fault.row or 0))
    rows = [each.row for each in versions]
    return tuple(
        Planned(draft, held.id if held else None)
        for draft in drafts
        for held in [sharing.holding(rows, draft.start.key).get(draft.generator)]
    )


def preview(house: House, content: bytes) -> tuple[Planned, ...]:
    """Return what a file would change; raises SharingFileError where it cannot be taken."""
    drafts = read_keys(content, house.settings.tz)
    with house.database.read() as session:
        return plan(session, house, drafts)


def take(house: House, source: str, content: bytes) -> Sequence[int]:
    """Write the versions of a file, all or none; return their numbers.

    Raises:
        SharingFileError: something in it is wrong; nothing was written.
    """
    drafts = read_keys(content, house.settings.tz)
    with house.database.write() as session:
        people.district(session, lock=True)  # no interval opens and nobody else writes meanwhile
        planned = plan(session, house, drafts)
        now_ms = house.clock.now_ms()
        rows = [
            sharing.add(session, each.draft.key, each.draft.start.key, source[:200], now_ms)
            for each in planned
        ]
        return [row.id or 0 for row in rows]


def withdraw(house: House, numbers: Iterable[int]) -> None:
    """Withdraw versions that do not hold yet, all or none: what held before holds on.

    Raises:
        SharingVersionError: one is unknown, withdrawn, or has begun to hold; or without them two
            prices would meet.
    """
    with house.database.write() as session:
        people.district(session, lock=True)
        known = {each.number: each for each in listed(session, house)}
        now = begun(session, house).key
        for number in sorted(set(numbers)):
            each = known.get(number)
            if each is None:
                raise SharingVersionError(f"there is no version {number}: look it up in the list")
            if each.row.withdrawn_ms is not None:
                raise SharingVersionError(f"version {number} is withdrawn already")
            if each.row.valid_from <= now:
                raise SharingVersionError(
                    f"version {number} has begun to hold: import a new one from a midnight to come"
                )
            each.row.withdrawn_ms = house.clock.now_ms()
            session.add(each.row)
        left = [each for each in known.values() if each.row.withdrawn_ms is None]
        for one, other in _two_prices([_stored(each) for each in left], now):
            raise SharingVersionError(
                f"then {one.name} at {one.price} and {other.name} at {other.price} would hold at "
                "one time: withdraw the versions of one file together"
            )


def begun(session: Session, house: House) -> Interval:
    """Return the latest interval that has begun, by the district's clock and by its rows."""
    running, newest = Interval.containing_ms(house.clock.now_ms()), intervals.newest(session)
    return max(running, Interval.parse(newest)) if newest else running


def listed(session: Session, house: House) -> Sequence[Version]:
    """Return all versions by generating point and midnight."""
    rows = sharing.versions(session)
    now = begun(session, house).key
    holding = {row.id for row in sharing.holding(rows, now).values()}
    shares = sharing.members(session, [row.id or 0 for row in rows])

    def state(row: SharingVersionRow) -> str:
        if row.withdrawn_ms is not None:
            return "withdrawn"
        if row.valid_from > now:
            return "to-come"
        return "holds" if row.id in holding else "replaced"

    return [
        Version(number, row, tuple(shares.get(number, ())), state(row))
        for row in rows
        for number in [row.id or 0]
    ]


def _unknown(session: Session, drafts: Sequence[Draft]) -> Iterator[Fault]:
    known = people.points(session)
    for draft in drafts:
        for point, row in [(draft.generator, draft.row), *draft.rows.items()]:
            if point not in known:
                yield Fault(row, f"there is no metering point {point!r} in this district")


def _too_late(session: Session, house: House, drafts: Sequence[Draft]) -> Iterator[Fault]:
    now = begun(session, house)
    for draft in drafts:
        if draft.start <= now:
            day = draft.start.start.astimezone(house.settings.tz).date()
            yield Fault(draft.row, f"{day} has begun: a key holds from a midnight to come")


def _doubled(versions: Sequence[Version], drafts: Sequence[Draft]) -> Iterator[Fault]:
    there = {(each.row.point, each.row.valid_from): each.number for each in versions}
    for draft in drafts:
        number = there.get((draft.generator, draft.start.key))
        if number is not None:
            yield Fault(
                draft.row,
                f"version {number} is of {draft.generator} and this midnight: withdraw it first",
            )


def _beyond_tariffs(session: Session, drafts: Sequence[Draft]) -> Iterator[Fault]:
    """Compare each price but 0 with the tariffs of its start; at clearing those of then decide."""
    zone, known = tariffs.zone(session), dict[str, Mapping[str, Tariff]]()
    for draft in drafts:
        price = draft.terms.price
        if price == Price(0):
            continue
        key = draft.start.key
        on = known.get(key) or known.setdefault(key, tariffs.holding(session, key, zone))
        floor = on[draft.generator].floor
        if price < floor:
            yield Fault(
                draft.row,
                f"{price.micro_per_kwh} is below the feed-in price {floor.micro_per_kwh} of "
                f"{draft.generator}: only 0 (given away) may be",
            )
        for member, row in draft.rows.items():
            ceiling = on[member].ceiling
            if price > ceiling:
                yield Fault(
                    row,
                    f"{price.micro_per_kwh} is above {ceiling.micro_per_kwh}, from where on the "
                    f"supplier is cheaper for {member}",
                )


def _stored(version: Version) -> _Spell:
    row = version.row
    price = row.price_micro_per_kwh if version.shares else None
    return _Spell(row.point, row.valid_from, price, f"version {version.number}")


def _drafted(draft: Draft) -> _Spell:
    price = draft.terms.price.micro_per_kwh if draft.ppm else None
    return _Spell(draft.generator, draft.start.key, price, f"row {draft.row}", draft.row)


def _two_prices(spells: Sequence[_Spell], first: str) -> Iterator[tuple[_Spell, _Spell]]:
    """Yield pairs of spells that hold at one time, from ``first`` on, with different prices."""
    ordered = sorted(spells, key=lambda spell: spell.valid_from)
    moments = sorted({spell.valid_from for spell in ordered if spell.valid_from > first} | {first})
    holding: dict[str, _Spell] = {}
    upcoming = iter(ordered)
    waiting = next(upcoming, None)
    for moment in moments:
        while waiting is not None and waiting.valid_from <= moment:
            holding[waiting.point] = waiting
            waiting = next(upcoming, None)
        priced = _priced(holding)
        yield from ((priced[0], other) for other in priced[1:] if other.price != priced[0].price)


def _priced(holding: Mapping[str, _Spell]) -> Sequence[_Spell]:
    """Return those that share something out, stored ones first."""
    found = [spell for _, spell in sorted(holding.items()) if spell.price is not None]
    return sorted(found, key=lambda spell: spell.row is not None)
