"""The gateway's half of commissioning: read, make a key, sign, bring, and enter what was confirmed.

The meter's entry is written when the district says that the key is active and not before: readings
under an unknown key are refused for good.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import httpx

from metering import rotation
from metering.box.config import BoxConfig, load_config
from metering.box.entries import MeterEntry, PreviousKey
from metering.box.files import sync_folder
from metering.box.keys import create_key, load_key
from metering.box.meters import add_meter, key_path, remove_meter, replace_meter
from metering.commissioning import papers
from metering.commissioning.papers import Closing, Sent, Site, Turned
from metering.commissioning.registrar import Registrar
from metering.commissioning.seen import Seen
from metering.commissioning.wire import (
    EnrolmentRequest,
    Exchange,
    GatewayName,
    Offer,
    Registers,
    Report,
    RotationRequest,
    Standing,
)
from metering.identity import PublicKey
from metering.interval import Interval
from metering.reading import Enrolment
from metering.signing import Purpose, public_key, sign
from metering.spool import Signer

_TIMEOUT_S: Final = 30.0


class FieldworkError(Exception):
    """Something at the gateway is not as it has to be: nothing was sent; see the message."""


@dataclass(frozen=True, slots=True)
class Box:
    """A gateway's settings, as its file has them."""

    path: Path
    config: BoxConfig

    @classmethod
    def load(cls, path: Path) -> Box:
        """Read the settings.

        Raises:
            ConfigError: they are wrong; the message names file and key.
        """
        return cls(path, load_config(path))

    def entry(self, point: str) -> MeterEntry:
        """Return the meter of a point.

        Raises:
            FieldworkError: the gateway has none there.
        """
        for entry in self.config.meters:
            if entry.point == point:
                return entry
        raise FieldworkError(f"{self.path}: no meter stands for {point}: look at meters.d")

    def signer(self, entry: MeterEntry) -> Signer:
        """Return who signs for a meter of this gateway.

        Raises:
            SigningError, OSError: its key file cannot be used.
        """
        key = load_key(self.path.absolute().parent / entry.key_file)
        enrolment = Enrolment(
            district=self.config.district, point=entry.point, serial=entry.serial,
            profile=entry.profile, key=public_key(key), epoch=entry.epoch,
            valid_from=entry.valid_from,
        )  # fmt: skip
        return Signer(enrolment, key)


@dataclass(frozen=True, slots=True)
class Bringing:
    """What is brought: with which token, from where, what was seen there, and by whom."""

    token: str
    site: Site
    serial: str
    report: Report
    by: str
    exchange: Exchange | None = None


@asynccontextmanager
async def registrar_of(config: BoxConfig) -> AsyncIterator[Registrar]:
    """Yield the way to the gateway's district."""
    trust = ssl.create_default_context(cafile=config.server.ca_file)
    async with httpx.AsyncClient(timeout=_TIMEOUT_S, verify=trust) as client:
        yield Registrar(config.server.url, client)


def sign_up(box: Box, offer: Offer, bringing: Bringing) -> Sent:
    """Make the meter's key and sign its enrolment; what is sent is kept on disk first.

    Raises:
        FieldworkError: the offer is another district's, or something waits at the point.
        SigningError, OSError: keys or papers cannot be written.
    """
    if offer.district != box.config.district:
        raise FieldworkError(
            f"the token is of {offer.district}, this gateway belongs to {box.config.district}"
        )
    if isinstance(papers.kept(box.path, offer.point), Sent):
        raise FieldworkError(
            f"an enrolment of {offer.point} was sent already: run `wattloom meter add` without a "
            "token to go on with it, or with --forget to begin anew"
        )
    file = key_path(box.path, bringing.serial)
    key = create_key(file)
    payload = Enrolment(
        district=offer.district, point=offer.point, serial=bringing.serial,
        profile=bringing.report.profile, key=public_key(key), epoch=1,
        valid_from=Interval.parse(offer.valid_from),
    ).to_payload()  # fmt: skip
    gateway = public_key(load_key(box.config.key_file))
    request = EnrolmentRequest(
        by=bringing.by,
        enrolment=payload.decode(),
        exchange=bringing.exchange,
        gateway=GatewayName(key=gateway.hex, name=box.config.name),
        possession=sign(key, Purpose.ENROL, payload).hex(),
        report=bringing.report,
    )
    sent = Sent(site=bringing.site, key_file=str(file), token=bringing.token, request=request)
    papers.keep(box.path, offer.point, sent)
    return sent


