"""Late corrections touch one point's residual alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.correction import Version, correct
from market.money import Price
from market.settlement import Direction, SettledEnergy
from market.tariff import Tariff

TARIFF = Tariff(Price(120_000), Price(90_000), Price(40_000), Price(30_000), Price(80_000), 190_000)


def _version(drawn=(0, 0, 0), fed_in=(0, 0, 0)) -> Version:
    """Versions from (local, own, residual) of each direction."""
    return Version(
        SettledEnergy("1", Direction.IMPORT, False, sum(drawn), *drawn),
        SettledEnergy("1", Direction.EXPORT, False, sum(fed_in), *fed_in),
    )


def _correct(original, latest, drawn_wh, fed_in_wh):
    return correct("ref", "p", TARIFF, original, latest, drawn_wh, fed_in_wh)


# drawn and fed in (local own residual), newly metered import and export -> lines, local after
CORRECTIONS = [
    ("seller short", (0, 0, 0), (1000, 0, 0), 0, 700,
     {"residual-import": -36_000, "grid-fee": -27_000, "levy": -9_000, "vat": -13_680}, (0, 700)),
    ("buyer short", (1000, 0, 0), (0, 0, 0), 600, 0,
     {"residual-export": 32_000, "local-fee": 16_000, "levy": 12_000, "vat": 5_320}, (600, 0)),
    ("more drawn", (1000, 0, 0), (0, 0, 0), 1100, 0,
     {"residual-import": -12_000, "grid-fee": -9_000, "levy": -3_000, "vat": -4_560}, (1000, 0)),
    ("more fed in", (0, 0, 0), (1000, 0, 5), 0, 1105, {"residual-export": 8_000}, (0, 1000)),
    ("residual first", (0, 0, 0), (1000, 0, 500), 0, 1000, {"residual-export": -40_000}, (0, 1000)),
    ("estimate was low", (0, 0, 100), (0, 0, 0), 200, 50,
     {"residual-import": -12_000, "grid-fee": -9_000, "levy": -3_000, "vat": -4_560,
      "residual-export": 4_000}, (0, 0)),
    ("own after local", (600, 400, 0), (0, 0, 0), 700, 0,
     {"residual-export": 24_000, "local-fee": 12_000, "levy": 9_000, "vat": 3_990}, (600, 0)),
    ("nothing new", (600, 0, 50), (10, 0, 5), 650, 15, {}, (600, 10)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("drawn", "fed_in", "new_drawn", "new_fed_in", "lines", "local"),
    [pytest.param(*row[1:], id=row[0]) for row in CORRECTIONS],
)
def test_corrections_by_hand(drawn, fed_in, new_drawn, new_fed_in, lines, local):
    original = _version(drawn, fed_in)
    found = _correct(original, original, new_drawn, new_fed_in)
    assert {str(line.kind): line.micro for line in found.lines} == lines
    assert (found.drawn.local_wh, found.fed_in.local_wh) == local
    assert found.amount.micro == sum(lines.values())


PARTS = st.tuples(*[st.integers(0, 5000)] * 3)


@given(PARTS, PARTS, st.integers(0, 15_000), st.integers(0, 15_000))
def test_nobody_else_is_touched_and_all_adds_up(drawn, fed_in, new_drawn, new_fed_in):
    original = _version(drawn, fed_in)
    found = _correct(original, original, new_drawn, new_fed_in)
    accounts = {posting.account for posting in found.entry.postings}
    assert accounts <= {"receivable:p", "supplier", "grid", "levy", "vat"}
    assert sum(posting.micro for posting in found.entry.postings) == 0
    for row, old, wh in (
        (found.drawn, original.drawn, new_drawn),
        (found.fed_in, original.fed_in, new_fed_in),
    ):
        assert row.local_wh + row.own_wh + row.residual_wh == row.wh == wh
        assert row.local_wh == min(old.local_wh, wh)


@given(PARTS, PARTS, st.integers(0, 15_000), st.integers(0, 15_000))
def test_a_correction_taken_back_leaves_nothing_behind(drawn, fed_in, new_drawn, new_fed_in):
    original = _version(drawn, fed_in)
    first = _correct(original, original, new_drawn, new_fed_in)
    back = _correct(
        original, Version(first.drawn, first.fed_in), original.drawn.wh, original.fed_in.wh
    )
    assert (back.drawn, back.fed_in) == (original.drawn, original.fed_in)
    # The prices above are whole micro-euros per Wh, so that VAT alone rounds.
    assert abs((first.amount + back.amount).micro) <= 1
