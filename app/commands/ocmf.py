"""``wattloom ocmf``: keys for records of charging sessions, and checking such a record."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.commands.shared import Data, Json, Settings, run

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from app.services.house import House
    from metering.ocmf.document import Document, OcmfReading

ocmf_cli = typer.Typer(
    help="Records of charging sessions (OCMF): keys, and whether a record holds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@ocmf_cli.command(
    epilog="Example: wattloom ocmf key 573999900000000085 --serial 24000017 "
    "--district lindenhof.wattloom.example --meter-key meter-24000017.key --out charger.pem"
)
def key(
    point: Annotated[str, typer.Argument(help="The charger's metering point (GSRN).")],
    *,
    serial: Annotated[str, typer.Option(help="Serial number of the enrolled meter.")],
    district: Annotated[str, typer.Option(help="The district's name.")],
    meter_key: Annotated[Path, typer.Option(help="The meter's key file, at its gateway.")],
    out: Annotated[Path, typer.Option(help="Where the new key goes (PEM); it stays here.")],
) -> None:
    """Make a P-256 key for a charger's records, and a statement that the meter's key signs.

    Run it at the gateway, which holds the meter's key. `wattloom ocmf publish` takes the
    statement, which stands beside the key with the ending .json.
    """
    from metering.ocmf.signature import Published, create_key, public_hex
    from metering.signing import SigningError, load_key_file

    try:
        meter = load_key_file(meter_key)
        made = create_key(out)
        statement = Published.of((district, point, serial), meter, public_hex(made))
        out.with_suffix(".json").write_bytes(statement.to_json())
    except FileExistsError:
        _refuse(f"{out} is there already: a key is never overwritten")
    except (OSError, SigningError, ValueError) as error:
        _refuse(str(error))
    typer.echo(f"{out}: keep it here; publish {out.with_suffix('.json')}", err=True)


@ocmf_cli.command(epilog="Example: wattloom ocmf publish charger.json --data data/district")
def publish(
    statement: Annotated[Path, typer.Argument(help="What `ocmf key` wrote.", metavar="STATEMENT")],
    *,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Publish a meter's key for records: it is stored and entered in the log."""
    from metering.ocmf.signature import OcmfKeyError, Published

    def act(house: House) -> None:
        from app.services.ocmf import publish as enter

        row = enter(house, Published.parse(statement.read_bytes()))
        typer.echo(f"published for {row.point}: entry {row.log_index} of the log", err=True)

    run("ocmf", settings, data, act, OcmfKeyError)


@ocmf_cli.command(epilog="Example: wattloom ocmf verify session-T1.ocmf --key charger.json")
def verify(
    file: Annotated[Path, typer.Argument(help="A record, of ours or of another maker.")],
    *,
    public: Annotated[
        Path,
        typer.Option("--key", help="Public key: PEM, DER as hex or base64, or our statement."),
    ],
    json: Json = False,
) -> None:
    """Check a record of a charging session, and show what it says.

    Exit code 0: the key signed it; 1: it did not, or it breaks the format; 2: it could not be
    judged. A signature shows that nothing was changed since, not that a meter is calibrated.
    """
    from metering.ocmf.document import OcmfFormatError, parse
    from metering.ocmf.signature import OcmfKeyError, OcmfUnsupportedError, signature_holds

    try:
        trusted, whose = _trusted(public)
        found = parse(file.read_bytes())
        held = signature_holds(found, trusted)
    except OcmfFormatError as error:
        _refuse(f"{file}: {error}")
    except (OcmfKeyError, OcmfUnsupportedError, OSError) as error:
        _refuse(str(error), code=2)
    _show(found, held=held, whose=whose, as_json=json)
    raise typer.Exit(0 if held else 1)


def _trusted(path: Path) -> tuple[EllipticCurvePublicKey, str]:
    """Return the public key of a file, and whose it says that it is."""
    from metering.ocmf.signature import Published, read_public

    text = path.read_text("utf-8", errors="replace")
    if not text.lstrip().startswith("{"):
        return read_public(text), ""
    found = Published.parse(text.encode())
    return read_public(found.ocmf), f"published by meter {found.meter} with key {found.key}"


def _show(found: Document, *, held: bool, whose: str, as_json: bool) -> None:
    says = "the key signed it, nothing was changed since" if held else "the key did NOT sign this"
    if as_json:
        readings = [_reading(each) for each in found.readings]
        page = f"{found.context}{found.number}"
        told = {"holds": held, "key": whose, "page": page, "readings": readings}
        fields = json_.loads(json_.dumps(found.fields, default=str))
        typer.echo(json_.dumps(told | {"fields": fields}, ensure_ascii=False, indent=2))
        return
    for name, value in found.fields.items():
        typer.echo(f"{name}: {value}")
    for each in found.readings:
        row = _reading(each)
        typer.echo(" ".join(f"{name}={value}" for name, value in row.items() if value))
    typer.echo(f"{says}{f'; {whose}' if whose else ''}")


def _reading(each: OcmfReading) -> dict[str, str]:
    return {
        "at": each.at.isoformat(timespec="milliseconds"),
        "clock": each.clock,
        "transaction": each.transaction or "",
        "value": "" if each.value is None else f"{each.value:f}",
        "unit": each.unit or "",
        "obis": each.obis or "",
        "state": each.state,
        "errors": each.errors,
    }


def _refuse(text: str, code: int = 1) -> NoReturn:
    typer.echo(f"wattloom ocmf: {text}", err=True)
    raise typer.Exit(code)
