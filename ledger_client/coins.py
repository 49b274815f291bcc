"""Which coins pay what: few inputs a party, one new coin each, and a treasury that evens out.

Pure rules over unspent outputs ("coins"). A payment moves units between addresses; the treasury is
a party of each and takes what the others leave over. An address leaves a payment with 0 units or
with one new coin of at least the storage deposit, having spent up to two: wallets do not fill up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from ledger_client.ledger import UnspentOutput
from ledger_client.stardust.output import Rent
from ledger_client.wallet import InsufficientFundsError, WalletError, cover, select

PARTY_INPUTS = 2
"""The most coins that one party spends in a payment."""
MOST_INPUTS = 100
"""The most coins that are melted at once; a transaction takes 128."""
CROWDED = 50
"""From so many coins on (gifts, say) a wallet melts them before it takes part in a payment."""
LEAST_UNITS = Rent().plain_deposit()
"""The least that a coin may hold (34 units)."""


class ScatteredCoinsError(WalletError):
    """An address holds its units in too many coins: melt those of ``address`` first."""

    def __init__(self, address: bytes) -> None:
        super().__init__(f"address {address.hex()} holds its units in too many coins: melt them")
        self.address = address


class TreasuryShortError(InsufficientFundsError):
    """The treasury's free coins do not cover a payment: wait for those on their way, or top up."""


@dataclass(frozen=True, slots=True)
class Due:
    """What an address (32 bytes) of a party receives (> 0) or pays (< 0), in units."""

    party: str
    address: bytes
    units: int


@dataclass(frozen=True, slots=True)
class Spending:
    """What one transaction spends, with the owners' addresses, and what it makes."""

    inputs: tuple[tuple[bytes, UnspentOutput], ...]
    outputs: tuple[tuple[bytes, int], ...]


class Purse:
    """The coins that can be spent now, by address; what is taken is not there a second time."""

    def __init__(self, coins: Mapping[bytes, Sequence[UnspentOutput]]) -> None:
        self._coins = {address: list(own) for address, own in coins.items()}

    def coins(self, address: bytes) -> Sequence[UnspentOutput]:
        """Return what is left at an address."""
        return self._coins.get(address, ())

    def units(self, address: bytes) -> int:
        """Return how much is left at an address."""
        return sum(coin.units for coin in self.coins(address))

    def remove(self, spending: Spending) -> None:
        """Take the inputs of a spending away."""
        for address, coin in spending.inputs:
            self._coins[address].remove(coin)


def is_holdable(units: int) -> bool:
    """Return whether an address may be left with so much."""
    return units == 0 or units >= LEAST_UNITS


def takes_nothing(
    dues: Sequence[Due], purse: Purse, earlier: Mapping[bytes, Sequence[int]]
) -> bool:
    """Return whether a payment may go ahead of earlier ones that stand still.

    ``earlier`` has their units by address, in order: what they could pay without it, they can still
    pay after it, each leaving the address with nothing or a whole coin.
    """
    for due in dues:
        was = purse.units(due.address)
        for units in (0, *earlier.get(due.address, ())):
            was += units
            helps = due.units > 0 and not is_holdable(was)
            if not (helps or is_holdable(was + due.units)):
                return False
    return True


def pay(dues: Sequence[Due], purse: Purse, treasury: bytes, wanted: int = 1) -> Spending:
    """Choose the coins of a payment; ``dues`` of one party stand together. Nothing is taken yet.

    The treasury keeps ``wanted`` coins: with more than that, it melts its smallest one in.

    Raises:
        ScatteredCoinsError: an address, or the treasury, has to melt coins first.
        TreasuryShortError: the treasury's coins here would not do.
        InsufficientFundsError: a party's would not.
    """
    inputs: list[tuple[bytes, UnspentOutput]] = []
    outputs: list[tuple[bytes, int]] = []
    for _, own in groupby(dues, key=lambda due: due.party):
        spent, made = _party(list(own), purse)
        inputs += spent
        outputs += made
    need = sum(due.units for due in dues)
    taken = _from_treasury(purse.coins(treasury), need, treasury, wanted)
    inputs += [(treasury, coin) for coin in taken]
    if left := sum(coin.units for coin in taken) - need:
        outputs.append((treasury, left))
    return Spending(tuple(inputs), tuple(outputs))


