"""The command line, ``wattloom``: each group of commands has a module of its own.

Imports stand inside the commands, so that ``wattloom verify`` starts as fast as its one file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from app.commands.bank import bank_cli
from app.commands.certificate import certificate_cli
from app.commands.contract import contract_cli
from app.commands.correct import correct_cli
from app.commands.device import device_cli
from app.commands.exchange import exchange_cli
from app.commands.export import export_cli
from app.commands.import_readings import import_cli
from app.commands.meter import meter_cli
from app.commands.node import node_cli
from app.commands.ocmf import ocmf_cli
from app.commands.point import point_cli
from app.commands.price import price_cli
from app.commands.share import share_cli
from app.commands.shared import Data, Json, Settings, run
from app.commands.statement import statement_cli
from app.commands.tariff import tariff_cli

cli = typer.Typer(
    name="wattloom",
    help="The operating software of a positive-energy district.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_GROUPS = {
    "Ledger and bank": {"node": node_cli, "bank": bank_cli},
    "Meters": {"meter": meter_cli, "import": import_cli},
    "Market": {"share": share_cli, "contract": contract_cli},
    "People, points and tariffs": {
        "point": point_cli,
        "device": device_cli,
        "tariff": tariff_cli,
        "price": price_cli,
    },
    "Bills and certificates": {
        "statement": statement_cli,
        "correct": correct_cli,
        "certificate": certificate_cli,
    },
    "Files for others": {"exchange": exchange_cli, "export": export_cli, "ocmf": ocmf_cli},
}
for _panel, _commands in _GROUPS.items():
    for _name, _group in _commands.items():
        cli.add_typer(_group, name=_name, rich_help_panel=_panel)

_FRESH = typer.Option("--fresh", help="Put an earlier run aside (old-1, ...), begin again.")
_FEE = "Grid fee on energy that stays {}, micro-euros/kWh."
_SUMMARY = typer.Option(help="Write the run's figures to this JSON file.")


@cli.command(
    epilog="Example: wattloom demo --headless --intervals 8 --speed max --summary out.json"
)
def demo(
    *,
    data: Annotated[
        Path, typer.Option(help="Folder of the run; the same folder goes on where it stopped.")
    ] = Path("data/demo"),
    headless: Annotated[
        bool, typer.Option("--headless", help="No pages to look at; free ports; exits when done.")
    ] = False,
    intervals: Annotated[
        int | None,
        typer.Option(min=1, max=2976, help="Quarter-hours in total (headless: 8, else no end)."),
    ] = None,
    speed: Annotated[
        str, typer.Option(help="How fast the district's clock runs: up to 3600, or max.")
    ] = "60",
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Names the run.")] = 1,
    fresh: Annotated[bool, _FRESH] = False,
    summary: Annotated[Path | None, _SUMMARY] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line per sealed interval.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Port of the pages (8000).")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="TOML file with the district's settings.")
    ] = None,
) -> None:
    """Run the demo district Lindenhof: simulated meters, market, payments, proofs, pages."""
    from app.demo.command import How, run_demo

    overrides: dict[str, object] = {"data": data} | ({"port": port} if port else {})
    _exit(
        run_demo(
            settings,
            overrides,
            How(
                headless=headless,
                intervals=intervals or (8 if headless else None),
                speed=_speed(speed),
                seed=seed,
                fresh=fresh,
            ),
            summary=summary,
            json_lines=json,
        )
    )


@cli.command(
    epilog="Example: wattloom init data/lindenhof --origin lindenhof.example --tariff "
    "docs/samples/tariff.toml"
)
def init(
    folder: Annotated[Path, typer.Argument(help="New folder of the district.", metavar="FOLDER")],
    *,
    tariff: Annotated[Path, typer.Option(help="TOML file of the first tariff, from today on.")],
    origin: Annotated[str, typer.Option(help="DNS-like name in every signature; for good.")],
    name: Annotated[str, typer.Option(help="Name on the screens; the origin without.")] = "",
    zone: Annotated[str, typer.Option(help="IANA time zone.")] = "Europe/Berlin",
) -> None:
    """Found a real district, without points: settings, keys, database and a first tariff."""
    from app.commands.init import init_shown

    _exit(init_shown(folder, {"origin": origin, "name": name or origin, "zone": zone}, tariff))


_DISTRICT_SETTINGS = typer.Option(help="TOML file with the district's settings.")
_DISTRICT_DATA = typer.Option(help="Folder of the district, in place of `data`.")


@cli.command(
    epilog="Examples: wattloom serve --settings data/lindenhof/district.toml  |  "
    "wattloom serve --settings district.toml --host 0.0.0.0 --no-worker"
)
def serve(
    *,
    settings: Annotated[Path | None, _DISTRICT_SETTINGS] = None,
    data: Annotated[Path | None, _DISTRICT_DATA] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port (8000); 0 takes a free one.")
    ] = None,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Serve alone: `wattloom worker` runs elsewhere.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Say in JSON when ready.")] = False,
) -> None:
    """Serve a real district: API, door for readings and pages, and its worker beside them."""
    from app.serve.command import run_serve

    given = {"data": data, "host": host, "port": port}
    overrides: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    _exit(run_serve(settings, overrides, working=not no_worker, json_line=json))


@cli.command(epilog="Example: wattloom worker --settings data/lindenhof/district.toml")
def worker(
    *,
    settings: Annotated[Path | None, _DISTRICT_SETTINGS] = None,
    data: Annotated[Path | None, _DISTRICT_DATA] = None,
) -> None:
    """Work for a real district: meter, clear, settle, seal, pay and anchor what is due."""
    from app.serve.command import run_worker

    _exit(run_worker(settings, {"data": data} if data else {}))


@cli.command(
    epilog="Example: wattloom clear docs/samples/book.csv --retail 270000 --feed-in 80000 "
    "--out result.json"
)
def clear(
    book: Annotated[Path, typer.Argument(help="The order book, CSV.", metavar="BOOK.csv")],
    *,
    out: Annotated[Path, typer.Option(help="Where the result goes.", metavar="RESULT.json")],
    retail: Annotated[
        int | None, typer.Option(help="Backstop: the grid sells at this price, micro-euros/kWh.")
    ] = None,
    feed_in: Annotated[
        int | None, typer.Option(help="Backstop: the grid buys at this price, micro-euros/kWh.")
    ] = None,
    rule: Annotated[
        Literal["uniform", "pay-as-bid", "mid-market", "sdr"], typer.Option(help="Price rule.")
    ] = "uniform",
    fee_building: Annotated[int, typer.Option(help=_FEE.format("in a building"))] = 0,
    fee_feeder: Annotated[int, typer.Option(help=_FEE.format("on a feeder"))] = 0,
    fee_district: Annotated[int, typer.Option(help=_FEE.format("in the district"))] = 0,
    tick: Annotated[int, typer.Option(help="Prices are multiples of this, micro-euros/kWh.")] = 1,
    limit: Annotated[
        list[str] | None,
        typer.Option(help="ORDER_ID=PRICE: another limit than the file's. May be repeated."),
    ] = None,
    contracts: Annotated[
        Path | None, typer.Option(help="CSV of bilateral contracts, matched before the book.")
    ] = None,
) -> None:
    """Clear an order book: what would be traded, between whom, at what price.

    Columns: order_id, side (bid or offer), participant, quantity_wh, price_micro_per_kwh; if you
    like, node (FEEDER/BUILDING) and product (green, green+PREMIUM, green-only, local-first,
    max-building, max-feeder).
    """
    from app.commands.clear import Question, clear_shown, read_limits
    from market.money import Price
    from market.pricing import Rule
    from optimizer.problem import Fees

    def question() -> Question:
        fees = Fees(Price(fee_building), Price(fee_feeder), Price(fee_district))
        limits = read_limits(limit or [])
        return Question(Rule(rule), retail, feed_in, fees, tick, limits, contracts)

    _exit(clear_shown(book, out, question))


@cli.command(
    epilog="Example: wattloom session docs/samples/session.csv --retail 300000 --feed-in 80000 "
    "--out result.json"
)
def session(
    orders: Annotated[Path, typer.Argument(help="The session's orders, CSV.", metavar="ORDERS")],
    *,
    out: Annotated[Path, typer.Option(help="Where the result goes.", metavar="RESULT.json")],
    first: Annotated[
        str, typer.Option(help="Key of the first interval: its UTC start.")
    ] = "2026-01-01T00:00:00Z",
    intervals: Annotated[
        int | None, typer.Option(min=1, max=96, help="How many; else up to the last order's.")
    ] = None,
    retail: Annotated[
        int | None, typer.Option(help="Backstop: the grid sells at this price, micro-euros/kWh.")
    ] = None,
    feed_in: Annotated[
        int | None, typer.Option(help="Backstop: the grid buys at this price, micro-euros/kWh.")
    ] = None,
    tick: Annotated[int, typer.Option(help="Prices are multiples of this, micro-euros/kWh.")] = 1,
    gap_ppm: Annotated[
        int, typer.Option(help="How far from the best the choice of blocks may stay, ppm.")
    ] = 1_000,
    time_limit: Annotated[int, typer.Option(help="Seconds to search for blocks.")] = 60,
) -> None:
    """Clear a forward session: steps, blocks, flexible orders and storages over up to 96 intervals.

    Columns: kind (step, block, flexible, storage), order_id, participant, side, start,
    quantity_wh, price_micro_per_kwh; by kind also point, end, min_acceptance_ppm, parent,
    power_w, discharge_w, initial_wh, final_wh, efficiency_ppm.
    """
    from app.commands.session import SessionQuestion, session_shown

    _exit(
        session_shown(
            orders,
            out,
            SessionQuestion(first, intervals, retail, feed_in, tick, gap_ppm, time_limit),
        )
    )


@cli.command(
    rich_help_panel="Privacy",
    epilog="Example: wattloom retention --dry-run --data data/demo --json",
)
def retention(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it; remove nothing.")] = False,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Remove readings between borders that are older than `retention_days`, month by month.

    The worker does so by itself every day. What energy, seals and proofs rest on stays.
    """
    from app.commands.retention import act
    from app.services.retention.removal import RemovalError

    run(
        "retention",
        settings,
        data,
        lambda house: act(house, dry_run=dry_run, as_json=json),
        RemovalError,
    )


