"""``wattloom export``: what leaves the district's database as a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from app.commands.shared import Data, Force, Settings, run

if TYPE_CHECKING:
    from app.services.house import House

export_cli = typer.Typer(
    help="Write parts of the district's database to files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@export_cli.command(
    epilog="Example: wattloom export interval 2026-06-23T09:00:00Z --data data/demo "
    "--out interval.json"
)
def interval(
    key: Annotated[str, typer.Argument(help="The interval's UTC start.", metavar="KEY")],
    *,
    out: Annotated[Path, typer.Option(help="Where the file goes.", metavar="FILE")],
    force: Force = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write everything that a sealed interval was cleared from, for `wattloom audit`.

    The file names everybody's orders, tariffs and statements: it is for an auditor, not for the
    public.
    """
    from app.commands.interval_export import export_interval
    from app.files.output import written

    def act(house: House) -> str:
        content = export_interval(house, key)
        with written(out, force=force) as file:
            file.write(content)
        return f"{out}: {key}, {len(content)} bytes"

    _run(settings, data, act)


@export_cli.command(
    epilog="Example: wattloom export journal --from 2026-06 --to 2026-07 --format parquet "
    "--out june.parquet --data data/demo"
)
def journal(
    *,
    out: Annotated[Path, typer.Option(help="Where the file goes.", metavar="FILE")],
    form: Annotated[
        Literal["csv", "json", "parquet"], typer.Option("--format", help="Form of the file.")
    ] = "csv",
    begin: Annotated[
        str, typer.Option("--from", help="Booked from this moment, local day or local month on.")
    ] = "",
    end: Annotated[
        str, typer.Option("--to", help="Booked before this moment, local day or local month.")
    ] = "",
    account: Annotated[
        list[str] | None,
        typer.Option(help="Only this account; `wallet:` names all of them. May be repeated."),
    ] = None,
    participant: Annotated[str, typer.Option(help="Only this participant's accounts.")] = "",
    force: Force = False,
    json: Annotated[bool, typer.Option("--json", help="Print each account's total.")] = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write the journal's postings, or some of them: times are UTC, amounts micro-euros.

    The file names everybody's accounts: it is for an accountant or an auditor.
    """
    from app.commands.journal_export import Asked, export_journal, totals_json

    def act(house: House) -> str:
        asked = Asked(begin, end, tuple(account or ()), participant, form, out, force)
        totals = export_journal(house.database, house.settings.origin, asked)
        if json:
            typer.echo(totals_json(asked, totals))
        return f"{out}: {totals.postings} postings, sum {totals.micro} micro-euros"

    _run(settings, data, act)


@export_cli.command(
    "month", epilog="Example: wattloom export month 2026-06 --data data/demo --out 2026-06.zip"
)
def month_(
    month: Annotated[str, typer.Argument(help="The local month.", metavar="MONTH")],
    *,
    out: Annotated[Path, typer.Option(help="Where the file goes.", metavar="FILE")],
    force: Force = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write everything that a month's statements rest on, for `wattloom audit`.

    The file holds everybody's readings, orders and statements: it is for an auditor.
    """
    from app.commands.audit_month import progress
    from app.commands.month_export import export_month

    def act(house: House) -> str:
        with progress("intervals") as told:
            count = export_month(house, month, out, force=force, told=told)
        return f"{out}: {month}, {count} intervals, {out.stat().st_size} bytes"

    _run(settings, data, act)


@export_cli.command(
    epilog="Example: wattloom export receipts spool.db --out receipts --key 3b6a27bc"
)
def receipts(
    spool: Annotated[Path, typer.Argument(help="A gateway's spool.", metavar="SPOOL")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the files.", metavar="FOLDER")],
    key: Annotated[str, typer.Option(help="Only of the meter whose key begins so.")] = "",
    force: Force = False,
) -> None:
    """Write each receipt that a gateway holds, beside its reading, for `wattloom verify`."""
    from app.commands.evidence import EvidenceError, export_receipts

    try:
        count = export_receipts(spool, out, key, force=force)
    except (EvidenceError, OSError) as error:
        typer.echo(f"wattloom export: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{out}: {count} receipts", err=True)


@export_cli.command(
    epilog="Example: wattloom export leaves 2026-06-23T09:00:00Z 573999900000000085 "
    "--out leaves.json --data data/demo"
)
def leaves(
    key: Annotated[str, typer.Argument(help="The interval's UTC start.", metavar="KEY")],
    point: Annotated[str, typer.Argument(help="The metering point's GSRN.")],
    *,
    out: Annotated[Path, typer.Option(help="Where the file goes.", metavar="FILE")],
    force: Force = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write all leaves that a seal holds of a point, and all late ones, to judge a receipt by."""
    from app.commands.evidence import export_leaves

    def act(house: House) -> str:
        return f"{out}: {export_leaves(house, key, point, out, force=force)} bytes"

    _run(settings, data, act)


@export_cli.command(
    epilog="Example: wattloom export reading KEY 1 4711 --out reading.json --data data/demo"
)
def reading(
    key: Annotated[str, typer.Argument(help="The meter's public key, hex.", metavar="KEY")],
    epoch: Annotated[int, typer.Argument(min=1, help="The reading's epoch.")],
    seq: Annotated[int, typer.Argument(min=1, help="The reading's number.")],
    *,
    out: Annotated[Path, typer.Option(help="Where the file goes.", metavar="FILE")],
    force: Force = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write the proof of one reading: from its signature to the ledger, and when it was signed."""
    from app.commands.evidence import export_reading

    def act(house: House) -> str:
        return f"{out}: {export_reading(house, (key, epoch, seq), out, force=force)} bytes"

    _run(settings, data, act)


@export_cli.command(epilog="Example: wattloom export equivocations --out twice --data data/demo")
def equivocations(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the files.", metavar="FOLDER")],
    force: Force = False,
    json: Annotated[bool, typer.Option("--json", help="Print the files' names as JSON.")] = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write evidence of each number that a meter's key signed twice, for `wattloom verify`."""
    from app.commands.evidence import export_equivocations, names_json

    def act(house: House) -> str:
        names = export_equivocations(house, out, force=force)
        if json:
            typer.echo(names_json(names))
        return f"{out}: numbers signed twice: {len(names)}"

    _run(settings, data, act)


@export_cli.command(
    epilog="Example: wattloom export ocmf 573999900000000085 --from 2026-06-23T18:00+02:00 "
    "--to 2026-06-23T21:30+02:00 --key charger.pem --out sessions --ident ISO14443:1F2D3A4F"
)
def ocmf(
    point: Annotated[str, typer.Argument(help="The charger's metering point (GSRN).")],
    *,
    begin: Annotated[str, typer.Option("--from", help="Begin, with its zone.")],
    end: Annotated[str, typer.Option("--to", help="End, with its zone.")],
    key: Annotated[Path, typer.Option(help="The charger's P-256 key (PEM), published before.")],
    out: Annotated[Path, typer.Option(help="Folder for the files.", metavar="FOLDER")],
    ident: Annotated[str, typer.Option(help="Who charged: TYPE:DATA, as OCMF names types.")] = "",
    threshold_w: Annotated[
        int | None, typer.Option(min=1, help="A session per run of at least so much power.")
    ] = None,
    force: Force = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write charging sessions as signed records (OCMF 1.4): one file per session.

    A session lies between the first and the last measured reading of the time that is named. The
    signature is evidence against tampering. It is not conformity with calibration law.
    """
    from app.commands.ocmf_export import export_ocmf

    def act(house: House) -> str:
        names = export_ocmf(house, (point, begin, end, ident, threshold_w), key, out, force=force)
        return f"{out}: {', '.join(names)}"

    _run(settings, data, act)


def _run(settings: Path | None, data: Path | None, action: Callable[[House], str]) -> NoReturn:
    from app.commands.interval_export import ExportError
    from app.commands.journal_export import JournalExportError
    from app.services.proofs import ProofError
    from ledger_client.ledger import LedgerError

    def said(house: House) -> None:
        typer.echo(action(house), err=True)

    refused: tuple[type[Exception], ...] = (ExportError, JournalExportError, ProofError)
    refused += (LedgerError, *_ocmf_errors())
    run("export", settings, data, said, *refused)


def _ocmf_errors() -> tuple[type[Exception], ...]:
    from app.commands.ocmf_export import OcmfExportError
    from metering.ocmf.document import OcmfError

    return OcmfError, OcmfExportError