def _party(
    dues: Sequence[Due], purse: Purse
) -> tuple[list[tuple[bytes, UnspentOutput]], list[tuple[bytes, int]]]:
    """Cover what each address of a party pays; places that stay free melt small coins in."""
    taken: dict[bytes, list[UnspentOutput]] = {due.address: [] for due in dues}
    places = PARTY_INPUTS
    for due in dues:
        if len(purse.coins(due.address)) >= CROWDED:
            raise ScatteredCoinsError(due.address)
        if due.units < 0:
            taken[due.address] += _cover(due.address, purse, -due.units, places)
            places -= len(taken[due.address])
    for due in dues:
        rest = [coin for coin in purse.coins(due.address) if coin not in taken[due.address]]
        swept = select(rest, 0, places)
        places -= len(swept)
        taken[due.address] += swept
    spent = [(address, coin) for address, coins in taken.items() for coin in coins]
    left = ((due.address, _units(taken[due.address]) + due.units) for due in dues)
    return spent, [(address, units) for address, units in left if units]


def _cover(address: bytes, purse: Purse, need: int, places: int) -> Sequence[UnspentOutput]:
    try:
        return cover(purse.coins(address), need, places)
    except InsufficientFundsError as error:
        if purse.units(address) < need or len(purse.coins(address)) < PARTY_INPUTS:
            raise
        raise ScatteredCoinsError(address) from error


def _from_treasury(
    coins: Sequence[UnspentOutput], need: int, treasury: bytes, wanted: int
) -> list[UnspentOutput]:
    """Return the smallest coin that does, else the two largest; nothing where that is enough."""
    ranked = sorted(coins, key=lambda coin: (coin.units, coin.output_id))
    for coin in ranked:
        if is_holdable(coin.units - need):
            spare = [other for other in ranked if other is not coin] if len(coins) > wanted else []
            return [coin, *spare[:1]]
    for taken in (ranked[-2:], []):
        if is_holdable(_units(taken) - need):
            return taken
    if is_holdable(_units(coins) - need) and len(coins) > PARTY_INPUTS:
        raise ScatteredCoinsError(treasury)
    raise TreasuryShortError(need, _units(ranked[-2:]), PARTY_INPUTS)


def melt(
    address: bytes, coins: Sequence[UnspentOutput], needs: Iterable[int] = (), parts: int = 1
) -> Spending:
    """Make ``parts`` even coins out of all there are, the smallest hundred if there are more.

    The first coins are larger by ``needs``, as far as it goes; each holds the storage deposit.
    """
    melted = sorted(coins, key=lambda coin: (coin.units, coin.output_id))[:MOST_INPUTS]
    inputs = tuple((address, coin) for coin in melted)
    sizes = split(_units(melted), needs, parts)
    return Spending(inputs, tuple((address, units) for units in sizes))


def split(total: int, needs: Iterable[int], parts: int) -> list[int]:
    """Split units into at most ``parts`` coins: one per need that fits, the rest evenly."""
    sizes: list[int] = []
    left = total
    for need in needs:
        if need + LEAST_UNITS <= left and len(sizes) < parts:
            sizes.append(need + LEAST_UNITS)
            left -= need + LEAST_UNITS
    while len(sizes) < parts and left >= LEAST_UNITS:
        sizes.append(LEAST_UNITS)
        left -= LEAST_UNITS
    share, odd = divmod(left, len(sizes))
    return [size + share + (odd if number == 0 else 0) for number, size in enumerate(sizes)]


def _units(coins: Iterable[UnspentOutput]) -> int:
    return sum(coin.units for coin in coins)
