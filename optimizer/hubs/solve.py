"""The optimum that anyone can replay: welfare, volume, fair fills, green, near, and then by hash.

Each step is one LP over the flows that the steps before left open, certified in whole numbers. The
last steps draw a cost per arc from its name and the tie key, until one flow is left: so the answer
never depends on which of many optima a solver happens to return.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from market.trade import tie_hash
from optimizer.compiled import Floats
from optimizer.hubs.book import ROOT, HubBook
from optimizer.hubs.model import BidShape, HubSolver, OfferShape, Shape
from optimizer.hubs.network import GROUND, PRODUCTS, Face, Integers, Network, narrowed
from optimizer.hubs.shares import fair_fills

_SOLVER: Final = HubSolver()
_BEYOND: Final = 3  # the supplier is farther away than the district


def solve(book: HubBook, net: Network, costs: Integers, face: Face) -> Integers:
    """Return a flow of a face with the least cost, rounded to whole Wh and not yet certified.

    Raises:
        SolverError: HiGHS found no optimum.
    """
    shape, model = _SOLVER.model(shape_of(book))
    places = _columns(book, shape)
    params: dict[str, float | Floats] = {}
    for what, values in (("cost", costs), ("low", face.low), ("high", face.high)):
        for name, arcs in net.family.items():
            at, width = places[name]
            column = np.zeros(width)
            column[at] = values[arcs]
            params[f"{name}_{what}"] = column
    solution = model.solve(params)
    flow = np.zeros(len(costs), dtype=np.int64)
    for name, arcs in net.family.items():
        flow[arcs] = np.rint(solution.values[name][places[name][0]])
    return flow


def shape_of(book: HubBook) -> Shape:
    """Return the stations of a book with as many slots as they have ticks."""
    offers, bids = Counter(t.station for t in book.offers), Counter(t.station for t in book.bids)
    return Shape(
        tuple(
            OfferShape(s.places, PRODUCTS.index(s.product), offers[i])
            for i, s in enumerate(book.offer_stations)
        ),
        tuple(BidShape(s.places, s.local_first, bids[i]) for i, s in enumerate(book.bid_stations)),
    )


def _columns(book: HubBook, shape: Shape) -> dict[str, tuple[Integers, int]]:
    """Return, by family, the places of the arcs among the model's columns, and how many it has."""
    wanted = shape_of(book)
    offer_at, bid_at = (
        _numbers(mine, models)
        for mine, models in ((wanted.offers, shape.offers), (wanted.bids, shape.bids))
    )
    bids = _spread(bid_at, [s.slots for s in shape.bids], [s.slots for s in wanted.bids])
    ways = [2 * len(s.places) for s in shape.bids]
    supplied = [int(ROOT in s.places) for s in shape.bids]
    fed = [len(s.places) for s in shape.offers]
    return {
        "offer": _spread(
            offer_at, [s.slots for s in shape.offers], [s.slots for s in wanted.offers]
        ),
        "feed": _spread(offer_at, fed, [fed[i] for i in offer_at]),
        "draw": _spread(bid_at, ways, [ways[i] for i in bid_at]),
        "supply": _spread(bid_at, supplied, [supplied[i] for i in bid_at]),
        "export": (np.arange(len(PRODUCTS)), len(PRODUCTS)),
        "grey": bids,
        "green": bids,
        "bid": bids,
    }


def _numbers(
    wanted: Sequence[OfferShape | BidShape], models: Sequence[OfferShape | BidShape]
) -> list[int]:
    """Return which of the model's stations each station is."""
    number = {s._replace(slots=0): i for i, s in enumerate(models)}
    return [number[s._replace(slots=0)] for s in wanted]


def _spread(
    stations: Sequence[int], widths: Sequence[int], used: Sequence[int]
) -> tuple[Integers, int]:
    """Return the first ``used`` columns of stations that have ``widths``, and the number of all."""
    start = np.cumsum([0, *widths])
    columns = [start[i] + np.arange(count) for i, count in zip(stations, used, strict=True)]
    return np.concatenate([np.zeros(0, dtype=np.int64), *columns]), int(start[-1])


def settled(book: HubBook, net: Network, tie_key: bytes) -> tuple[Integers, Face]:
    """Return the one flow that all rules leave, and the face of all optima of welfare and volume.

    Raises:
        SolverError: no exact optimum was found: keep the book and report it.
    """
    whole = Face(np.zeros_like(net.most), net.most)
    flow = solve(book, net, _anchored(book, net), whole)
    optima = face = narrowed(net, net.eighths, flow, whole)
    if not is_point(net, face, flow):
        face, ranks = _fair(book, net, face, flow)
        for costs in _preferences(book, net, ranks, tie_key):
            flow = solve(book, net, costs, face)
            face = narrowed(net, costs, flow, face)
            if is_point(net, face, flow):
                break
    return flow, optima


