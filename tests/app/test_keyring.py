from __future__ import annotations

import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.services.keyring import (
    KeyFolderModeError,
    Keyring,
    SerialNameError,
    SharedKeyError,
    ThresholdError,
    UnsoundKeysError,
)
from ledger_client.verify import Keys, Witness, load_keys
from metering import canonical
from metering.signing import KeyFileFormatError, KeyFileModeError, public_key

ORIGIN = "lindenhof.wattloom.example"


def seeds(ring: Keyring) -> list[bytes]:
    keys = (ring.registry, ring.receipt, ring.log, *ring.milestone, ring.gateway)
    return [*map(bytes, keys), ring.wallet_seed]


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "keys"
    first = Keyring.open(folder, milestones=3)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert len(first.milestone) == 3
    assert len(first.wallet_seed) == 32
    assert seeds(Keyring.open(folder, milestones=3)) == seeds(first)
    assert first.meter("1WLM0001") == first.meter("1WLM0001") != first.meter("1WLM0002")


def test_every_role_has_a_key_of_its_own(tmp_path: Path) -> None:
    ring = Keyring.open(tmp_path / "keys", milestones=2)
    found = [*seeds(ring), bytes(ring.meter("M1"))]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "keys"
    Keyring.open(folder)
    path = folder / "log.key"
    path.chmod(mode)
    with pytest.raises(KeyFileModeError, match=f"chmod 600 {path}"):
        Keyring.open(folder)


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    Keyring.open(folder)
    folder.chmod(0o750)
    with pytest.raises(KeyFolderModeError, match=f"chmod 700 {folder}"):
        Keyring.open(folder)


def test_a_broken_key_file_is_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    Keyring.open(folder)
    (folder / "receipt.key").write_text("")
    with pytest.raises(KeyFileFormatError):
        Keyring.open(folder)
    assert (folder / "receipt.key").read_text() == ""


def test_one_key_in_two_roles_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    Keyring.open(folder)
    shutil.copy2(folder / "log.key", folder / "receipt.key")
    with pytest.raises(SharedKeyError, match="own"):
        Keyring.open(folder)


def test_makers_at_once_agree_and_leave_no_drafts(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: Keyring.open(folder), range(8)))
    assert len({tuple(seeds(ring)) for ring in rings}) == 1
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("serial", ["", "../x", "a/b", ".hidden", "a b", "x" * 65, "a\0", "ü"])
def test_a_serial_that_names_no_file_is_refused(tmp_path: Path, serial: str) -> None:
    with pytest.raises(SerialNameError):
        Keyring.open(tmp_path / "keys").meter(serial)


def test_keys_file_holds_public_keys_only(tmp_path: Path) -> None:
    ring = Keyring.open(tmp_path / "keys", milestones=2)
    text = ring.public_keys_file(ORIGIN, ring.milestones())
    keys = canonical.decode(text.removesuffix(b"\n"))
    assert keys == {
        "version": 1,
        "origin": ORIGIN,
        "log": [public_key(ring.log).hex],
        "receipts": [public_key(ring.receipt).hex],
        "registry": [public_key(ring.registry).hex],
        "milestones": {
            "threshold": 2,
            "keys": [
                {"key": public_key(key).hex, "from_index": 0, "to_index": None}
                for key in ring.milestone
            ],
        },
        "mldsa": [],
        "witnesses": {"threshold": 0, "keys": []},
    }
    assert isinstance(load_keys(text), Keys)  # and the offline verifier takes it
    for seed in seeds(ring):
        assert seed.hex().encode() not in text


@pytest.mark.parametrize("threshold", [0, 3])
def test_a_threshold_that_cannot_be_met_is_refused(tmp_path: Path, threshold: int) -> None:
    ring = Keyring.open(tmp_path / "keys", milestones=2)
    with pytest.raises(ThresholdError):
        ring.milestones(threshold)


def test_printing_a_keyring_shows_no_secret(tmp_path: Path) -> None:
    ring = Keyring.open(tmp_path / "keys")
    assert "SigningKey" not in repr(ring)
    assert repr(ring.wallet_seed) not in repr(ring)


@pytest.mark.parametrize("role", ["log", "receipt", "registry", "milestone"])
def test_a_witness_with_a_key_of_ours_is_told_before_anybody_pins_it(
    tmp_path: Path, role: str
) -> None:
    ring = Keyring.open(tmp_path / "keys", milestones=1)
    own = ring.milestone[0] if role == "milestone" else getattr(ring, role)
    witness = Witness(bytes(own.verify_key), "city.example/w")
    with pytest.raises(UnsoundKeysError, match="two roles"):
        ring.public_keys_file(ORIGIN, ring.milestones(), [witness])
