"""``wattloom node``: the ledger's node, its milestone signers, witnesses and followers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

node_cli = typer.Typer(
    help="Run the ledger's node, or one of the services that watch over it.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


_Data = Annotated[
    Path, typer.Option(help="Folder of the network; the same folder goes on where it stopped.")
]
_Port = Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")]
_Host = Annotated[str, typer.Option(help="Beyond this machine only with --token-file.")]
_Network = Annotated[str | None, typer.Option(help="Name of a new network (wattloom-private).")]
_Hrp = Annotated[str | None, typer.Option(help="What its addresses begin with (wl).")]
_Genesis = Annotated[
    list[str] | None,
    typer.Option(
        metavar="BECH32[:UNITS]",
        help="Holds units from the start (10^12); may be repeated. Without: a new treasury.",
    ),
]
_Interval = Annotated[float, typer.Option(min=1, max=86_400, help="Seconds between milestones.")]
_Threshold = Annotated[
    int | None, typer.Option(min=1, max=255, help="Keys that must sign a milestone (1).")
]
_TokenFile = Annotated[
    Path | None, typer.Option(help="Every route but /health wants the token in this file.")
]
_Pow = Annotated[
    int, typer.Option(min=0, max=2**31 - 1, help="Proof of work asked of a block (none).")
]
_Json = Annotated[bool, typer.Option("--json", help="Say in JSON when ready.")]
_NODE_EXAMPLES = (
    "Examples: wattloom node --data data/node  |  wattloom node --port 0 --json  |  "
    "wattloom node --host 0.0.0.0 --token-file token --network lindenhof --hrp lin "
    "--genesis-address lin1...:5000000"
)


@node_cli.callback(invoke_without_command=True, epilog=_NODE_EXAMPLES)
def node(
    context: typer.Context,
    *,
    data: _Data = Path("data/node"),
    port: _Port = 14265,
    host: _Host = "127.0.0.1",
    network: _Network = None,
    hrp: _Hrp = None,
    genesis_address: _Genesis = None,
    milestone_interval: _Interval = 5,
    threshold: _Threshold = None,
    token_file: _TokenFile = None,
    min_pow_score: _Pow = 0,
    json: _Json = False,
) -> None:
    """Run the ledger's node: the REST API of a Stardust node over a private, feeless Tangle."""
    if context.invoked_subcommand is not None:
        return
    from ledger_client.localnode.http.serve import NodeCommand, NodeStartError, run_node

    command = NodeCommand(
        data,
        host,
        port,
        network,
        hrp,
        tuple(genesis_address or ()),
        milestone_interval,
        threshold,
        token_file,
        min_pow_score,
        json_line=json,
    )
    try:
        run_node(command, typer.echo)
    except NodeStartError as error:
        typer.echo(f"wattloom node: {error}", err=True)
        raise typer.Exit(1) from error
