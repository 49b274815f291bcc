"""Standing instructions in the district: versions, validity, and what the book makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.services.limits import instructions
from app.store import agents
from app.tables import ExpectedPriceRow, ForecastRunRow, InstructionRow, MeteringPointRow
from market.agents import Instruction, InstructionError, Strategy
from market.money import Price
from market.place import Level, Product, Wish
from metering.interval import Interval
from tests.app.district_kit import CEILING, FEED_IN, RATE, START, Kit, key

MakeKit = Callable[..., Kit]
GREEDY = Instruction(Strategy.GREEDY, 200_000)
OWN = Instruction(Strategy.OWN_LIMITS, buy_all_in=Price(250_000), sell=Price(120_000))
SURPLUS = {"solar": (0, 900), "flat": (300, 0), "shop": (200, 0)}


@pytest.fixture
def make_plain(sqlite_url: str, tmp_path: Path) -> Iterator[MakeKit]:
    kits: list[Kit] = []

    def make(**options: object) -> Kit:
        kits.append(Kit(tmp_path, sqlite_url, **options))
        return kits[-1]

    yield make
    for kit in kits:
        kit.check()
        kit.close()


@pytest.fixture
def make(database_url: str, tmp_path: Path) -> Iterator[MakeKit]:
    kits: list[Kit] = []

    def make(**options: object) -> Kit:
        kits.append(Kit(tmp_path, database_url, **options))
        return kits[-1]

    yield make
    for kit in kits:
        kit.check()
        kit.close()


def enter(kit: Kit, name: str, instruction: Instruction, **more: Interval) -> InstructionRow | None:
    point = kit.homes[name].point
    return instructions.enter(kit.house, name, point, instruction, "prosumer", **more)


def limit_of(kit: Kit, interval: str, name: str) -> tuple[int, int | None]:
    (found,) = [o for o in kit.orders(interval) if o.participant == name]
    return found.limit_micro_per_kwh, found.instruction


def test_an_instruction_holds_from_the_next_interval_on(make_plain: MakeKit) -> None:
    """What has begun stays as it was, however late it is cleared; the order names the version."""
    kit = make_plain()
    kit.quarter(**SURPLUS)
    kit.quarter(**SURPLUS)  # the first two have begun, and are not cleared yet
    row = enter(kit, "flat", GREEDY)
    assert row is not None
    assert (row.version, row.valid_from, row.known_ms) == (1, key(3), kit.clock.now_ms())
    kit.live(**SURPLUS)
    kit.live(**SURPLUS)
    assert [limit_of(kit, key(n), "flat") for n in range(4)] == [
        (CEILING, None),
        (CEILING, None),
        (CEILING, None),
        (CEILING - (CEILING - FEED_IN) // 5, 1),
    ]
    assert {limit_of(kit, key(n), "shop") for n in range(4)} == {(CEILING, None)}
    assert all(kit.prove(key(n), "flat").code == 0 for n in range(4))


def test_a_later_version_replaces_what_was_planned(make: MakeKit) -> None:
    kit = make()
    enter(kit, "solar", OWN, valid_from=Interval.parse(key(2)))
    enter(kit, "solar", GREEDY, valid_from=Interval.parse(key(3)))
    for _ in range(4):
        kit.live(**SURPLUS)
    greedy = FEED_IN + (CEILING - FEED_IN) // 5
    assert [limit_of(kit, key(n), "solar") for n in range(4)] == [
        (FEED_IN, None),
        (FEED_IN, None),
        (120_000, 1),
        (greedy, 2),
    ]
    enter(kit, "solar", Instruction(), valid_from=Interval.parse(key(9)))
    enter(kit, "solar", OWN)  # from the next one on: the plan for later goes with it
    held = [kit.ask(lambda s, n=n: agents.holding(s, key(n))) for n in (4, 5, 9, 30)]
    assert [each[kit.homes["solar"].point].version for each in held] == [2, 4, 4, 4]


def test_undoing_is_a_further_version(make: MakeKit) -> None:
    kit = make()
    point = kit.homes["flat"].point
    assert enter(kit, "flat", GREEDY) is not None
    assert enter(kit, "flat", OWN) is not None
    undone = instructions.repeat(kit.house, "flat", point, 1, "prosumer")
    assert undone is not None
    assert (undone.version, undone.repeats, undone.share_ppm) == (3, 1, 200_000)
    default = instructions.repeat(kit.house, "flat", point, 0, "building-manager")
    assert default is not None
    assert (default.version, default.strategy, default.entered_by) == (
        4,
        "grid-parity",
        "building-manager",
    )
    assert [row.version for row in kit.rows(InstructionRow)] == [1, 2, 3, 4]


def test_the_same_again_adds_nothing(make_plain: MakeKit) -> None:
    kit = make_plain()
    assert enter(kit, "flat", Instruction()) is None
    assert enter(kit, "flat", OWN) is not None
    assert enter(kit, "flat", OWN) is None
    assert instructions.repeat(kit.house, "flat", kit.homes["flat"].point, 1, "prosumer") is None
    assert len(kit.rows(InstructionRow)) == 1


def test_what_is_refused_writes_nothing(make_plain: MakeKit) -> None:
    kit = make_plain(changes={"price_tick_micro_per_kwh": 1_000})
    kit.live(**SURPLUS)
    off = Instruction(Strategy.OWN_LIMITS, buy_all_in=Price(250_001))
    indoors = Instruction(wish=Wish(level=Level.BUILDING))
    solar = kit.homes["solar"].point
    refused: list[tuple[str, Callable[[], object]]] = [
        ("buy", lambda: enter(kit, "flat", off)),
        ("level", lambda: enter(kit, "flat", indoors)),
        ("valid_from", lambda: enter(kit, "flat", OWN, valid_from=START)),
        ("valid_from", lambda: enter(kit, "flat", OWN, valid_from=Interval.parse(key(1)))),
        ("valid_from", lambda: enter(kit, "flat", OWN, valid_from=Interval.parse(key(40_000)))),
        ("point", lambda: instructions.enter(kit.house, "flat", solar, OWN, "prosumer")),
        ("point", lambda: instructions.enter(kit.house, "flat", "1" * 18, OWN, "prosumer")),
        ("", lambda: instructions.repeat(kit.house, "solar", solar, 7, "prosumer")),
    ]
    for field, attempt in refused:
        with pytest.raises(InstructionError) as error:
            attempt()
        assert error.value.field == field, error.value
    assert kit.rows(InstructionRow) == []
    assert enter(kit, "flat", OWN, valid_from=Interval.parse(key(2))) is not None


def test_two_at_a_time_get_two_versions(make: MakeKit) -> None:
    kit = make()
    wishes = [Instruction(Strategy.GREEDY, share) for share in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda each: enter(kit, "flat", each), wishes))
    rows = kit.rows(InstructionRow)
    assert sorted(row.version for row in rows) == list(range(1, 9))
    assert {row.share_ppm for row in rows} == set(range(1, 9))


def test_limits_beyond_the_rate_stay_on_the_tariff(make_plain: MakeKit) -> None:
    """At mid-market (165,000 net) the roof asks for more: its energy is fed in, as metered."""
    kit = make_plain()
    asked = Instruction(Strategy.OWN_LIMITS, sell=Price(RATE + 1))
    enter(kit, "solar", asked)
    kit.live(**SURPLUS)
    kit.live(**SURPLUS)
    assert [kit.interval(key(n)).traded_wh for n in range(2)] == [500, 0]
    export = kit.statement(key(1), "solar")["metered"][1]
    assert (export["direction"], export["residual_wh"]) == ("export", 900)
    lines = {line["kind"]: line for line in kit.statement(key(1), "solar")["lines"]}
    assert lines["residual-export"]["price_micro_per_kwh"] == FEED_IN
    assert kit.prove(key(1), "solar").code == 0


def test_limits_off_the_tick_are_rounded_in_the_participants_favour(make_plain: MakeKit) -> None:
    kit = make_plain(changes={"price_tick_micro_per_kwh": 30_000})
    kit.live(**SURPLUS)
    assert limit_of(kit, key(0), "flat") == (240_000, None)  # 250,000, down
    assert limit_of(kit, key(0), "solar") == (90_000, None)  # 80,000, up
    assert kit.prove(key(0), "flat").code == 0


def test_by_forecast_follows_what_was_expected_before_the_interval(make_plain: MakeKit) -> None:
    kit = make_plain(changes={"rule": "uniform"})
    enter(kit, "flat", Instruction(Strategy.BY_FORECAST, 100_000))
    with kit.database.write() as session:
        run = ForecastRunRow(issued_ms=START.start_ms, first=key(1), quarters=2, model="baseline-1")
        session.add(run)
        session.flush()
        session.add(
            ExpectedPriceRow(
                run=run.id or 0,
                interval=key(1),
                participants=5,
                price_micro_per_kwh=150_000,
                import_wh=1,
                export_wh=1,
                local_wh=1,
            )
        )
    for _ in range(3):
        kit.live(**SURPLUS)
    found = [limit_of(kit, key(n), "flat") for n in range(3)]
    assert found == [(CEILING, None), (150_000 + 17_000, 1), (CEILING, 1)]
    assert all(kit.prove(key(n), "flat").code == 0 for n in range(3))


def test_a_green_point_and_a_wish_stand_in_the_sealed_orders(make_plain: MakeKit) -> None:
    """One wish gives every order of the interval its place; before it no leaf names any."""
    kit = make_plain()
    with kit.database.write() as session:
        session.get_one(MeteringPointRow, kit.homes["solar"].point).green = True
    for name in ("solar", "flat"):
        kit.move_to(name, "building", "b1")
    wish = Wish(Product.GREEN, Price(10_000), level=Level.BUILDING)
    enter(kit, "flat", Instruction(wish=wish))
    kit.live(**SURPLUS)
    kit.live(**SURPLUS)
    assert {(row.place, row.wish) for row in kit.orders(key(0))} == {(None, None)}
    assert {(row.participant, row.place, row.wish) for row in kit.orders(key(1))} == {
        ("solar", "f/b1", "green"),
        ("flat", "f/b1", "green+10000 max-building"),
        ("shop", "f", None),
    }
