"""``wattloom meter scan`` and ``test``: what runs at the gateway and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import typer

from app.clock import wall_ms
from app.commands.shared import show_json, show_table
from metering.box.config import ConfigError, load_config
from metering.commissioning import plan, plausible, probe
from metering.commissioning.plan import PlanError
from metering.commissioning.plausible import Expected
from metering.commissioning.probe import Found
from metering.commissioning.seen import Seen
from metering.commissioning.wire import Report
from metering.inputs.config import InputConfig
from metering.inputs.looking import looking
from metering.lines.config import LineConfig
from metering.lines.errors import MeterError
from metering.lines.line import open_line
from metering.lines.meter import RegisterReader
from metering.profiles import Profile, ProfileError, candidates, load_profile

_FOUND: Final = ("line", "unit", "type", "profile", "serial", "told by")
_FINDINGS: Final = ("looked at", "shown", "unit", "plausible", "verdict", "what to do")


@dataclass(frozen=True, slots=True)
class Asking:
    """Where lines and profiles are looked up: the gateway's settings, a folder of profiles."""

    config: Path
    folder: Path | None = None

    def lines(self) -> Mapping[str, LineConfig]:
        """Return the lines of the settings, none where there is no such file.

        Raises:
            ConfigError: the file is there and wrong.
        """
        return load_config(self.config).lines if self.config.exists() else {}

    def input(self, name: str) -> InputConfig | None:
        """Return the line of the settings of that name that tells by itself, if there is one."""
        return load_config(self.config).inputs.get(name) if self.config.exists() else None


@dataclass(frozen=True, slots=True)
class Target:
    """A meter to look at, and what a person knows of it; '' and 0 where they do not say."""

    line: str
    unit: int
    profile: str
    serial: str
    max_power_w: int
    expect: tuple[str, ...]
    seconds: int

    def expected(self) -> Expected:
        """Return what is known beforehand.

        Raises:
            PlanError: an expectation is no NAME=VALUE.
        """
        pairs = [each.partition("=") for each in self.expect]
        if not all(name and equals for name, equals, _ in pairs):
            raise PlanError("--expect: write NAME=VALUE, with the name of a watched setting")
        settings = {name.strip(): value.strip() for name, _, value in pairs}
        return Expected(self.serial, self.max_power_w or None, settings)


def scan_shown(
    typed: Sequence[str], units: str, timeout_ms: int, asking: Asking, *, as_json: bool
) -> NoReturn:
    """Scan, and show what answers."""

    def act() -> int:
        lines = plan.lines(typed, asking.lines())
        wanted = plan.units(units, len(lines))
        patient = [plan.impatient(line, timeout_ms) for line in lines]
        found = _scanned(patient, wanted, candidates(asking.folder))
        rows = [row for each in found for row in _described(each)]
        if as_json:
            show_json(rows)
        elif rows:
            show_table(_FOUND, [list(row.values()) for row in rows], whole=("profile", "serial"))
        typer.echo(f"units that answer: {len(found)} of {len(lines) * len(wanted)}", err=True)
        return 0 if found else 1

    run("scan", act)


def judge_shown(target: Target, asking: Asking, *, as_json: bool) -> NoReturn:
    """Test a meter, and show each finding."""

    def act() -> int:
        line = asking.input(target.line) or _one_line(target.line, asking)
        _, report = asyncio.run(looked_at(line, target, asking.folder))
        if as_json:
            show_json(report.model_dump() | {"verdict": report.verdict})
        else:
            show_findings(report)
        return 1 if report.verdict == "wrong" else 0

    run("test", act)


def _one_line(typed: str, asking: Asking) -> LineConfig:
    (line, *more) = plan.lines([typed], asking.lines())
    if more:
        raise PlanError(f"{typed}: one meter at a time; find it by wattloom meter scan")
    return line


async def looked_at(
    line: LineConfig | InputConfig, target: Target, folder: Path | None = None
) -> tuple[Seen, Report]:
    """Poll a meter twice and judge it; its type is found where nobody names it.

    Raises:
        MeterError: it does not answer.
        PlanError, ProfileError: nothing fits, or more than one type does: name the profile.
    """
    expected = target.expected()
    async with AsyncExitStack() as stack:
        if isinstance(line, InputConfig):
            reader, profile = await stack.enter_async_context(looking(line, target.unit, wall_ms))
        else:
            reader = (await stack.enter_async_context(open_line(line))).unit(target.unit)
            profile = await _profile(reader, target, folder)

        async def pause() -> None:
            with status(f"watching the counters for {target.seconds} s"):
                await asyncio.sleep(target.seconds)

        seen = await probe.watch(reader, profile, wall_ms, pause)
    return seen, plausible.report(seen, expected, wall_ms())


def show_findings(report: Report) -> None:
    """Print a report as a table, and its worst verdict."""
    rows = [
        [each.label, each.value, each.unit, each.plausible, each.verdict, each.advice]
        for each in report.findings
    ]
    show_table(_FINDINGS, rows, right=("shown",))
    typer.echo(f"{report.profile}: {report.verdict}", err=True)


def run(command: str, act: Callable[[], int], *refused: type[Exception]) -> NoReturn:
    """Act, and exit with what that returns; an expected error is told in its words, with 1."""
    always = (ConfigError, MeterError, PlanError, ProfileError, OSError)
    expected: tuple[type[Exception], ...] = (*always, *refused)
    try:
        code = act()
    except expected as error:
        for line in str(error).splitlines() or [type(error).__name__]:
            typer.echo(f"wattloom meter {command}: {line}", err=True)
        code = 1
    raise typer.Exit(code)


async def _profile(reader: RegisterReader, target: Target, folder: Path | None) -> Profile:
    if target.profile:
        return load_profile(target.profile, folder)
    found = await probe.identify(reader, candidates(folder))
    if len(found) != 1:
        names = ", ".join(each.profile.name for each in found) or "none"
        raise PlanError(
            f"unit {target.unit}: types that fit: {names}. Name the meter's with --profile; "
            "wattloom meter profiles lists them"
        )
    return found[0].profile


def _scanned(
    lines: Sequence[LineConfig], units: Sequence[int], profiles: Sequence[Profile]
) -> list[Found]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("units asked", total=len(lines) * len(units))
        scanning: Coroutine[object, object, list[Found]] = probe.scan(
            lines, units, profiles, lambda done: progress.advance(task, done)
        )
        return asyncio.run(scanning)


def _described(found: Found) -> list[dict[str, object]]:
    """Return a row per type that a unit may be, one without a type where none fits."""
    place = {"line": found.line.name, "unit": found.unit}
    if not found.candidates:
        unknown = {"type": "unknown", "profile": "", "serial": None, "told_by": "it answers"}
        return [place | unknown]
    return [
        place
        | {
            "type": each.profile.title,
            "profile": each.profile.name,
            "serial": each.serial,
            "told_by": "its registers" if each.sure else "plausible values alone",
        }
        for each in found.candidates
    ]


def status(words: str) -> AbstractContextManager[object]:
    """Show on standard error that something takes its time."""
    from rich.console import Console

    return Console(stderr=True).status(words)
