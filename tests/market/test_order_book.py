"""Orders and books refuse what is absurd; netting keeps the larger side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.book import MAX_TOTAL_WH, Book, BookError, net_participants
from market.money import Price
from market.order import MAX_QUANTITY_WH, Order, OrderError, Side
from metering.quantities import Energy


def _order(order_id="a", side=Side.BID, participant="p", wh=1, micro=0) -> Order:
    return Order(order_id, side, participant, "point", Energy(wh), Price(micro))


@pytest.mark.parametrize(
    "fields",
    [
        {"order_id": ""},
        {"order_id": "grid"},
        {"participant": ""},
        {"participant": "grid"},
        {"wh": 0},
        {"wh": -1},
        {"wh": MAX_QUANTITY_WH + 1},
        {"micro": 10**9 + 1},
        {"micro": -(10**9) - 1},
    ],
)
def test_absurd_orders_are_refused(fields):
    with pytest.raises(OrderError):
        _order(**fields)


def test_books_refuse_double_ids_and_absurd_totals():
    with pytest.raises(BookError, match="'a' stands 2 times"):
        Book((_order("a"), _order("b"), _order("a")))
    most = MAX_TOTAL_WH // MAX_QUANTITY_WH
    full = tuple(_order(f"o{i}", wh=MAX_QUANTITY_WH) for i in range(most))
    assert len(Book(full).orders) == most
    with pytest.raises(BookError, match="adds up to"):
        Book((*full, _order("one more")))


# orders (id side participant Wh limit) -> what is left (id Wh)
NETTED = [
    ("a bid p 5 1; b offer q 5 1", "a 5; b 5"),
    ("a bid p 5 1; b offer p 3 9", "a 2"),
    ("a bid p 3 1; b offer p 5 9", "b 2"),
    ("a bid p 5 9; b offer p 5 1; c bid q 1 1", "c 1"),
    ("a bid p 4 9; b bid p 4 5; c offer p 6 1", "b 2"),
    ("a bid p 4 5; b bid p 4 5; c offer p 6 1", "b 2"),
    ("a offer p 4 9; b offer p 4 5; c bid p 5 1", "a 3"),
]


@pytest.mark.parametrize(("rows", "left"), NETTED)
def test_a_participant_on_both_sides_keeps_the_larger_less_the_smaller(rows, left):
    orders = [
        _order(i, Side(side), who, int(wh), int(limit))
        for i, side, who, wh, limit in (row.split() for row in rows.split(";"))
    ]
    netted = {o.order_id: o.quantity.wh for o in net_participants(orders)}
    assert netted == {i: int(wh) for i, wh in (pair.split() for pair in left.split(";"))}


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(Side), st.sampled_from("pqr"), st.integers(1, 9)), max_size=12
    ),
    data=st.data(),
)
def test_netting_leaves_one_side_each_and_the_balance_of_all(rows, data):
    orders = [_order(f"o{i}", side, who, wh, i) for i, (side, who, wh) in enumerate(rows)]

    def balance(found):
        return {
            who: sum(
                o.quantity.wh * (1 if o.side is Side.BID else -1)
                for o in found
                if o.participant == who
            )
            for who in "pqr"
        }

    netted = net_participants(orders)
    assert balance(netted) == balance(orders)
    assert len({(o.participant, o.side) for o in netted}) == len({o.participant for o in netted})
    shuffled = data.draw(st.permutations(orders))
    assert set(net_participants(shuffled)) == set(netted)
