"""Several prices in one interval: places, products, pay-as-bid and the fallback, and frauds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ledger_client.proof import SaltedLeaf, to_bytes
from ledger_client.verify import HubPrice, Order, Tariff, admits, render, verify_bytes
from tests.ledger_client.proof_chain import World, failing_step
from tests.ledger_client.proof_records import ROOF, Json, line, order, tariff

Bend = Callable[[World], None]


def hub(level: str, place: str, product: str, price: int) -> Json:
    named = {"place": place} if place else {}
    return {"level": level, "price_micro_per_kwh": price, "product": product} | named


def wishing(side: str, limit: int, wh: int, place: str, wish: str) -> Json:
    said = {name: text for name, text in (("place", place), ("wish", wish)) if text}
    return order(ROOF, side, limit, wh) | said


def hubs_world() -> World:
    """The roof sells 250 Wh green in its feeder at 130,000 and 30 Wh to all at 120,000.

    It buys 100 Wh of green energy at 120,000: 5,000 above its limit, with a premium of 20,000.
    """
    world = World(price=None)
    world.sealed = {
        "hub_prices": [
            hub("feeder", "f1", "green", 130_000),
            hub("district", "", "green", 120_000),
            hub("district", "", "any", 120_000),
            hub("building", "f2/b", "any", 90_000),
        ]
    }
    world.orders = [
        wishing("offer", 80_000, 380, "f1/b", "green"),
        wishing("bid", 115_000, 150, "f1/b", "green+20000 local-first"),
    ]
    world.lines[0] = line("local-sell", ROOF, 250, 130_000, 32_500)
    return paid(world, 24_100)


def paid(world: World, micro: int) -> World:
    """Let the payment be what the lines make now."""
    world.transfers = [{**world.transfers[0], "micro": micro}]
    (wallet, other) = (world.outputs[1], world.outputs[2])
    world.outputs[1:] = [(wallet[0], 50_000 + micro), (other[0], 90_000 - micro)]
    return world


def pay_as_bid_world() -> World:
    """The roof sells at what two buyers bid, and pays its own limit for what it buys."""
    world = World(price=None, sealed={"rule": "pay-as-bid"})
    world.orders = [order(ROOF, "offer", 80_000, 380), order(ROOF, "bid", 150_000, 150)]
    world.lines[0] = line("local-sell", ROOF, 250, 210_000, 52_500)
    world.lines[1] = line("local-sell", ROOF, 30, 80_000, 2_400)
    world.lines[7] = line("local-buy", ROOF, 100, 150_000, -15_000)
    world.lines[12] = line("vat", ROOF, 150, 0, -7_040)  # of 37,050, a half up
    return paid(world, 39_900)


def fallback_world() -> World:
    """A bid that would rather have green energy was served at one rate for all."""
    world = World(sealed={"fallback": 1, "rule": "pay-as-bid"})
    world.orders[1] |= {"place": "f1", "wish": "green+20000 local-first"}
    return world


def moded_world(mode: str, rule: str) -> Callable[[], World]:
    return lambda: World(sealed={"mode": mode, "rule": rule})


def paid_as_wished_world() -> World:
    """Pay-as-bid with places: the roof pays its limit and its premium for green energy."""
    world = pay_as_bid_world()
    world.sealed["hub_prices"] = [hub("feeder", "f1", "green", 210_000)]
    world.orders[0] |= {"place": "f1/b", "wish": "green"}
    world.orders[1] |= {"limit_micro_per_kwh": 140_000, "place": "f1/b", "wish": "green+10000"}
    return world


def agreed_world() -> World:
    """The roof sells 250 Wh at 90,000 and 30 Wh at 120,000; 260 Wh are agreed at 90,000."""
    world = World(price=120_000)
    agreed = {"cap_wh": 260, "contract": "k1", "price_micro_per_kwh": 90_000}
    world.orders[0] |= {"agreed": [agreed], "limit_micro_per_kwh": 100_000}
    world.lines[0] = line("local-sell", ROOF, 250, 90_000, 22_500)
    return paid(world, 14_100)


WORLDS = {
    "agreed": agreed_world,
    "hubs": hubs_world,
    "pay-as-bid": pay_as_bid_world,
    "fallback": fallback_world,
    "forward": moded_world("forward", "uniform"),
    "sharing": moded_world("sharing", "sharing"),
    "paid as wished": paid_as_wished_world,
}


@pytest.mark.parametrize("name", WORLDS)
def test_an_honest_interval_of_several_prices_holds(name: str) -> None:
    world = WORLDS[name]()
    verdict = verify_bytes(world.seal(), world.keys())
    assert verdict.code == 0, render(verdict)


def bend_line(number: int, wh: int, price: int) -> Bend:
    def bend(world: World) -> None:
        kind, sign = world.lines[number]["kind"], -1 if number == 7 else 1
        world.lines[number] = line(kind, ROOF, wh, price, sign * price * wh // 1000)

    return bend


def bend_order(number: int, **changes: object) -> Bend:
    return lambda world: world.orders[number].update(changes)


def bend_hub(number: int, **changes: object) -> Bend:
    return lambda world: world.sealed["hub_prices"][number].update(changes)


def add_hub(*values: Json) -> Bend:
    return lambda world: world.sealed["hub_prices"].extend(values)


def bend_seal(**changes: object) -> Bend:
    return lambda world: world.sealed.update(changes)


FRAUDS: list[tuple[str, str, str, Bend]] = [
    ("a price that is not sealed", "hubs", "lines", bend_line(1, 30, 125_000)),
    ("another feeder's price", "hubs", "lines", bend_line(1, 30, 90_000)),
    ("sold below its limit", "hubs", "lines", bend_order(0, limit_micro_per_kwh=120_001)),
    ("sold below each price", "hubs", "order", bend_order(0, limit_micro_per_kwh=130_001)),
    ("bought above limit and premium", "hubs", "order", bend_order(1, limit_micro_per_kwh=99_999)),
    ("a premium on any energy", "hubs", "order", bend_order(1, wish="green+4999")),
    ("no wish, so no premium", "hubs", "order", bend_order(1, wish="local-first")),
    ("green-only has no premium", "hubs", "order", bend_order(1, wish="green-only")),
    ("bought from farther than wished", "hubs", "lines",
     bend_order(1, wish="green+20000 max-feeder")),
    ("sold farther than wished", "hubs", "lines", bend_order(0, wish="green max-feeder")),
    ("grey energy sold as green", "hubs", "lines", lambda world: world.orders[0].pop("wish")),
    ("an order of nowhere", "hubs", "order", bend_order(1, wish="max-feeder green")),
    ("a wish in another order", "hubs", "order", bend_order(1, wish="local-first green")),
    ("an empty wish", "hubs", "order", bend_order(1, wish="")),
    ("an empty place", "hubs", "order", bend_order(1, place="")),
    ("a place of three parts", "hubs", "order", bend_order(1, place="f1/b/c")),
    ("a premium with a nought before it", "hubs", "order", bend_order(1, wish="green+020000")),
    ("one place, two prices", "hubs", "seal", add_hub(hub("feeder", "f1", "green", 1))),
    ("a feeder called a building", "hubs", "seal", bend_hub(0, level="building")),
    ("a building called a feeder", "hubs", "seal", bend_hub(3, level="feeder")),
    ("the district called a feeder", "hubs", "seal", bend_hub(1, level="feeder")),
    ("one price where there are several", "hubs", "seal", bend_seal(price=120_000)),
    ("no hub at all", "hubs", "seal", bend_seal(hub_prices=[])),
    ("prices that are not shown", "hubs", "order", lambda world: world.sealed.clear()),
    ("a fallback of nought", "hubs", "seal", bend_seal(fallback=0)),
    ("a fallback by another number", "hubs", "seal", bend_seal(fallback=2)),
    ("a mode of its own", "hubs", "seal", bend_seal(mode="metered")),
    ("a buyer pays more than bid", "pay-as-bid", "lines", bend_line(7, 100, 150_001)),
    ("a buyer pays less than bid", "pay-as-bid", "lines", bend_line(7, 100, 149_999)),
    ("a seller gets less than asked", "pay-as-bid", "lines", bend_line(1, 30, 79_999)),
    ("a bid at a limit that was bent", "pay-as-bid", "lines",
     bend_order(1, limit_micro_per_kwh=150_001)),
    ("more at an agreed price than agreed", "agreed", "lines",
     lambda world: world.orders[0]["agreed"][0].update(cap_wh=249)),
    ("another price than agreed", "agreed", "lines",
     lambda world: world.orders[0]["agreed"][0].update(price_micro_per_kwh=89_999)),
    ("nothing was agreed", "agreed", "lines", lambda world: world.orders[0].pop("agreed")),
    ("no contract", "agreed", "order", bend_order(0, agreed=[])),
    ("a contract for nothing", "agreed", "order",
     lambda world: world.orders[0]["agreed"][0].update(cap_wh=0)),
    ("the market beyond the limit", "agreed", "lines",
     bend_order(0, limit_micro_per_kwh=120_001)),
    ("the fallback beyond a limit", "fallback", "order",
     bend_order(1, limit_micro_per_kwh=119_999)),
    ("the fallback far away", "fallback", "order", bend_order(1, wish="max-feeder")),
    ("the fallback for green alone", "fallback", "order", bend_order(1, wish="green-only")),
    ("a premium in the fallback", "fallback", "order",
     bend_order(1, limit_micro_per_kwh=110_000)),
    ("the fallback with prices by place", "fallback", "seal",
     bend_seal(hub_prices=[hub("feeder", "f1", "green", 120_000)])),
    ("prices by place that a fallback is to excuse", "hubs", "seal", bend_seal(fallback=1)),
    ("a session with prices by place", "hubs", "seal", bend_seal(mode="forward")),
    ("a session that was closed by the fallback", "forward", "seal", bend_seal(fallback=1)),
    ("sharing by a rule of the market", "sharing", "seal", bend_seal(rule="uniform")),
    ("a market by the rule of sharing", "forward", "seal", bend_seal(rule="sharing")),
    ("pay-as-bid in a session", "pay-as-bid", "order", bend_seal(mode="forward")),
    ("a contract beside a session", "agreed", "order", bend_seal(mode="forward")),
    ("a wish in a session", "forward", "order", bend_order(1, wish="green+1000")),
    ("a place in a session", "forward", "order", bend_order(0, place="f1")),
    ("a premium for grey energy", "paid as wished", "lines", bend_hub(0, product="any")),
    ("a premium for green energy elsewhere", "paid as wished", "lines", bend_hub(0, place="f2")),
    ("pay-as-bid at places without a price", "paid as wished", "lines",
     lambda world: world.sealed.pop("hub_prices")),
    ("the fallback at several prices", "fallback", "lines", bend_line(1, 30, 125_000)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "step", "bend"), [case[1:] for case in FRAUDS], ids=[c[0] for c in FRAUDS]
)
def test_a_fraud_is_caught_by_its_own_step(name: str, step: str, bend: Bend) -> None:
    world = WORLDS[name]()
    bend(world)
    verdict = verify_bytes(world.seal(), world.keys())
    assert verdict.code == 1, render(verdict)
    assert failing_step(verdict) == step, render(verdict)


@pytest.mark.parametrize("field", ["place", "wish"])
def test_a_sealed_place_or_wish_cannot_be_changed(field: str) -> None:
    """Whoever passes a proof on has no way of wishing otherwise: the leaf is in the sealed book."""
    proof = hubs_world().settlement()
    (points, *others) = proof.points
    bid: SaltedLeaf = points.orders[1]
    sealed = Order.read(bid.leaf)
    bent_order = {
        "place": replace(sealed, place="f1"),
        "wish": replace(sealed, wish="green+20000"),
    }
    text = bent_order[field].text
    assert text != bid.leaf
    bent = replace(points, orders=(points.orders[0], replace(bid, leaf=text)))
    verdict = verify_bytes(to_bytes(replace(proof, points=(bent, *others))), hubs_world().keys())
    assert failing_step(verdict) == "order", render(verdict)


SCENARIOS = """
# order                                            hub                       admitted
bid   115000 f1/b  -                               district -    any   115000  yes
bid   115000 f1/b  -                               district -    any   115001  no
bid   115000 f1/b  -                               feeder   f1   any   115000  yes
bid   115000 f1/b  -                               feeder   f2   any   115000  no
bid   115000 f1/b  -                               building f1/b any   115000  yes
bid   115000 f1/b  -                               building f1/c any   115000  no
bid   115000 f1    -                               building f1/b any   115000  no
bid   115000 f1/b  -                               feeder   f1   green 115000  yes
bid   115000 f1/b  green+5000                      feeder   f1   green 120000  yes
bid   115000 f1/b  green+5000                      feeder   f1   green 120001  no
bid   115000 f1/b  green+5000                      feeder   f1   any   115001  no
bid   115000 f1/b  green-only                      feeder   f1   green 115000  yes
bid   115000 f1/b  green-only                      feeder   f1   any   1       no
bid   115000 f1/b  max-feeder                      feeder   f1   any   115000  yes
bid   115000 f1/b  max-feeder                      district -    any   115000  no
bid   115000 f1/b  max-building                    feeder   f1   any   115000  no
bid   115000 f1/b  local-first max-building        building f1/b any   115000  yes
bid   -20000 f1/b  -                               district -    any   -20000  yes
bid   -20000 f1/b  -                               district -    any   -19999  no
offer 80000  f1/b  -                               feeder   f1   any   80000   yes
offer 80000  f1/b  -                               feeder   f1   any   79999   no
offer 80000  f1/b  -                               feeder   f1   green 90000   no
offer 80000  f1/b  green                           feeder   f1   green 80000   yes
offer 80000  f1/b  green                           feeder   f1   any   80000   yes
offer 80000  f1/b  green max-feeder                district -    green 90000   no
offer -5000  f1/b  -                               district -    any   -5000   yes
offer -5000  f1/b  -                               district -    any   -5001   no
"""


@pytest.mark.parametrize("row", [r for r in SCENARIOS.splitlines() if r and r[0] != "#"])
def test_what_an_order_admits(row: str) -> None:
    words = row.split()
    side, limit, place = words[:3]
    level, hub_place, product, price, expected = words[-5:]
    said = {"place": place, "wish": " ".join(words[3:-5]).removeprefix("-")}
    found = Order.load(order(ROOF, side, int(limit), 1) | {k: v for k, v in said.items() if v})
    sealed = HubPrice.load(hub(level, hub_place.strip("-"), product, int(price)))
    assert admits(found, sealed, Tariff.load(tariff(301_002))) is (expected == "yes")
