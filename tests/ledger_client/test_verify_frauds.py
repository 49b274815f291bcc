"""A dishonest operator: all hashes and signatures fit, one rule is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ledger_client.proof import to_bytes
from ledger_client.verify import render, verify_bytes
from tests.ledger_client.ledger_bytes import NIL, public
from tests.ledger_client.proof_chain import Sealing, World, failing_step, rotate
from tests.ledger_client.proof_records import (
    END_MS,
    OTHER,
    ROOF,
    SHOP,
    SILENT,
    START_MS,
    TREASURY,
    WALLET,
    Json,
    line,
    metered,
    order,
    tariff,
)

NEXT = "2026-06-23T09:15:00Z"
STRANGER = public("x").hex()


def bend_metered(point: str, direction: str, **changes: int) -> Callable[[World], None]:
    def bend(world: World) -> None:
        for item in world.metered:
            if (item["point"], item["direction"]) == (point, direction):
                item.update(changes)

    return bend


def bend_line(number: int, **changes: object) -> Callable[[World], None]:
    return lambda world: world.lines[number].update(changes)


def bend_border(slot: int, border: str, **changes: object) -> Callable[[World], None]:
    return lambda world: getattr(world.meters[slot], border).update(changes)


def bend_order(number: int, **changes: object) -> Callable[[World], None]:
    return lambda world: world.orders[number].update(changes)


def bend_statement(**changes: object) -> Callable[[World], None]:
    return lambda world: world.statement.update(changes)


def bend_world(**changes: object) -> Callable[[World], None]:
    return lambda world: [setattr(world, name, value) for name, value in changes.items()] and None


def bend_meter(slot: int, **changes: object) -> Callable[[World], None]:
    def bend(world: World) -> None:
        for name, value in changes.items():
            setattr(world.meters[slot], name, value)

    return bend


def bend_list(name: str, *items: Json) -> Callable[[World], None]:
    return lambda world: getattr(world, name).extend(items)


def rotate_with(**changes: object) -> Callable[[World], None]:
    return both(rotate, bend_meter(2, rotation=changes))


def both(*bends: Callable[[World], None]) -> Callable[[World], None]:
    return lambda world: [bend(world) for bend in bends] and None


def all_own(world: World) -> None:
    """All of the roof's export is called own, so that nothing is sold, although nobody drew it."""
    bend_metered(ROOF, "export", local_wh=0, own_wh=400, residual_wh=0)(world)
    world.lines[0:3] = []
    world.orders = world.orders[1:]


def keep_out(world: World) -> None:
    """The roof's offer never enters the book: its export goes to the supplier at feed-in."""
    bend_metered(ROOF, "export", local_wh=0, residual_wh=380)(world)
    world.lines[0:3] = [line("residual-export", ROOF, 380, 80_000, 30_400)]
    world.orders = world.orders[1:]


def slices(world: World) -> None:
    """Many small lines each round to the operator's liking: the seal counts three trades."""
    world.lines[1:2] = [line("local-sell", ROOF, 10, 120_000, 1_200)] * 3


