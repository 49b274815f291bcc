"""The district's keys: one file per role in one private folder, made where they are missing.

docs/protocol.md, "Encoding": keys of distinct roles are distinct. In production each role's file
lives only where that role is played; in the demo all of them share one folder.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from nacl.signing import SigningKey

from ledger_client.proof import to_bytes
from ledger_client.verify import (
    Keys,
    MilestoneKey,
    Milestones,
    UnjudgedError,
    Witness,
    Witnesses,
    load_keys,
)
from metering.identity import PublicKey, check_district
from metering.signing import create_key_file, load_key_file, public_key

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_is_safe_serial: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch


class KeyringError(Exception):
    """Root of this module's errors: stop and ask a person."""


class KeyFolderModeError(KeyringError):
    """Others may enter the key folder: tighten its mode, and think about rotating the keys."""


class SharedKeyError(KeyringError):
    """Two roles hold one key: move one of the files away, so that a new key is made."""


class UnsoundKeysError(KeyringError):
    """No reader would take these public keys: mend the setting that names one of them."""


class SerialNameError(KeyringError):
    """The serial cannot name a file: keep this meter's key at its gateway."""


class ThresholdError(KeyringError):
    """More milestone signatures are asked for than there are keys: mend the setting."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """The signing keys of one district. ``wallet_seed`` is the SLIP-10 seed (32 bytes),
    ``pseudonym_secret`` (32 bytes) makes the names under which people appear to each other.
    ``mldsa``, where there is one, signs checkpoints a second time (its file holds the seed)."""

    folder: Path
    registry: SigningKey = field(repr=False)
    receipt: SigningKey = field(repr=False)
    log: SigningKey = field(repr=False)
    milestone: tuple[SigningKey, ...] = field(repr=False)
    gateway: SigningKey = field(repr=False)
    wallet_seed: bytes = field(repr=False)
    pseudonym_secret: bytes = field(repr=False)
    mldsa: MLDSA44PrivateKey | None = field(default=None, repr=False)

    @classmethod
    def open(cls, folder: Path, milestones: int = 1, *, mldsa: bool = False) -> Keyring:
        """Read the keys of ``folder``, making it and each missing key (modes 0700 and 0600).

        Args:
            milestones: how many milestone keys there are.
            mldsa: whether checkpoints are signed by ML-DSA-44, too.

        Raises:
            KeyFolderModeError: group or others have rights on the folder.
            SigningError: a key file is readable by others, or holds no key.
            SharedKeyError: two roles hold the same key.
            OSError: the folder cannot be used.
        """
        _make_private(folder)
        ring = cls(
            folder,
            registry=_key(folder, "registry"),
            receipt=_key(folder, "receipt"),
            log=_key(folder, "log"),
            milestone=tuple(_key(folder, f"milestone-{n}") for n in range(milestones)),
            gateway=_key(folder, "gateway"),
            wallet_seed=bytes(_key(folder, "wallet")),
            pseudonym_secret=bytes(_key(folder, "pseudonym")),
            mldsa=MLDSA44PrivateKey.from_seed_bytes(bytes(_key(folder, "mldsa")))
            if mldsa
            else None,
        )
        ring._check_distinct()
        return ring

    def meter(self, serial: str) -> SigningKey:
        """Return the key of a meter that the demo's gateway holds, made on first use.

        Raises:
            SerialNameError: the serial is not made of letters, digits, dot, hyphen, underscore.
        """
        if not _is_safe_serial(serial):
            raise SerialNameError(
                f"serial {serial!r}: a key kept here is named by 1 to 64 of letters, digits, "
                "'.', '-' and '_', the first a letter or digit"
            )
        return _key(self.folder, f"meter-{serial}")

    def milestones(self, threshold: int | None = None) -> Milestones:
        """Return the milestone keys as KEYS pin them; without a threshold all have to sign.

        Raises:
            ThresholdError: not within 1 to the number of milestone keys.
        """
        count = len(self.milestone)
        wanted = count if threshold is None else threshold
        if not 1 <= wanted <= count:
            raise ThresholdError(f"threshold {wanted}: there are {count} milestone keys")
        keys = tuple(MilestoneKey(0, bytes(key.verify_key), None) for key in self.milestone)
        return Milestones(keys, wanted)

    def public_keys_file(
        self,
        origin: str,
        milestones: Milestones,
        witnesses: Sequence[Witness] = (),
        witness_threshold: int = 0,
    ) -> bytes:
        """Return the district's KEYS file (docs/proof.md, "KEYS").

        Args:
            origin: the log's origin, that is the district.
            milestones: who signs the ledger's milestones.
            witnesses: who cosigns checkpoints.
            witness_threshold: how many of them a proof needs.

        Raises:
            UnsoundKeysError: a reader would refuse it, a witness that has a key of ours, say.
        """
        keys = Keys(
            log=(bytes(self.log.verify_key),),
            milestones=milestones,
            mldsa=(self.mldsa.public_key().public_bytes_raw(),) if self.mldsa else (),
            origin=check_district(origin),
            receipts=(bytes(self.receipt.verify_key),),
            registry=(bytes(self.registry.verify_key),),
            version=1,
            witnesses=Witnesses(tuple(witnesses), witness_threshold),
        )
        content = to_bytes(keys)
        try:
            load_keys(content)
        except UnjudgedError as error:
            said = f"the public keys of {origin} cannot be handed out: {error}"
            raise UnsoundKeysError(
                f"{said}; look at `witnesses` and at who signs milestones"
            ) from error
        return content

    def _check_distinct(self) -> None:
        seeds = [self.wallet_seed, self.pseudonym_secret]
        seeds += [self.mldsa.private_bytes_raw()] if self.mldsa else []
        secrets_ = map(SigningKey, seeds)
        roles = (self.registry, self.receipt, self.log, *self.milestone, self.gateway, *secrets_)
        seen: set[PublicKey] = set()
        for key in map(public_key, roles):
            if key in seen:
                raise SharedKeyError(
                    f"{self.folder}: two roles share the key {key}; each role needs its own: "
                    "move the copied file away and start again, which makes a new key"
                )
            seen.add(key)


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & _OTHERS:
        raise KeyFolderModeError(f"{folder} has mode {mode:04o}: run chmod 700 {folder}")


def _key(folder: Path, role: str) -> SigningKey:
    path = folder / f"{role}.key"
    if not path.exists():
        _create(path)
    return load_key_file(path)


def _create(path: Path) -> None:
    """Make a key file that appears whole or not at all; of two makers at once the first wins."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    create_key_file(draft)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
