"""Audits of every rule and mode: wishes, places, the fallback, sharing, forward sessions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.commands.audit import audit
from app.commands.interval_export import export_interval
from app.jobs import clear as clear_job
from app.services.limits import instructions
from app.services.sharing import keys
from app.tables import MeteringPointRow, ParticipantRow
from ledger_client.verify import Verdict, canonical
from market import settlement
from market.agents import Instruction, Strategy
from market.money import Price
from market.place import Product, Wish
from market.tariff import Tariff
from optimizer.compiled import SolverError
from tests.app.district_kit import CEILING, FEED_IN, Kit, key
from tests.app.forward_kit import FIRST, ForwardKit, steps
from tests.app.sharing_kit import after, key_file, sharing_kit

Json = dict[str, Any]
SURPLUS = {"solar": (0, 500), "flat": (300, 0), "shop": (400, 0)}


@pytest.fixture
def kits() -> Iterator[list[Kit]]:
    made: list[Kit] = []
    yield made
    for kit in made:
        kit.close()


@pytest.fixture
def make(kits: list[Kit], tmp_path: Path, sqlite_url: str) -> Callable[..., Kit]:
    def make(**changes: object) -> Kit:
        kits.append(Kit(tmp_path, sqlite_url, changes=changes))
        return kits[-1]

    return make


def judged(kit: Kit, interval: str, change: Callable[[Json], object] = lambda _: None) -> Verdict:
    file = json.loads(export_interval(kit.house, interval))
    change(file)
    return audit(interval, canonical(file), kit.keys())


def ending(verdict: Verdict) -> tuple[int, str]:
    return verdict.code, verdict.steps[-1].name


@pytest.mark.parametrize("rule", ["uniform", "pay-as-bid", "mid-market", "sdr"])
def test_every_rule_with_places_and_wishes(make: Callable[..., Kit], rule: str) -> None:
    kit = make(rule=rule)
    with kit.database.write() as session:
        for name, building in (("solar", "b1"), ("flat", "b1"), ("shop", "b2")):
            row = session.get_one(MeteringPointRow, kit.homes[name].point)
            row.building, row.green = building, name == "solar"
    wish = Wish(Product.GREEN, Price(30_000), local_first=True)
    instructions.enter(
        kit.house,
        "flat",
        kit.homes["flat"].point,
        Instruction(strategy=Strategy.GREEDY, share_ppm=300_000, wish=wish),
        "prosumer",
    )
    for _ in range(2):
        kit.live(**SURPLUS)
    assert kit.seal(key(1)).hub_prices
    for number in range(2):
        verdict = judged(kit, key(number))
        assert verdict.code == 0, verdict


def test_the_fallback_is_repeated_and_told(
    make: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(problem: object, **_: object) -> object:
        raise SolverError("no optimum")

    kit = make(rule="uniform")
    with monkeypatch.context() as patched:
        patched.setattr(clear_job, "clear", fails)
        kit.live(**SURPLUS)
    assert kit.seal(key(0)).fallback == 1
    verdict = judged(kit, key(0))
    assert verdict.code == 0, verdict
    assert any("fallback rule" in remark for remark in verdict.remarks)


def test_an_engine_without_an_answer_is_no_judgement(
    make: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(problem: object, **_: object) -> object:
        raise SolverError("no optimum")

    kit = make()
    kit.live(**SURPLUS)
    file = export_interval(kit.house, key(0))
    monkeypatch.setattr("app.commands.audit_replay.clear", fails)
    assert ending(audit(key(0), file, kit.keys())) == (2, "clearing")


def test_who_is_past_the_credit_line_has_no_bid(make: Callable[..., Kit]) -> None:
    kit = make()
    with kit.database.write() as session:
        session.get_one(ParticipantRow, "flat").credit_limit_micro = -(10**9)
    kit.live(**SURPLUS)
    verdict = judged(kit, key(0))
    assert verdict.code == 0, verdict
    assert any("1 participants drew energy and have no bid" in text for text in verdict.remarks)


def test_a_price_that_was_sealed_wrong_is_named(
    make: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A district that clears by other rules than it says, and signs the result."""
    honest = clear_job.metered_problem

    def biased(interval: str, rule: str, *rest: Any) -> object:
        return honest(interval, "uniform", *rest)

    kit = make(rule="mid-market")
    with monkeypatch.context() as patched:
        patched.setattr(clear_job, "metered_problem", biased)
        kit.live(**SURPLUS)
    assert kit.seal(key(0)).rule == "mid-market"
    assert ending(judged(kit, key(0))) == (1, "price")


