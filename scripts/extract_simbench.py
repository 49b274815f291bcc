"""Extract the demo's load and solar profiles from SimBench (ODbL; see metering/data/NOTICE.md).

Usage: python scripts/extract_simbench.py PATH [OUT]

PATH is the wheel simbench-1.6.3-py3-none-any.whl or a folder with LoadProfile.csv and
RESProfile.csv. OUT is metering/data/simbench_2016.csv.gz by default. The same input gives the same
bytes (with the same zlib).
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

FOLDER = "simbench/networks/1-complete_data-mixed-all-1-sw"
ZONE = ZoneInfo("Europe/Berlin")
QUARTER = timedelta(minutes=15)
STEPS = 100_000  # one count is 1/100000 of the rated power
LOADS = {
    name: f"{name}_pload"
    for name in (
        "H0-A",
        "H0-B",
        "H0-C",
        "H0-G",
        "H0-L",
        "G1-A",
        "G1-B",
        "G3-A",
        "G5-A",
        "Air_Parallel_1",
        "Soil_Alternative_1",
        "HLS_C_3.7",
        "HLS_A_11.0",
        "HLS_A_22.0",
        "APLS_B_11.0",
    )
}
ROOFS = {name: name for name in ("PV1", "PV3", "PV5")}
OUT = Path(__file__).parents[1] / "metering/data/simbench_2016.csv.gz"


def read_table(source: Path, file: str) -> list[list[str]]:
    """Return the rows of one CSV file in the wheel or folder."""
    if source.is_dir():
        text = (source / file).read_text("utf-8")
    else:
        with zipfile.ZipFile(source) as wheel:
            text = wheel.read(f"{FOLDER}/{file}").decode("utf-8")
    return list(csv.reader(io.StringIO(text), delimiter=";"))


def utc_times(local: Sequence[str]) -> list[datetime]:
    """Return the UTC times of local ones; in the doubled hour, order tells the two apart.

    Raises:
        ValueError: the times are not a gapless series of quarter-hours.
    """
    first = datetime.strptime(local[0], "%d.%m.%Y %H:%M").replace(tzinfo=ZONE).astimezone(UTC)
    times = [first + number * QUARTER for number in range(len(local))]
    for time, text in zip(times, local, strict=True):
        if time.astimezone(ZONE).strftime("%d.%m.%Y %H:%M") != text:
            raise ValueError(f"{text}: expected {time.astimezone(ZONE)}; the series has a gap")
    return times


def columns(table: list[list[str]], wanted: dict[str, str]) -> dict[str, list[int]]:
    """Return the wanted columns in counts of 1/STEPS of the rated power."""
    head, *rows = table
    places = {name: head.index(column) for name, column in wanted.items()}
    return {
        name: [max(0, round(float(row[place]) * STEPS)) for row in rows]
        for name, place in places.items()
    }


def main(source: Path, out: Path) -> None:
    """Write the extract."""
    loads, roofs = read_table(source, "LoadProfile.csv"), read_table(source, "RESProfile.csv")
    local = [row[0] for row in loads[1:]]
    if local != [row[0] for row in roofs[1:]]:
        raise ValueError("the two files do not have the same times")
    data = columns(loads, LOADS) | columns(roofs, ROOFS)
    lines = [",".join(["utc", *data])]
    for time, *values in zip(utc_times(local), *data.values(), strict=True):
        lines.append(",".join([time.strftime("%Y-%m-%dT%H:%MZ"), *map(str, values)]))
    packed = gzip.compress("\n".join([*lines, ""]).encode("ascii"), 9, mtime=0)
    out.write_bytes(packed)
    print(f"{out}: {len(data)} profiles, {len(lines) - 1} quarter-hours, {len(packed)} bytes")


if __name__ == "__main__":
    if len(sys.argv) not in {2, 3}:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else OUT)
