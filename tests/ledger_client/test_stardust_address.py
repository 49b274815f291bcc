"""Bech32 texts of TIP-31 and BIP-173, and the signature rule against TIP-14's vectors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from ledger_client.stardust.bech32 import (
    AddressTextError,
    decode_address_text,
    decode_bech32,
    encode_address_text,
    encode_bech32,
)
from ledger_client.stardust.signature import is_valid_signature
from ledger_client.wallet import address_of

VECTORS = Path(__file__).parents[2].parent / "shared/vectors"
PUBLIC_KEY = bytes.fromhex("6f1581709bb7b1ef030d210db18e3b0ba1c776fba65d8cdaad05415142d189f8")
ALIAS = "iota1prlgpsht03ekmghhex8v7y67a835uns8dtlxu807hj0v279c74kj76j6rev"
hashes = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize(
    ("hrp", "text"),
    [
        ("iota", "iota1qrhacyfwlcnzkvzteumekfkrrwks98mpdm37cj4xx3drvmjvnep6xqgyzyx"),
        ("atoi", "atoi1qrhacyfwlcnzkvzteumekfkrrwks98mpdm37cj4xx3drvmjvnep6x8x4r7t"),
        ("smr", "smr1qrhacyfwlcnzkvzteumekfkrrwks98mpdm37cj4xx3drvmjvnep6xhcazjh"),
        ("rms", "rms1qrhacyfwlcnzkvzteumekfkrrwks98mpdm37cj4xx3drvmjvnep6xrlkcfw"),
    ],
)
def test_the_addresses_of_tip_31(hrp: str, text: str) -> None:
    address = address_of(PUBLIC_KEY)
    assert address.hex() == "efdc112efe262b304bcf379b26c31bad029f616ee3ec4aa6345a366e4c9e43a3"
    assert encode_address_text(hrp, address) == text
    assert decode_address_text(hrp, text.upper()) == address


def test_another_address_type_is_read_but_not_taken_for_ours() -> None:
    hrp, data = decode_bech32(ALIAS)
    assert (hrp, data[0]) == ("iota", 8)
    with pytest.raises(AddressTextError, match="not an Ed25519"):
        decode_address_text("iota", ALIAS)


@given(hashes)
def test_an_address_survives_its_text(address: bytes) -> None:
    assert decode_address_text("wl", encode_address_text("wl", address)) == address


@given(hashes, st.data())
def test_a_mistyped_address_is_refused(address: bytes, data: st.DataObject) -> None:
    text = encode_address_text("wl", address)
    at = data.draw(st.integers(3, len(text) - 1))
    symbol = data.draw(
        st.sampled_from([c for c in "qpzry9x8gf2tvdw0s3jn54khce6mua7l" if c != text[at]])
    )
    with pytest.raises(AddressTextError):
        decode_address_text("wl", text[:at] + symbol + text[at + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "wl",
        "wl1",
        "1qqqqqqqq",
        "Wl1qqqqqqqqqq",
        "wl1b" + "q" * 10,
        "wl1" + "q" * 100,
        "A1G7SGD8",  # a checksum over the upper-case prefix, of BIP-173
        "\x201nwldj5",
        encode_bech32("smr", b"\x00" + bytes(32)),
        encode_bech32("wl", b"\x00" + bytes(31)),
    ],
    ids=range(12),
)
def test_what_is_no_address_of_the_network_is_refused(text: str) -> None:
    with pytest.raises(AddressTextError):
        decode_address_text("wl", text)


@given(st.binary(max_size=64), st.data())
def test_a_signature_holds_for_its_message_and_key_only(
    message: bytes, data: st.DataObject
) -> None:
    key = SigningKey(bytes(31) + b"\x07")
    public, signature = bytes(key.verify_key), key.sign(message).signature
    assert is_valid_signature(public, message, signature)
    at = data.draw(st.integers(0, 63))
    forged = bytearray(signature)
    forged[at] ^= data.draw(st.integers(1, 255))
    assert not is_valid_signature(public, message, bytes(forged))
    assert not is_valid_signature(public, message + b"!", signature)


def test_the_strict_rule_accepts_nothing_that_tip_14_refuses() -> None:
    """The rule of docs/adr/0003: five of the twelve verdicts agree, and we are only stricter."""
    file = VECTORS / "tip14-ed25519.json"
    if not file.exists():
        pytest.skip("the published vectors are not here")
    cases = json.loads(file.read_text("utf-8"))
    verdicts = []
    for case in cases:
        fields = (bytes.fromhex(case[name]) for name in ("pub_key", "message", "signature"))
        verdicts.append((is_valid_signature(*fields), case["valid"]))
    assert all(theirs for ours, theirs in verdicts if ours)
    assert sum(ours == theirs for ours, theirs in verdicts) == 5
