"""Files of master data: one CSV file per kind in a folder, each with a header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from app.files.exchange_values import ExchangeFileError, Fault
from app.files.rows import TableFileError, rows_of

# In the order in which they are taken in: what a row refers to stands before it.
SHEETS: Final[Mapping[str, tuple[str, ...]]] = {
    "suppliers": ("id", "name"),
    "balance_parties": ("id", "name", "code"),
    "feeders": ("id", "name", "head"),
    "buildings": ("feeder", "id", "name"),
    "participants": ("id", "name", "postal_address", "tax_number", "vat_liable"),
    "points": ("point", "name", "kind", "purpose", "max_power_w", "green"),
    "links": ("point", "role", "target", "valid_from", "valid_to"),
    "devices": (
        "id",
        "point",
        "meter_point",
        "output_register",
        "name",
        "kind",
        "technology",
        "source",
        "capacity_w",
        "efficiency_ppm",
        "emissions_mg_per_kwh",
        "valid_from",
        "valid_to",
    ),
}
_LONGEST: Final = 400  # characters of a cell


class Row(NamedTuple):
    """One row of a sheet: its number (the header is row 1) and its cells by column."""

    sheet: str
    number: int
    cells: Mapping[str, str]

    def fault(self, reason: object) -> Fault:
        """Return what is wrong with the row."""
        return Fault(None, f"{self.sheet}.csv, row {self.number}: {reason}")


def read_folder(folder: Path) -> Mapping[str, Sequence[Row]]:
    """Return the rows of each sheet that a folder holds, in the order of :data:`SHEETS`.

    Raises:
        ExchangeFileError: a file cannot be read, or there is none.
    """
    found, faults = {}, []
    for sheet, columns in SHEETS.items():
        file = folder / f"{sheet}.csv"
        if not file.exists():
            continue
        try:
            rows = rows_of(file, columns, (), max_characters=_LONGEST)
            found[sheet] = [Row(sheet, number, cells) for number, cells in rows]
        except TableFileError as error:
            faults.append(Fault(None, f"{file.name}, {error}"))
    if not found and not faults:
        names = ", ".join(f"{sheet}.csv" for sheet in SHEETS)
        faults.append(Fault(None, f"{folder} holds none of {names}: name the folder of the files"))
    if faults:
        raise ExchangeFileError(faults)
    return found


def sheet_text(sheet: str, rows: Iterable[Sequence[str]]) -> str:
    """Return a sheet as the text of its file."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([SHEETS[sheet], *rows])
    return out.getvalue()
