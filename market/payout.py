"""What the ledger can move of what a participant earns or owes, and to which addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from market.money import Money

STORAGE_DEPOSIT_UNITS: Final = 34  # the least that an output on the ledger may hold


@dataclass(frozen=True, slots=True)
class LedgerAccount:
    """A participant's address (32-byte hash, hex) and its projected balance on the ledger.

    ``older`` holds (address, projected balance) of addresses of earlier months, oldest first: what
    they hold moves on to ``address``.
    """

    address: str
    balance: Money
    older: tuple[tuple[str, Money], ...] = ()

    @property
    def whole(self) -> Money:
        """What all the addresses hold together."""
        return self.balance + Money(sum(balance.micro for _, balance in self.older))


@dataclass(frozen=True, slots=True)
class Transfer:
    """What an address receives (> 0) or pays (< 0) on the ledger."""

    address: str
    micro: int


def payout(want: Money, balance: Money) -> Money:
    """Return the part of ``want`` that the ledger can move now (< 0: is paid by the participant).

    The balance after it is 0 or at least the storage deposit, and never below 0; what cannot be
    moved stays in the carry.
    """
    target = balance + want
    reachable = target == Money(0) or target >= Money(STORAGE_DEPOSIT_UNITS)
    return want if reachable else -balance


def transfers(want: Money, account: LedgerAccount) -> tuple[Transfer, ...]:
    """Empty the older addresses into the current one, together with what can be moved of want."""
    older = account.whole - account.balance
    moved = payout(want, account.whole)
    transfers = [Transfer(address, -balance.micro) for address, balance in account.older]
    transfers.append(Transfer(account.address, (moved + older).micro))
    return tuple(transfer for transfer in transfers if transfer.micro)
