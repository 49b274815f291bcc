"""Reads sharing keys from CSV: one member per row, every mistake with its row, all or nothing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from typing import Final, NamedTuple

from market.money import PPM, Price
from market.order import MAX_PRICE_MICRO_PER_KWH
from market.sharing import Key, Kind, Share
from metering.interval import Interval, IntervalError
from metering.localtime import day_start

REQUIRED: Final = ("generator", "valid_from", "kind", "member", "share_ppm")
OPTIONAL: Final = ("unused", "price_micro_per_kwh")
MAX_BYTES: Final = 512 * 1024
MAX_ROWS: Final = 20_000
_MOST_FAULTS: Final = 20
_LONGEST_CELL: Final = 80
_PPM: Final = re.compile(r"[0-9]{1,7}")
_PRICE: Final = re.compile(r"-?[0-9]{1,10}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_UNUSED: Final = {"": False, "export": False, "again": True}


class SharingInputError(Exception):
    """Root: nothing was written; mend what the message names and try again."""


class Fault(NamedTuple):
    """What is wrong in a file; the header is row 1, None is the file as a whole."""

    row: int | None
    reason: str

    def __str__(self) -> str:
        return self.reason if self.row is None else f"row {self.row}: {self.reason}"


class SharingFileError(SharingInputError):
    """The file is refused whole: mend the rows that are named."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        shown = [str(fault) for fault in self.faults[:_MOST_FAULTS]]
        if len(self.faults) > len(shown):
            shown.append(f"and {len(self.faults) - len(shown)} more")
        super().__init__("; ".join(shown))


class Terms(NamedTuple):
    """What all rows of one version say alike."""

    kind: Kind
    redistribute: bool
    price: Price


@dataclass(slots=True)
class Draft:
    """A version as the file has it: ``row`` is its first, ``rows`` those of its members."""

    row: int
    generator: str
    start: Interval
    terms: Terms
    ppm: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    empty_row: int | None = None  # the row without a member: the sharing ends

    @property
    def key(self) -> Key:
        """The version as the market's key."""
        shares = tuple(Share(point, ppm) for point, ppm in sorted(self.ppm.items()))
        return Key(self.generator, self.terms.kind, shares, *self.terms[1:])


class _RowError(Exception):
    pass


def read_keys(content: bytes, zone: tzinfo) -> tuple[Draft, ...]:
    """Return the versions of a CSV file, by generating point and midnight of ``zone``.

    UTF-8, a header with the columns of :data:`REQUIRED` and any of :data:`OPTIONAL`, comma or
    semicolon as in the header. A row without a member ends the sharing of its generating point.

    Raises:
        SharingFileError: the file or some of its rows are wrong.
    """
    lines = _lines(_text(content))
    header = [name.strip().lower() for name in next(lines, (1, []))[1]]
    _check_header(header)
    drafts: dict[tuple[str, str], Draft] = {}
    faults: list[Fault] = []
    for number, cells in lines:
        try:
            _take(number, _by_column(header, cells), zone, drafts)
        except _RowError as error:
            faults.append(Fault(number, str(error)))
    if not drafts and not faults:
        faults.append(Fault(1, "no row follows the header"))
    if faults:
        raise SharingFileError(faults)
    return tuple(draft for _, draft in sorted(drafts.items()))


def midnight(text: str, zone: tzinfo) -> Interval:
    """Return the local midnight that a day (2026-07-01) or a moment with its zone names.

    Raises:
        ValueError: it names none.
    """
    advice = f"{text!r} is no local midnight: write its day, such as 2026-07-01"
    try:
        if _DAY.fullmatch(text):
            return _begin(date.fromisoformat(text), zone)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None and "T" in text:
            start = _begin(moment.astimezone(zone).date(), zone)
            if start.start == moment:
                return start
    except (ValueError, OverflowError) as error:
        raise ValueError(advice) from error
    raise ValueError(advice)


def _begin(day: date, zone: tzinfo) -> Interval:
    if not 2000 <= day.year < 3000:
        raise IntervalError(f"{day} is not in the years 2000-2999")
    return day_start(day, zone)


def _refused(reason: str) -> SharingFileError:
    return SharingFileError([Fault(None, reason)])


