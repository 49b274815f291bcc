"""Group commit: callers that arrive while one commit runs share the next one.

A commit costs a disk flush however much it holds, so the rate of readings depends on how many
share it. Nobody waits for a timer: whoever finds the turn free takes everything that waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

Job = TypeVar("Job")


@dataclass(slots=True, eq=False)
class _Ticket(Generic[Job]):
    job: Job
    weight: int
    done: bool = False
    error: BaseException | None = None


class GroupCommit(Generic[Job]):
    """Runs ``commit`` for groups of jobs, one group at a time, in the order of their arrival."""

    def __init__(self, commit: Callable[[Sequence[Job]], None], limit: int) -> None:
        """Group jobs up to a total weight of ``limit``; a heavier one goes alone."""
        self._commit = commit
        self._limit = limit
        self._waiting: deque[_Ticket[Job]] = deque()
        self._door = Lock()  # guards the queue
        self._turn = Lock()  # held by the thread that commits

    def run(self, job: Job, weight: int) -> None:
        """Return once ``job`` is committed.

        Raises:
            Exception: whatever ``commit`` raised for the group; nothing of it was committed.
        """
        ticket = _Ticket(job, weight)
        with self._door:
            self._waiting.append(ticket)
        while not ticket.done:
            with self._turn:
                if not ticket.done:
                    self._commit_group(self._take())
        if ticket.error is not None:
            raise ticket.error

    def _take(self) -> Sequence[_Ticket[Job]]:
        with self._door:
            group = [self._waiting.popleft()]
            room = self._limit - group[0].weight
            while self._waiting and self._waiting[0].weight <= room:
                group.append(self._waiting.popleft())
                room -= group[-1].weight
            return group

    def _commit_group(self, group: Sequence[_Ticket[Job]]) -> None:
        try:
            self._commit([ticket.job for ticket in group])
        except BaseException as error:  # noqa: BLE001 (each caller of the group has to hear of it)
            for ticket in group:
                ticket.error = error
        finally:
            for ticket in group:
                ticket.done = True
