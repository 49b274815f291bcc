"""Late corrections touch one point's residual alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.correction import Metered, Settled, correct
from market.money import Money, Price
from market.settlement import Direction, MemoQuantities, SettledEnergy, memo_lines
from market.tariff import Tariff

TARIFF = Tariff(Price(120_000), Price(90_000), Price(40_000), Price(30_000), Price(80_000), 190_000)


def _settled(drawn, fed_in):
    """Both directions from (local, own, residual) of each."""
    return (
        SettledEnergy("1", Direction.IMPORT, False, sum(drawn), *drawn),
        SettledEnergy("1", Direction.EXPORT, False, sum(fed_in), *fed_in),
    )


def _correct(settled, drawn_wh, fed_in_wh, tariff=TARIFF):
    return correct("ref", Settled("p", tariff, *settled), Metered(drawn_wh, fed_in_wh))


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
    settled = _settled(drawn, fed_in)
    found = _correct(settled, new_drawn, new_fed_in)
    assert {str(line.kind): line.micro for line in found.lines} == lines
    assert (found.drawn.local_wh, found.fed_in.local_wh) == local
    assert found.amount.micro == sum(lines.values())


PARTS = st.tuples(*[st.integers(0, 5000)] * 3)


@given(PARTS, PARTS, st.integers(0, 15_000), st.integers(0, 15_000))
def test_nobody_else_is_touched_and_all_adds_up(drawn, fed_in, new_drawn, new_fed_in):
    settled = _settled(drawn, fed_in)
    found = _correct(settled, new_drawn, new_fed_in)
    accounts = {posting.account for posting in found.entry.postings}
    assert accounts <= {"receivable:p", "supplier", "grid", "levy", "vat"}
    assert sum(posting.micro for posting in found.entry.postings) == 0
    for row, old, wh in (
        (found.drawn, settled[0], new_drawn),
        (found.fed_in, settled[1], new_fed_in),
    ):
        assert row.local_wh + row.own_wh + row.residual_wh == row.wh == wh
        assert row.local_wh == min(old.local_wh, wh)


ODD_TARIFFS = st.builds(
    lambda prices, vat: Tariff(*map(Price, prices), vat),
    st.tuples(*[st.integers(0, 300_001)] * 4, st.integers(-90_001, 90_001)),
    st.integers(0, 1_000_000),
)
WH = st.integers(0, 5_000)


@given(WH, WH, WH, ODD_TARIFFS)
def test_a_corrected_estimate_costs_what_was_metered(estimated, drawn_wh, fed_in_wh, tariff):
    """Estimate and correction together are the very lines of a meter that had answered."""
    found = _correct(_settled((0, 0, estimated), (0, 0, 0)), drawn_wh, fed_in_wh, tariff)
    settled = memo_lines("1", tariff, MemoQuantities(estimated, 0, 0), Money(0))
    due = memo_lines("1", tariff, MemoQuantities(drawn_wh, 0, fed_in_wh), Money(0))
    for kind in {line.kind for line in (*settled, *found.lines, *due)}:
        both, right = (
            [
                sum(getattr(line, name) for line in lines if line.kind is kind)
                for name in ("wh", "micro")
            ]
            for lines in ([*settled, *found.lines], due)
        )
        assert both == right


@given(st.tuples(st.just(0), st.just(0), WH), WH, WH, ODD_TARIFFS)
def test_a_correction_undone_leaves_nothing_behind(drawn, drawn_wh, fed_in_wh, tariff):
    settled = _settled(drawn, (0, 0, 0))
    first = _correct(settled, drawn_wh, fed_in_wh, tariff)
    back = _correct((first.drawn, first.fed_in), settled[0].wh, settled[1].wh, tariff)
    assert (first.amount + back.amount).micro == 0
    assert {line.kind for line in first.lines} == {line.kind for line in back.lines}


@given(PARTS, PARTS, ODD_TARIFFS)
def test_nothing_new_corrects_nothing(drawn, fed_in, tariff):
    found = _correct(_settled(drawn, fed_in), sum(drawn), sum(fed_in), tariff)
    assert (found.lines, found.entry.postings) == ((), ())