def test_a_favoured_order_is_named(
    make: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A district whose ties go to whom it likes: prices hold, the trades do not."""
    honest = clear_job.metered_problem

    def biased(interval: str, *rest: Any) -> object:
        return honest("2026-01-01T00:00:00Z", *rest)

    kit = make()
    with monkeypatch.context() as patched:
        patched.setattr(clear_job, "metered_problem", biased)
        for _ in range(4):
            kit.live(solar=(0, 501), flat=(300, 0), shop=(300, 0))
    assert (1, "trades") in {ending(judged(kit, key(number))) for number in range(4)}


def test_a_line_that_was_settled_wrong_is_named(
    make: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A district that bills levies to itself: all roots agree, the lines do not follow."""
    honest = settlement.memo_lines

    def biased(point: str, tariff: Tariff, *rest: Any) -> object:
        return honest(point, replace(tariff, levy=tariff.levy + Price(1_000)), *rest)

    kit = make()
    with monkeypatch.context() as patched:
        patched.setattr(settlement, "memo_lines", biased)
        kit.live(**SURPLUS)
    assert ending(judged(kit, key(0))) == (1, "lines")


SHARING = [
    (lambda file: None, 0, "lines"),
    (lambda file: file["sharing_keys"][0]["members"][0].update(ppm=400_000), 1, "trades"),
    (lambda file: file["sharing_keys"][0]["members"].pop(), 1, "orders"),
    (lambda file: file["sharing_keys"][0].update(price_micro_per_kwh=90_000), 1, "price"),
    (lambda file: file["sharing_keys"][0].update(redistribute=0), 1, "trades"),
    (lambda file: file["sharing_keys"][0].update(rule="equal", redistribute=0), 1, "trades"),
    (lambda file: file["sharing_keys"].clear(), 1, "orders"),
    (lambda file: file["sharing_keys"][0]["members"][0].update(ppm=900_000), 1, "orders"),
    (lambda file: file.update(floor_micro_per_kwh=1), 1, "floor_micro_per_kwh"),
]


def test_sharing(kits: list[Kit], tmp_path: Path, sqlite_url: str) -> None:
    kit = sharing_kit(tmp_path, sqlite_url)
    kits.append(kit)
    shares = [("flat", 500_000), ("shop", 300_000)]
    keys.take(kit.house, "keys.csv", key_file(kit, shares, terms="static,again,100000"))
    for _ in range(2):
        kit.live(solar=(40, 1_000), flat=(200, 0), shop=(900, 0), lone=(400, 0))
    assert judged(kit, after(0)).code == 0
    for change, code, step in SHARING:
        verdict = judged(kit, after(1), change)
        assert ending(verdict) == (code, step), verdict


FORWARD = [
    (lambda file: None, 0, "lines"),
    (lambda file: file["contracts"][0].update(wh=1), 1, "trades"),
    (lambda file: file["contracts"].pop(), 1, "trades"),
    (lambda file: file.update(session=None), 1, "session"),
    (lambda file: file["session"].update(index=0), 1, "session"),
    (lambda file: file.update(ceiling_micro_per_kwh=1), 1, "ceiling_micro_per_kwh"),
]


def test_forward(kits: list[Kit], tmp_path: Path, sqlite_url: str) -> None:
    kit = ForwardKit(tmp_path, sqlite_url)
    kits.append(kit)
    kit.run()
    kit.enter("solar", steps("offer", 600, 600, 600, 600, limit=FEED_IN))
    kit.enter("flat", steps("bid", 400, 400, 400, 400, limit=CEILING))
    kit.enter("shop", steps("bid", 200, 200, 200, 200, limit=CEILING))
    for _ in range(4):
        kit.live()
    kit.live(solar=(0, 500), flat=(500, 0), shop=(300, 0))
    assert kit.seal(FIRST).mode == "forward"
    for change, code, step in FORWARD:
        verdict = judged(kit, FIRST, change)
        assert ending(verdict) == (code, step), verdict
    assert any("auction was not run again" in text for text in judged(kit, FIRST).remarks)
