"""What tests of commissioning share: a house over a small district, and what a gateway brings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nacl.signing import SigningKey

from app.services.commissioning import requests, tokens
from app.services.house import House
from app.services.keyring import Keyring
from app.store import people
from metering.commissioning.wire import (
    EnrolmentRequest,
    Exchange,
    Finding,
    GatewayName,
    Offer,
    Registers,
    Report,
    compared,
    fingerprint,
)
from metering.identity import PublicKey
from metering.interval import Interval
from metering.reading import Enrolment
from metering.signing import Purpose, public_key, sign
from tests.app.doorway import District, gsrn, key_of

GATEWAY_KEY = key_of(9_010)
FINDING = Finding(
    check="voltage_l1",
    label="Voltage L1",
    value="230.1",
    unit="V",
    plausible="50 to 300",
    verdict="good",
    advice="",
)


@dataclass
class Cellar:
    """The small district, one point more without a meter, and a wall clock to move."""

    district: District
    folder: Path
    wall_ms: int = 1_700_000_000_000
    house: House = field(init=False)

    def __post_init__(self) -> None:
        ring = Keyring(
            self.folder,
            registry=self.district.registry,
            receipt=self.district.receipt_key,
            log=key_of(9_004),
            milestone=(key_of(9_005),),
            gateway=self.district.gateway,
            wallet_seed=bytes(32),
            pseudonym_secret=bytes(32),
        )
        one = self.district
        self.house = House(one.settings, one.database, ring, one.clock, None)  # no ledger here
        with one.database.write() as session:
            row = people.points(session)[one.meters[0].point]
            session.add(type(row)(**(row.model_dump() | {"gsrn": self.empty, "name": "Cellar"})))

    @property
    def empty(self) -> str:
        """A point where no meter was ever enrolled."""
        return gsrn(77)

    @property
    def taken(self) -> str:
        """A point whose meter is enrolled."""
        return self.district.meters[0].point

    def token(self, point: str) -> str:
        return tokens.issue(self.house, point, "manager", self.wall_ms).text

    def offer(self, token: str) -> Offer:
        return requests.offer(self.house, token, self.wall_ms)

    def request(self, offer: Offer, key: SigningKey, /, **changes: object) -> EnrolmentRequest:
        """What an honest gateway signs for an offer; ``changes`` are of the enrolment."""
        values = {
            "district": offer.district,
            "point": offer.point,
            "serial": "SN-1",
            "profile": "eastron_sdm630",
            "key": public_key(key),
            "epoch": 1,
            "valid_from": Interval.parse(offer.valid_from),
        }
        payload = Enrolment(**(values | changes)).to_payload()
        exchange = None
        if offer.old_key is not None:
            at_ms = self.district.clock.now_ms()
            closing = Registers(at_ms=at_ms, import_wh=1_500, export_wh=None)
            opening = Registers(at_ms=at_ms + 30_000, import_wh=0, export_wh=0)
            exchange = Exchange(
                old_key=offer.old_key, closing=closing, closing_by="person", opening=opening
            )
        return EnrolmentRequest(
            by="Kim Volt",
            enrolment=payload.decode(),
            exchange=exchange,
            gateway=GatewayName(key=public_key(GATEWAY_KEY).hex, name="cellar-1"),
            possession=sign(key, Purpose.ENROL, payload).hex(),
            report=Report(
                read_ms=self.wall_ms,
                profile="eastron_sdm630",
                version="ab" * 32,
                findings=[FINDING],
            ),
        )

    def bring(self, token: str, request: EnrolmentRequest) -> requests.Brought:
        return requests.bring(self.house, token, request, self.wall_ms)

    def brought(self, point: str, key: SigningKey) -> int:
        """Bring an enrolment of a point; return its number."""
        token = self.token(point)
        self.bring(token, self.request(self.offer(token), key))
        with self.house.database.read() as session:
            rows = requests.open_requests(session)
            return next(row.id for row in rows if row.key == public_key(key).hex)

    def groups(self, key: SigningKey) -> str:
        return compared(fingerprint(PublicKey(bytes(key.verify_key))))[1]
