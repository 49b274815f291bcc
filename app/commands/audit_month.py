"""``wattloom audit MONTH``: derives a month's statements again from its file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.audit.compare import Difference
from app.audit.month import MOST_NAMED, audit_month
from app.audit.monthfile import MonthFile
from ledger_client.verify import Report, UnjudgedError, Verdict

_ENDINGS: Final = {
    0: "All statements agree with what was measured, traded and agreed upon.",
    1: "The audit FAILS: see the lines marked ✗.",
    2: "The month could not be judged.",
}


def audit_month_shown(
    month: str, file: Path, keys: Path | None, *, as_json: bool
) -> tuple[int, str]:
    """Return the exit code and what to print: 0 agrees, 1 differs, 2 cannot be judged."""
    verdict, differences = judge(month, file, keys)
    code = 1 if verdict.code == 0 and differences else verdict.code
    if as_json:
        found = {
            "code": code,
            "steps": [{"name": s.name, "ok": s.ok, "text": s.text} for s in verdict.steps],
            "remarks": list(verdict.remarks),
            "differences": [each._asdict() for each in differences],
        }
        return code, json.dumps(found, ensure_ascii=False)
    lines = [f"{'✓' if step.ok else '✗'} {step.name}: {step.text}" for step in verdict.steps]
    lines += [
        f"✗ {each.statement}, {each.line}: expected {each.expected}, found {each.found}"
        for each in differences[:MOST_NAMED]
    ]
    if len(differences) > MOST_NAMED:
        lines.append(f"  and {len(differences) - MOST_NAMED} more: --json names all")
    lines += [f"  note: {remark}" for remark in verdict.remarks]
    lines.append(_ENDINGS[code])
    return code, "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)


def judge(month: str, file: Path, keys: Path | None) -> tuple[Verdict, list[Difference]]:
    """Return whether the evidence holds, and where statements differ from it."""
    report, found = Report(), list[Difference]()

    def checks() -> None:
        try:
            pinned = keys.read_bytes() if keys else None
            with file.open("rb") as opened, progress("intervals") as told:
                found.extend(audit_month(month, MonthFile(opened), pinned, report, told))
        except OSError as error:
            raise UnjudgedError(f"cannot read {error.filename}: {error.strerror}") from error

    return report.judge(checks), found


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield how to tell how far it is; the bar is on a terminal's stderr alone."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)
