"""``wattloom erase``: erases a person's readings; what must be kept by law stays."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import typer

from app.commands.shared import ADMINISTRATOR, show_json

if TYPE_CHECKING:
    from app.services.erasure.plan import Plan
    from app.services.house import House


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: ``begin`` and ``end`` as local days or interval keys, '' for all."""

    subject: str
    begin: str
    end: str
    reason: str
    dry_run: bool
    yes: bool
    as_json: bool


def act(house: House, wish: Wish) -> int:
    """Show what goes and what stays, ask, and erase; return the exit code.

    Raises:
        ErasureError, RegistryError, RemovalError, DatabaseError: refused, or it stopped; what was
            done stays done, and the same command goes on with it.
    """
    from app.services.erasure.plan import ErasureError, plan
    from app.services.registry.wanted import read_begin

    zone = house.settings.tz
    begin, end = (read_begin(text, zone) if text else None for text in (wish.begin, wish.end))
    with house.database.read() as session:
        found = plan(house, session, wish.subject, begin, end)
    if not wish.as_json:
        typer.echo(_told(found))
    erased = 0
    if not (wish.dry_run or found.is_empty):
        if wish.as_json and not wish.yes:
            raise ErasureError("it cannot be undone: with --json say --yes, or --dry-run")
        if not (wish.yes or typer.confirm("Erase it? It cannot be undone.")):
            return 1
        erased = _erase(house, found, wish)
    if wish.as_json:
        show_json(
            asdict(found) | {"spans": [each._asdict() for each in found.spans]} | {"erased": erased}
        )
    elif erased:
        typer.echo(f"{erased} readings erased. Backups still hold them: see docs/privacy.md")
    return 0


def _erase(house: House, found: Plan, wish: Wish) -> int:
    from app.commands.audit_month import progress
    from app.services.erasure import erase

    done = 0
    with progress("readings") as told:

        def tell(more: int) -> None:
            nonlocal done
            done += more
            told(done, found.readings)

        while erase.resume(house, 100):
            pass  # what was stopped before goes first
        erased = erase.erase(house, found, wish.reason, ADMINISTRATOR, tell)
    erase.scrub(house, found.spans)
    return erased


def _told(found: Plan) -> str:
    """Return what goes and what stays, in words."""
    points = sorted({span.point for span in found.spans})
    lines = [f"{found.subject}: {len(points)} metering points, up to {found.limit}"]
    lines += [f"  {span.point}  {span.first} - {span.after}" for span in found.spans]
    if found.is_empty:
        return "\n".join([*lines, "Nothing is left to erase."])
    size = f"{found.bytes / 1e6:.1f} MB"
    kept = f"{found.quarters} quarter-hours as they were settled, {found.statements} statements"
    return "\n".join(
        [
            *lines,
            "Goes, for good:",
            f"  {found.readings} readings: values, signatures, salts, receipts ({size})",
            f"  {found.doubles} readings that were signed twice under one number",
            f"  {found.forecasts} forecasts and figures on how good they were",
            "Stays:",
            "  the readings' hashes: seals and proofs of others rest on them; they tell no value",
            f"  {kept}: bills and their books are kept by law",
            f"  quarter-hours from {found.limit} on: they may still be corrected",
            "After it nobody can prove any more what the meter showed in these quarter-hours.",
        ]
    )
