"""``wattloom meter``: find meters, judge what they show, enrol them, exchange them, end their keys.

What runs at the gateway box (``meter_field``) needs neither web framework nor database; what runs
at the server (``meter_office``) opens the district's folder. docs/commissioning.md is the way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.commands import meter_profiles
from app.commands.meter_changes import changes_cli
from app.commands.shared import Data, Json, Settings

meter_cli = typer.Typer(
    help="Put meters into service: scan, test, add, exchange, rotate and revoke their keys.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
meter_cli.command("profiles", epilog=meter_profiles.EPILOG)(meter_profiles.profiles)
meter_cli.add_typer(changes_cli, name="changes")

_GATEWAY = "At the gateway"
_SERVER = "At the server"
_LINE = "A line of the gateway's settings, or an address: tcp://192.168.1.20, a range "
_LINE += "tcp://192.168.1.20-40:502, rtu-over-tcp://HOST:PORT, serial:///dev/ttyUSB0?baud=9600."

_Lines = Annotated[list[str], typer.Argument(help=_LINE, metavar="LINE...")]
_Line = Annotated[str, typer.Argument(help=_LINE, metavar="LINE")]
_Named = Annotated[str, typer.Argument(help="A line of the gateway's settings.", metavar="[LINE]")]
_Config = Annotated[Path, typer.Option(help="The gateway's settings.")]
_Folder = Annotated[Path | None, typer.Option(help="Folder with profiles of your own (*.toml).")]
_Unit = Annotated[int, typer.Option(min=0, max=255, help="Unit id of the meter.")]
_Profile = Annotated[str, typer.Option(help="The meter's type; else what its registers tell.")]
_Serial = Annotated[str, typer.Option(help="The serial number on the label.")]
_Expect = Annotated[
    list[str] | None,
    typer.Option(help="NAME=VALUE: what a watched setting has to be. May be repeated."),
]
_Seconds = Annotated[
    int, typer.Option(min=0, max=3_600, help="Between the two polls that are compared.")
]
_Token = Annotated[str, typer.Option(help="The one-time token of the page Meters.")]
_By = Annotated[str, typer.Option(help="Who stands at the meter.")]
_Anyway = Annotated[bool, typer.Option("--anyway", help="Go on although a finding is wrong.")]
_Wait = Annotated[int, typer.Option(min=0, max=1_440, help="Minutes to wait for the confirmation.")]
_Point = Annotated[str, typer.Argument(help="GSRN of the metering point.", metavar="POINT")]
_CONFIG = Path("/etc/wattloom/gateway.toml")


@meter_cli.command(
    rich_help_panel=_GATEWAY, epilog="Example: wattloom meter scan tcp://192.168.1.20-40 --json"
)
def scan(
    lines: _Lines,
    *,
    units: Annotated[
        str, typer.Option(help="Unit ids: 1-247, 3,5; else all on one line, 1 and 255 on several.")
    ] = "",
    timeout_ms: Annotated[
        int, typer.Option(min=20, max=10_000, help="How long a unit may take to answer.")
    ] = 250,
    config: _Config = _CONFIG,
    folder: _Folder = None,
    json: Json = False,
) -> None:
    """Find the meters on lines and say of which type each is. Exit code 1 when there is none."""
    from app.commands.meter_field import Asking, scan_shown

    scan_shown(lines, units, timeout_ms, Asking(config, folder), as_json=json)


@meter_cli.command(
    "test",
    rich_help_panel=_GATEWAY,
    epilog="Example: wattloom meter test serial:///dev/ttyUSB0?baud=9600 --unit 3 --seconds 30",
)
def judge(
    line: _Line,
    *,
    unit: _Unit = 1,
    profile: _Profile = "",
    serial: _Serial = "",
    max_power: Annotated[int, typer.Option(min=0, help="What the fuse allows, W.")] = 0,
    expect: _Expect = None,
    seconds: _Seconds = 10,
    config: _Config = _CONFIG,
    folder: _Folder = None,
    json: Json = False,
) -> None:
    """Show a meter's live values beside what is plausible. Exit code 1 when something is wrong."""
    from app.commands.meter_field import Asking, Target, judge_shown

    target = Target(line, unit, profile, serial, max_power, tuple(expect or ()), seconds)
    judge_shown(target, Asking(config, folder), as_json=json)


