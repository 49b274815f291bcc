"""Signatures hold for one purpose only; key files are for their owner only."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey, VerifyKey

from metering.identity import PublicKeyError
from metering.signing import (
    KeyFileFormatError,
    KeyFileModeError,
    Purpose,
    create_key_file,
    load_key_file,
    public_key,
    sign,
    verify,
)

KEY = SigningKey(b"\x07" * 32)
PUBLIC = public_key(KEY)
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


@given(st.binary(max_size=300), st.sampled_from(Purpose))
def test_a_signature_holds_for_its_own_purpose_only(payload: bytes, purpose: Purpose) -> None:
    signature = sign(KEY, purpose, payload)
    VerifyKey(PUBLIC.raw).verify(purpose.value + payload, signature)
    assert [p for p in Purpose if verify(PUBLIC, p, payload, signature)] == [purpose]


@given(st.integers(0, 63), st.integers(1, 255))
def test_a_changed_signature_fails(place: int, change: int) -> None:
    signature = bytearray(sign(KEY, Purpose.READING, b"payload"))
    signature[place] ^= change
    assert not verify(PUBLIC, Purpose.READING, b"payload", bytes(signature))


def test_other_payloads_keys_and_lengths_fail() -> None:
    signature = sign(KEY, Purpose.READING, b"payload")
    other = public_key(SigningKey(b"\x08" * 32))
    assert verify(PUBLIC, Purpose.READING, b"payload", signature)
    assert not verify(PUBLIC, Purpose.READING, b"payload2", signature)
    assert not verify(other, Purpose.READING, b"payload", signature)
    for wrong in (b"", signature[:63], signature + b"\0"):
        assert not verify(PUBLIC, Purpose.READING, b"payload", wrong)


def test_a_malleable_signature_fails() -> None:
    """S + L is the same number in the group, and strict verification refuses it."""
    signature = sign(KEY, Purpose.READING, b"payload")
    s = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    assert not verify(
        PUBLIC, Purpose.READING, b"payload", signature[:32] + s.to_bytes(32, "little")
    )


def test_prefixes_are_those_of_the_protocol() -> None:
    names = ("reading", "batch", "receipt", "enrol", "rotate", "ocmf", "webhook", "event", "epoch")
    assert {purpose.value for purpose in Purpose} == {
        f"wattloom-{name}-v1\0".encode() for name in names
    }


def test_a_key_file_is_private_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "meter.key"
    key = create_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key_file(path) == key
    path.chmod(0o400)
    assert load_key_file(path) == key


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "meter.key"
    key = create_key_file(path)
    with pytest.raises(FileExistsError):
        create_key_file(path)
    assert load_key_file(path) == key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o601, 0o602, 0o777])
def test_a_looser_mode_is_refused_with_its_remedy(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "meter.key"
    create_key_file(path)
    path.chmod(mode)
    with pytest.raises(KeyFileModeError, match=f"chmod 600 {path}"):
        load_key_file(path)


@pytest.mark.parametrize("content", [b"", b"00" * 31, b"00" * 33, b"zz" * 32, b"\xff" * 64])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "meter.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileFormatError):
        load_key_file(path)


def test_a_key_of_small_order_has_no_public_key_type() -> None:
    with pytest.raises(PublicKeyError, match="small order"):
        verify(type(PUBLIC)(b"\1" + bytes(31)), Purpose.READING, b"", bytes(64))