async def follow(box: Box, registrar: Registrar, sent: Sent) -> Standing:
    """Ask how an enrolment stands; enter the meter once it is active.

    Raises:
        RegistrarError: no answer.
        ConfigError, OSError: the entry cannot be written; run it again once that is mended.
    """
    enrolment = Enrolment.from_payload(sent.request.enrolment.encode())
    standing = await registrar.standing(enrolment.key.hex)
    if standing.key != enrolment.key.hex or standing.point != enrolment.point:
        raise FieldworkError("the answer is about another key: is that the right district?")
    if standing.state == "active":
        entry = MeterEntry(
            point=enrolment.point, serial=enrolment.serial, profile=enrolment.profile,
            line=sent.site.line, unit=sent.site.unit, key_file=Path(sent.key_file),
            epoch=enrolment.epoch, valid_from=enrolment.valid_from,
        )  # fmt: skip
        if not any(one.key_file == entry.key_file for one in load_config(box.path).meters):
            add_meter(box.path, entry)
    if standing.state in {"active", "withdrawn", "revoked"}:
        papers.drop(box.path, enrolment.point)
    return standing


def registers(seen: Seen) -> Registers:
    """Return a meter's counters as last seen, in whole Wh."""
    shown = (seen.both(name)[1] for name in ("import_total", "export_total"))
    import_wh, export_wh = (None if value is None else int(value) for value in shown)
    return Registers(at_ms=seen.last.at_ms, import_wh=import_wh, export_wh=export_wh)


def close(box: Box, offer: Offer, closing: Closing) -> None:
    """Keep the old meter's last values, then take it out of the gateway's settings.

    From then on nothing signs for the point, so that the new meter's counters are never signed
    under the old one's key.

    Raises:
        ConfigError, OSError: the entry cannot be removed; the values are kept.
    """
    papers.keep(box.path, offer.point, closing)
    if any(entry.point == offer.point for entry in box.config.meters):
        remove_meter(box.path, offer.point)


def begin_rotation(box: Box, point: str, valid_from: Interval) -> Turned:
    """Make a meter's new key and have the old one sign it over; it is kept on disk first.

    One that was begun before is taken up again.

    Raises:
        FieldworkError: the gateway has no meter there, or one that commands may not change.
        RotationError, SigningError, OSError: the keys do not allow it.
    """
    begun = papers.kept(box.path, point)
    if isinstance(begun, Turned):
        return begun
    entry = box.entry(point)
    if entry.written_in == box.path or begun is not None:
        raise FieldworkError(
            f"{point}: something is under way at this point, or its meter stands in {box.path}, "
            f"which commands leave alone: finish that, or move its table to meters.d/{point}.toml"
        )
    old = box.signer(entry)
    file = key_path(box.path, entry.serial)
    _, handover = rotation.begin(old, create_key(file), valid_from)
    request = RotationRequest(
        enrolment=handover.payload.decode(),
        handover=handover.handover.hex(),
        old=old.enrolment.key.hex,
        possession=handover.possession.hex(),
    )
    turned = Turned(key_file=str(file), request=request)
    papers.keep(box.path, point, turned)
    return turned


def enter_rotation(box: Box, point: str, turned: Turned) -> Path:
    """Have the new key sign from its border on, and the old one until then; return the file.

    Once the district took the rotation, and before the border: the gateway changes keys there by
    itself. Doing it twice changes nothing.

    Raises:
        ConfigError, OSError: the entry cannot be written; run it again once that is mended.
    """
    entry, key_file = box.entry(point), Path(turned.key_file)
    if entry.key_file == key_file and entry.written_in is not None:
        return entry.written_in
    begins = Enrolment.from_payload(turned.request.enrolment.encode()).valid_from
    before = PreviousKey(entry.key_file, entry.valid_from)
    return replace_meter(
        box.path, replace(entry, key_file=key_file, valid_from=begins, previous=before)
    )


def end_rotation(box: Box, point: str) -> Path | None:
    """Put the old key aside, once the new one has begun; return where it is now.

    Raises:
        ConfigError, OSError: it cannot be done; run it again once that is mended.
    """
    entry = box.entry(point)
    aside = None
    if entry.previous is not None:
        replace_meter(box.path, replace(entry, previous=None))
        old = entry.previous.key_file
        aside = old.rename(old.with_name(f"{old.name}.rotated-{entry.valid_from.start_ms}"))
        sync_folder(old.parent)
    papers.drop(box.path, point)
    return aside


def key_of(sent: Sent) -> PublicKey:
    """Return the key that an enrolment is about."""
    return Enrolment.from_payload(sent.request.enrolment.encode()).key
