"""What a person, or a program, sees of a follower."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ledger_client.follower.follower import Followed
from ledger_client.follower.report import Halt


class Screen(Protocol):
    """Is told what happens; entered before the first event and left after the last."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def note(self, text: str) -> None:
        """Something that the person should know."""

    def waiting(self, seconds: float, why: str) -> None:
        """The node does not answer; it is asked again after a while."""

    def target(self, at: int, index: int) -> None:
        """The copy is at one milestone, the node at another, by its own word."""

    def followed(self, milestone: Followed) -> None:
        """A milestone holds."""

    def halted(self, halt: Halt, place: str) -> None:
        """Something does not hold; ``place`` is the folder with the mark."""

    def ended(self, text: str) -> None:
        """It is over, and nothing is wrong."""


class JsonLines(Screen):
    """One JSON object a line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def note(self, text: str) -> None:
        """Write a note."""
        self._line("note", text=text)

    def waiting(self, seconds: float, why: str) -> None:
        """Write what is waited for."""
        self._line("waiting", seconds=round(seconds, 1), why=why)

    def target(self, at: int, index: int) -> None:
        """Write nothing: each milestone is a line."""

    def followed(self, milestone: Followed) -> None:
        """Write the figures of a milestone."""
        figures = asdict(milestone) | {"milestone_id": milestone.milestone_id.hex()}
        self._line("milestone", **figures)

    def halted(self, halt: Halt, place: str) -> None:
        """Write the whole report."""
        self._line("halted", folder=place, **asdict(halt))

    def ended(self, text: str) -> None:
        """Write how it ended."""
        self._line("ended", text=text)

    def _line(self, event: str, **fields: object) -> None:
        self._say(json.dumps({"event": event, **fields}))


class LiveBar(Screen):
    """A bar that moves with the milestones; notes and troubles appear above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("milestone"),
            MofNCompleteColumn(),
            BarColumn(bar_width=16),
            TextColumn("{task.description}"),
            console=console,
        )
        self._task = self._progress.add_task("", total=None)
        self._blocks = self._applied = self._conflicting = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        """Print a note."""
        self._console.print(text, markup=False, highlight=False)

    def waiting(self, seconds: float, why: str) -> None:
        """Print what is waited for."""
        self.note(f"trying again in {seconds:.0f} s: {why}")

    def target(self, at: int, index: int) -> None:
        """Set the bar's place and length."""
        self._progress.update(self._task, completed=at, total=index)

    def followed(self, milestone: Followed) -> None:
        """Move the bar."""
        self._blocks += milestone.blocks
        self._applied += milestone.applied
        self._conflicting += milestone.conflicting
        total = self._progress.tasks[0].total or 0
        self._progress.update(
            self._task,
            completed=milestone.index,
            total=max(total, milestone.index),
            description=(
                f"{self._blocks} blocks, {self._applied} paid, {self._conflicting} in conflict"
            ),
        )

    def halted(self, halt: Halt, place: str) -> None:
        """Print the report so that nobody overlooks it."""
        self._progress.stop()
        self._console.rule("HALTED", style="bold red")
        self.note(halt.text())
        self.note(
            f"Everything is kept in {place}. This follower stays halted until somebody has looked "
            "into it and removed halted.json."
        )
        self._console.rule(style="bold red")

    def ended(self, text: str) -> None:
        """Print how it ended."""
        self._progress.stop()
        self.note(text)
