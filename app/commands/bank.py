"""``wattloom bank``: money in and out of the district's bank account."""

from __future__ import annotations

import typer

bank_cli = typer.Typer(
    help="Read bank statements, pay withdrawals out, compare the treasury with the bank.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
