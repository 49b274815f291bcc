"""The gateway as it is installed: a small set of imports, a small process, a page, a clean end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.app.box_kit import ROOT, Box, DoorServer, meters, until
from tests.app.served import Served, free_port

# What a gateway's box does not have: the server's frameworks, and the solver's.
FORBIDDEN = (
    "fastapi starlette uvicorn sqlmodel sqlalchemy alembic psycopg jinja2 numpy pandas scipy "
    "pyarrow pyomo highspy pvlib fpdf segno pydantic_settings multipart"
)
HOOK = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FORBIDDEN.split()!r}:
            raise ModuleNotFoundError("not on this box: " + name)
sys.meta_path.insert(0, Absent())
"""
COMMAND = HOOK + "from app.cli import main; sys.argv[0] = 'wattloom'; main()"
ALLOWED_MB = 80
STARTED = "gateway gateway-1: 2 meters on 1 lines"


def peak_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1_024


def test_a_small_box_polls_signs_sends_and_tells(tmp_path: Path) -> None:
    served = Served.found(tmp_path / "hof", f"sqlite:///{tmp_path / 'district.db'}", 2)
    box, status = Box.laid(tmp_path / "box", served), free_port()
    serials = [signer.enrolment.serial for signer in box.signers]
    with meters(serials) as modbus, DoorServer(served).running() as port:
        box.write(f"http://127.0.0.1:{port}", modbus, 0.1, status)
        command = [sys.executable, "-c", COMMAND, "gateway", str(box.file)]
        log = box.folder / "log"
        with log.open("w") as stderr, subprocess.Popen(command, cwd=ROOT, stderr=stderr) as process:
            until(lambda: box.rows("1", "state = 'acknowledged'") or process.poll() is not None)
            told = httpx.get(f"http://127.0.0.1:{status}/status.json", trust_env=False).json()
            peak = peak_mb(process.pid)
            process.send_signal(signal.SIGHUP)
            until(lambda: log.read_text().count(STARTED) == 2 or process.poll() is not None)
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)
        said = log.read_text()
        assert process.returncode == 0, said
    assert [one["state"] for one in told["meters"]] == ["ok", "ok"]
    meter = told["meters"][0]
    assert (meter["power_w"], meter["quality"]) == (3_000, "measured")
    assert meter["import_wh"] > 0
    assert told["server"]["failing_s"] is None
    assert peak < ALLOWED_MB, f"{peak} MB"
    assert "Traceback" not in said
    served.database.close()
