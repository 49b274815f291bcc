"""``kill -9`` at random moments: started again, a run comes to what it would have come to."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.app.runs import INTERVALS, Run, check_same, exists, kill, moments
from tests.conftest import LONG


@pytest.fixture(scope="module")
def calm_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("calm"))


@pytest.fixture(scope="module")
def calm(calm_run: Run) -> dict[str, Any]:
    figures = calm_run.finish()
    assert figures["trades"] > 0
    assert calm_run.books()["seals"] == [(INTERVALS,)]
    return figures


@pytest.mark.parametrize("kills", [100 if LONG else 10])
def test_killed_runs_come_to_the_same(
    calm_run: Run, calm: dict[str, Any], tmp_path: Path, kills: int
) -> None:
    chance = random.Random(kills)  # noqa: S311 (kills at the same moments again)
    done, runs = 0, 0
    while done < kills:
        run, runs = Run(tmp_path / str(runs)), runs + 1
        plan = moments(run.data, chance, calm["wall_seconds"] / 3)
        while done < kills:
            moment, delay_s = next(plan)
            with run.start() as working:
                killed = kill(working, run.data, moment, delay_s)
            if not killed:
                break
            done += 1
            run.check_acknowledged()
        check_same(run, run.finish(), calm_run, calm)


def test_a_kill_while_proofs_are_written(
    calm_run: Run, calm: dict[str, Any], tmp_path: Path
) -> None:
    run = Run(tmp_path)
    shutil.copytree(calm_run.data, run.data)
    shutil.rmtree(run.data / "proofs")
    with run.start() as working:
        kill(working, run.data, exists("proofs/*.json", 2), 0)
    check_same(run, run.finish(), calm_run, calm)


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", intervals=1)
    with run.start() as one, run.start() as other:
        ended = sorted([(each.end(), each.said()) for each in (one, other)])
    (won, told), (lost, said) = ended
    assert (won, lost) == (0, 1)
    assert "is in use by another run" in said
    assert "Traceback" not in said
    assert run.summary(won, told)["intervals"] == 1
