"""``wattloom retention``: removes the readings that are kept long enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from app.commands.shared import show_json, show_table

if TYPE_CHECKING:
    from app.services.house import House
    from app.services.retention.plan import MonthPlan


def act(house: House, *, dry_run: bool, as_json: bool) -> None:
    """Show what would go, and unless it is a dry run, remove it.

    Raises:
        RemovalError, DatabaseError: it stopped; what was done stays done.
    """
    from app.commands.audit_month import progress
    from app.jobs.retention import add_partitions
    from app.services.retention import plan, run

    with house.database.read() as session:
        found = plan.plan(house, session)
    if not as_json:
        _show(found, house.settings.retention_days)
    goes = sum(month.readings for month in found if not month.waits)
    done = 0
    if not dry_run:
        add_partitions(house)
        with progress("readings") as told:
            count = 0

            def tell(_month: object, more: int) -> None:
                nonlocal count
                count += more
                told(count, goes)

            done = run.run(house, tell)
    if as_json:
        show_json({"months": [_json(month) for month in found], "removed": done})
    elif not dry_run:
        typer.echo(f"{done} readings removed")


def _show(found: Sequence[MonthPlan], days: int) -> None:
    if not days:
        typer.echo("retention_days is 0: readings are kept for ever")
    elif not found:
        typer.echo(f"no month is older than {days} days: nothing to remove")
    else:
        columns = ("month", "go", "MB", "stay", "waits for")
        rows = [
            (each.month, each.readings, f"{each.bytes / 1e6:.1f}", each.kept, each.waits)
            for each in found
        ]
        show_table(columns, rows, whole=("month",), right=("go", "MB", "stay"))


def _json(month: MonthPlan) -> dict[str, object]:
    return {
        "month": str(month.month),
        "readings": month.readings,
        "bytes": month.bytes,
        "kept": month.kept,
        "waits": month.waits,
    }
