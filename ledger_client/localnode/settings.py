"""What makes a network: name, address prefix, supply, rules, and who signs its milestones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Required, TypedDict, Unpack

from nacl.signing import SigningKey

from ledger_client.localnode.errors import LedgerCorruptError, LedgerSettingsError
from ledger_client.localnode.signing import KeyedSigner, MilestoneSigner
from ledger_client.stardust.codec import StardustSyntaxError
from ledger_client.stardust.output import BasicOutput, Rent
from ledger_client.stardust.transaction import MAX_OUTPUTS
from ledger_client.verify import MilestoneKey, Milestones

MAX_SUPPLY_UNITS = 2**63 - 1


class NodeOptions(TypedDict, total=False):
    """How a node is opened; everything but the genesis has a default.

    Milestones are signed either by ``milestone_keys`` in this process, pinned from index 0 without
    end with ``threshold``, or by ``signer``, whose keys ``pinned`` names.
    """

    genesis: Required[Mapping[bytes, int]]
    milestone_keys: Sequence[SigningKey]
    threshold: int
    signer: MilestoneSigner | None
    pinned: Milestones | None
    network: str
    hrp: str
    milestone_interval_s: float | None
    min_pow_score: int


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """The settings of a node.

    ``genesis`` gives the units of each 32-byte address. ``pinned`` says which keys count for the
    milestone of which index, and how many have to sign; ``signer`` is asked for them. Without
    ``milestone_interval_s`` milestones are issued on demand only. A block that is attached from
    outside needs a proof of work of ``min_pow_score`` (TIP-12); 0 asks for none.
    """

    network: str
    hrp: str
    genesis: Mapping[bytes, int]
    pinned: Milestones
    signer: MilestoneSigner = field(repr=False)
    milestone_interval_s: float | None = None
    min_pow_score: int = 0
    rent: Rent = field(default_factory=Rent)

    def __post_init__(self) -> None:
        distinct = len({item.key for item in self.pinned.keys})
        if not 1 <= self.pinned.threshold <= distinct:
            raise LedgerSettingsError(
                f"{distinct} distinct milestone keys and threshold {self.pinned.threshold}: "
                "give distinct keys, at least as many as the threshold"
            )
        if not 1 <= len(self.genesis) <= MAX_OUTPUTS or self.supply_units > MAX_SUPPLY_UNITS:
            raise LedgerSettingsError("genesis: 1 to 128 addresses, less than 2^63 units together")
        if self.min_pow_score < 0:
            raise LedgerSettingsError("the least proof of work is 0 (none) or more")
        if self.milestone_interval_s is not None and self.milestone_interval_s <= 0:
            raise LedgerSettingsError("the milestone interval is more than 0 s, or none at all")
        try:
            for address, units in self.genesis.items():
                self.rent.check(BasicOutput.to(address, units))
        except StardustSyntaxError as error:
            raise LedgerSettingsError(f"genesis: {error}") from error

    @classmethod
    def of(cls, **options: Unpack[NodeOptions]) -> NodeSettings:
        """Return the settings that the options mean; raises LedgerSettingsError."""
        signer, pinned = options.get("signer"), options.get("pinned")
        keys, threshold = options.get("milestone_keys", ()), options.get("threshold", 1)
        if keys and not signer and not pinned:
            signer, pinned = keyed(keys, threshold)
        elif keys or signer is None or pinned is None:
            raise LedgerSettingsError("give either milestone keys, or a signer and its pinned keys")
        return cls(
            options.get("network", "wattloom-private"),
            options.get("hrp", "wl"),
            options["genesis"],
            pinned,
            signer,
            options.get("milestone_interval_s"),
            options.get("min_pow_score", 0),
        )

    @property
    def supply_units(self) -> int:
        """The sum of the genesis outputs."""
        return sum(self.genesis.values())

    def stored(self) -> dict[str, str]:
        """Return what a database remembers and must find again, by name."""
        rent = (self.rent.v_byte_cost, self.rent.v_byte_factor_data, self.rent.v_byte_factor_key)
        genesis = {address.hex(): units for address, units in sorted(self.genesis.items())}
        return {
            "network": self.network,
            "hrp": self.hrp,
            "rent": json.dumps(rent),
            "genesis": json.dumps(genesis),
        }


def keyed(keys: Sequence[SigningKey], threshold: int) -> tuple[KeyedSigner, Milestones]:
    """Return a signer of this process and its keys, pinned from the first milestone on."""
    public = {bytes(key.verify_key) for key in keys}
    if len(public) != len(keys):
        raise LedgerSettingsError("a milestone key is given twice: give distinct keys")
    pinned = tuple(MilestoneKey(0, key, None) for key in sorted(public))
    return KeyedSigner(keys), Milestones(pinned, threshold)


def stored_genesis(stored: Mapping[str, str]) -> dict[bytes, int]:
    """Return the units of each address that a ledger was founded with.

    Raises LedgerCorruptError.
    """
    try:
        found = json.loads(stored["genesis"])
        return {bytes.fromhex(address): int(units) for address, units in found.items()}
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise _damaged("genesis") from error


def stored_rent(stored: Mapping[str, str]) -> Rent:
    """Return the deposit rule that a ledger was founded with. Raises LedgerCorruptError."""
    try:
        cost, data, key = map(int, json.loads(stored["rent"]))
        return Rent(cost, data, key)
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged("rent") from error


def _damaged(name: str) -> LedgerCorruptError:
    return LedgerCorruptError(f"ledger database: its {name} is unreadable; restore a backup")
