"""Meters in memory, and what was asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.web.web_fakes import CLOCK_MS, keys
from web.ports import RefusedError
from web.ports.meters import (
    CounterLine,
    ExchangeLine,
    FindingLine,
    MeterLine,
    MeterPoint,
    MetersPage,
    NewToken,
    WaitingMeter,
)

HOSTILE = "<script>alert(6)</script>"
POINT = "401234500000000050"
KEY = "ab" * 32
FINDINGS = (
    FindingLine("Voltage L1", "230.1", "V", "50 to 300", "good", ""),
    FindingLine("Direction", "not seen", "", "sign = counter", "unseen", "Switch on 50 W."),
    FindingLine("Serial number", "none", "", "as on the label", "look", f"Read it {HOSTILE}"),
    FindingLine("Measurement mode", "0", "", "1", "wrong", "Mode A is 'easy connection'."),
)
WAITING = WaitingMeter(
    request=7,
    serial=f"SN {HOSTILE}",
    profile="Eastron SDM630",
    version="cd" * 32,
    gateway="cellar-1",
    brought_by="Kim Volt",
    sent_ms=CLOCK_MS - 90_000,
    valid_from=keys()[0],
    shown="3f2a 91bc 04de",
    verdict="wrong",
    findings=FINDINGS,
    exchange=ExchangeLine(
        "OLD-1",
        CounterLine(CLOCK_MS - 900_000, 1_234_500, None),
        "person",
        CounterLine(CLOCK_MS - 100_000, 0, 0),
    ),
)


def meter(serial: str, **changes: Any) -> MeterLine:
    values: dict[str, Any] = {
        "key": KEY,
        "fingerprint": "3f2a 91bc 04de 77a1 9c3e",
        "serial": serial,
        "profile": "Eastron SDM630",
        "version": "cd" * 32,
        "epoch": 1,
        "valid_from": keys()[2],
        "revoked_from": None,
        "over": False,
        "last_ms": CLOCK_MS - 12_000,
        "stale": False,
    }
    return MeterLine(**(values | changes))


PAGE = MetersPage(
    zone="Europe/Berlin",
    clock_ms=CLOCK_MS,
    next_key=keys()[0],
    points=[
        MeterPoint(
            POINT,
            "Flat 3",
            [meter("OLD-1"), meter("OLDER", revoked_from=keys()[2], over=True)],
            WAITING,
            ["An exchange is proposed: decide on it"],
            None,
        ),
        MeterPoint(
            "401234500000000067",
            "Roof",
            [meter("R-1", revoked_from=keys()[0], last_ms=None, stale=True)],
            None,
            [],
            CLOCK_MS + 600_000,
        ),
        MeterPoint("401234500000000074", f"Cellar {HOSTILE}", [], None, [], None),
    ],
)
TOKEN = NewToken(
    POINT, "Flat 3", "OLD-1", "K7QX-9F2M-TA4D-0WZE", "wattloom meter replace --token K7QX", 15
)


@dataclass
class FakeMeters:
    """``refuses`` is raised by the next step."""

    shown: MetersPage = PAGE
    refuses: RefusedError | None = None
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def page(self) -> MetersPage:
        return self.shown

    def token(self, point: str, by: str) -> NewToken:
        self._note("token", point, by)
        return TOKEN

    def confirm(self, request: int, typed: str, by: str) -> None:
        self._note("confirm", request, typed, by)

    def withdraw(self, request: int, by: str) -> None:
        self._note("withdraw", request, by)

    def revoke(self, key: str, begin: str, by: str) -> None:
        self._note("revoke", key, begin, by)

    def keep(self, key: str, by: str) -> None:
        self._note("keep", key, by)

    def _note(self, *what: object) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append(what)
