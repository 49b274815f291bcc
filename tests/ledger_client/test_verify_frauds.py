"""A dishonest operator: all hashes and signatures fit, one rule is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ledger_client.proof import to_bytes
from ledger_client.verify import render, verify_bytes
from tests.ledger_client.ledger_bytes import NIL, public
from tests.ledger_client.proof_chain import (
    END_MS,
    OTHER,
    ROOF,
    SHOP,
    SILENT,
    START_MS,
    TREASURY,
    WALLET,
    Json,
    World,
    failing_step,
    line,
    metered,
    rotate,
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
    ("traded more than ordered", "order", bend_order(0, wh=279)),
    ("ordered more than metered", "order", bend_order(0, wh=401)),
    ("two orders on a side", "order", lambda world: world.orders.append(world.orders[0])),
    ("traded without an order", "order", lambda world: world.orders.pop()),
    ("traded without a price", "order", bend_world(price=None)),
    ("a statement of another interval", "statement", bend_statement(interval=NEXT)),
    ("a statement of another district", "statement", bend_statement(district="o.example")),
    ("a point left out", "energy", lambda world: world.metered.pop()),
    ("a direction left out", "energy", lambda world: world.metered.pop(0)),
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
            bend_list("metered", metered(SHOP, "export", 500, 0, 0)),
            bend_list("lines", line("residual-export", SHOP, 500, 80_000, 40_000)),
        ),
    ),
    ("an estimate in spite of readings", "energy", bend_metered(SHOP, "import", estimated=1)),
    ("an estimate that is not named", "energy", bend_metered(SILENT, "import", estimated=0)),
    ("a traded estimate", "energy", bend_metered(SILENT, "import", local_wh=1, residual_wh=249)),
    ("an estimated export", "energy", bend_metered(SILENT, "export", wh=1, residual_wh=1)),
    ("a line off by one", "lines", bend_line(0, micro=30_001)),
    ("a half rounded down", "lines", bend_line(3, micro=-75_250)),
    ("a buyer who is paid", "lines", bend_line(5, micro=12_000)),
    ("another local price", "lines", bend_line(1, price_micro_per_kwh=110_000, micro=3_300)),
    ("a line of another point", "lines", bend_line(2, point="1" * 18)),
    ("a memo line of another point", "lines", bend_line(4, point="1" * 18)),
    ("a line too many", "lines", bend_list("lines", line("local-buy", SHOP, 1, 120_000, -120))),
    ("an untraded line", "lines", bend_list("lines", line("local-buy", SILENT, 1, 120_000, -120))),
    ("a line missing", "lines", lambda world: world.lines.pop(2)),
    ("a fee on more than was used", "lines", bend_line(8, wh=151, micro=-1_510)),
    ("a sum that is not the lines'", "lines", bend_statement(sum_micro=21_601)),
    ("a memo that is not the lines'", "lines", bend_statement(memo_micro=0)),
    ("carry that appears", "carry", bend_statement(closing_carry_micro=11)),
    ("carry that vanishes", "carry", bend_statement(opening_carry_micro=11)),
    ("paid one unit less", "payment", bend_world(outputs=[(WALLET, 71_599), (OTHER, 68_401)])),
    ("paid to another", "payment", bend_world(outputs=[(WALLET, 50_000), (OTHER, 90_000)])),
    ("paid out of one's own", "payment", bend_world(consumed=[(WALLET, 50_000), (WALLET, 1)])),
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
