"""The lines of an issued statement, as far as they can be disputed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from app.tables import MonthlyStatementRow
from market.dispute import DisputedLine, held


@dataclass(frozen=True, slots=True)
class StatedLine:
    """A line of a statement; ``name`` is that of its metering point ('' of a correction's).

    ``micro`` > 0 is earned, < 0 owed, before VAT; ``held_micro`` is what a dispute of it holds.
    """

    ref: str
    kind: str
    point: str
    name: str
    wh: int | None
    micro: int
    held_micro: int


def stated(row: MonthlyStatementRow) -> Mapping[str, StatedLine]:
    """Return the lines of a statement by their reference, in the statement's order."""
    document = json.loads(row.payload)
    liable = bool((document["credit_note"] or {}).get("vat_liable", 0))
    lines = [
        (line, section["point"], section["name"])
        for section in document["sections"]
        for line in section["lines"]
    ]
    lines += [(line, line["point"], "") for line in document["corrections"]]
    found = {}
    for line, point, name in lines:
        disputed = DisputedLine(line["kind"], line["micro"], line["vat_ppm"])
        found[line["ref"]] = StatedLine(
            ref=line["ref"],
            kind=line["kind"],
            point=point,
            name=name,
            wh=line.get("wh"),
            micro=line["micro"],
            held_micro=held(disputed, vat_liable=liable).micro,
        )
    return found
