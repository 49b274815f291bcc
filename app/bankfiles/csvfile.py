"""The neutral CSV: reads statements of banks without camt.053, writes tables safe to open.

The columns are :data:`COLUMNS`, in any order.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Final

from app.bankfiles.amounts import MAX_MICRO, Decimal, signed
from app.bankfiles.errors import AmountError, Fault, StatementFileError
from app.bankfiles.statement import MAX_BYTES, MAX_ENTRIES, Entry, Statement, Transaction, clean

COLUMNS: Final = (
    "booked_date",
    "amount",
    "currency",
    "reference",
    "counterparty_name",
    "counterparty_iban",
    "bank_reference",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def read_csv(data: bytes, decimal: Decimal) -> tuple[Statement, ...]:
    """Return the one statement of a CSV: UTF-8, a header, one booked entry per line.

    The separator is the one of the header (semicolon or comma); the decimal mark is what the
    caller says and never guessed. A negative amount went out. There are no balances.

    Raises:
        StatementFileError: the file or some of its lines are wrong; the header is line 1.
    """
    if len(data) > MAX_BYTES:
        raise _refused(f"more than {MAX_BYTES // 2**20} MiB: export fewer days")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _refused("it is not UTF-8: save it as UTF-8") from None
    lines = _lines(text)
    header = [name.strip() for name in next(lines, (1, []))[1]]
    _check_header(header)
    faults: list[Fault] = []
    entries: list[Entry] = []
    for number, values in lines:
        if not any(value.strip() for value in values):
            continue
        try:
            entries.append(_entry(header, values, decimal))
        except (AmountError, _LineError) as error:
            faults.append(Fault(f"line {number}", str(error)))
    faults += _doubles(entries)
    if not entries and not faults:
        faults.append(Fault("line 1", "no entry follows the header"))
    if faults:
        raise StatementFileError(faults)
    return (Statement("", "", None, tuple(entries)),)


class _LineError(ValueError):
    """A line is wrong."""


def _refused(text: str) -> StatementFileError:
    return StatementFileError([Fault("the file", text)])


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    separator = ";" if ";" in text.split("\n", 1)[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for values in reader:
            yield reader.line_num, values
    except csv.Error as error:
        fault = Fault(f"line {reader.line_num}", f"{error}; is a quote left open?")
        raise StatementFileError([fault]) from error


def _check_header(header: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in header]
    unknown = [clean(name, 30) for name in header if name not in COLUMNS]
    if missing or unknown or len(set(header)) < len(header):
        raise StatementFileError(
            [
                Fault(
                    "line 1",
                    f"missing columns {missing}, unknown or double {unknown}; write "
                    f"{';'.join(COLUMNS)}, separated by semicolons or commas",
                )
            ]
        )


def _entry(header: Sequence[str], values: Sequence[str], decimal: Decimal) -> Entry:
    if len(values) != len(header):
        raise _LineError(f"{len(values)} fields where the header has {len(header)}")
    row = {name: clean(value) for name, value in zip(header, values, strict=True)}
    if row["currency"] != "EUR":
        raise _LineError(f"the currency is {row['currency'][:10]!r}, not EUR")
    if not row["bank_reference"]:
        raise _LineError("no bank_reference: without it, an entry could be counted twice")
    micro = signed(row["amount"], decimal)
    if not 0 < abs(micro) <= MAX_MICRO:
        raise _LineError(f"the amount {row['amount']} is 0, or more than SEPA carries")
    transaction = Transaction(
        micro, row["reference"], "", row["counterparty_name"], row["counterparty_iban"]
    )
    return Entry(row["bank_reference"], _day(row["booked_date"]), micro, (transaction,))


def _day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise _LineError(f"booked_date {text[:30]!r} is no date such as 2026-06-24") from None


def _doubles(entries: Sequence[Entry]) -> list[Fault]:
    if len(entries) > MAX_ENTRIES:
        return [Fault("the file", f"more than {MAX_ENTRIES} entries: export fewer days")]
    seen: set[str] = set()
    faults: list[Fault] = []
    for entry in entries:
        if entry.bank_ref in seen:
            faults.append(
                Fault("the file", f"two lines share the bank_reference {entry.bank_ref!r}")
            )
        seen.add(entry.bank_ref)
    return faults


def write_csv(header: Sequence[str], rows: Iterable[Sequence[str | int]]) -> bytes:
    """Return a table as CSV (UTF-8 with a mark, semicolons) that no spreadsheet runs.

    A text that a spreadsheet would take for a formula gets a quote in front (OWASP, "CSV
    injection"); numbers are given as ``int`` or as text of digits and stay as they are.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([harmless(cell) for cell in row] for row in rows)
    return out.getvalue().encode("utf-8-sig")


def harmless(cell: str | int) -> str:
    """Return a cell as text that no spreadsheet runs."""
    if isinstance(cell, int) or _is_number(cell):
        return str(cell)
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell


def _is_number(cell: str) -> bool:
    try:
        signed(cell, "point")
    except AmountError:
        return False
    return True
