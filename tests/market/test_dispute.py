"""What a disputed line holds back, in whole cents."""

from __future__ import annotations

import pytest

from market.dispute import DisputedLine, held

# kind, net micro-euros as on the statement, VAT in ppm, whether the seller's sales bear VAT -> held
HELD = {
    "energy with VAT": ("residual-import -240000 190000", False, 290_000),  # 0.2856
    "half a cent goes up": ("grid-fee -5000 0", False, 10_000),
    "less does not": ("grid-fee -4999 0", False, 0),
    "a standing charge": ("standing -5000000 190000", False, 5_950_000),
    "of local energy VAT alone": ("local-buy -1000000 190000", False, 190_000),
    "what was earned": ("residual-export 1000000 190000", True, 0),
    "a correction in their favour": ("residual-import 50000 190000", False, 0),
    "feed-in at a negative price, exempt": ("residual-export -1000000 190000", False, 1_000_000),
    "feed-in at a negative price, liable": ("residual-export -1000000 190000", True, 1_190_000),
    "nothing": ("levy 0 190000", False, 0),
}


@pytest.mark.parametrize("case", HELD)
def test_held(case: str) -> None:
    words, vat_liable, expected = HELD[case]
    kind, micro, vat_ppm = words.split()
    found = held(DisputedLine(kind, int(micro), int(vat_ppm)), vat_liable=vat_liable)
    assert found.micro == expected
