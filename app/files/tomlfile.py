"""TOML files that people hand in: bounded in size, decimals exact, whatever is wrong is told."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

from app.files.rows import TableFileError


class TomlFileError(TableFileError):
    """The file is refused for good: mend the line that the message names."""


def read_toml(file: Path, most_bytes: int) -> dict[str, object]:
    """Return what a TOML file of at most ``most_bytes`` says; numbers with a point as ``Decimal``.

    Raises:
        TomlFileError: it cannot be read, is too large, or is no TOML.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(most_bytes + 1)
    except OSError as error:
        raise TomlFileError(f"cannot read {file}: {error.strerror}; check its name") from error
    if len(content) > most_bytes:
        raise TomlFileError(f"{file} is larger than {most_bytes} bytes: is it the right file?")
    try:
        return tomllib.loads(content.decode("utf-8-sig"), parse_float=Decimal)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise TomlFileError(f"{file} is not TOML in UTF-8: {error}") from error