def _anchored(book: HubBook, net: Network) -> Integers:
    """Return the costs counted from a price amid the book's.

    Whatever is drawn is also fed in, so that this changes nothing but the size of HiGHS's numbers:
    far from 0 its tolerances tell neighbouring prices apart no longer.
    """
    prices = sorted(tick.limit for tick in (*book.offers, *book.bids))
    counted_from = np.zeros(net.nodes, dtype=np.int64)
    if prices:
        counted_from[[GROUND, *net.head[net.family["grey"]]]] = 8 * prices[len(prices) // 2]
    return net.eighths - counted_from[net.tail] + counted_from[net.head]


def _fair(book: HubBook, net: Network, face: Face, flow: Integers) -> tuple[Face, Integers]:
    """Return the face with every tick between the floor and the ceiling of its fair fill.

    Also costs that send the Wh in between to the largest remainders (equal ones by hash): the
    rank of each tick among them.
    """
    low, high, ranks = face.low.copy(), face.high.copy(), np.zeros_like(face.low)
    ties = {net.family["offer"].start + i: t.tie for i, t in enumerate(book.offers)}
    ties |= {net.family["bid"].start + i: t.tie for i, t in enumerate(book.bids)}
    fills = fair_fills(net, face, flow)
    for arc, fill in fills.items():
        low[arc], high[arc] = int(fill // 1), int(-(-fill // 1))
    broken = [arc for arc, fill in fills.items() if fill.denominator > 1]
    broken.sort(key=lambda arc: (-(fills[arc] % 1), ties[arc]))
    ranks[broken] = np.arange(1, len(broken) + 1)
    return Face(low, high), ranks


def _preferences(
    book: HubBook, net: Network, ranks: Integers, tie_key: bytes
) -> Iterator[Integers]:
    """Return the costs that decide among optima of equal money, one after the other."""
    yield ranks
    wants_green = np.zeros_like(net.cost)
    wants_green[net.family["green"]] = [-int(t.wants_green) for t in book.bids]
    yield wants_green
    way, first = np.zeros_like(net.cost), np.zeros_like(net.cost)
    drawing = [(s, p) for s in book.bid_stations for p in s.places for _ in PRODUCTS]
    supplied = [s for s in book.bid_stations if ROOT in s.places]
    way[net.family["draw"]] = [book.places[p].level for _, p in drawing]
    way[net.family["supply"]] = _BEYOND
    first[net.family["draw"]] = [s.local_first for s, _ in drawing]
    first[net.family["supply"]] = [s.local_first for s in supplied]
    yield way * first
    yield way
    names = arc_names(book)
    round_number = 0
    while True:
        yield np.array(
            [
                int.from_bytes(tie_hash(tie_key, f"{name} {round_number}")[:3], "big")
                for name in names
            ],
            dtype=np.int64,
        )
        round_number += 1


def arc_names(book: HubBook) -> list[str]:
    """Return what the arcs are called where hashes decide, in the order of the network's arcs."""
    offer_names = [book.name(s) for s in book.offer_stations]
    bid_names = [book.name(s) for s in book.bid_stations]
    sold = [f"offer {offer_names[t.station]} {t.limit}" for t in book.offers]
    fed = [
        f"feed {name} {_place(book, p)}"
        for s, name in zip(book.offer_stations, offer_names, strict=True)
        for p in s.places
    ]
    drawn = [
        f"draw {name} {_place(book, p)} {k}"
        for s, name in zip(book.bid_stations, bid_names, strict=True)
        for p in s.places
        for k in PRODUCTS
    ]
    ways = zip(book.bid_stations, bid_names, strict=True)
    supplied = [f"supply {name}" for s, name in ways if ROOT in s.places]
    exported = [f"export {k}" for k in PRODUCTS]
    ticks = [
        f"{bid_names[t.station]} {t.limit} {t.premium} {int(t.only)} {int(t.wants_green)}"
        for t in book.bids
    ]
    served = [f"{family} {tick}" for family in ("grey", "green", "bid") for tick in ticks]
    return [*sold, *fed, *drawn, *supplied, *exported, *served]


def _place(book: HubBook, place: int) -> str:
    return f"{book.places[place].level.label}:{book.places[place]}"


def is_point(net: Network, face: Face, flow: Integers) -> bool:
    """Whether a face has no other flow: no circle passes through arcs that are still open.

    What can grow and shrink is a road, what can only do one of them a one-way street. There is no
    circle if the roads form a forest, and the one-way streets between its trees no circle either.
    """
    tree = list(range(net.nodes))

    def root(node: int) -> int:
        while tree[node] != node:
            tree[node] = tree[tree[node]]
            node = tree[node]
        return node

    one_way: list[tuple[int, int]] = []
    for arc in np.flatnonzero(face.free).tolist():
        tail, head = int(net.tail[arc]), int(net.head[arc])
        if flow[arc] == face.low[arc]:
            one_way.append((tail, head))
        elif flow[arc] == face.high[arc]:
            one_way.append((head, tail))
        elif root(tail) == root(head):
            return False
        else:
            tree[root(tail)] = root(head)
    return not _has_circle([(root(tail), root(head)) for tail, head in one_way])


def _has_circle(streets: list[tuple[int, int]]) -> bool:
    """Whether one-way streets lead back to where one started (Kahn 1962)."""
    leading: dict[int, list[int]] = {}
    arriving: dict[int, int] = {}
    for tail, head in streets:
        leading.setdefault(tail, []).append(head)
        leading.setdefault(head, [])
        arriving[head] = arriving.get(head, 0) + 1
    open_nodes = [node for node in leading if not arriving.get(node)]
    closed = 0
    while open_nodes:
        closed += 1
        for head in leading[open_nodes.pop()]:
            arriving[head] -= 1
            if not arriving[head]:
                open_nodes.append(head)
    return closed < len(leading)
