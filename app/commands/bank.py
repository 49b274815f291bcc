"""``wattloom bank``: money in and out of the district's bank account."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from app.commands.shared import Data, Json, Settings

bank_cli = typer.Typer(
    help="Read bank statements, pay withdrawals out, compare the treasury with the bank.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_Movement = Annotated[str, typer.Argument(help="Reference of the movement, such as B1C2...")]
_Payout = Annotated[str, typer.Argument(help="Reference of the withdrawal, such as W1C2...")]
_Reason = Annotated[str, typer.Option(help="Why; the participant reads it.")]
_State = Literal["asked", "approved", "exported", "paid", "rejected", "cancelled"]


@bank_cli.command(
    "import", epilog="Example: wattloom bank import 2026-06-24.xml --data data/demo --dry-run"
)
def import_(
    file: Annotated[Path, typer.Argument(help="A statement: camt.053, or CSV with --decimal.")],
    *,
    decimal: Annotated[
        Literal["comma", "point"] | None, typer.Option(help="Decimal mark of a CSV's amounts.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show, book nothing.")] = False,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Take a bank statement in: top-ups by reference, payments by id, the rest to be assigned."""
    from app.commands.bank_run import import_file, run

    run(settings, data, lambda house: import_file(house, file, decimal, dry=dry_run, as_json=json))


@bank_cli.command(epilog="Example: wattloom bank references --data data/demo")
def references(*, data: Data = None, settings: Settings = None, json: Json = False) -> None:
    """List the payment reference of every participant."""
    from app.commands.bank_run import list_references, run

    run(settings, data, lambda house: list_references(house, as_json=json))


@bank_cli.command("open", epilog="Example: wattloom bank open --json")
def open_(*, data: Data = None, settings: Settings = None, json: Json = False) -> None:
    """List the movements that wait for a person to say what they are."""
    from app.commands.bank_run import list_open, run

    run(settings, data, lambda house: list_open(house, as_json=json))


@bank_cli.command(epilog="Example: wattloom bank assign B7K3M9QXABC home-5")
def assign(
    ref: _Movement,
    whose: Annotated[
        str,
        typer.Argument(help="Id of the participant, or a statement's number.", metavar="WHOSE"),
    ],
    *,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Give a credit that waits to a participant as their top-up, or to an open statement."""
    from app.commands.bank_run import assign_credit, run

    run(settings, data, lambda house: assign_credit(house, ref, whose))


@bank_cli.command(epilog='Example: wattloom bank charge B7K3M9QXABC --note "account fee of June"')
def charge(
    ref: _Movement,
    *,
    note: Annotated[str, typer.Option(help="What it is.")],
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Book a movement that waits as the district's own charges or interest."""
    from app.commands.bank_run import book_charge, run

    run(settings, data, lambda house: book_charge(house, ref, note))


@bank_cli.command("return", epilog="Example: wattloom bank return B7K3M9QXABC")
def return_(ref: _Movement, *, data: Data = None, settings: Settings = None) -> None:
    """Send a credit that waits back to its payer, with the next export."""
    from app.commands.bank_run import return_credit, run

    run(settings, data, lambda house: return_credit(house, ref))


@bank_cli.command(epilog="Example: wattloom bank withdrawals --state asked --json")
def withdrawals(
    *,
    state: Annotated[_State | None, typer.Option(help="Only those in this state.")] = None,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """List the withdrawals and what is sent back, newest first."""
    from app.commands.bank_run import list_withdrawals, run

    run(settings, data, lambda house: list_withdrawals(house, state, as_json=json))


@bank_cli.command(epilog="Example: wattloom bank approve W7K3M9QXABC W1C2D3E4F5G")
def approve(
    refs: Annotated[list[str], typer.Argument(help="References of withdrawals.")],
    *,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Let withdrawals go: with the next export, or at once to a ledger address."""
    from app.commands.bank_run import approve_payouts, run

    run(settings, data, lambda house: approve_payouts(house, refs))


@bank_cli.command(epilog='Example: wattloom bank reject W7K3M9QXABC --reason "ask for less"')
def reject(ref: _Payout, *, reason: _Reason, data: Data = None, settings: Settings = None) -> None:
    """Refuse a withdrawal that was not exported; the money is back in the wallet at once."""
    from app.commands.bank_run import reject_payout, run

    run(settings, data, lambda house: reject_payout(house, ref, reason))


@bank_cli.command(epilog='Example: wattloom bank refused W7K3M9QXABC --reason "account closed"')
def refused(ref: _Payout, *, reason: _Reason, data: Data = None, settings: Settings = None) -> None:
    """Take an exported payment back that the bank certainly did not make."""
    from app.commands.bank_run import payout_refused, run

    run(settings, data, lambda house: payout_refused(house, ref, reason))


@bank_cli.command(epilog="Example: wattloom bank export --out payments.xml")
def export(
    *,
    out: Annotated[Path, typer.Option(help="The pain.001.001.09 file for the bank.")],
    message: Annotated[
        str | None, typer.Option(help="Write an earlier file again, by its message id.")
    ] = None,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write every approved payment to a SEPA credit transfer file, each exactly once."""
    from app.commands.bank_run import export_payments, run

    run(settings, data, lambda house: export_payments(house, out, message))


@bank_cli.command(epilog="Example: wattloom bank movements --out movements.csv")
def movements(
    *,
    out: Annotated[Path, typer.Option(help="The CSV file.")],
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write all movements of the account as CSV, with what became of them."""
    from app.commands.bank_run import run, write_movements

    run(settings, data, lambda house: write_movements(house, out))


@bank_cli.command(epilog="Example: wattloom bank reconcile --date 2026-06-24 --json")
def reconcile(
    *,
    date: Annotated[
        str | None, typer.Option(help="Start from the statement of this day, such as 2026-06-24.")
    ] = None,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Compare the bank, the journal and the ledger; exit code 1 if something is unexplained."""
    from app.commands.bank_run import reconcile_day, run

    run(settings, data, lambda house: reconcile_day(house, date, as_json=json))
