"""``wattloom session``: clears a forward session from a file; nothing is stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer
from rich.console import Console

from app.files.result import ResultFileError, check_out, write_result
from app.files.rows import TableFileError
from app.files.session import read_session, session_object
from market.money import Price
from market.session_orders import SessionError
from market.sessions import SessionClearing, SessionProblem
from optimizer.compiled import SolverError
from optimizer.session.clearing import clear_session

MAX_TICK: Final = 10**9


@dataclass(frozen=True, slots=True)
class SessionQuestion:
    """How a session is to be cleared. Prices are in micro-euros per kWh, of all intervals.

    ``retail`` and ``feed_in``: given, the supplier sells and buys any amount at them.
    """

    first: str
    intervals: int | None = None
    retail: int | None = None
    feed_in: int | None = None
    tick: int = 1
    gap_ppm: int = 1_000
    time_limit_s: int = 60


def clear_session_file(path: Path, out: Path, asked: SessionQuestion) -> SessionClearing:
    """Clear the session of a CSV file and write the result as JSON.

    Raises:
        TableFileError, SessionError: mend the file or the options.
        ResultFileError: name another file for the result.
        SolverError: there was no answer.
    """
    check_out(path, out)
    if not 1 <= asked.tick <= MAX_TICK:
        raise SessionError(f"--tick {asked.tick} is outside 1..{MAX_TICK} micro-euros per kWh")
    book = read_session(path, asked.first, asked.intervals, asked.tick)
    intervals = book.session.intervals
    found = clear_session(
        SessionProblem(
            book,
            book.digest(),
            None if asked.feed_in is None else (Price(asked.feed_in),) * intervals,
            None if asked.retail is None else (Price(asked.retail),) * intervals,
            asked.gap_ppm,
            asked.time_limit_s,
        )
    )
    write_result(out, session_object(book, found))
    return found


def session_shown(path: Path, out: Path, asked: SessionQuestion) -> int:
    """Clear a session with a word on what is done, and say what came of it; the exit code."""
    try:
        with Console(stderr=True).status("Clearing the session"):
            found = clear_session_file(path, out, asked)
    except (TableFileError, SessionError, ResultFileError, SolverError) as error:
        typer.echo(f"wattloom session: {error}", err=True)
        return 1
    if found.fallback:
        typer.echo("No answer in time: step orders were cleared by the interval.", err=True)
    accepted = sum(map(bool, found.accepted_ppm.values()))
    typer.echo(
        f"{len(found.prices)} intervals, {accepted} of {len(found.accepted_ppm)} blocks accepted, "
        f"{len(found.paradoxically_rejected)} paradoxically rejected; the result is in {out}",
        err=True,
    )
    return 0
