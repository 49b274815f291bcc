"""Where exported postings go: CSV, JSON or Parquet, each ending with the sum over all of them."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO, Final, Protocol

from app.bankfiles.csvfile import harmless
from app.store.journal import Booked

COLUMNS: Final = ("posting", "entry", "ref", "kind", "interval", "booked_at", "account", "micro")


@dataclass(slots=True)
class Totals:
    """What the postings of a file come to, in micro-euros."""

    postings: int = 0
    micro: int = 0
    accounts: Counter[str] = field(default_factory=Counter)

    def add(self, rows: Sequence[Booked]) -> None:
        """Count some more of them."""
        self.postings += len(rows)
        for row in rows:
            self.accounts[row.account] += row.micro
            self.micro += row.micro


class Sink(Protocol):
    """Takes postings in chunks; nothing is whole before :meth:`close`."""

    def write(self, rows: Sequence[Booked]) -> None:
        """Write some postings."""
        ...

    def close(self) -> Totals:
        """Write what comes after the last one, and return the totals."""
        ...


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


class CsvSink:
    """One row per posting, comma-separated, and a last row ``sum`` with their number and total."""

    def __init__(self, file: BinaryIO, _origin: str) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", newline="")
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._writer.writerow(COLUMNS)
        self._totals = Totals()

    def write(self, rows: Sequence[Booked]) -> None:
        """Write some postings."""
        self._totals.add(rows)
        self._writer.writerows(
            (
                row.posting,
                row.entry,
                harmless(row.ref),
                harmless(row.kind),
                row.interval or "",
                _utc(row.booked_ms),
                harmless(row.account),
                row.micro,
            )
            for row in rows
        )

    def close(self) -> Totals:
        """Write the row ``sum``."""
        totals = self._totals
        self._writer.writerow(("sum", totals.postings, "", "", "", "", "", totals.micro))
        self._text.flush()
        self._text.detach()  # the file itself is closed by whoever opened it
        return totals


class JsonSink:
    """One object: ``district``, ``postings`` (a line each), their number, sum and totals."""

    def __init__(self, file: BinaryIO, origin: str) -> None:
        self._file = file
        self._file.write(f'{{"district": {json.dumps(origin)}, "postings": ['.encode())
        self._totals = Totals()

    def write(self, rows: Sequence[Booked]) -> None:
        """Write some postings."""
        for number, row in enumerate(rows, self._totals.postings):
            shown = {**row._asdict(), "booked_at": _utc(row.booked_ms)}
            ordered = {name: shown[name] for name in COLUMNS}
            text = json.dumps(ordered, ensure_ascii=False)
            self._file.write(f"{',' if number else ''}\n{text}".encode())
        self._totals.add(rows)

    def close(self) -> Totals:
        """Write the number, the sum, and each account's total."""
        totals = self._totals
        end = {
            "count": totals.postings,
            "sum_micro": totals.micro,
            "accounts": dict(sorted(totals.accounts.items())),
        }
        text = json.dumps(end, ensure_ascii=False)
        self._file.write(f"\n], {text[1:]}\n".encode())
        return totals


class ParquetSink:
    """A column per name: int64 numbers, UTC timestamps, texts; the sums in the metadata."""

    def __init__(self, file: BinaryIO, origin: str) -> None:
        import pyarrow as pa  # a large library, and nothing else of the command line needs it
        import pyarrow.parquet as pq

        time = pa.timestamp("ms", tz="UTC")
        types = (pa.int64(), pa.int64(), pa.string(), pa.string(), time, time)
        fields = [
            pa.field(name, kind, nullable=name == "interval")
            for name, kind in zip(COLUMNS, (*types, pa.string(), pa.int64()), strict=True)
        ]
        self._schema = pa.schema(fields, metadata={"wattloom_district": origin})
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")
        self._batch = pa.RecordBatch
        self._totals = Totals()

    def write(self, rows: Sequence[Booked]) -> None:
        """Write some postings as a row group."""
        if not rows:
            return
        self._totals.add(rows)
        posting, entry, ref, kind, interval, booked_ms, account, micro = zip(*rows, strict=True)
        starts = [None if key is None else datetime.fromisoformat(key) for key in interval]
        columns = (posting, entry, ref, kind, starts, booked_ms, account, micro)
        arrays = dict(zip(COLUMNS, map(list, columns), strict=True))
        self._writer.write_batch(self._batch.from_pydict(arrays, schema=self._schema))

    def close(self) -> Totals:
        """Write the metadata: number, sum and each account's total."""
        totals = self._totals
        self._writer.add_key_value_metadata(
            {
                "wattloom_postings": str(totals.postings),
                "wattloom_sum_micro": str(totals.micro),
                "wattloom_accounts": json.dumps(dict(sorted(totals.accounts.items()))),
            }
        )
        self._writer.close()
        return totals
