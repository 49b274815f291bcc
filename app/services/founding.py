"""Founds a district: its people, points, tariffs and enrolments, and the first top-ups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlmodel import Session, select

from app.services.certificates import devices
from app.services.enrolment import allow_gateway, endorse, enrol
from app.services.keyring import Keyring
from app.settings import Settings
from app.store import journal, payments, registry, tariffs, wallets
from app.tables import (
    BalancePartyRow,
    DistrictRow,
    FeederRow,
    MeteringPointRow,
    ParticipantRow,
    SupplierRow,
)
from ledger_client.wallet import TREASURY_ACCOUNT, Wallet
from market.journal import BANK, entry_of, wallet
from market.tariffs import TariffVersion
from metering.interval import Interval
from metering.reading import Enrolment
from metering.signing import public_key

GATEWAY_NAME = "gateway-1"
_TOP_UP_TAG = b"top-up"


class FoundingError(Exception):
    """The data folder holds another district: name another folder, or the right district."""


@dataclass(frozen=True, slots=True)
class NewPoint:
    """A metering point and the meter that stands there."""

    gsrn: str
    name: str
    kind: str
    feeder: str
    max_power_w: int
    serial: str
    profile: str
    building: str | None = None  # within the feeder
    green: bool = False  # whether what it feeds in is from a renewable source
    supplier: str = ""  # '': the district's one
    balance_party: str = ""  # '': the supplier's
    purpose: str | None = None  # None: it settles; else it measures alone
    tariff: str = ""  # '': the district's first


@dataclass(frozen=True, slots=True)
class NewParticipant:
    """A contract party, its points, what it pays in at first, and what statements say of it."""

    id: str
    name: str
    top_up_micro: int
    points: Sequence[NewPoint]
    postal_address: str | None = None
    tax_number: str | None = None
    vat_liable: bool | None = None  # whether what it sells bears VAT


@dataclass(frozen=True, slots=True)
class Founding:
    """What a district begins with.

    ``tariffs`` are their first versions by id, the district's usual one first. ``suppliers``,
    ``balance_parties`` and ``feeders`` are names by id ('': the district's own); who or what has
    none is called by its id.
    """

    tariffs: Mapping[str, TariffVersion]
    participants: Sequence[NewParticipant]
    first: Interval
    simulated: bool
    seed: int
    suppliers: Mapping[str, str] = field(default_factory=dict)
    balance_parties: Mapping[str, str] = field(default_factory=dict)
    feeders: Mapping[str, str] = field(default_factory=dict)


def found(
    session: Session, settings: Settings, keyring: Keyring, founding: Founding
) -> DistrictRow:
    """Write the district in the caller's transaction; the same district again changes nothing.

    Raises:
        FoundingError: the database belongs to another district or seed.
    """
    there = session.exec(select(DistrictRow)).first()
    if there is not None:
        fill_in(session)
        return _same(there, settings, founding)
    row = DistrictRow(
        origin=settings.origin,
        name=settings.name,
        zone=settings.zone,
        simulated=founding.simulated,
        clock_ms=founding.first.start_ms,
        seed=founding.seed,
    )
    session.add(row)
    _add_names(session, founding)
    session.flush()
    _add_tariffs(session, settings, founding)
    allow_gateway(session, GATEWAY_NAME, public_key(keyring.gateway))
    for account, person in enumerate(founding.participants, TREASURY_ACCOUNT + 1):
        _add_participant(session, settings, keyring, founding, person, account)
    fill_in(session)
    _top_up(session, founding)
    return row


def fill_in(session: Session) -> None:
    """Write what every district has and an older folder lacks; safe to repeat."""
    wallets.ensure(session)
    registry.ensure(session)
    tariffs.ensure(session)
    devices.ensure(session)


def treasury_address(keyring: Keyring) -> bytes:
    """Return the treasury's ledger address: it owns the whole supply at genesis, and stays.

    It is the operator's, a party of every payment, and what anybody compares with the bank: a new
    one each month would hide nothing.
    """
    return Wallet(keyring.wallet_seed).key(TREASURY_ACCOUNT).address


def _same(there: DistrictRow, settings: Settings, founding: Founding) -> DistrictRow:
    wanted = (settings.origin, founding.seed, founding.simulated)
    if (there.origin, there.seed, there.simulated) != wanted:
        raise FoundingError(
            f"{settings.data} holds the district {there.origin} (seed {there.seed}), not "
            f"{settings.origin} (seed {founding.seed}): name another --data folder"
        )
    return there


def _add_names(session: Session, founding: Founding) -> None:
    session.add_all(SupplierRow(id=key, name=name) for key, name in founding.suppliers.items())
    session.add_all(
        BalancePartyRow(id=key, name=name) for key, name in founding.balance_parties.items()
    )
    session.add_all(FeederRow(id=key, name=name) for key, name in founding.feeders.items())


def _add_tariffs(session: Session, settings: Settings, founding: Founding) -> None:
    """Write each tariff's first version: it holds from the local day of the first interval on."""
    first, zone = founding.first, settings.tz
    day = first.start.astimezone(zone).date()
    for tariff, version in founding.tariffs.items():
        tariffs.begin(session, tariff, day, version, zone, first.start_ms)


def _point_row(point: NewPoint, participant: str, tariff: str) -> MeteringPointRow:
    return MeteringPointRow(
        gsrn=point.gsrn,
        name=point.name,
        kind=point.kind,
        feeder=point.feeder,
        participant=participant,
        tariff=tariff,
        max_power_w=point.max_power_w,
        building=point.building,
        green=point.green,
        purpose=point.purpose,
    )


def _add_participant(
    session: Session,
    settings: Settings,
    keyring: Keyring,
    founding: Founding,
    person: NewParticipant,
    account: int,
) -> None:
    session.add(
        ParticipantRow(
            id=person.id,
            name=person.name,
            account=account,
            address=Wallet(keyring.wallet_seed).key(account).address.hex(),
            credit_limit_micro=settings.credit_limit_micro,
            postal_address=person.postal_address,
            tax_number=person.tax_number,
            vat_liable=person.vat_liable,
        )
    )
    session.flush()
    for point in person.points:
        row = _point_row(point, person.id, point.tariff or next(iter(founding.tariffs)))
        session.add(row)
        session.flush()
        registry.found(session, row, founding.first, (point.supplier, point.balance_party))
        key = keyring.meter(point.serial)
        enrolment = Enrolment(
            district=settings.origin,
            point=point.gsrn,
            serial=point.serial,
            profile=point.profile,
            key=public_key(key),
            epoch=1,
            valid_from=founding.first,
        )
        enrol(
            session,
            settings.origin,
            public_key(keyring.registry),
            endorse(enrolment, key, keyring.registry),
        )


def _top_up(session: Session, founding: Founding) -> None:
    """Book bank -> wallets and plan treasury -> participants on the ledger."""
    paying = [person for person in founding.participants if person.top_up_micro]
    movements = [(wallet(person.id), person.top_up_micro) for person in paying]
    movements.append((BANK, -sum(person.top_up_micro for person in paying)))
    journal.book(
        session,
        entry_of("founding", "top-up", movements),
        interval=None,
        booked_ms=founding.first.start_ms,
    )
    addresses = {row.id: row.address for row in session.exec(select(ParticipantRow))}
    groups = payments.groups(
        [payments.Move(person.id, addresses[person.id], person.top_up_micro) for person in paying]
    )
    payments.plan(session, "top-up", None, [_TOP_UP_TAG] * len(groups), groups)
