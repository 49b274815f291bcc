from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from app.services.group_commit import GroupCommit


class RefusedError(Exception):
    pass


class Recorder:
    """Commits into a list; the first commit waits until the test lets it go."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun = Event()
        self.go = Event()

    def commit(self, jobs: Sequence[int]) -> None:
        self.begun.set()
        assert self.go.wait(20)
        if 13 in jobs:
            raise RefusedError
        self.groups.append(list(jobs))


def waiting(commits: GroupCommit[int], count: int) -> None:
    """Return once ``count`` jobs queue behind the running commit."""
    pause = Event()
    while len(commits._waiting) < count:
        pause.wait(0.001)


def test_what_arrives_during_a_commit_shares_the_next() -> None:
    recorder = Recorder()
    commits = GroupCommit(recorder.commit, limit=5)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(commits.run, 0, 1)
        recorder.begun.wait(20)
        others = [pool.submit(commits.run, job, 2) for job in (1, 2, 3)]
        waiting(commits, 3)
        recorder.go.set()
        for done in (first, *others):
            done.result(20)
    assert recorder.groups[0] == [0]
    assert sorted(map(len, recorder.groups[1:])) == [1, 2]  # two of weight 2 fit into 5
    assert sorted(job for group in recorder.groups for job in group) == [0, 1, 2, 3]


def test_a_job_heavier_than_the_limit_goes_alone() -> None:
    recorder = Recorder()
    recorder.go.set()
    commits = GroupCommit(recorder.commit, limit=5)
    commits.run(1, weight=50)
    assert recorder.groups == [[1]]


def test_everybody_in_a_failed_group_hears_of_it_and_the_next_goes_on() -> None:
    recorder = Recorder()
    commits = GroupCommit(recorder.commit, limit=5)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(commits.run, 0, 1)
        recorder.begun.wait(20)
        doomed = [pool.submit(commits.run, job, 1) for job in (13, 14)]
        waiting(commits, 2)
        recorder.go.set()
        first.result(20)
        for done in doomed:
            with pytest.raises(RefusedError):
                done.result(20)
    commits.run(7, 1)
    assert recorder.groups == [[0], [7]]
