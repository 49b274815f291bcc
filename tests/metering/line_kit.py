"""Lines to servers on this machine, as tests need them."""

from __future__ import annotations

from metering.lines.config import RtuOverTcpLine, TcpLine
from metering.lines.line import Line, open_line


def tcp_line(port: int, *, timeout_s: float = 2.0) -> Line:
    """A Modbus TCP line to this machine."""
    return open_line(
        TcpLine(name="test", host="127.0.0.1", port=port, timeout_ms=round(timeout_s * 1_000))
    )


def rtu_line(port: int, *, timeout_s: float = 0.15, gap_ms: int = 0, baud: int = 115_200) -> Line:
    """RTU frames over TCP to this machine."""
    return open_line(
        RtuOverTcpLine(
            name="rtu", host="127.0.0.1", port=port, timeout_ms=round(timeout_s * 1_000),
            gap_ms=gap_ms, baud=baud,
        )
    )  # fmt: skip
