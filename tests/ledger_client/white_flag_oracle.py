"""A slow ledger of its own: white flag, time, depth and both roots, from the rules' words alone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import blake2b

GENESIS = bytes(32)


@dataclass(frozen=True, slots=True)
class Coin:
    """An output: whose it is, and under which conditions."""

    units: int
    owner: bytes
    opens_at: int = 0
    expires_at: int = 2**32
    reverts_to: bytes = b""
    owes: int = 0
    creditor: bytes = b""

    @property
    def is_plain(self) -> bool:
        return (self.opens_at, self.expires_at, self.owes) == (0, 2**32, 0)

    def unlocker(self, now: int) -> bytes:
        return self.reverts_to if self.expires_at <= now else self.owner


@dataclass(frozen=True, slots=True)
class Payment:
    """A transaction: what it consumes, who signed for each of it, what it makes."""

    inputs: tuple[bytes, ...]
    signers: tuple[bytes, ...]
    makes: tuple[tuple[bytes, Coin], ...]


@dataclass(slots=True)
class SlowLedger:
    """Blocks by parents and payment, milestones one by one."""

    unspent: dict[bytes, Coin]
    parents: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    payments: dict[bytes, Payment] = field(default_factory=dict)
    referenced: dict[bytes, int] = field(default_factory=dict)
    spent: set[bytes] = field(default_factory=set)

    def attach(
        self, block: bytes, parents: tuple[bytes, ...], payment: Payment | None = None
    ) -> None:
        self.parents[block] = parents
        if payment is not None:
            self.payments[block] = payment

    def knows(self, block: bytes) -> bool:
        return block == GENESIS or block in self.parents

    def oldest_root(self, block: bytes) -> int:
        """The oldest milestone that the past of a block rests on."""
        if block == GENESIS:
            return 0
        if block in self.referenced:
            return self.referenced[block]
        return min(map(self.oldest_root, self.parents[block]))

    def milestone(self, index: int, now: int, parents: tuple[bytes, ...]) -> Outcome:
        order: list[bytes] = []
        for parent in parents:
            self._walk(parent, order)
        applied = [block for block in order if self._apply(block, now)]
        self.referenced |= dict.fromkeys(order, index)
        return Outcome(tuple(order), tuple(applied), root(order), root(applied))

    def _walk(self, block: bytes, order: list[bytes]) -> None:
        if block == GENESIS or block in self.referenced or block in order:
            return
        for parent in self.parents[block]:
            self._walk(parent, order)
        order.append(block)

    def _apply(self, block: bytes, now: int) -> bool:
        payment = self.payments.get(block)
        if payment is None or not self._holds(payment, now):
            return False
        for item in payment.inputs:
            assert item not in self.spent
            self.spent.add(item)
            del self.unspent[item]
        self.unspent |= dict(payment.makes)
        return True

    def _holds(self, payment: Payment, now: int) -> bool:
        if any(item not in self.unspent for item in payment.inputs):
            return False
        coins = [self.unspent[item] for item in payment.inputs]
        made = [coin for _, coin in payment.makes]
        owed: dict[bytes, int] = defaultdict(int)
        for coin in coins:
            if coin.owes and coin.creditor != coin.unlocker(now):
                owed[coin.creditor] += coin.owes
        paid: dict[bytes, int] = defaultdict(int)
        for coin in made:
            if coin.is_plain:
                paid[coin.owner] += coin.units
        return (
            all(coin.opens_at <= now for coin in coins)
            and [coin.unlocker(now) for coin in coins] == list(payment.signers)
            and sum(coin.units for coin in coins) == sum(coin.units for coin in made)
            and all(paid[creditor] >= units for creditor, units in owed.items())
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a milestone references and applies, and the roots over both."""

    order: tuple[bytes, ...]
    applied: tuple[bytes, ...]
    inclusion_root: bytes
    applied_root: bytes


def root(leaves: list[bytes]) -> bytes:
    """The recursion of TIP-4, word by word."""
    if not leaves:
        return _hash(b"")
    if len(leaves) == 1:
        return _hash(b"\x00" + leaves[0])
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return _hash(b"\x01" + root(leaves[:k]) + root(leaves[k:]))


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=32).digest()
