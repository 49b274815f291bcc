"""``wattloom meter add``, ``replace`` and ``rotate``: what gives a meter's key its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Final, NoReturn

import typer

from app.clock import wall_ms
from app.commands.meter_field import Target, looked_at, run, show_findings, status
from metering.box.lock import is_running
from metering.box.meters import MeterFileError
from metering.commissioning import fieldwork, papers
from metering.commissioning.fieldwork import Box, Bringing, FieldworkError
from metering.commissioning.papers import Closing, PapersError, Sent, Site
from metering.commissioning.plan import PlanError
from metering.commissioning.registrar import (
    DistrictAwayError,
    RefusedByDistrictError,
    Registrar,
    RegistrarError,
)
from metering.commissioning.seen import Seen
from metering.commissioning.wire import (
    Exchange,
    Offer,
    Registers,
    Report,
    Standing,
    WireError,
    fingerprint,
    spell_token,
)
from metering.inputs.config import InputConfig
from metering.interval import Interval
from metering.lines.config import LineConfig
from metering.reading import Enrolment, ReadingError
from metering.rotation import RotationError
from metering.signing import SigningError

_ASK_EVERY_S: Final = 3.0
_AHEAD_MS: Final = 120_000
"""A rotation's border is so far away at least, so that the gateway knows of it in time."""

_TAKEN: Final = {
    True: "the running gateway takes it up within a minute",
    False: "no gateway runs here: start it, systemctl start wattloom-gateway",
    None: "a gateway that runs takes it up within a minute",
}
_REFUSED: Final = (
    FieldworkError,
    MeterFileError,
    PapersError,
    ReadingError,
    RegistrarError,
    RotationError,
    SigningError,
    WireError,
)


class WrongMeterError(FieldworkError):
    """A finding is wrong: mend it at the meter, or go on with --anyway."""


@dataclass(frozen=True, slots=True)
class How:
    """With which token, by whom, how many minutes to wait, whether a wrong finding stops it."""

    token: str
    by: str
    wait_min: int
    anyway: bool


def add_shown(target: Target, how: How, config: Path, forget: str) -> NoReturn:
    """Enrol a meter; without a token go on with what waits."""

    def act() -> int:
        box = Box.load(config)
        if forget:
            papers.drop(config, forget)
            typer.echo(f"{forget}: nothing waits there any more", err=True)
            return 0
        if not how.token:
            return asyncio.run(_go_on(box, how))
        if not target.line or not how.by:
            raise PlanError("name the LINE, and with --by who stands at the meter")
        return asyncio.run(_add(box, target, how))

    run("add", act, *_REFUSED)


def replace_shown(target: Target, how: How, config: Path, typed: tuple[int, int]) -> NoReturn:
    """Do the first or the second half of an exchange."""
    run("replace", lambda: asyncio.run(_replace(Box.load(config), target, how, typed)), *_REFUSED)


def rotate_shown(point: str, config: Path) -> NoReturn:
    """Rotate a meter's key."""
    run("rotate", lambda: asyncio.run(_rotate(Box.load(config), point)), *_REFUSED)


async def _add(box: Box, target: Target, how: How) -> int:
    line = _line(box, target.line)
    async with fieldwork.registrar_of(box.config) as registrar:
        offer = await registrar.offer(spell_token(how.token))
        _check_purpose(offer, "add")
        return await _enrol(box, registrar, offer, (line, target), how)


async def _go_on(box: Box, how: How) -> int:
    waiting = [paper for point in papers.points(box.path) if (paper := _sent(box, point))]
    if not waiting:
        typer.echo("nothing waits: give a LINE and the --token of the page Meters", err=True)
        return 0
    async with fieldwork.registrar_of(box.config) as registrar:
        codes = [await _bring(box, registrar, sent, how) for sent in waiting]
    return max(codes)


async def _replace(box: Box, target: Target, how: How, typed: tuple[int, int]) -> int:
    async with fieldwork.registrar_of(box.config) as registrar:
        offer = await registrar.offer(spell_token(how.token))
        _check_purpose(offer, "replace")
        paper = papers.kept(box.path, offer.point)
        if not isinstance(paper, Closing):
            return await _close(box, offer, typed)
        line = _line(box, target.line or paper.site.line)
        unit = paper.site.unit if target.unit < 0 else target.unit
        aimed = replace(target, line=line.name, unit=unit)
        return await _enrol(box, registrar, offer, (line, aimed), how, paper)


async def _close(box: Box, offer: Offer, typed: tuple[int, int]) -> int:
    """Keep what the old meter shows, or what a person reads off it, and take it out of service."""
    entry = box.entry(offer.point)
    if entry.serial != offer.old_serial:
        raise FieldworkError(
            f"this gateway reads meter {entry.serial} at {offer.point}, enrolled is "
            f"{offer.old_serial}: run it at the gateway that reads that one"
        )
    if max(typed) >= 0:
        import_wh, export_wh = (None if value < 0 else value for value in typed)
        shown = Registers(at_ms=wall_ms(), import_wh=import_wh, export_wh=export_wh)
        by = "person"
    else:
        target = Target(entry.line, entry.unit, entry.profile, entry.serial, 0, (), 0)
        seen, _ = await looked_at(_line(box, entry.line), target)
        shown, by = fieldwork.registers(seen), "meter"
    closing = Closing.model_validate(
        {
            "site": Site(line=entry.line, unit=entry.unit),
            "profile": entry.profile,
            "old_key": offer.old_key,
            "old_serial": entry.serial,
            "registers": shown,
            "by": by,
        }
    )
    fieldwork.close(box, offer, closing)
    typer.echo(
        f"meter {entry.serial}: import {_wh(shown.import_wh)}, export {_wh(shown.export_wh)}"
    )
    typer.echo(f"kept, and out of service: {_taken(box)}")
    typer.echo(
        "then exchange the meters and run this again, with a new token where this one is over"
    )
    return 0


