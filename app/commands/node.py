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
    int | None, typer.Option(min=1, max=255, help="Keys that must sign a milestone (most).")
]
_TokenFile = Annotated[
    Path | None, typer.Option(help="Every route but /health wants the token in this file.")
]
_Pow = Annotated[
    int, typer.Option(min=0, max=2**31 - 1, help="Proof of work asked of a block (none).")
]
_Signers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL=KEY",
        help="A milestone signer elsewhere, as it prints itself; may be repeated.",
    ),
]
_SignerToken = Annotated[
    Path | None, typer.Option(help="The token in this file is sent to the signers.")
]
_OwnKey = Annotated[
    bool, typer.Option("--own-key", help="Sign with the node's own key, too, beside --signer.")
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
    signer: _Signers = None,
    signer_token_file: _SignerToken = None,
    own_key: _OwnKey = False,
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
        tuple(signer or ()),
        signer_token_file,
        own_key=own_key,
        json_line=json,
    )
    try:
        run_node(command, typer.echo)
    except NodeStartError as error:
        typer.echo(f"wattloom node: {error}", err=True)
        raise typer.Exit(1) from error


_Token = Annotated[
    Path | None, typer.Option("--token-file", help="Only who knows this file's token is served.")
]
_Keys = Annotated[
    Path | None, typer.Option(help="KEYS file: lets a signer that was away catch up by proof.")
]
_FromIndex = Annotated[
    int,
    typer.Option(min=1, max=2**32 - 1, help="Sign nothing below: for a key that moved here."),
]
_Ahead = Annotated[
    int, typer.Option(min=1, max=1_440, help="Minutes a milestone may be ahead of this clock.")
]
_Follow = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Work each milestone out again from this node's blocks."),
]
_FollowToken = Annotated[
    Path | None, typer.Option(help="File with the token that this node wants.")
]
_SIGNER_EXAMPLES = (
    "Examples: wattloom node signer --data city --network lindenhof --keys keys.json "
    "--follow http://127.0.0.1:14265  |  "
    "wattloom node signer --host 0.0.0.0 --token-file token --data city --network lindenhof"
)


@node_cli.command(epilog=_SIGNER_EXAMPLES)
def signer(
    *,
    network: Annotated[str, typer.Option(help="Name of the network whose milestones it signs.")],
    data: Annotated[
        Path, typer.Option(help="Folder of the key and of what it signed; never a copy.")
    ] = Path("data/signer"),
    port: _Port = 14266,
    host: _Host = "127.0.0.1",
    token_file: _Token = None,
    keys: _Keys = None,
    from_index: _FromIndex = 1,
    max_ahead: _Ahead = 5,
    follow: _Follow = None,
    follow_token_file: _FollowToken = None,
    json: _Json = False,
) -> None:
    """Hold one milestone key of k-of-n and sign each index once, for the node that asks."""
    from contextlib import nullcontext

    from ledger_client.follower.opinion import following
    from ledger_client.signer.command import SignerCommand, SignerStartError, run_signer

    command = SignerCommand(
        data,
        network,
        host,
        port,
        token_file,
        keys,
        from_index,
        max_ahead * 60,
        json_line=json,
    )
    _log_to_stderr()
    opinion = following(follow, follow_token_file, command) if follow else nullcontext()
    try:
        with opinion as check:
            run_signer(command, typer.echo, check)
    except SignerStartError as error:
        typer.echo(f"wattloom node signer: {error}", err=True)
        raise typer.Exit(1) from error


_WITNESS_EXAMPLE = (
    "Example: wattloom node witness --data witness --name witness.example/w1 "
    "--log lindenhof.example=LOGKEYHEX"
)


@node_cli.command(epilog=_WITNESS_EXAMPLE)
def witness(
    *,
    name: Annotated[str, typer.Option(help="What its signature lines call it.")],
    log: Annotated[
        list[str],
        typer.Option(metavar="ORIGIN=KEY", help="A log, its key in hex or as a vkey; repeated."),
    ],
    data: Annotated[
        Path, typer.Option(help="Folder of the key and of what it cosigned; never a copy.")
    ] = Path("data/witness"),
    port: _Port = 14267,
    host: Annotated[str, typer.Option(help="Where it listens.")] = "127.0.0.1",
    json: _Json = False,
) -> None:
    """Cosign the checkpoints of logs that only grow (C2SP tlog-witness)."""
    from ledger_client.witness.command import WitnessCommand, WitnessStartError, run_witness

    _log_to_stderr()
    try:
        run_witness(WitnessCommand(data, name, tuple(log), host, port, json_line=json), typer.echo)
    except WitnessStartError as error:
        typer.echo(f"wattloom node witness: {error}", err=True)
        raise typer.Exit(1) from error


_FOLLOW_EXAMPLES = (
    "Examples: wattloom node follow http://127.0.0.1:14265 --data audit --keys keys.json  |  "
    "wattloom node follow https://node.example --data audit --keys keys.json --once --json"
)


@node_cli.command(epilog=_FOLLOW_EXAMPLES)
def follow(
    url: Annotated[str, typer.Argument(help="The node to follow, such as http://127.0.0.1:14265.")],
    *,
    keys: Annotated[Path, typer.Option(help="KEYS file: whose milestones count.")],
    data: Annotated[
        Path, typer.Option(help="Folder of the copy; the same folder goes on where it stopped.")
    ] = Path("data/follower"),
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that the node wants.")
    ] = None,
    genesis_address: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BECH32:UNITS",
            help="A genesis output, may be repeated. Without: the node's word, on first use.",
        ),
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="First work out the copy here again, from its blocks.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Catch up, then end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON line per event.")] = False,
) -> None:
    """Keep a copy of a node's ledger, check every milestone again, halt where it does not hold."""
    from rich.console import Console

    from ledger_client.follower.command import FollowCommand, FollowStartError, run_follow
    from ledger_client.follower.screen import JsonLines, LiveBar

    genesis = tuple(genesis_address or ())
    command = FollowCommand(url, data, keys, token_file, genesis, replay=replay, once=once)
    try:
        code = run_follow(command, JsonLines(typer.echo) if json else LiveBar(Console()))
    except FollowStartError as error:
        typer.echo(f"wattloom node follow: {error}", err=True)
        raise typer.Exit(1) from error
    raise typer.Exit(code)


@node_cli.command(
    epilog="Example: wattloom node audit --data audit --keys keys.json --log http://127.0.0.1:8000"
)
def audit(
    *,
    keys: Annotated[Path, typer.Option(help="The district's KEYS: whose log, by which keys.")],
    data: Annotated[Path, typer.Option(help="Folder of a follower that has ended.")] = Path(
        "data/follower"
    ),
    log: Annotated[
        str | None, typer.Option(metavar="URL", help="The district, to be asked for its paths.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Say it in JSON.")] = False,
) -> None:
    """Compare all anchors of a district's log; two histories become evidence."""
    from ledger_client.audit_command import AuditCommand, AuditStartError, run_audit

    try:
        raise typer.Exit(run_audit(AuditCommand(data, keys, log, json), typer.echo))
    except AuditStartError as error:
        typer.echo(f"wattloom node audit: {error}", err=True)
        raise typer.Exit(2) from error


def _log_to_stderr() -> None:
    """Let a service say on standard error what it signed and what it refused."""
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
