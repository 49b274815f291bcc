"""What a command writes is there whole or not at all, and replaces no device and no folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.files.output import written


def test_a_file_takes_its_place_once_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with written(out) as file:
        file.write(b"one")
        assert not out.exists()
    assert out.read_bytes() == b"one"
    with pytest.raises(FileExistsError, match="add --force"), written(out):
        pass
    with pytest.raises(UnicodeEncodeError), written(out, force=True) as file:
        file.writelines(text.encode() for text in ("tw", "\ud800"))
    assert out.read_bytes() == b"one"
    assert [each.name for each in tmp_path.iterdir()] == ["out.csv"]


def test_nothing_but_a_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    for name in ("folder", "pipe", "device"):
        with pytest.raises(OSError, match="no regular file"), written(tmp_path / name):
            pass
    assert {each.name for each in tmp_path.iterdir()} == {"folder", "pipe", "device"}


def test_what_cannot_be_written_is_named_as_it_was_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "none" / "out.csv"
    with pytest.raises(FileNotFoundError) as refused, written(out):
        pass
    assert refused.value.filename == str(out)
    full = tmp_path / "full.csv"
    full.with_name(".full.csv.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as cut, written(full) as file:
        file.write(b"x" * 100_000)
    assert cut.value.filename == str(full)
    assert [*tmp_path.iterdir()] == []