async def _enrol(
    box: Box,
    registrar: Registrar,
    offer: Offer,
    aimed: tuple[LineConfig | InputConfig, Target],
    how: How,
    closing: Closing | None = None,
) -> int:
    """Test a meter, sign it up and bring it."""
    line, target = aimed
    seen, report = await looked_at(line, replace(target, max_power_w=offer.max_power_w))
    show_findings(report)
    serial = _serial(seen, target, report, how)
    if closing is not None and serial == closing.old_serial:
        raise FieldworkError(f"that is still meter {serial}: exchange it first, or rotate its key")
    bringing = Bringing(
        spell_token(how.token),
        Site(line=line.name, unit=target.unit),
        serial,
        report,
        how.by,
        _exchange(seen, closing),
    )
    return await _bring(box, registrar, fieldwork.sign_up(box, offer, bringing), how)


def _serial(seen: Seen, target: Target, report: Report, how: How) -> str:
    if report.verdict == "wrong" and not how.anyway:
        raise WrongMeterError("not enrolled: mend what is wrong, or say --anyway")
    serial = seen.serial or target.serial
    if not serial:
        raise WrongMeterError("not enrolled: the meter shows no serial number; give --serial")
    return serial


def _exchange(seen: Seen, closing: Closing | None) -> Exchange | None:
    if closing is None:
        return None
    return Exchange(
        old_key=closing.old_key,
        closing=closing.registers,
        closing_by=closing.by,
        opening=fieldwork.registers(seen),
    )


async def _bring(box: Box, registrar: Registrar, sent: Sent, how: How) -> int:
    """Bring what was signed, show the fingerprint, and wait for a person's word."""
    key = fieldwork.key_of(sent)
    try:
        await registrar.standing(key.hex)
    except RefusedByDistrictError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        await registrar.bring(sent.token, sent.request)
    typer.echo(f"fingerprint of the meter's key: {fingerprint(key)}")
    typer.echo(
        "Read it out to the building manager, who confirms it on the page Meters, or to the "
        "administrator (`wattloom meter confirm`)."
    )
    standing = await _decided(lambda: fieldwork.follow(box, registrar, sent), how.wait_min)
    point = standing.point
    if standing.state == "active":
        typer.echo(f"{point}: confirmed; {_taken(box)}")
        return 0
    if standing.state == "pending":
        typer.echo(f"{point}: it waits still; go on by `wattloom meter add` without a token")
    else:
        typer.echo(f"{point}: {standing.state}; begin anew with another token")
    return 1


async def _decided(ask: Callable[[], Awaitable[Standing]], wait_min: int) -> Standing:
    """Ask until a person decided or the time is over; a district that is away is asked again."""
    until = time.monotonic() + 60 * wait_min
    with status("waiting for the confirmation"):
        while True:
            try:
                standing = await ask()
                if standing.state != "pending" or time.monotonic() >= until:
                    return standing
            except DistrictAwayError:
                if time.monotonic() >= until:
                    raise
            await asyncio.sleep(_ASK_EVERY_S)


async def _rotate(box: Box, point: str) -> int:
    begins = Interval.containing_ms(wall_ms() + _AHEAD_MS).next()
    turned = fieldwork.begin_rotation(box, point, begins)
    signed = Enrolment.from_payload(turned.request.enrolment.encode())
    async with fieldwork.registrar_of(box.config) as registrar:
        standing = await registrar.rotate(turned.request)
    typer.echo(f"fingerprint of the new key: {standing.fingerprint}")
    path = fieldwork.enter_rotation(box, point, turned)
    typer.echo(f"{path} names both keys, the new one from {signed.valid_from} on; {_taken(box)}")
    with status(f"the new key begins at {signed.valid_from}"):
        await asyncio.sleep(max(0.0, (signed.valid_from.start_ms - wall_ms()) / 1_000))
    aside = fieldwork.end_rotation(Box.load(box.path), point)
    typer.echo(f"the new key signs; the old one is put aside: {aside}")
    return 0


def _taken(box: Box) -> str:
    """Say how the gateway comes to know of a change."""
    return _TAKEN[is_running(box.config.data)]


def _line(box: Box, name: str) -> LineConfig | InputConfig:
    lines = {**box.config.lines, **box.config.inputs}
    try:
        return lines[name]
    except KeyError as error:
        known = ", ".join(lines) or "none"
        raise FieldworkError(
            f"{box.path} has no [[line]] named {name!r} (there are: {known}): a meter is entered "
            "on a line of the settings; add it there first"
        ) from error


def _sent(box: Box, point: str) -> Sent | None:
    paper = papers.kept(box.path, point)
    return paper if isinstance(paper, Sent) else None


def _check_purpose(offer: Offer, purpose: str) -> None:
    if offer.purpose != purpose:
        raise FieldworkError(
            f"at {offer.point} ({offer.name}) "
            + (
                f"meter {offer.old_serial} is enrolled: use wattloom meter replace"
                if offer.purpose == "replace"
                else "no meter is enrolled: use wattloom meter add"
            )
        )


def _wh(value: int | None) -> str:
    return "none" if value is None else f"{value:,} Wh"