def _text(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise _refused(f"the file has more than {MAX_BYTES // 1024} KiB: split it by roof")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _refused("the file is not UTF-8: save it as CSV in UTF-8") from None


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that hold any text, the header being row 1."""
    head = text.partition("\n")[0]
    rows = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=";" if head.count(";") > head.count(",") else ",",
        strict=True,
    )
    number = 0
    try:
        for number, cells in enumerate(rows, 1):
            if number > MAX_ROWS + 1:
                raise _refused(f"the file has more than {MAX_ROWS} rows: split it by roof")
            if number == 1 or any(cell.strip() for cell in cells):
                yield number, cells
    except csv.Error as error:
        fault = Fault(number + 1, f"it is no CSV from here on ({error}): save the file anew")
        raise SharingFileError([fault]) from error


def _check_header(header: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    strange = [name for name in header if name not in (*REQUIRED, *OPTIONAL)]
    doubled = len(set(header)) != len(header)
    if missing or strange or doubled:
        raise SharingFileError(
            [
                Fault(
                    1,
                    f"the columns are {', '.join(REQUIRED)} and, if wanted, {', '.join(OPTIONAL)}, "
                    f"each once; missing: {', '.join(missing) or 'none'}; "
                    f"unknown: {', '.join(strange)[:_LONGEST_CELL] or 'none'}",
                )
            ]
        )


def _by_column(header: Sequence[str], cells: Sequence[str]) -> Mapping[str, str]:
    if len(cells) != len(header):
        raise _RowError(f"it has {len(cells)} cells, the header has {len(header)}")
    if any(len(cell) > _LONGEST_CELL or not cell.isprintable() for cell in cells):
        raise _RowError(f"a cell is longer than {_LONGEST_CELL} characters, or not printable")
    return dict.fromkeys(OPTIONAL, "") | {
        name: cell.strip() for name, cell in zip(header, cells, strict=True)
    }


def _take(
    number: int,
    cells: Mapping[str, str],
    zone: tzinfo,
    drafts: dict[tuple[str, str], Draft],
) -> None:
    """Add one row to its version."""
    generator, member = cells["generator"], cells["member"]
    if not generator:
        raise _RowError("it names no generator")
    try:
        start = midnight(cells["valid_from"], zone)
    except ValueError as error:
        raise _RowError(str(error)) from error
    terms = _terms(cells)
    draft = drafts.setdefault((generator, start.key), Draft(number, generator, start, terms))
    if draft.terms != terms:
        raise _RowError(f"kind, unused and price have to be the same as in row {draft.row}")
    if member:
        _add_member(draft, number, member, _ppm(cells["share_ppm"], terms.kind))
    elif cells["share_ppm"]:
        raise _RowError("it has a share and no member")
    else:
        draft.empty_row = number
    if draft.empty_row and (draft.rows or draft.row != number):
        raise _RowError(
            f"a row without a member ends the sharing of {generator}: it stands alone, and row "
            f"{draft.row} is of the same generator and day"
        )


def _terms(cells: Mapping[str, str]) -> Terms:
    kinds = [kind.value for kind in Kind]
    if cells["kind"] not in kinds:
        raise _RowError(f"kind {cells['kind']!r} is none of {', '.join(kinds)}")
    if cells["unused"] not in _UNUSED:
        raise _RowError(f"unused {cells['unused']!r} is neither export (or empty) nor again")
    kind, redistribute = Kind(cells["kind"]), _UNUSED[cells["unused"]]
    if redistribute and kind is not Kind.STATIC:
        raise _RowError(f"only a static key hands unused shares out again, not {kind}")
    text = cells["price_micro_per_kwh"] or "0"
    if not _PRICE.fullmatch(text) or abs(int(text)) > MAX_PRICE_MICRO_PER_KWH:
        raise _RowError(
            f"price_micro_per_kwh {text!r} is no whole number within +-{MAX_PRICE_MICRO_PER_KWH}"
        )
    return Terms(kind, redistribute, Price(int(text)))


def _ppm(text: str, kind: Kind) -> int:
    """Return a share; only a static key needs one."""
    if not text and kind is not Kind.STATIC:
        return 0
    if not _PPM.fullmatch(text) or int(text) > PPM:
        raise _RowError(f"share_ppm {text!r} is no whole number of 0 to {PPM}")
    return int(text)


def _add_member(draft: Draft, number: int, member: str, ppm: int) -> None:
    if member == draft.generator:
        raise _RowError("a generating point cannot be a member of its own key: leave it out")
    if member in draft.rows:
        raise _RowError(f"member {member} stands in row {draft.rows[member]} already")
    if (total := sum(draft.ppm.values()) + ppm) > PPM:
        raise _RowError(
            f"with it the shares of {draft.generator} add up to {total} ppm, more than {PPM}"
        )
    draft.ppm[member], draft.rows[member] = ppm, number
