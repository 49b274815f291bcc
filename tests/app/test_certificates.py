"""Certificates of a small district, from the meters to final."""

from __future__ import annotations

from tests.app.certificate_kit import open_kit


def test_what_is_issued_is_reserved(tmp_path):
    kit = open_kit(tmp_path)
    key = kit.live(solar=(0, 1000), flat=(300, 0), shop=(200, 0))
    assert kit.states(key) == {
        ("flat", "Reserved"): 300,
        ("shop", "Reserved"): 200,
        ("solar", "Reserved"): 500,
    }
    kit.close()