@meter_cli.command(
    rich_help_panel=_GATEWAY,
    epilog="Example: wattloom meter add bus-1 --unit 3 --token K7QX-9F2M-TA4D-0WZE --by 'Kim Volt'",
)
def add(
    line: _Named = "",
    *,
    unit: _Unit = 1,
    token: _Token = "",
    by: _By = "",
    profile: _Profile = "",
    serial: _Serial = "",
    expect: _Expect = None,
    seconds: _Seconds = 10,
    anyway: _Anyway = False,
    wait: _Wait = 15,
    forget: Annotated[str, typer.Option(help="GSRN: drop what waits there; nothing else.")] = "",
    config: _Config = _CONFIG,
) -> None:
    """Test a meter, make its key, have it enrolled, and enter it once a person confirmed the key.

    Without a token it goes on with what waits for a confirmation.
    """
    from app.commands.meter_enrol import How, add_shown
    from app.commands.meter_field import Target

    target = Target(line, unit, profile, serial, 0, tuple(expect or ()), seconds)
    add_shown(target, How(token, by, wait, anyway=anyway), config, forget)


@meter_cli.command(
    rich_help_panel=_GATEWAY,
    epilog="Example: wattloom meter replace --token K7QX-9F2M-TA4D-0WZE --by 'Kim Volt'",
)
def replace(
    line: _Named = "",
    *,
    unit: Annotated[int, typer.Option(min=-1, max=255, help="Unit id; -1: as before.")] = -1,
    token: _Token,
    by: _By,
    closing_import: Annotated[
        int, typer.Option(min=-1, help="What the old meter's display shows, Wh; -1: it answers.")
    ] = -1,
    closing_export: Annotated[int, typer.Option(min=-1, help="The same for export, Wh.")] = -1,
    profile: _Profile = "",
    serial: _Serial = "",
    expect: _Expect = None,
    seconds: _Seconds = 10,
    anyway: _Anyway = False,
    wait: _Wait = 15,
    config: _Config = _CONFIG,
) -> None:
    """Put another meter in a meter's place: run it before the exchange, and again after it.

    The first run keeps what the old meter shows and takes it out of service; the second enrols
    the new one.
    """
    from app.commands.meter_enrol import How, replace_shown
    from app.commands.meter_field import Target

    target = Target(line, unit, profile, serial, 0, tuple(expect or ()), seconds)
    typed = (closing_import, closing_export)
    replace_shown(target, How(token, by, wait, anyway=anyway), config, typed)


@meter_cli.command(
    rich_help_panel=_GATEWAY, epilog="Example: wattloom meter rotate 573999900000000085"
)
def rotate(point: _Point, *, config: _Config = _CONFIG) -> None:
    """Give a meter a new key, which the old one signs over; it counts from the next quarter-hour.

    The gateway changes keys at that border by itself. The command waits until then to put the old
    key aside; stopped before, run it again.
    """
    from app.commands.meter_enrol import rotate_shown

    rotate_shown(point, config)


@meter_cli.command(
    rich_help_panel=_SERVER,
    epilog="Example: wattloom meter token 573999900000000085 --data data/district",
)
def token(
    point: _Point, *, data: Data = None, settings: Settings = None, json: Json = False
) -> None:
    """Make a one-time token for a point: 15 minutes, one enrolment, shown once."""
    from app.commands.meter_office import token_shown

    token_shown(point, data, settings, as_json=json)


@meter_cli.command(
    "list",
    rich_help_panel=_SERVER,
    epilog="Example: wattloom meter list --data data/district --json",
)
def list_(*, data: Data = None, settings: Settings = None, json: Json = False) -> None:
    """List the meters of every point, and the enrolments that wait."""
    from app.commands.meter_office import list_shown

    list_shown(data, settings, as_json=json)


@meter_cli.command(
    rich_help_panel=_SERVER,
    epilog="Example: wattloom meter confirm 573999900000000085 '77a1 9c3e' --data data/district",
)
def confirm(
    point: _Point,
    groups: Annotated[str, typer.Argument(help="The fingerprint's last two groups.")],
    *,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Confirm that the gateway shows this fingerprint, and have the registry sign."""
    from app.commands.meter_office import confirm_shown

    confirm_shown(point, groups, data, settings)


@meter_cli.command(
    rich_help_panel=_SERVER,
    epilog="Example: wattloom meter withdraw 573999900000000085 --data data/district",
)
def withdraw(point: _Point, *, data: Data = None, settings: Settings = None) -> None:
    """Turn down the enrolment that waits at a point."""
    from app.commands.meter_office import withdraw_shown

    withdraw_shown(point, data, settings)


@meter_cli.command(
    rich_help_panel=_SERVER,
    epilog="Example: wattloom meter revoke 3f2a... --from 2026-07-01T10:15:00Z --data data",
)
def revoke(
    key: Annotated[str, typer.Argument(help="The meter's public key, hex.")],
    *,
    start: Annotated[
        str, typer.Option("--from", help="First interval refused, by its key; else the next one.")
    ] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take it back; it has not begun.")] = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Refuse a key's readings from an interval on; from a past one, what it signed is disputed."""
    from app.commands.meter_office import revoke_shown

    revoke_shown(key, start, data, settings, undo=undo)
