"""``wattloom meter token``, ``list``, ``confirm``, ``withdraw``, ``revoke``: at the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import typer

from app.commands.shared import ADMINISTRATOR, run, show_json, show_table

if TYPE_CHECKING:
    from app.services.house import House

_COLUMNS: Final = ("point", "name", "serial", "type", "state", "last reading", "fingerprint")
_Act = Callable[["House"], int | None]


def token_shown(point: str, data: Path | None, settings: Path | None, *, as_json: bool) -> NoReturn:
    """Make a token and print the line to type."""

    def act(house: House) -> None:
        from app.clock import wall_ms
        from app.services.commissioning import tokens

        made = tokens.issue(house, point, ADMINISTRATOR, wall_ms())
        line = f"wattloom meter {made.purpose} --token {made.text}"
        if as_json:
            show_json({"point": point, "purpose": made.purpose, "token": made.text, "line": line})
        else:
            typer.echo(line)
        typer.echo("lives 15 minutes, for one enrolment; shown here alone", err=True)

    _run(data, settings, act)


def list_shown(data: Path | None, settings: Path | None, *, as_json: bool) -> NoReturn:
    """List points with their meters, and what waits."""

    def act(house: House) -> None:
        from app.services.commissioning import register

        rows = register.listed(house)
        if as_json:
            show_json(rows)
            return
        cells = [
            [
                row["point"], row["name"], row["serial"], row["profile"], row["state"],
                row["last_reading"], row["fingerprint"],
            ]
            for row in rows
        ]  # fmt: skip
        show_table(_COLUMNS, cells, whole=("point",))
        typer.echo(f"meters: {len(rows)}", err=True)

    _run(data, settings, act)


def confirm_shown(point: str, groups: str, data: Path | None, settings: Path | None) -> NoReturn:
    """Confirm what waits at a point."""

    def act(house: House) -> None:
        from app.services.commissioning import register, requests

        standing = requests.confirm(house, register.waiting(house, point), groups, ADMINISTRATOR)
        typer.echo(f"{point}: {standing.state}, key {standing.fingerprint}", err=True)

    _run(data, settings, act)


def withdraw_shown(point: str, data: Path | None, settings: Path | None) -> NoReturn:
    """Turn down what waits at a point."""

    def act(house: House) -> None:
        from app.services.commissioning import register, requests

        requests.withdraw(house, register.waiting(house, point), ADMINISTRATOR)
        typer.echo(f"{point}: withdrawn", err=True)

    _run(data, settings, act)


def revoke_shown(
    key: str, start: str, data: Path | None, settings: Path | None, *, undo: bool
) -> NoReturn:
    """Revoke a key, or take that back."""

    def act(house: House) -> None:
        from app.services.commissioning import register

        if undo:
            register.keep(house, key, ADMINISTRATOR)
            typer.echo(f"{key}: stays in service", err=True)
            return
        begin = register.revoke(house, key, start, ADMINISTRATOR)
        typer.echo(f"{key}: refused from {begin} on", err=True)

    _run(data, settings, act)


def _run(data: Path | None, settings: Path | None, act: _Act) -> NoReturn:
    from app.services.commissioning.errors import CommissioningError
    from app.services.enrolment import EnrolmentError
    from metering.identity import IdentityError
    from metering.interval import IntervalError

    expected = (CommissioningError, EnrolmentError, IdentityError, IntervalError)
    run("meter", settings, data, act, *expected)
