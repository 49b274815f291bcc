"""``wattloom statement``: monthly statements: preview, issue, list, show, export, prove."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from app.commands.shared import Data, Force, Json, Settings

statement_cli = typer.Typer(
    help="Issue monthly statements, look at them, write them to files, and prove one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_Month = Annotated[str, typer.Argument(help="A local month, such as 2026-06.", metavar="MONTH")]
_Number = Annotated[
    str, typer.Argument(help="A statement's number, such as S-2026-000001.", metavar="NUMBER")
]
_Only = Annotated[str | None, typer.Option("--participant", help="Only this participant's.")]


@statement_cli.command(epilog="Example: wattloom statement preview 2026-06 --data data/demo")
def preview(
    month: _Month,
    *,
    only: _Only = None,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Show what a month's statements would say if they were issued now; nothing is written."""
    from app.commands.statement_run import run, show_preview

    run(settings, data, lambda house: show_preview(house, month, only, as_json=json))


@statement_cli.command(epilog="Example: wattloom statement issue 2026-06 --data data/demo")
def issue(
    month: _Month,
    *,
    only: _Only = None,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Issue what is due of a month: numbered, booked and anchored, and final from then on.

    Exit code 1 with the reason if the month is not over or not settled, or issued already.
    """
    from app.commands.statement_run import issue_month, run

    run(settings, data, lambda house: issue_month(house, month, only, as_json=json))


@statement_cli.command("list", epilog="Example: wattloom statement list --month 2026-06 --json")
def list_(
    *,
    month: Annotated[str | None, typer.Option(help="Only of this month.")] = None,
    only: _Only = None,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """List the statements that were issued, newest month first."""
    from app.commands.statement_run import list_issued, run

    run(settings, data, lambda house: list_issued(house, month, only, as_json=json))


@statement_cli.command(epilog="Example: wattloom statement show S-2026-000001 --data data/demo")
def show(
    number: _Number, *, data: Data = None, settings: Settings = None, json: Json = False
) -> None:
    """Show one statement line by line."""
    from app.commands.statement_run import run, show_one

    run(settings, data, lambda house: show_one(house, number, as_json=json))


@statement_cli.command(
    epilog="Example: wattloom statement export 2026-06 --out statements --data data/demo"
)
def export(
    month: _Month,
    *,
    out: Annotated[Path, typer.Option(help="Folder for the files, one per statement.")],
    form: Annotated[
        Literal["pdf", "csv", "json"], typer.Option("--format", help="What to write.")
    ] = "pdf",
    only: _Only = None,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write a month's issued statements to files; the same statement gives the same bytes."""
    from app.commands.statement_run import export_month, run

    run(settings, data, lambda house: export_month(house, month, only, form, out))


@statement_cli.command(
    epilog="Example: wattloom statement prove S-2026-000001 --out proof.json --data data/demo"
)
def prove(
    number: _Number,
    *,
    out: Annotated[Path, typer.Option(help="The JSON file.")],
    force: Force = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write what shows that a statement stands in the anchored log: leaf, salt, paths, entry."""
    from app.commands.statement_run import prove_one, run

    run(settings, data, lambda house: prove_one(house, number, out, force=force))
