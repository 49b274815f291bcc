"""How much memory a process held, as Linux tells it."""

from __future__ import annotations

from pathlib import Path


def peak_megabytes(process: int | str) -> int:
    """Return the most memory that a running process (its id, or ``self``) ever held, in MiB.

    Of the program that runs in it now: ``getrusage`` would count what its parent held before it
    started another program.
    """
    status = Path(f"/proc/{process}/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024
