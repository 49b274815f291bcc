"""The clock while the gateway runs: jumps become events, systemd hears that it lives."""

import asyncio
import socket
from pathlib import Path

import httpx
import pytest

from metering.box.clock import Bounds
from metering.box.config import ClockConfig
from metering.box.notify import notify, watchdog_s
from metering.box.timekeeper import Timekeeper
from metering.event import Event, Kind
from metering.reading import Clock


class Told(list[Event]):
    """Keeps events."""

    def report(self, event: Event) -> None:
        self.append(event)


def test_a_jump_is_told_and_nothing_is_trusted_after_it() -> None:
    told = Told()
    keeper = Timekeeper(ClockConfig("server", ""), told)
    for now in range(4):
        keeper.clock.hear("server", Bounds(-10, 10, now * 1_000))
        keeper.look(1_782_205_200_000 + now * 1_000, now * 1_000)
    assert keeper.status() is Clock.SYNCHRONISED
    keeper.look(1_782_205_200_000 + 3_604_000, 4_000)
    assert keeper.status() is Clock.UNKNOWN
    assert keeper.last_jump == "by +3,600.0 s to 2026-06-23 10:00:04Z"
    found = [(event.finding.kind, dict(event.finding.detail)) for event in told]
    assert found == [
        (Kind.CLOCK_STATE, {"was": "U", "now": "S"}),
        (Kind.CLOCK_JUMP, {"by_ms": 3_600_000}),
        (Kind.CLOCK_STATE, {"was": "S", "now": "U"}),
    ]
    assert {event.point for event in told} == {None}


def test_the_date_of_an_answer_is_heard() -> None:
    keeper = Timekeeper(ClockConfig("server", ""), Told())

    async def ask() -> None:
        answer = httpx.MockTransport(
            lambda _: httpx.Response(200, headers={"Date": "Sun, 06 Nov 1994 08:49:37 GMT"})
        )
        hooks = {"request": [keeper.note_asked], "response": [keeper.note_date]}
        async with httpx.AsyncClient(transport=answer, event_hooks=hooks) as client:
            await client.get("http://district.example/")

    asyncio.run(ask())
    assert keeper.clock.heard["server"].low_ms > 10**11  # decades ahead of that server


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert notify("READY=1", "STATUS=well")
        assert systemd.recv(100) == b"READY=1\nSTATUS=well"
    assert not notify("READY=1")


@pytest.mark.parametrize(
    ("usec", "pid", "every_s"),
    [("", None, None), ("120000000", None, 60.0), ("120000000", "1", None), ("x", None, None)],
)
def test_the_watchdog_is_told_twice_as_often_as_it_asks(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str | None, every_s: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if pid is not None:
        monkeypatch.setenv("WATCHDOG_PID", pid)
    assert watchdog_s() == every_s
