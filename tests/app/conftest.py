"""Districts to test the services with: see ``doorway`` for what they hold."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.doorway import District


@pytest.fixture
def district(database_url: str) -> Iterator[District]:
    """A founded district with two meters, on each engine."""
    district = District(database_url)
    yield district
    district.database.close()


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A founded district's SQLite file to copy, since founding takes longer than most tests."""
    path = tmp_path_factory.mktemp("founded") / "district.db"
    District(f"sqlite:///{path}").database.close()
    return path


@pytest.fixture
def plain_district(founded: Path, tmp_path: Path) -> Iterator[District]:
    """A founded district on SQLite alone, for what no engine can change."""
    copy = shutil.copy(founded, tmp_path)
    district = District(f"sqlite:///{copy}", founded=True)
    yield district
    district.database.close()
