"""The demo's gateway: a real one, with a Modbus connection to each simulated meter."""

from __future__ import annotations

from contextlib import AsyncExitStack

import httpx
from sqlmodel import select

from app.demo.district import lindenhof
from app.services.founding import GATEWAY_NAME
from app.services.house import House
from app.services.live import LiveBoard, LiveValue
from app.tables import EnrolmentRow
from metering.box.events import Events
from metering.dispatch import GatewayIdentity
from metering.event_spool import Reporter
from metering.gateway import Gateway, Options
from metering.identity import PublicKey
from metering.interval import Interval
from metering.lines.config import TcpLine
from metering.lines.line import open_line
from metering.poller import Live, Meter
from metering.profiles import load_profile
from metering.reading import Clock, Enrolment
from metering.sender import HttpSender
from metering.signing import public_key
from metering.spool import Signer, Spool


async def open_gateway(
    stack: AsyncExitStack, house: House, modbus_port: int, url: str, board: LiveBoard
) -> tuple[Gateway, Events]:
    """Return the gateway and its events; what they open is closed with ``stack``.

    Args:
        stack: takes the connections, the spool and the HTTP client.
        house: whose enrolled meters are polled, on its clock.
        modbus_port: where the simulated meters serve, on this machine.
        url: the address of the district's API.
        board: shows the live values.
    """
    path, identity = house.settings.data / "spool.db", _identity(house)
    spool = Spool.open(path)
    stack.callback(spool.close)
    reporter = Reporter(identity.district, identity.name, identity.key)
    events = Events.open(path, reporter, house.clock.now_ms)
    stack.callback(events.close)
    client = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
    events.connect(url, client)

    meters = []
    for unit, signer in _signers(house):
        line = await stack.enter_async_context(
            open_line(
                TcpLine(
                    name=signer.enrolment.point, host="127.0.0.1", port=modbus_port,
                    timeout_ms=house.settings.poll_timeout_ms,
                )
            )
        )  # fmt: skip
        source, type_ = line.meter(unit, house.clock.now_ms), signer.enrolment.profile
        meters.append(Meter.watched(signer, source, load_profile(type_), spool, events.spool))

    def show(point: str, live: Live) -> None:
        board.update(point, LiveValue(live.power_w, live.answered_ms))

    gateway = Gateway(
        meters,
        spool,
        HttpSender(url, client),
        identity,
        house.clock.now_ms,
        lambda: Clock.SYNCHRONISED,
        Options(receipt_key=public_key(house.keyring.receipt), on_live=show),
    )
    return gateway, events


def _identity(house: House) -> GatewayIdentity:
    return GatewayIdentity(house.settings.origin, GATEWAY_NAME, house.keyring.gateway)


def _signers(house: House) -> list[tuple[int, Signer]]:
    """Return unit id and signer of every enrolled meter, in the order of the district's file."""
    units = lindenhof().units()
    with house.database.read() as session:
        rows = session.exec(select(EnrolmentRow).order_by(EnrolmentRow.point)).all()
    return [
        (
            units[row.serial],
            Signer(
                Enrolment(
                    district=house.settings.origin,
                    point=row.point,
                    serial=row.serial,
                    profile=row.profile,
                    key=PublicKey.parse(row.key),
                    epoch=row.epoch,
                    valid_from=Interval.parse(row.valid_from),
                ),
                house.keyring.meter(row.serial),
            ),
        )
        for row in rows
    ]