FRAUDS: list[tuple[str, str, Callable[[World], None]]] = [
    ("one milestone key twice", "milestone", bend_world(milestone_signers=["coo 1", "coo 1"])),
    ("one milestone key alone", "milestone", bend_world(milestone_signers=["coo 1"])),
    ("a stranger signs too", "milestone", bend_world(milestone_signers=["coo 1", "coo 2", "x"])),
    ("a milestone key out of its range", "payment", bend_world(paying_index=10)),
    ("another district's checkpoint", "checkpoint", bend_world(note_origin="other.example")),
    ("another district's tag", "checkpoint", bend_world(tag=b"wattloom/" + NIL)),
    ("a log key that is not pinned", "checkpoint", bend_world(log_signer="x")),
    ("a log that shrank", "checkpoint", bend_world(previous_size=7)),
    ("another district's seal", "seal", bend_world(origin="other.example")),
    ("anchored too late", "time", bend_world(clock="real", anchor_s=END_MS // 1000 + 1_201)),
    ("anchored before the end", "time", bend_world(clock="real", anchor_s=END_MS // 1000 - 1)),
    ("a registry that is not pinned", "enrolment", bend_world(registry_signer="x")),
    ("another district's meter", "enrolment", bend_meter(0, enrolment={"district": "o.example"})),
    ("enrolled with another's key", "enrolment", bend_meter(0, enrolment={"key": STRANGER})),
    ("enrolled with the district's key", "enrolment", bend_meter(0, signer="receipt")),
    ("enrolled with a weak key", "enrolment", bend_meter(0, enrolment={"key": "01" + "00" * 31})),
    ("valid later", "roster", bend_meter(0, enrolment={"valid_from": NEXT})),
    ("another point in the roster", "roster", bend_meter(0, roster={"point": SHOP})),
    ("another enrolment in the roster", "roster", bend_meter(0, roster={"enrolment": 2})),
    ("another slot in the roster", "roster", bend_meter(0, roster={"slot": 1})),
    ("a reading by a key not enrolled", "reading", bend_meter(0, leaf_signer="x")),
    ("a reading of another point", "reading", bend_border(0, "opening", point=SHOP)),
    ("a reading of another meter", "reading", bend_border(0, "opening", meter="SN-9")),
    ("a reading of another district", "reading", bend_border(0, "opening", district="o.example")),
    ("a reading of another epoch", "reading", bend_border(0, "closing", epoch=2)),
    ("answered before asked", "reading", bend_border(0, "opening", asked_ms=END_MS)),
    ("too early", "border", bend_border(0, "opening", answered_ms=START_MS - 1, asked_ms=0)),
    ("opening too late", "border", bend_border(0, "opening", answered_ms=START_MS + 10_001)),
    ("closing too late", "border", bend_border(0, "closing", answered_ms=END_MS + 10_001)),
    ("a border of doubtful quality", "border", bend_border(0, "closing", quality="questionable")),
    ("a border by an unknown clock", "border", bend_border(0, "closing", clock="U")),
    ("closing signed first", "border", bend_border(0, "closing", seq=61)),
    ("rotation not at the end", "border", rotate_with(valid_from="2026-06-23T09:00:00Z")),
    ("rotation onto another point", "border", rotate_with(point=ROOF)),
    ("rotation onto another meter", "reading", rotate_with(serial="SN-9")),
    (
        "a meter exchanged in between",
        "border",
        both(rotate_with(serial="SN-9"), bend_border(2, "closing", meter="SN-9")),
    ),
    ("another's order", "order", bend_order(0, point=SHOP, order_id=f"{ROOF}-offer")),
    ("an order of another interval", "order", bend_order(0, interval=NEXT)),
    ("an order by another name", "order", bend_order(0, order_id=f"{ROOF}-bid")),
    ("sold below the limit", "order", bend_order(0, limit_micro_per_kwh=120_001)),
    ("bought above the limit", "order", bend_order(1, limit_micro_per_kwh=119_999)),
    ("ordered less than was left", "order", bend_order(0, wh=379)),
    ("ordered one's own energy, too", "order", bend_order(0, wh=400)),
    ("bid less than was drawn", "order", bend_order(1, wh=149)),
    ("an order of nothing", "order", bend_order(1, wh=0)),
    ("an order for an estimate", "order", bend_list("orders", order(SILENT, "bid", 1, 250))),
    ("an order for own energy", "order", bend_list("orders", order(SHOP, "bid", 1, 20))),
    ("kept out of the market", "order", keep_out),
    ("two orders on a side", "order", lambda world: world.orders.append(world.orders[0])),
    ("traded without an order", "order", lambda world: world.orders.pop()),
    ("traded without a price", "order", bend_world(price=None)),
    ("a statement of another interval", "statement", bend_statement(interval=NEXT)),
    ("a statement of another district", "statement", bend_statement(district="o.example")),
    ("a point left out", "energy", lambda world: world.metered.__delitem__(slice(4, 6))),
    ("a direction left out", "energy", lambda world: world.metered.pop(0)),
    ("an estimated import left out", "energy", lambda world: world.metered.pop(3)),
    ("an estimated export left out", "energy", lambda world: world.metered.pop(2)),
    ("an empty direction left out", "energy", lambda world: world.metered.pop(4)),
    ("own energy that nobody drew", "energy", all_own),
    ("own energy that nobody gave", "energy", bend_metered(SHOP, "import", wh=20, own_wh=19,
                                                           residual_wh=1)),
    ("own energy kept from the owner", "energy", both(
        bend_metered(SHOP, "import", own_wh=0, residual_wh=20),
        bend_metered(ROOF, "export", own_wh=0, residual_wh=120),
    )),
    ("own energy of one point", "energy", both(
        bend_metered(ROOF, "import", own_wh=20, residual_wh=30),
        bend_metered(SHOP, "import", own_wh=0, residual_wh=20),
    )),
    ("a direction twice", "energy", lambda world: world.metered.append(world.metered[0])),
    ("a foreign point", "energy", bend_list("metered", metered("1" * 18, "import", 0, 0, 0))),
    ("more than was read", "energy", bend_metered(ROOF, "export", wh=401, residual_wh=101)),
    ("parts that do not add up", "energy", bend_metered(ROOF, "export", local_wh=281)),
    ("a register that fell", "energy", bend_border(0, "closing", export_wh=4_999)),
    ("a register that vanished", "energy", bend_border(0, "closing", export_wh=None)),
    (
        "a register that appeared",
        "energy",
        both(
            bend_border(2, "closing", export_wh=500),
            bend_metered(SHOP, "export", wh=500, residual_wh=500),
            bend_list("lines", line("residual-export", SHOP, 500, 80_000, 40_000)),
        ),
    ),
    ("an estimate in spite of readings", "energy", bend_metered(SHOP, "import", estimated=1)),
    ("an estimate that is not named", "energy", bend_metered(SILENT, "import", estimated=0)),
    ("a traded estimate", "energy", bend_metered(SILENT, "import", local_wh=1, residual_wh=249)),
    ("an estimated export", "energy", bend_metered(SILENT, "export", wh=1, residual_wh=1)),
    ("a line off by one", "lines", bend_line(0, micro=30_001)),
    ("a half rounded down", "lines", bend_line(3, micro=-75_250)),
    ("a buyer who is paid", "lines", bend_line(7, micro=12_000)),
    ("another local price", "lines", bend_line(1, price_micro_per_kwh=110_000, micro=3_300)),
    ("a line of another point", "lines", bend_line(2, point="1" * 18)),
    ("a memo line of another point", "lines", bend_line(6, point="1" * 18)),
    ("a line too many", "lines", bend_list("lines", line("local-buy", SHOP, 1, 120_000, -120))),
    ("a sale in slices", "lines", slices),
    ("a local line of nothing", "lines",
     bend_list("lines", line("local-sell", ROOF, 0, 120_000, 0))),
    ("energy bought and given back", "lines", bend_list(
        "lines",
        line("local-buy", ROOF, 1, 120_000, -120),
        line("local-buy", ROOF, -1, 120_000, 120),
    )),
    ("an untraded line", "lines", bend_list("lines", line("local-buy", SILENT, 1, 120_000, -120))),
    ("a line missing", "lines", lambda world: world.lines.pop(2)),
    ("a fee on more than was used", "lines", bend_line(11, wh=151, micro=-1_510)),
    ("a fee on less than was used", "lines", bend_line(11, wh=149, micro=-1_490)),
    ("a fee left out", "lines", lambda world: world.lines.pop(9)),
    ("a fee twice", "lines", lambda world: world.lines.append(world.lines[9])),
    ("a fee in two halves", "lines", both(
        bend_line(9, wh=50, micro=-1_000),
        bend_list("lines", line("local-fee", ROOF, 50, 20_000, -1_000)),
    )),
    ("a fee for nothing", "lines", bend_list("lines", line("grid-fee", SHOP, 0, 70_000, 0))),
    ("a negative fee", "lines", bend_list("lines", line("grid-fee", SHOP, -9, 70_000, 630))),
    ("the full fee on local energy", "lines",
     bend_line(9, price_micro_per_kwh=70_000, micro=-7_000)),
    ("another levy", "lines", bend_line(11, price_micro_per_kwh=10_001, micro=-1_500)),
    ("another residual price", "lines", bend_line(8, price_micro_per_kwh=301_003)),
    ("another feed-in", "lines", bend_line(2, price_micro_per_kwh=79_999)),
    ("VAT off by one", "lines", bend_line(12, micro=-6_471)),
    ("a half of VAT rounded down", "lines", bend_line(12, micro=-6_469)),
    ("VAT of another energy", "lines", bend_line(12, wh=149)),
    ("VAT left out", "lines", lambda world: world.lines.pop()),
    ("another's tariff", "lines", bend_meter(1, tariff=tariff(301_000))),
    ("another VAT rate", "lines", bend_meter(0, tariff=tariff(301_002, vat=190_100))),
    ("an impossible VAT rate", "tariff", bend_meter(0, tariff=tariff(301_002, vat=1_000_001))),
    ("a sum that is not the lines'", "lines", bend_statement(sum_micro=21_601)),
    ("a memo that is not the lines'", "lines", bend_statement(memo_micro=0)),
    ("carry that appears", "carry", bend_statement(closing_carry_micro=11)),
    ("carry that vanishes", "carry", bend_statement(opening_carry_micro=11)),
    ("paid one unit less", "payment", bend_world(outputs=[(WALLET, 71_599), (OTHER, 68_401)])),
    ("paid to another", "payment", bend_world(outputs=[(WALLET, 50_000), (OTHER, 90_000)])),
    ("paid out of one's own", "payment", bend_world(consumed=[(WALLET, 50_000), (WALLET, 1)])),
    ("a group that does not exist", "payment", bend_world(group=b"\0\1")),
    ("a group of one byte", "payment", bend_world(group=b"\0")),
    ("a group of three bytes", "payment", bend_world(group=b"\0\0\0")),
    ("paid for something else", "payment", bend_world(pay_tag=b"wattloom-pay-v2")),
    ("paid for another interval", "payment", bend_world(pay_root=NIL)),
    ("a stranger's payment", "payment", both(
        bend_world(consumed=[(TREASURY, 9)], outputs=[(OTHER, 9)]),
        bend_world(transfers=[{"address": NIL.hex(), "micro": 0}]),
    )),
    ("one address twice", "payment", bend_world(transfers=[
        {"address": WALLET.hex(), "micro": 5_000}, {"address": WALLET.hex(), "micro": 21_600},
    ])),
]  # fmt: skip


@pytest.mark.parametrize(
    ("step", "bend"), [case[1:] for case in FRAUDS], ids=[c[0] for c in FRAUDS]
)
def test_a_fraud_is_caught_by_its_own_step(step: str, bend: Callable[[World], None]) -> None:
    world = World()
    bend(world)
    verdict = verify_bytes(world.seal(), world.keys())
    assert verdict.code == 1, render(verdict)
    assert failing_step(verdict) == step, render(verdict)


def test_a_transaction_counts_once() -> None:
    world = World(transfers=[{"address": WALLET.hex(), "micro": 43_200}])
    once = world.settlement()
    twice = replace(once, payments=once.payments * 2)
    verdict = verify_bytes(to_bytes(twice), world.keys())
    assert failing_step(verdict) == "payment"
    assert "twice" in verdict.steps[-1].text


# What is bent in the log's entry, what in the delta (SILENT: 250 -> 200 Wh drawn, 30 Wh fed in).
CORRECTIONS: dict[str, tuple[Json, Json]] = {
    "another delta": ({"delta_root": NIL.hex()}, {}),
    "another district": ({"district": "o.example"}, {}),
    "another interval": ({"interval": NEXT}, {}),
    "another slot": ({"slot": 2}, {}),
    "another old leaf": ({"old_leaf": NIL.hex()}, {}),
    "a delta of another district": ({}, {"district": "o.example"}),
    "a delta of another interval": ({}, {"interval": NEXT}),
    "a foreign point": ({}, {"point": "1" * 18}),
    "another point's slot": ({}, {"point": SHOP}),
    "another energy": ({}, {"import_wh": 201}),
    "another export": ({}, {"export_wh": 31}),
    "no lines": ({}, {"lines": []}),
    "a rounded difference": (
        {},
        {"lines": [line("residual-import", SILENT, -50, 301_002, 15_050)]},
    ),
    "a second version": ({}, {"version": 2}),
}


@pytest.mark.parametrize(("entry", "delta"), CORRECTIONS.values(), ids=CORRECTIONS)
def test_a_false_correction_is_caught(entry: Json, delta: Json) -> None:
    sealing = Sealing(World(correction=entry, delta=delta))
    proof = replace(sealing.settlement(), corrections=sealing.corrections())
    assert failing_step(verify_bytes(to_bytes(proof), World().keys())) == "correction"


def test_corrections_are_moved_about_in_vain() -> None:
    sealing = Sealing(World())
    honest, keys = sealing.settlement(), World().keys()
    found = sealing.corrections()
    item = found.items[0]
    shop = line("levy", SHOP, 1, 10_000, -10)
    of_shop = {"point": SHOP, "lines": [shop], "import_wh": 21, "export_wh": 0}
    slot = {"slot": 2, "old_leaf": sealing.leaves[2].hex()}
    metered_point = Sealing(World(correction=slot, delta=of_shop))
    wrong = {
        "none": replace(found, items=()),
        "twice": sealing.corrections(items=2),
        "an earlier checkpoint": replace(found, anchor=sealing.anchor(5)),
        "the seal's checkpoint": replace(found, anchor=honest.anchor),
        "another salt": replace(found, items=(replace(item, salt=NIL),)),
        "a seal for an entry": replace(found, items=(replace(item, entry=honest.seal),)),
        "of a metered point": metered_point.corrections(),
    }
    for name, corrections in wrong.items():
        base = metered_point.settlement() if name == "of a metered point" else honest
        verdict = verify_bytes(to_bytes(replace(base, corrections=corrections)), keys)
        assert failing_step(verdict) == "correction", (name, render(verdict))
