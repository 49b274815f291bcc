"""``wattloom meter changes``: list, approve and reject what began anew at a meter."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.commands.shared import ADMINISTRATOR, Data, Json, Settings, run, show_json, show_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlmodel import Session

    from app.services.house import House
    from app.services.meter_change import Change, Values

changes_cli = typer.Typer(
    help="Decide on meters whose counters began anew: a reset, an exchange, a lost spool.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_Number = Annotated[int, typer.Argument(help="Number of the change.", metavar="CHANGE", min=1)]
_Wh = typer.Option(metavar="WH", min=0, max=2**53 - 1)
_COLUMNS = ("change", "point", "kind", "state", "meter", "epoch", "closing", "opening", "waits")


@changes_cli.command("list", epilog="Example: wattloom meter changes list --data data/demo --json")
def list_(
    *,
    decided: Annotated[bool, typer.Option("--all", help="Also those decided already.")] = False,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """List the changes that wait for a decision, with what the counters showed."""

    def act(house: House) -> None:
        from app.services import changes
        from app.store.changes import APPROVED, PROPOSED, REJECTED

        states = (PROPOSED, APPROVED, REJECTED) if decided else (PROPOSED,)
        with house.database.read() as session:
            found = changes.listed(session, states=states)
        if json:
            show_json([_document(each) for each in found])
        else:
            show_table(_COLUMNS, [_cells(each) for each in found], whole=_COLUMNS[:6])
        typer.echo(f"changes: {len(found)}", err=True)

    _run(settings, data, act)


@changes_cli.command(
    epilog="Example: wattloom meter changes approve 3 --closing-import 1234567 --opening-import 0 "
    "--data data/demo"
)
def approve(
    change: _Number,
    *,
    closing_import: Annotated[int | None, _Wh] = None,
    closing_export: Annotated[int | None, _Wh] = None,
    opening_import: Annotated[int | None, _Wh] = None,
    opening_export: Annotated[int | None, _Wh] = None,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Let a change count: with what the readings show, or with other values for single counters."""
    typed = {
        "closing": {"import_wh": closing_import, "export_wh": closing_export},
        "opening": {"import_wh": opening_import, "export_wh": opening_export},
    }

    def decide(house: House, session: Session) -> Change:
        from app.services import changes

        seen = changes.get(session, change)
        closing = _other(seen.closing, typed["closing"])
        opening = _other(seen.opening, typed["opening"])
        return changes.approve(house, session, change, ADMINISTRATOR, closing, opening)

    _decide(settings, data, decide, as_json=json)


@changes_cli.command(
    epilog="Example: wattloom meter changes reject 3 --reason 'a wrong unit id' --data data/demo"
)
def reject(
    change: _Number,
    *,
    reason: Annotated[str, typer.Option(help="Why, for the people concerned.")],
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Let a change not count: its readings never settle. It can still be approved later."""

    def decide(house: House, session: Session) -> Change:
        from app.services import changes

        return changes.reject(house, session, change, ADMINISTRATOR, reason)

    _decide(settings, data, decide, as_json=json)


def _other(seen: Values | None, typed: dict[str, int | None]) -> Values | None:
    """Return the values seen with those typed in their place; None where nothing was typed."""
    from dataclasses import replace

    given = {name: wh for name, wh in typed.items() if wh is not None}
    if not given:
        return None
    if seen is None:
        from app.services.meter_change import ChangeValuesError

        raise ChangeValuesError("no reading tells when that was: enter the change on the web page")
    return replace(seen, **given)


def _decide(
    settings: Path | None,
    data: Path | None,
    decide: Callable[[House, Session], Change],
    *,
    as_json: bool,
) -> NoReturn:
    def act(house: House) -> None:
        with house.database.write() as session:
            found = decide(house, session)
        if as_json:
            show_json(_document(found))
        typer.echo(f"change {found.id} of {found.point}: {found.state}", err=True)

    _run(settings, data, act)


def _document(change: Change) -> dict[str, object]:
    return {
        "change": change.id,
        "point": change.point,
        "kind": change.kind.value,
        "state": change.state,
        "old": {"key": change.old.key, "epoch": change.old.epoch, "serial": change.old.serial},
        "new": {"key": change.new.key, "epoch": change.new.epoch, "serial": change.new.serial},
        "closing": change.closing.document() if change.closing else None,
        "opening": change.opening.document() if change.opening else None,
        "decided_by": change.decided_by,
        "reason": change.reason,
        "waits": change.waits,
    }


def _cells(change: Change) -> list[object]:
    meters = change.old.serial
    if change.new.serial != meters:
        meters += f" -> {change.new.serial}"
    return [
        change.id, change.point, change.kind.value, change.state, meters,
        f"{change.old.epoch} -> {change.new.epoch}", _shown(change.closing),
        _shown(change.opening), change.waits,
    ]  # fmt: skip


def _shown(values: Values | None) -> str:
    if values is None:
        return "not known"
    counters = (("import", values.import_wh), ("export", values.export_wh))
    told = [f"{name} {wh:,} Wh" for name, wh in counters if wh is not None]
    moment = datetime.fromtimestamp(values.at_ms / 1000, UTC)
    return f"{', '.join(told)} at {moment:%Y-%m-%d %H:%M:%SZ}"


def _run(
    settings: Path | None, data: Path | None, action: Callable[[House], int | None]
) -> NoReturn:
    from app.services.meter_change import ChangeError

    run("meter changes", settings, data, action, ChangeError)
