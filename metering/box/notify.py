"""Telling systemd that the gateway is ready, alive, or about to end. Source: sd_notify(3)."""

from __future__ import annotations

import os
import socket


def notify(*lines: str) -> bool:
    """Send lines such as ``READY=1``; return whether anybody listens. Never fails."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto("\n".join(lines).encode(), address)
    except OSError:
        return False
    return True


def watchdog_s() -> float | None:
    """Return how often the watchdog wants to be told, in seconds; ``None``: it does not watch."""
    text = os.environ.get("WATCHDOG_USEC", "")
    if not text.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / 1_000_000 / 2
