"""Who signs milestones: keys in this process, or signers elsewhere behind the same method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from nacl.signing import SigningKey

from ledger_client.stardust.milestone import MilestoneEssence, MilestoneSignature


class MilestoneSigner(Protocol):
    """Signs milestone essences; may be called from any thread, and again with the same essence."""

    def sign(self, essence: MilestoneEssence) -> tuple[MilestoneSignature, ...]:
        """Return valid signatures over ``essence.id()`` by distinct keys, sorted by key.

        As many as could be had; the caller judges whether they reach its threshold, and asks
        again later, with the same essence, when they do not. Raises ``LedgerUnavailableError``
        when no signer answers.
        """


class KeyedSigner(MilestoneSigner):
    """Signs with private keys of this process."""

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        self._keys: Sequence[SigningKey] = sorted(keys, key=lambda key: bytes(key.verify_key))

    def sign(self, essence: MilestoneEssence) -> tuple[MilestoneSignature, ...]:
        """Return one signature per key; see :class:`MilestoneSigner`."""
        digest = essence.id()
        return tuple(
            MilestoneSignature(bytes(key.verify_key), key.sign(digest).signature)
            for key in self._keys
        )
