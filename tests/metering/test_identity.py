"""GSRN, district names and keys; libsodium is the oracle of the curve arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_core_ed25519_add
from nacl.signing import SigningKey

from metering.identity import (
    DistrictNameError,
    GsrnError,
    PublicKey,
    PublicKeyError,
    check_district,
    check_gsrn,
    gsrn_check_digit,
)

P = 2**255 - 19
IDENTITY = (1).to_bytes(32, "little")
BODIES = st.text("0123456789", min_size=17, max_size=17)
# The y of two of the points of order 8, from RFC 8032's curve: the roots of d y^4 + 2 y^2 = 1.
ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"


def test_published_example_of_eighteen_digits() -> None:
    """GS1's worked example of the check digit that SSCC and GSRN share."""
    assert check_gsrn("376104250021234569")


@given(BODIES)
def test_the_check_digit_makes_the_weighted_sum_a_multiple_of_ten(body: str) -> None:
    gsrn = check_gsrn(body + gsrn_check_digit(body))
    from_the_right = [int(digit) for digit in reversed(gsrn)]
    assert sum(d * (3 if i % 2 else 1) for i, d in enumerate(from_the_right)) % 10 == 0


@given(BODIES, st.integers(0, 17), st.integers(1, 9))
def test_every_single_wrong_digit_is_found(body: str, place: int, change: int) -> None:
    good = body + gsrn_check_digit(body)
    wrong = str((int(good[place]) + change) % 10)
    with pytest.raises(GsrnError):
        check_gsrn(good[:place] + wrong + good[place + 1 :])


@pytest.mark.parametrize("text", ["", "1" * 17, "1" * 19, "a" * 18, "¹" * 18, "٣" * 18, " " * 18])
def test_refused_gsrn(text: str) -> None:
    with pytest.raises(GsrnError, match="18 digits"):
        check_gsrn(text)


@pytest.mark.parametrize("name", ["lindenhof", "lindenhof.example", "a-b.c", "1.2", "x" * 63])
def test_accepted_districts(name: str) -> None:
    assert check_district(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "a.", ".a", "a..b", "-a", "a-", "A.b", "a_b", "a b", "a\n", "ä.de", "x" * 64,
     ".".join(["x" * 60] * 5)],
)  # fmt: skip
def test_refused_districts(name: str) -> None:
    with pytest.raises(DistrictNameError):
        check_district(name)


def test_real_keys_are_accepted() -> None:
    for _ in range(50):
        raw = bytes(SigningKey.generate().verify_key)
        key = PublicKey(raw)
        assert PublicKey.parse(key.hex) == key
        assert str(key) == raw.hex()


def small_order_by_doubling(raw: bytes) -> bool:
    for _ in range(3):
        raw = crypto_core_ed25519_add(raw, raw)
    return raw == IDENTITY


def test_all_eight_points_of_small_order_are_refused() -> None:
    generator = bytes.fromhex(ORDER_8)
    point, seen = generator, set()
    for _ in range(8):
        seen.add(point)
        assert small_order_by_doubling(point)
        with pytest.raises(PublicKeyError, match="small order"):
            PublicKey(point)
        point = crypto_core_ed25519_add(point, generator)
    assert len(seen) == 8


@given(st.binary(min_size=32, max_size=32))
def test_points_agree_with_libsodium(raw: bytes) -> None:
    try:
        expected = not small_order_by_doubling(raw)
    except RuntimeError:  # not on the curve
        expected = False
    canonical = int.from_bytes(raw, "little") % 2**255 < P
    try:
        PublicKey(raw)
    except PublicKeyError:
        assert not (expected and canonical)
    else:
        assert expected
        assert canonical


@pytest.mark.parametrize("y", range(P, 2**255))
def test_non_canonical_points_are_refused(y: int) -> None:
    for sign in (0, 1):
        with pytest.raises(PublicKeyError):
            PublicKey((y + (sign << 255)).to_bytes(32, "little"))


@pytest.mark.parametrize("text", ["", "00" * 31, "AB" * 32, "zz" * 32, "00" * 32 + "\n"])
def test_refused_key_texts(text: str) -> None:
    with pytest.raises(PublicKeyError):
        PublicKey.parse(text)


def test_length_is_checked() -> None:
    with pytest.raises(PublicKeyError, match="32"):
        PublicKey(b"\x09" * 31)
