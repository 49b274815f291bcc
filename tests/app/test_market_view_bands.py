"""Others' orders in bands of five: tables of who stands where, and what everybody may see of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.market.bands import Seen, side_of
from app.services.market.view import TOO_FEW, refusal
from app.services.privacy import FEWEST
from app.tables import IntervalRow, OrderRow
from market.order import Side
from tests.conftest import LONG
from web.present import MICRO_PER_CENT

NOBODY: frozenset[str] = frozenset()


def order(number: int, participant: str, side: str, cents: float, wh: int = 100) -> OrderRow:
    return OrderRow(
        interval="2026-06-23T09:00:00Z",
        order_id=f"o{number}",
        point=f"p{number}",
        participant=participant,
        side=side,
        wh=wh,
        limit_micro_per_kwh=round(cents * MICRO_PER_CENT),
        cleared_wh=wh // 2,
        salt=b"",
    )


def offers(text: str) -> list[OrderRow]:
    """Read ``8:a,b,c 9.5:d``: participants by limit in ct/kWh, 100 Wh each."""
    standing = [
        (float(cents), who)
        for tick in text.split()
        for cents, _, names in [tick.partition(":")]
        for who in names.split(",")
    ]
    return [order(n, who, "offer", cents) for n, (cents, who) in enumerate(standing)]


def told(seen: Seen) -> str:
    """Write bands as ``8:500 9-12:700``: cents and Wh."""
    return " ".join(
        f"{band.low_micro_per_kwh / MICRO_PER_CENT:g}"
        + ("" if band.exact else f"-{band.high_micro_per_kwh / MICRO_PER_CENT:g}")
        + f":{band.quantity_wh}"
        for band, _ in seen.bands
    )


# Who offers at which limit; whose page it is; what stands there.
TABLE = [
    ("nobody offers", "", "a", ""),
    ("four others", "8:a,b,c,d", "x", "hidden"),
    ("four others and me", "8:a,b,c,d,x", "x", "8:500"),
    ("five others", "8:a,b,c,d,e", "x", "8:500"),
    ("four at each tick, joined", "8:a,b,c,d 9:e,f,g,h", "x", "8-9:800"),
    ("a full tick stands alone", "8:a,b,c,d,e 9:f,g,h,i,j", "x", "8:500 9:500"),
    ("what is left over joins the last", "8:a,b,c,d,e 9:f", "x", "8-9:600"),
    ("a thin tick joins upwards", "8:f 9:a,b,c,d,e", "x", "8-9:600"),
    ("thin on both sides", "8:f 9:a,b,c,d,e 10:g", "x", "8-10:700"),
    ("two thin ones are enough", "8:a,b,c 9:d,e 10:f,g,h 11:i,j", "x", "8-9:500 10-11:500"),
    ("one participant with five points", "8:a,a,a,a,a", "x", "hidden"),
    ("five in all over many ticks", "8:a 9:b 10:c 11:d 12:e", "x", "8-12:500"),
    ("whole cents around limits", "8.25:a,b,c 8.75:d,e", "x", "8-9:500"),
    ("negative limits", "-2.5:a,b -0.5:c,d,e", "x", "-3-0:500"),
    ("a manager's five are one", "8:a,b,c,d,e", "a b c d e", "hidden"),
    ("a manager's two are one", "8:a,b,c,d,e 9:f", "a b", "8-9:600"),
    ("same participant in two ticks", "8:a,b,c,d,e 9:a,b,c,d,e", "x", "8:500 9:500"),
]


@pytest.mark.parametrize(
    ("text", "own", "expected"), [pytest.param(*row[1:], id=row[0]) for row in TABLE]
)
def test_who_sees_which_bands(text: str, own: str, expected: str) -> None:
    seen = side_of(offers(text), Side.OFFER, frozenset(own.split()))
    assert ("hidden" if seen.hidden else told(seen)) == expected


def some_offers(count: int, seed: int) -> list[OrderRow]:
    """Return a random side, from a seed, since 20,000 of them are tried."""
    chance = np.random.default_rng(seed)
    ticks, energies = chance.integers(-30, 31, count), chance.integers(1, 901, count)
    people = chance.integers(0, 10, count).tolist()
    rows = zip(people, ticks.tolist(), energies.tolist(), strict=True)
    return [order(n, "abcdefghij"[who], "offer", t / 4, wh) for n, (who, t, wh) in enumerate(rows)]


books = st.builds(some_offers, st.integers(0, 30), st.integers(0, 2**48))


@settings(max_examples=20_000 if LONG else 500)
@given(books, st.sampled_from(["", "a", "ab"]))
def test_a_side_is_told_whole_and_by_five_or_not_at_all(orders, own) -> None:
    mine = frozenset(own)
    seen = side_of(orders, Side.OFFER, mine)
    people = {each.participant for each in orders}
    assert seen.hidden == (0 < len(people - mine) + bool(people & mine) < FEWEST)
    for band, group in seen.bands:
        behind = {each.participant for each in group}
        assert len(behind - mine) + bool(behind & mine) >= FEWEST
        assert len(behind - mine) >= FEWEST - 1
        for each in group:
            assert band.low_micro_per_kwh <= each.limit_micro_per_kwh <= band.high_micro_per_kwh
        assert band.quantity_wh == sum(each.wh for each in group)
    if not seen.hidden:
        standing = sorted(each.order_id for _, group in seen.bands for each in group)
        assert standing == sorted(each.order_id for each in orders)
    again = side_of(orders[::-1], Side.OFFER, mine)
    assert [band for band, _ in again.bands] == [band for band, _ in seen.bands]
    # Two who put their pages together learn no more than each did.
    views = [side_of(orders, Side.OFFER, frozenset(who)) for who in ("", "a", "b", "j")]
    assert len({told(seen) + str(seen.hidden) for seen in views}) == 1


# --- When "what if" is answered ------------------------------------------------------------------

# Bids, offers, whose page; whether it is answered.
ASKED = [
    ("five others sell", "12:x", "8:a,b,c,d,e", "x", True),
    ("four others sell", "12:x", "8:a,b,c,d", "x", False),
    ("four others sell, and I", "12:x", "8:a,b,c,d,x", "x", False),
    ("few others buy beside me", "12:x,a", "8:a,b,c,d,e", "x", False),
    ("four others buy beside me", "12:x,a,b,c,d", "8:a,b,c,d,e", "x", True),
    ("I alone sell", "12:a,b,c,d,e", "8:x", "x", True),
    ("nobody sells", "12:a,b,c,d,x", "", "x", False),
]


def book_of(bids: str, offers_: str) -> list[OrderRow]:
    bidding = offers(bids)
    for number, each in enumerate(bidding):
        each.side, each.order_id = "bid", f"b{number}"
    return [*bidding, *offers(offers_)]


def refused(orders: list[OrderRow], own: str, **fields: object) -> str:
    row = IntervalRow(key="k", state="cleared", rule="uniform", order_root=b"")
    for name, value in fields.items():
        setattr(row, name, value)
    mine = frozenset(own)
    bids, offers_ = (side_of(orders, side, mine) for side in (Side.BID, Side.OFFER))
    return refusal(row, orders, bids, offers_, mine)


@pytest.mark.parametrize(
    ("bids", "offers_", "own", "answered"), [pytest.param(*row[1:], id=row[0]) for row in ASKED]
)
def test_what_if_needs_five_others_to_meet(bids, offers_, own, answered) -> None:
    assert refused(book_of(bids, offers_), own) == ("" if answered else TOO_FEW)


def test_what_if_has_other_reasons_to_refuse() -> None:
    enough = book_of("12:x", "8:a,b,c,d,e")
    assert "no order" in refused(enough, "y")
    assert "Not cleared" in refused(enough, "x", order_root=None)
    assert "cleared by itself" in refused(enough, "x", mode="forward")
    assert refused(enough, "x", mode="metered") == ""
