"""Keys, coin selection and signed transfers of the ledger.

Keys come from one seed by SLIP-10 (Ed25519, hardened only) on the path m/44'/4218'/account'/0'/
index', as the wallets of Stardust networks do. Nothing here is random or reads a clock: the same
arguments give the same bytes, so that a transfer can be built again after a crash.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from nacl.signing import SigningKey

from ledger_client.ledger import UnspentOutput
from ledger_client.stardust.codec import StardustSyntaxError, blake2b_256, network_id
from ledger_client.stardust.output import BasicOutput, Rent
from ledger_client.stardust.transaction import (
    Essence,
    ReferenceUnlock,
    SignatureUnlock,
    TaggedData,
    Transaction,
    Unlock,
    inputs_commitment,
)

TREASURY_ACCOUNT = 0
"""The account that the supply begins in; participants have 1, 2, ..."""
COIN_TYPE = 4218
"""The registered coin type of IOTA (SLIP-44)."""
HARDENED = 2**31
MIN_SEED_LENGTH = 16
MAX_SEED_LENGTH = 64


class WalletError(Exception):
    """A transfer cannot be built as asked."""


class WalletKeyError(WalletError):
    """A seed or path is unusable, or an input has another owner: ask a person."""


class InsufficientFundsError(WalletError):
    """The outputs do not cover the need: top up, or fall back to the normal tariff.

    ``need_units`` and ``available_units`` (in at most ``limit`` inputs) say by how much.
    """

    def __init__(self, need_units: int, available_units: int, limit: int) -> None:
        super().__init__(
            f"{need_units} units are needed, {available_units} are available in {limit} inputs; "
            "top up, or merge smaller outputs first"
        )
        self.need_units = need_units
        self.available_units = available_units


class UnbalancedTransferError(WalletError):
    """Amounts do not add up or break a limit of the ledger: mend the caller's arithmetic."""


@dataclass(frozen=True, slots=True)
class OwnerKey:
    """An Ed25519 key and the address that it owns (32-byte BLAKE2b-256 of the public key)."""

    signing_key: SigningKey = field(repr=False)
    public_key: bytes
    address: bytes

    @classmethod
    def from_seed(cls, seed: bytes) -> OwnerKey:
        """Return the key of a 32-byte private seed (RFC 8032)."""
        signing_key = SigningKey(seed)
        public_key = bytes(signing_key.verify_key)
        return cls(signing_key, public_key, address_of(public_key))


def address_of(public_key: bytes) -> bytes:
    """Return the 32-byte address of a public key (TIP-31)."""
    return blake2b_256(public_key)


def derive_slip10(seed: bytes, path: Sequence[int]) -> tuple[bytes, bytes]:
    """Return (private key, chain code), 32 bytes each, of a path of indices below 2^31.

    Every index is hardened, the only kind that Ed25519 has (SLIP-10).
    """
    if not MIN_SEED_LENGTH <= len(seed) <= MAX_SEED_LENGTH:
        raise WalletKeyError(f"seed: {len(seed)} bytes; SLIP-10 wants 16 to 64")
    digest = hmac.digest(b"ed25519 seed", seed, "sha512")
    for index in path:
        if not 0 <= index < HARDENED:
            raise WalletKeyError(f"path: index {index} must be 0 to {HARDENED - 1}")
        node = b"\x00" + digest[:32] + (index + HARDENED).to_bytes(4, "big")
        digest = hmac.digest(digest[32:], node, "sha512")
    return digest[:32], digest[32:]


@dataclass(frozen=True, slots=True)
class Wallet:
    """All keys below one BIP-39 seed (16 to 64 bytes; keep it secret)."""

    seed: bytes = field(repr=False)

    def key(self, account: int, index: int = 0) -> OwnerKey:
        """Return the key of m/44'/4218'/account'/0'/index'."""
        private, _ = derive_slip10(self.seed, (44, COIN_TYPE, account, 0, index))
        return OwnerKey.from_seed(private)