@cli.command(
    rich_help_panel="Privacy",
    epilog="Example: wattloom erase ada --to 2026-06-01 --reason 'Request of 2026-07-02' "
    "--data data/demo --dry-run",
)
def erase(
    subject: Annotated[
        str, typer.Argument(help="A participant's id, or a GSRN.", metavar="SUBJECT")
    ],
    *,
    reason: Annotated[str, typer.Option(help="Why; it stays on record.")],
    begin: Annotated[
        str, typer.Option("--from", help="Local day or interval; else from the first.")
    ] = "",
    end: Annotated[
        str, typer.Option("--to", help="Up to this local day or interval, not included.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it; erase nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Erase readings of a person or a point; what goes and what stays is shown first.

    Others' seals and proofs hold as before. What may still be corrected or is disputed is refused.
    """
    from app.commands.erase import Wish, act
    from app.services.erasure.plan import ErasureError
    from app.services.retention.removal import RemovalError
    from market.registry import RegistryError

    wish = Wish(subject, begin, end, reason, dry_run, yes, json)
    refused = (ErasureError, RegistryError, RemovalError)
    run("erase", settings, data, lambda house: act(house, wish), *refused)


@cli.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def verify(context: typer.Context) -> None:
    """Check a proof file offline: wattloom verify FILE --keys KEYS."""
    from ledger_client.verify import main as verify_main

    _exit(verify_main(context.args, prog="wattloom verify"))


@cli.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def gateway(context: typer.Context) -> None:
    """Run a gateway near the meters: wattloom gateway CONFIG.toml."""
    from metering.box.main import main as gateway_main

    _exit(gateway_main(context.args))


@cli.command(
    epilog="Examples: wattloom audit 2026-06-23T09:00:00Z docs/samples/interval.json "
    "--keys docs/samples/keys.json; wattloom audit 2026-06 2026-06.zip --keys keys.json"
)
def audit(
    what: Annotated[
        str, typer.Argument(help="An interval's UTC start, or a local month.", metavar="WHAT")
    ],
    file: Annotated[
        Path, typer.Argument(help="What `export interval` or `export month` wrote.", metavar="FILE")
    ],
    *,
    keys: Annotated[
        Path | None, typer.Option(help="KEYS: the district's pinned public keys.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Work an exported interval or month out again, offline, and compare.

    An interval is cleared again and compared with its seal. A month's statements are derived from
    its readings, orders, trades and tariffs by code of their own, and compared to the cent.

    Exit code 0: it agrees; 1: it does not, and what differs is named; 2: it could not be judged.
    """
    if "T" in what:
        from app.commands.audit import audit_shown

        code, text = audit_shown(what, file, keys, as_json=json)
    else:
        from app.commands.audit_month import audit_month_shown

        code, text = audit_month_shown(what, file, keys, as_json=json)
    typer.echo(text)
    _exit(code)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 3600:
        raise typer.BadParameter(f"{text!r} is no speed: a number up to 3600, or max")
    return speed


def _exit(code: int) -> NoReturn:
    raise typer.Exit(code)


def main() -> None:
    """Run the command line."""
    cli()


if __name__ == "__main__":
    main()
