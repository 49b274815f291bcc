"""``wattloom node``: the ledger's node, its milestone signers, witnesses and followers."""

from __future__ import annotations

import typer

node_cli = typer.Typer(
    help="Run the ledger's node, or one of the services that watch over it.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
