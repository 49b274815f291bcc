"""Certificates: who gets them, what a correction leaves, and what always holds."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.certificate import (
    Border,
    CertificateError,
    Lot,
    Sale,
    Status,
    Unit,
    allot,
    avoided_mg,
    dischargeable_wh,
    expiry_of,
    plan,
    unmetered_production,
    used_up_wh,
)
from market.money import PPM
from tests.conftest import LONG

EXAMPLES = 4_000 if LONG else 200
SCENARIOS = (Path(__file__).parent / "certificate_scenarios.txt").read_text("utf-8")


def _cases():
    for block in SCENARIOS.split("\n== ")[1:]:
        title, _, body = block.partition("\n")
        yield pytest.param(body.split("\n"), id=title)


def _read(lines):
    points, charged, expected = [], {}, {}
    for words in filter(None, (line.split() for line in lines)):
        match words:
            case ["point", point, account, "export", wh]:
                points.append((point, account, int(wh), [], []))
            case ["device", name, wh, *storage]:
                points[-1][3].append(Unit(name, int(wh), is_storage=bool(storage)))
            case ["sale", buyer, point, wh, *green]:
                points[-1][4].append(Sale(buyer, point, int(wh), green=bool(green)))
            case ["charged", point, storage, wh]:
                charged[point] = {storage: int(wh)}
            case ["=", device, account, status, who, wh]:
                lot = Lot(device, account, Status(status), who.replace("-", ""))
                expected[lot] = int(wh)
            case ["=", "none"]:
                pass
            case _:
                raise AssertionError(words)
    return [Border(*each) for each in points], charged, expected


@pytest.mark.parametrize("lines", list(_cases()))
def test_scenario(lines):
    borders, charged, expected = _read(lines)
    assert allot(borders, charged) == expected


WH = st.integers(0, 2_000)


@st.composite
def borders_of(draw):
    found = []
    for n in range(draw(st.integers(1, 3))):
        exported = draw(WH)
        units = [
            Unit(f"d{n}{u}", draw(WH), is_storage=draw(st.booleans()))
            for u in range(draw(st.integers(1, 3)))
        ]
        sales = [
            Sale(
                f"a{draw(st.integers(0, 4))}",
                f"p{draw(st.integers(0, 4))}",
                wh,
                draw(st.booleans()),
            )
            for wh in draw(st.lists(st.integers(1, 900), max_size=4))
        ]
        found.append(Border(f"p{n}", f"a{n}", exported, units, sales))
    return found


CHARGED = st.dictionaries(
    st.sampled_from(["p0", "p1", "p4"]), st.dictionaries(st.sampled_from("st"), WH, max_size=2)
)


@settings(max_examples=EXAMPLES)
@given(borders_of(), CHARGED, st.randoms(use_true_random=False))
def test_everything_is_shared_out_once_whatever_the_order(borders, charged, chance):
    lots = allot(borders, charged)
    by_device = Counter()
    for lot, wh in lots.items():
        assert wh > 0
        by_device[lot.device] += wh
    assert by_device == +Counter({u.device: u.wh for b in borders for u in b.units})
    for border in borders:
        ids = {unit.device for unit in border.units}
        claimed = sum(
            wh for lot, wh in lots.items() if lot.device in ids and lot.status is Status.CLAIMED
        )
        produced = sum(unit.wh for unit in border.units)
        assert claimed <= produced - min(border.exported_wh, produced)
    locked = Counter()
    for lot, wh in lots.items():
        if lot.status is Status.LOCKED:
            locked[lot.beneficiary] += wh
    room = Counter()
    for rooms in charged.values():
        room.update(rooms)
    assert all(locked[storage] <= room[storage] for storage in locked)
    shuffled = [
        Border(b.point, b.account, b.exported_wh, b.units, chance.sample(b.sales, len(b.sales)))
        for b in chance.sample(borders, len(borders))
    ]
    assert allot(shuffled, charged) == lots


def test_negative_energy_is_refused():
    with pytest.raises(CertificateError, match="cannot be negative"):
        Border("p", "a", -1, [])


def test_without_a_sub_meter_the_metered_devices_come_first():
    assert unmetered_production(900, 300) == 600
    assert unmetered_production(200, 300) == 0


# Storages


def test_a_storage_of_90_percent():
    assert dischargeable_wh(1_000, stock_wh=1_000, efficiency_ppm=900_000) == 900
    assert dischargeable_wh(450, stock_wh=1_000, efficiency_ppm=900_000) == 450
    assert used_up_wh(900, 900_000) == 1_000
    assert used_up_wh(450, 900_000) == 500
    assert used_up_wh(1, 900_000) == 2  # the loss is rounded against the storage


@settings(max_examples=EXAMPLES)
@given(st.integers(1, PPM), st.lists(st.tuples(WH, WH), max_size=20))
def test_a_storage_never_gives_more_than_stored_times_efficiency(efficiency, quarters):
    stock, charged, given_out, used = 0, 0, 0, 0
    for charge, discharge in quarters:
        wh = dischargeable_wh(discharge, stock, efficiency)
        up = used_up_wh(wh, efficiency)
        assert up <= stock
        stock += charge - up
        charged, given_out, used = charged + charge, given_out + wh, used + up
    assert charged == stock + used
    assert given_out * PPM <= used * efficiency


# Corrections: what shall stand after it, and what becomes a debt

KEPT = Lot("roof", "solar", Status.RESERVED, "")
SELF = Lot("roof", "solar", Status.CLAIMED, "solar")
FLAT = Lot("roof", "flat", Status.RESERVED, "flat")
SHOP = Lot("roof", "shop", Status.RESERVED, "shop")


@pytest.mark.parametrize(
    ("case", "wanted", "fixed", "debt", "open_", "shortfall", "deducted"),
    [
        ("issued at first", {KEPT: 600, SELF: 400}, {}, 0, {KEPT: 600, SELF: 400}, 0, 0),
        ("again: self-use is claimed", {KEPT: 600, SELF: 400}, {SELF: 400}, 0, {KEPT: 600}, 0, 0),
        ("less production, nothing claimed", {KEPT: 500}, {}, 0, {KEPT: 500}, 0, 0),
        (
            "less self-use: the others make up",
            {KEPT: 600, SELF: 300},
            {SELF: 400},
            0,
            {KEPT: 500},
            0,
            0,
        ),
        ("less than was claimed: a debt", {SELF: 300}, {SELF: 400}, 0, {}, 100, 0),
        ("nothing was produced at all", {}, {SELF: 400}, 0, {}, 400, 0),
        ("the next issue pays it", {KEPT: 600}, {}, 100, {KEPT: 500}, 0, 100),
        ("a small issue pays a part", {KEPT: 60}, {}, 100, {}, 0, 60),
        ("the seller pays before the buyer", {KEPT: 50, FLAT: 300}, {}, 80, {FLAT: 270}, 0, 80),
        ("buyers in proportion", {FLAT: 100, SHOP: 200}, {}, 30, {FLAT: 90, SHOP: 180}, 0, 30),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_plan(case, wanted, fixed, debt, open_, shortfall, deducted):
    found = plan("solar", wanted, fixed, debt)
    assert (dict(found.open), found.shortfall_wh, found.deducted_wh) == (open_, shortfall, deducted)


LOTS = st.dictionaries(st.sampled_from([KEPT, SELF, FLAT, SHOP]), WH)


@settings(max_examples=EXAMPLES)
@given(LOTS, LOTS, WH)
def test_a_plan_issues_what_was_measured_and_keeps_account_of_the_rest(wanted, fixed, debt):
    found = plan("solar", wanted, fixed, debt)
    stands = sum(fixed.values()) + sum(found.open.values())
    assert stands == sum(wanted.values()) + found.shortfall_wh - found.deducted_wh
    assert 0 <= found.deducted_wh <= debt
    assert not (found.shortfall_wh and found.open)
    again = plan("solar", wanted, fixed, found.deducted_wh)
    assert again == found


def test_avoided_emissions_and_expiry():
    assert avoided_mg(1_000, 0, 363_000) == 363_000
    assert avoided_mg(1, 40_000, 363_000) == 323
    assert avoided_mg(1_000, 400_000, 363_000) == -37_000
    assert expiry_of(date(2026, 6, 23)) == date(2028, 6, 23)
    assert expiry_of(date(2028, 2, 29)) == date(2030, 2, 28)
