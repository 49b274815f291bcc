"""The house as commands need it: the database, and the ledger where it is remote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NoReturn

from sqlmodel import select

from app.clock import Clock, RealClock, SimulatedClock
from app.db import Database
from app.services import settled
from app.services.founding import fill_in
from app.services.house import House
from app.services.keyring import Keyring
from app.settings import Settings
from app.tables import DistrictRow
from ledger_client.ledger import Ledger, LedgerUnavailableError
from ledger_client.reader import LedgerReader
from ledger_client.remotenode.adapter import RestLedger
from ledger_client.remotenode.client import NodeClient
from ledger_client.remotenode.reader import RemoteReader

_ELSEWHERE: Final = "the ledger's node belongs to the process that runs the district: ask there"


class NoDistrictError(Exception):
    """There is no district here: name its folder, or set it up first."""


class LedgerElsewhere(Ledger):
    """Stands for an embedded node that another process holds: it never answers here."""

    def _refuse(self, *_arguments: object, **_named: object) -> NoReturn:
        raise LedgerUnavailableError(_ELSEWHERE)

    anchor = transfer = status = inclusion_proof = balance = _refuse


@contextmanager
def open_house(settings: Settings) -> Iterator[House]:
    """Yield the house of the district that the settings name; a running district may go on.

    Raises:
        NoDistrictError: there is no district in the data folder or the database.
        DatabaseUnavailableError, KeyringError: see there.
    """
    keys = settings.data / "keys"
    if not keys.is_dir():
        raise NoDistrictError(
            f"{settings.data} holds no district: name its folder with --data or in --settings, or "
            "found one with `wattloom init`"
        )
    with ExitStack() as stack:
        database = Database(settings.sqlalchemy_url)
        stack.callback(database.close)
        database.migrate()
        with database.read() as session:
            district = session.exec(select(DistrictRow)).first()
        if district is None:
            raise NoDistrictError(f"the database of {settings.data} holds no district yet")
        with database.write() as session:
            fill_in(session)
        settled.ensure(database, settings.tz)
        clock: Clock = SimulatedClock(district.clock_ms) if district.simulated else RealClock()
        ledger, reader = _ledger(settings, stack)
        keyring = Keyring.open(keys, mldsa=settings.mldsa)
        yield House(settings, database, keyring, clock, ledger, reader)


def _ledger(settings: Settings, stack: ExitStack) -> tuple[Ledger, LedgerReader | None]:
    if not settings.ledger_url:
        return LedgerElsewhere(), None
    client = NodeClient(
        settings.ledger_url,
        token=settings.ledger_token.get_secret_value() or None,
        timeout_s=settings.ledger_timeout_s,
        network=settings.network,
    )
    stack.callback(client.close)
    ledger = RestLedger(client, network=settings.network, hrp=settings.hrp)
    return ledger, RemoteReader(client)
