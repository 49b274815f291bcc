"""Monthly statements by tables, and that no line, cent or micro-euro gets lost in any of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.statement import build, cents, sells
from market.statement_parts import (
    NEIGHBOURS,
    SOLD,
    Billed,
    Charge,
    Corrected,
    Energy,
    Header,
    Month,
    Section,
    StatementError,
)
from tests.conftest import LONG

TABLE = Path(__file__).with_name("statement_scenarios.txt")
POINT, MONTH = "401234500000000050", "2026-06"
NOTHING = Energy(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
ACCOUNTS = {"grid-fee": "grid", "local-fee": "grid", "levy": "levy", "tax": "tax", "vat": "vat"}


def header(*, liable: bool = False, **changes: Any) -> Header:
    made = Header(
        district="lindenhof.wattloom.example",
        month=MONTH,
        first_day="2026-06-01",
        last_day="2026-06-30",
        zone="Europe/Berlin",
        clock="real",
        issued_day="2026-07-03",
        issued_ms=1_783_000_000_000,
        issuer={"address": "", "name": "Lindenhof", "tax_number": ""},
        participant="p",
        recipient={"address": "", "name": "P", "tax_number": ""},
        vat_liable=liable,
        final=False,
        payees={"grid": "Grid operator"},
        number="S-2026-000001",
        credit_note="C-2026-000001",
    )
    return replace(made, **changes)


def billed(kind: str, vat_ppm: int, micro: int, wh: int = 1_000, **more: Any) -> Billed:
    local = kind.startswith("local-") and "fee" not in kind
    account = NEIGHBOURS if local else ACCOUNTS.get(kind, "supplier")
    made = Billed(POINT, "", MONTH, kind, vat_ppm, 1, wh, micro, 0, 0, account)
    return replace(made, **more)


def charge(kind: str, vat_ppm: int, account: str, micro: int) -> Charge:
    supplier = account.partition(":")[2]
    return Charge(POINT, supplier, kind, kind, vat_ppm, micro, 1, 30, 30, account)


def section(supplier: str = "", energy: Energy = NOTHING) -> Section:
    return Section(POINT, "Flat", supplier, (("2026-06-01", "2026-06-30"),), energy)


@dataclass
class Scenario:
    name: str
    lines: list[Billed] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    liable: bool = False
    invoice: list[tuple[int, int, int]] = field(default_factory=list)
    credit: list[tuple[int, int, int]] = field(default_factory=list)
    paid: int = 0
    due: int = 0
    posts: dict[str, int] = field(default_factory=dict)


def _ppm(text: str) -> int:
    return int(text) * 10_000


def _add(scenario: Scenario, words: list[str]) -> None:
    what, *rest = words
    if what == "line":
        kind, vat, wh, prices, micro, *origin = rest
        low, high = map(int, prices.split(".."))
        line = billed(kind, _ppm(vat), int(micro), int(wh))
        line = replace(line, low_micro_per_kwh=low, high_micro_per_kwh=high)
        scenario.lines.append(replace(line, origin=origin[1]) if origin else line)
    elif what == "charge":
        scenario.charges.append(charge(rest[0], _ppm(rest[1]), rest[2], int(rest[3])))
    elif what == "seller":
        scenario.liable = rest[0] == "liable"
    elif what in ("invoice", "credit"):
        if rest[0] != "-":
            getattr(scenario, what).append((_ppm(rest[0]), int(rest[1]), int(rest[2])))
    elif what == "post":
        scenario.posts[rest[0]] = int(rest[1])
    else:
        setattr(scenario, what, int(rest[0]))


def scenarios() -> Iterator[Scenario]:
    found: Scenario | None = None
    for text in TABLE.read_text("utf-8").splitlines():
        if text.startswith("== "):
            if found:
                yield found
            found = Scenario(text[3:])
        elif text.strip() and not text.startswith("#"):
            assert found
            _add(found, text.split())
    assert found
    yield found


def _rates(part: Any) -> list[tuple[int, int, int]]:
    if part is None:
        return []
    return [(row["vat_ppm"], row["net_cents"], row["vat_cents"]) for row in part["vat"]]


@pytest.mark.parametrize("scenario", list(scenarios()), ids=lambda s: s.name)
def test_scenarios(scenario: Scenario) -> None:
    suppliers = {"", *(each.supplier for each in scenario.charges)}
    month = Month([section(each) for each in suppliers], scenario.lines, scenario.charges)
    built = build(header(liable=scenario.liable), month)
    document: Mapping[str, Any] = built.document
    invoice, credit = document["invoice"], document["credit_note"]
    assert _rates(invoice) == scenario.invoice
    assert _rates(credit) == scenario.credit
    assert invoice["paid_cents"] + (credit["paid_cents"] if credit else 0) == scenario.paid
    assert built.due_cents == document["due_cents"] == scenario.due
    assert {each.account: each.micro for each in built.entry.postings} == scenario.posts
    assert (built.entry.ref, built.entry.kind) == (f"statement/{MONTH}/p", "statement")


def test_a_correction_names_what_it_corrects() -> None:
    late = billed("residual-import", 190_000, 1_000, -5, origin="2026-05")
    known = Corrected("S-2026-000003", "2026-05-30T10:00:00Z", "2026-05-31T10:00:00Z", 2, ("why",))
    month = Month([section()], [late], corrected={(POINT, "2026-05"): known})
    document: Mapping[str, Any] = build(header(), month).document
    (line,) = document["corrections"]
    assert document["sections"][0]["lines"] == []
    assert line == {
        "account": "supplier",
        "corrects": "S-2026-000003",
        "first_interval": "2026-05-30T10:00:00Z",
        "high_micro_per_kwh": 0,
        "intervals": 2,
        "kind": "residual-import",
        "last_interval": "2026-05-31T10:00:00Z",
        "low_micro_per_kwh": 0,
        "micro": 1_000,
        "origin": "2026-05",
        "payee": "supplier",
        "point": POINT,
        "reasons": ["why"],
        "ref": "C1",
        "supplier": "",
        "vat_ppm": 190_000,
        "wh": -5,
    }


def test_a_section_shows_its_lines_in_their_order_with_references() -> None:
    kinds = ["residual-export", "standing", "tax", "levy", "local-sell", "grid-fee", "local-buy"]
    lines = [billed(kind, 0, 10_000) for kind in kinds if kind != "standing"]
    energy = replace(NOTHING, export_wh=2_000, export_residual_wh=2_000, produced_wh=5_000)
    month = Month([section(energy=energy)], lines, [charge("standing", 0, "grid", -5)])
    document: Mapping[str, Any] = build(header(), month).document
    (shown,) = document["sections"]
    assert [(line["ref"], line["kind"]) for line in shown["lines"]] == [
        ("1.1", "local-buy"),
        ("1.2", "grid-fee"),
        ("1.3", "levy"),
        ("1.4", "tax"),
        ("1.5", "standing"),
        ("1.6", "local-sell"),
        ("1.7", "residual-export"),
    ]
    assert shown["lines"][1]["payee"] == "Grid operator"
    assert shown["energy"]["self_used_wh"] == 3_000


def test_the_wallet_adds_up() -> None:
    lines = [
        billed("local-buy", 0, -300),
        billed("local-sell", 0, 500),
        billed("local-sell", 0, 70, origin="2026-05"),  # stands in May's wallet
    ]
    month = Month([section()], lines, wallet_opening_micro=1_000, wallet_movements=[("top-up", 50)])
    assert build(header(), month).document["wallet"] == {
        "bought_micro": -300,
        "closing_micro": 1_250,
        "movements": [{"kind": "top-up", "micro": 50}],
        "opening_micro": 1_000,
        "sold_micro": 500,
    }


@pytest.mark.parametrize(
    ("month", "says"),
    [
        (Month([section()], [billed("levy", 0, 1, origin="2026-07")]), "2026-07 are to come"),
        (Month([], [billed("levy", 0, 1)]), "that was not theirs"),
        (Month([], [], [charge("standing", 0, "grid", -1)]), "without section"),
    ],
)
def test_what_does_not_belong_is_refused(month: Month, says: str) -> None:
    with pytest.raises(StatementError, match=says):
        build(header(), month)


def test_parts_have_to_make_the_whole() -> None:
    with pytest.raises(StatementError, match="roll-ups"):
        Energy(1, 0, 10, 4, 0, 5, 0, 0, 0, 0)


amounts = st.integers(-(10**9), 10**9)
rates = st.sampled_from((0, 70_000, 190_000, 77_123))
kinds = st.sampled_from(
    ("local-buy", "local-sell", "residual-import", "residual-export", "grid-fee", "levy", "vat")
)
lines_of = st.lists(
    st.builds(billed, kinds, rates, amounts, origin=st.sampled_from((MONTH, "2026-04"))), max_size=8
)
charges_of = st.lists(
    st.builds(charge, st.just("standing"), rates, st.sampled_from(("grid", "supplier")), amounts),
    max_size=3,
)


@given(lines_of, charges_of, st.booleans())
@settings(max_examples=4_000 if LONG else 150)
def test_statements_equal_the_journal(lines: list[Billed], due: list[Charge], liable: bool) -> None:
    """After the entry each account holds what the document says, and all of it sums to 0."""
    built = build(header(liable=liable), Month([section()], lines, due))
    document: Mapping[str, Any] = built.document
    held: dict[str, int] = defaultdict(int)  # as settlement left it
    for line in lines:
        if line.account != NEIGHBOURS:
            held["receivable:p"] += line.micro
            held[line.account] -= line.micro
    for posting in built.entry.postings:
        held[posting.account] += posting.micro
    assert sum(held.values()) == 0
    assert held["receivable:p"] == -document["due_cents"] * 10_000
    parts = [(document["invoice"], 1), (document["credit_note"], -1)]
    vat = sum(sign * part["vat_cents"] for part, sign in parts if part)
    assert held["vat"] == vat * 10_000
    assert held["rounding"] == document["rounding_micro"]
    shown = [line for each in document["sections"] for line in each["lines"]]
    shown += document["corrections"]
    for account in ("supplier", "grid", "levy"):
        assert held[account] == -sum(x["micro"] for x in shown if x["account"] == account)
    assert bool(document["credit_note"]) == sells(lines)


@given(lines_of)
@settings(max_examples=4_000 if LONG else 100)
def test_parts_add_up_in_cents(lines: list[Billed]) -> None:
    document: Mapping[str, Any] = build(header(), Month([section()], lines)).document
    invoice = document["invoice"]
    assert invoice["gross_cents"] == invoice["net_cents"] + invoice["vat_cents"]
    assert invoice["due_cents"] == invoice["gross_cents"] - invoice["paid_cents"]
    for row in invoice["vat"]:
        drawn = [x for x in lines if x.vat_ppm == row["vat_ppm"] and x.kind not in (*SOLD, "vat")]
        assert row["net_cents"] == cents(-sum(line.micro for line in drawn))
