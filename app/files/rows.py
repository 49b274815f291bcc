"""CSV files row by row: UTF-8, a header, bounded in size; whatever is wrong is told with its row.

The header is row 1. A file comes by its path, or as the bytes that somebody uploaded.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from market.money import Price

Source: TypeAlias = Path | bytes

MAX_BYTES: Final = 64 * 2**20
MAX_FIELD_CHARACTERS: Final = 200
INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_SEPARATORS: Final = {";": "';'", "\t": "tabs", ",": "commas"}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # Unicode's category Cc


class TableFileError(ValueError):
    """The file is refused for good: mend the row that the message names."""


def rows_of(
    source: Source,
    required: Sequence[str],
    optional: Sequence[str],
    *,
    max_bytes: int = MAX_BYTES,
    max_characters: int = MAX_FIELD_CHARACTERS,
    delimiter: str = ",",
    others: bool = False,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a file by number, as values by column; blank lines are left out.

    With ``others`` the file may have further columns, which are left aside.

    Raises:
        TableFileError: the file or one of its rows cannot be read.
    """
    name = name_of(source)
    try:
        content = content_of(source, max_bytes)
        if len(content) > max_bytes:
            raise TableFileError(f"{name} is larger than {max_bytes} bytes: split it")
        with io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="") as file:
            rows = _numbered(csv.reader(file, strict=True, delimiter=delimiter))
            header = [column.strip() for column in next(rows, (1, []))[1]]
            known = (*optional, *header) if others else optional
            _check_header(header, required, known, delimiter)
            for number, values in rows:
                if values:
                    yield number, _named(number, header, values, max_characters)
    except OSError as error:
        raise TableFileError(f"cannot read {name}: {error.strerror}; check its name") from error
    except UnicodeDecodeError as error:
        raise TableFileError(f"{name} is not UTF-8: save it as UTF-8") from error


def name_of(source: Source) -> str:
    """Return what a file is called in messages."""
    return str(source) if isinstance(source, Path) else "the file"


def content_of(source: Source, most_bytes: int) -> bytes:
    """Return a file's bytes, one more than allowed at most: a pipe or a device has no size.

    Raises:
        OSError: it cannot be read.
    """
    if isinstance(source, bytes):
        return source
    with source.open("rb") as file:
        return file.read(most_bytes + 1)


def _numbered(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield rows with their numbers, the header's being 1.

    Raises:
        TableFileError: the file is no CSV from some row on.
    """
    number = 0
    try:
        for number, values in enumerate(reader, start=1):
            yield number, values
    except csv.Error as error:
        raise TableFileError(
            f"row {number + 1}: {error}; is a quote left open, or the file cut short?"
        ) from error


def _check_header(
    header: Sequence[str], required: Sequence[str], optional: Sequence[str], delimiter: str
) -> None:
    """Refuse a header that lacks a required column, or has an unknown or a double one.

    Raises:
        TableFileError: says which.
    """
    for separator, name in _SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            raise TableFileError(
                f"row 1: the columns are separated by {name}: save the file with "
                f"{_SEPARATORS.get(delimiter, delimiter)}"
            )
    missing = [name for name in required if name not in header]
    unknown = [name for name in header if name not in (*required, *optional)]
    twice = [name for name, count in Counter(header).items() if count > 1]
    if missing or unknown or twice:
        found = (("missing", missing), ("unknown", unknown), ("double", twice))
        faults = "; ".join(
            f"{what} columns {', '.join(repr(name[:40]) for name in those[:20])}"
            for what, those in found
            if those
        )
        offered = [",".join(required), f"if you like, {','.join(optional)}"]
        kinds = [text for text, those in zip(offered, (required, optional), strict=True) if those]
        raise TableFileError(f"row 1: {faults}; write {' and, '.join(kinds)}")


def _named(
    number: int,
    header: Sequence[str],
    values: Sequence[str],
    most_characters: int,
) -> dict[str, str]:
    """Return a row's values by the names of the header, outer blanks taken off.

    Raises:
        TableFileError: another number of values, one longer than ``most_characters``, or one with
            a control character.
    """
    if len(values) != len(header):
        raise TableFileError(
            f"row {number}: {len(values)} fields where the header has {len(header)}; "
            "is the file cut short?"
        )
    if (longest := max(map(len, values))) > most_characters:
        raise TableFileError(
            f"row {number}: a field of {longest} characters; {most_characters} are allowed"
        )
    fields = dict(zip(header, map(str.strip, values), strict=True))
    for name, value in fields.items():
        if _CONTROL.search(value):
            raise TableFileError(
                f"row {number}: {name} {value[:40]!r} holds a control character: take it out"
            )
    return fields


def integer(number: int, name: str, text: str) -> int:
    """Return the whole number that a field holds.

    Raises:
        TableFileError: it is none of at most 18 digits.
    """
    if not INTEGER.fullmatch(text):
        raise TableFileError(
            f"row {number}: {name} {text[:40]!r} is not a whole number of at most 18 digits"
        )
    return int(text)


def price(number: int, name: str, text: str, tick: int) -> Price:
    """Return a price in micro-euros per kWh, which is a multiple of ``tick``.

    Raises:
        TableFileError: it is no whole number, or off the tick.
    """
    micro = integer(number, name, text)
    if wrong := off_tick(micro, tick):
        raise TableFileError(f"row {number}: {name} {wrong}")
    return Price(micro)


def once(number: int, what: str, name: str, row_of: dict[str, int]) -> None:
    """Keep the row of an id.

    Raises:
        TableFileError: it stands in an earlier row already.
    """
    first = row_of.setdefault(name, number)
    if first != number:
        raise TableFileError(
            f"row {number}: {what} id {name!r} stands in row {first} already; ids differ"
        )


def off_tick(price_micro_per_kwh: int, tick: int) -> str:
    """Return what is wrong with a price that is no multiple of the tick, '' of one that is."""
    if price_micro_per_kwh % tick == 0:
        return ""
    below = price_micro_per_kwh // tick * tick
    return (
        f"{price_micro_per_kwh} is not a multiple of the tick {tick}: "
        f"write {below} or {below + tick}"
    )