@dataclass(frozen=True, slots=True)
class TransferInput:
    """An output to spend, with the key that owns it."""

    output: UnspentOutput
    key: OwnerKey


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction payload (TIP-20) ready for the ledger: store it before it is sent."""

    payload: bytes
    transaction_id: bytes


def select(
    outputs: Sequence[UnspentOutput], need_units: int, limit: int = 2
) -> tuple[UnspentOutput, ...]:
    """Choose at most ``limit`` outputs of one owner that cover ``need_units``.

    The largest come first until the need is covered; free places go to the smallest, so that
    every transfer leaves the owner with fewer outputs. Deterministic: ties by output id. A need of
    0 still merges. Raises :class:`InsufficientFundsError`.
    """
    chosen = cover(outputs, need_units, limit)
    left = [output for output in outputs if output not in chosen]
    smallest = sorted(left, key=_rank)[::-1]
    return (*chosen, *smallest[: limit - len(chosen)])


def cover(
    outputs: Sequence[UnspentOutput], need_units: int, limit: int = 2
) -> tuple[UnspentOutput, ...]:
    """Choose the fewest outputs that cover ``need_units``, the largest first, at most ``limit``.

    Raises :class:`InsufficientFundsError`.
    """
    chosen: list[UnspentOutput] = []
    covered = 0
    for output in sorted(outputs, key=_rank)[:limit]:
        if covered >= need_units:
            break
        chosen.append(output)
        covered += output.units
    if covered < need_units:
        raise InsufficientFundsError(need_units, covered, limit)
    return tuple(chosen)


def _rank(output: UnspentOutput) -> tuple[int, bytes]:
    return -output.units, output.output_id


def build_transfer(
    network: str,
    inputs: Sequence[TransferInput],
    outputs: Sequence[tuple[bytes, int]],
    tagged_data: TaggedData | None = None,
    rent: Rent | None = None,
) -> SignedTransaction:
    """Build and sign one transaction that spends ``inputs`` into plain ``outputs``.

    ``outputs`` are (32-byte address, units); units of inputs and outputs must be equal and every
    output at least the storage deposit of ``rent`` (34 units by default). Order is kept, and
    Ed25519 is deterministic, so that the same arguments give the same bytes. Raises
    :class:`UnbalancedTransferError` or :class:`WalletKeyError`.
    """
    spent, made = sum(item.output.units for item in inputs), sum(units for _, units in outputs)
    if spent != made:
        raise UnbalancedTransferError(f"inputs hold {spent} units, outputs {made}: make them equal")
    _check_owners(inputs)
    try:
        created = tuple(BasicOutput.to(address, units) for address, units in outputs)
        for output in created:
            (rent or Rent()).check(output)
        essence = Essence(
            network_id(network),
            tuple(item.output.output_id for item in inputs),
            inputs_commitment(item.output.output_bytes for item in inputs),
            created,
            tagged_data,
        )
        transaction = Transaction(essence, _unlocks(essence, [item.key for item in inputs]))
    except StardustSyntaxError as error:
        raise UnbalancedTransferError(f"the ledger would refuse the transfer: {error}") from error
    payload = transaction.encode()
    return SignedTransaction(payload, blake2b_256(payload))


def _check_owners(inputs: Sequence[TransferInput]) -> None:
    for item in inputs:
        output = BasicOutput.decode(item.output.output_bytes)
        name = item.output.output_id.hex()
        if output.units != item.output.units:
            raise UnbalancedTransferError(
                f"output {name} holds {output.units} units, not as stated"
            )
        if output.address != item.key.address:
            raise WalletKeyError(f"output {name} belongs to another key than the one given")


def _unlocks(essence: Essence, keys: Sequence[OwnerKey]) -> tuple[Unlock, ...]:
    """Sign once per key; later inputs of the same key refer back, as TIP-20 demands."""
    digest = essence.signing_hash()
    first: dict[bytes, int] = {}
    unlocks: list[Unlock] = []
    for position, key in enumerate(keys):
        at = first.setdefault(key.public_key, position)
        if at < position:
            unlocks.append(ReferenceUnlock(at))
        else:
            signature = key.signing_key.sign(digest).signature
            unlocks.append(SignatureUnlock(key.public_key, signature))
    return tuple(unlocks)
