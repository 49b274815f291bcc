"""What the ledger's pages show, read through a LedgerReader: :class:`web.ports.ledger.LedgerViews`.

A ledger that does not answer costs these pages alone: it is asked again after a pause only, so that
pages that refresh themselves do not queue up behind its time-out.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final

from app.clock import wall_ms
from app.services import ledger_trace
from app.services.founding import treasury_address
from app.services.house import House
from app.services.ledger_sight import Outputs, Sight, checkpoint, data_view, line, tagged_data
from app.store import people
from ledger_client import verify
from ledger_client.ledger import LedgerError
from ledger_client.reader import BlockRecord, Blocks, LedgerReader, MilestoneRecord
from ledger_client.stardust.bech32 import AddressTextError, decode_address_text
from ledger_client.stardust.signature import is_valid_signature
from web.ports import NotFoundError, Role, Viewer
from web.ports.ledger import (
    AddressPage,
    AnchorView,
    BlockKind,
    BlockPage,
    Dag,
    LedgerPage,
    LedgerSilentError,
    MilestoneLine,
    MilestonePage,
    Signer,
)

DRAWN: Final = 48
LISTED: Final = 200
COINS: Final = 100
_INTERVALS: Final = 12
_PAUSE_S: Final = 5.0
_PATIENCE_S: Final = 3.0
_NO_BLOCKS: Final = Blocks((), complete=True)
_ID = re.compile(r"(?:0[xX])?([0-9a-fA-F]{64}(?:[0-9a-fA-F]{4})?)")
_INDEX = re.compile(r"[0-9]{1,10}")


class LedgerExplorer:
    """The ledger as each viewer may see it. ``managed`` are the participants of the manager."""

    def __init__(
        self, house: House, managed: Collection[str], keys_file: Callable[[], bytes]
    ) -> None:
        self._house = house
        self._managed = managed
        self._keys_file = keys_file
        self._silent_until_s = 0.0
        self._silent_since_ms: int | None = None

    def overview(self, viewer: Viewer, before: int | None, limit: int) -> LedgerPage:
        """Return the network, its milestones and the DAG behind its tips."""
        with self._asking() as reader:
            network = reader.network()
            rows = reader.milestones(before, limit + 1)
            latest = reader.milestone(network.latest_index)
            found = reader.around(None, DRAWN) or _NO_BLOCKS
        if latest is None:
            raise NotFoundError("the ledger has no milestone yet")
        return LedgerPage(
            network=network.name,
            hrp=network.hrp,
            supply_micro=None if viewer.role is Role.OPERATOR else network.supply_units,
            blocks=network.blocks,
            transfers=network.transfers,
            now_ms=wall_ms(),
            latest=_milestone_line(latest),
            milestones=[_milestone_line(row) for row in rows[:limit]],
            more=len(rows) > limit,
            dag=self._dag(found),
        )

    def milestone(self, viewer: Viewer, index: int) -> MilestonePage:
        """Return one milestone; everybody may see all of it."""
        del viewer
        with self._asking() as reader:
            found = reader.milestone(index)
            if found is None:
                raise NotFoundError(f"there is no milestone {index}")
            cone = reader.cone(index, LISTED) or _NO_BLOCKS
            has_next = reader.milestone(index + 1) is not None
        essence = found.milestone.essence
        return MilestonePage(
            line=_milestone_line(found),
            block_id=found.block_id.hex(),
            previous_id=essence.previous_id.hex(),
            parents=[parent.hex() for parent in essence.parents],
            inclusion_root=essence.inclusion_root.hex(),
            applied_root=essence.applied_root.hex(),
            signers=self._signers(found),
            threshold=self._keys().milestones.threshold,
            has_next=has_next,
            cone=self._dag(cone),
            now_ms=wall_ms(),
        )

    def block(self, viewer: Viewer, block_id: str) -> BlockPage:
        """Return one block; of its transaction, what the viewer may see."""
        identifier = bytes.fromhex(block_id)
        sight = self._sight(viewer)
        with self._asking() as reader:
            found = reader.block(identifier)
            if found is None:
                raise NotFoundError(f"there is no block {block_id}")
            around = reader.around(identifier, DRAWN) or _NO_BLOCKS
            children = reader.children(identifier)
            paid = found.transaction
            transaction = sight.transaction(paid, _hasty(reader.output)) if paid else None
            at_ms = _time_of(reader, found)
        keys, data = self._keys(), tagged_data(found)
        shown = line(found, self._house.settings.origin, keys.log)
        return BlockPage(
            line=shown,
            size_bytes=found.size_bytes,
            at_ms=at_ms,
            children=None if children is None else [child.hex() for child in children],
            data=data_view(data) if data and _public(shown.kind, viewer) else None,
            transaction=transaction,
            anchor=self._anchor(found, keys),
            interval=self._interval(found) if shown.kind is BlockKind.PAYMENT else None,
            dag=self._dag(around),
            now_ms=wall_ms(),
        )

    def address(self, viewer: Viewer, address: str) -> AddressPage:
        """Return an address with its outputs, if the viewer may see it."""
        sight = self._sight(viewer)
        try:
            key = decode_address_text(sight.hrp, address)
        except AddressTextError as error:
            raise NotFoundError(str(error)) from error
        if not sight.sees(key):
            raise NotFoundError("the address is not yours")
        with self._asking() as reader:
            found = reader.address(key, COINS)
        return AddressPage(
            address=sight.text(key),
            owner=sight.names.get(key),
            own=viewer.role is Role.PROSUMER,
            others=sight.others(key),
            balance_micro=sum(item.output.units for item in found.unspent),
            unspent=[sight.coin(item) for item in found.unspent],
            complete=found.complete,
            spent=None if found.spent is None else [sight.coin(item) for item in found.spent],
            now_ms=wall_ms(),
        )

    def find(self, viewer: Viewer, text: str) -> str | None:
        """Return where the page of an id, an index or an address is, below ``/ledger``."""
        asked = text.strip()
        match = _ID.fullmatch(asked)
        with self._asking() as reader:
            if match:
                return _find_id(reader, bytes.fromhex(match[1]))
            if _INDEX.fullmatch(asked):
                return f"milestones/{int(asked)}" if reader.milestone(int(asked)) else None
        sight = self._sight(viewer)
        try:
            key = decode_address_text(sight.hrp, asked)
        except AddressTextError:
            return None
        return f"addresses/{sight.text(key)}" if sight.sees(key) else None

    # Inside -------------------------------------------------------------------------------------

    @contextmanager
    def _asking(self) -> Iterator[LedgerReader]:
        """Yield the reader; what keeps it from answering becomes the port's error."""
        reader = self._house.reader
        if reader is None or time.monotonic() < self._silent_until_s:
            raise LedgerSilentError("the ledger does not answer", self._silent_since_ms)
        try:
            yield reader
        except LedgerError as error:
            self._silent_until_s = time.monotonic() + _PAUSE_S
            self._silent_since_ms = self._silent_since_ms or wall_ms()
            raise LedgerSilentError(str(error), self._silent_since_ms) from error
        self._silent_since_ms = None

    def _sight(self, viewer: Viewer) -> Sight:
        own = frozenset({viewer.participant}) if viewer.participant else frozenset[str]()
        shown = self._managed if viewer.role is Role.MANAGER else own
        with self._house.database.read() as session:
            names = {who: row.name for who, row in people.participants(session).items()}
            addresses = ledger_trace.addresses_of(session, shown)
        known = {address: names[participant] for address, participant in addresses.items()}
        treasury = treasury_address(self._house.keyring)
        known.pop(treasury, None)  # whoever may have named it as their own
        if viewer.role is Role.MANAGER:
            known[treasury] = "the treasury"
        return Sight(viewer.role, self._house.settings.hrp, known)

    def _keys(self) -> verify.Keys:
        keys = verify.load_keys(self._keys_file())
        if not isinstance(keys, verify.Keys):
            raise TypeError("the district's own KEYS are those of a ledger alone")
        return keys

    def _dag(self, found: Blocks) -> Dag:
        origin, keys = self._house.settings.origin, self._keys().log
        return Dag([line(block, origin, keys) for block in found.blocks], found.complete)

    def _signers(self, found: MilestoneRecord) -> list[Signer]:
        pinned = {key.key for key in self._keys().milestones.keys if key.holds_for(found.index)}
        return [
            Signer(
                item.public_key.hex(),
                is_valid_signature(item.public_key, found.milestone_id, item.signature),
                item.public_key in pinned,
            )
            for item in found.milestone.signatures
        ]

    def _anchor(self, block: BlockRecord, keys: verify.Keys) -> AnchorView | None:
        """Return the checkpoint of a block with the district's tag, whoever made it."""
        data, origin = tagged_data(block), self._house.settings.origin
        if block.transaction or data is None or data.tag != verify.anchor_tag(origin):
            return None
        found = checkpoint(data, origin, keys.log)
        if found is None:
            return AnchorView(note="", genuine=False)
        content = verify.AnchorData.read(data.data)
        before = content.previous.size if content.previous else 0
        with self._house.database.read() as session:
            intervals, count = ledger_trace.sealed_between(session, before, found.size, _INTERVALS)
        return AnchorView(
            note=content.note,
            genuine=True,
            size=found.size,
            root=found.root.hex(),
            previous_size=before,
            intervals=intervals,
            more_intervals=count - len(intervals),
        )

    def _interval(self, block: BlockRecord) -> str | None:
        data = tagged_data(block)
        identifier = block.transaction.id().hex() if block.transaction else ""
        with self._house.database.read() as session:
            return ledger_trace.interval_settled_by(
                session, identifier, data.data[:32] if data else b""
            )


def _hasty(outputs: Outputs) -> Outputs:
    """Return the look-up, giving up after a while: 128 inputs of a slow node would take minutes."""
    deadline_s = time.monotonic() + _PATIENCE_S
    return lambda output_id: outputs(output_id) if time.monotonic() < deadline_s else None


def _public(kind: BlockKind, viewer: Viewer) -> bool:
    """Return whether tagged data may be shown: a transfer's may name a person or a bank account."""
    return kind is not BlockKind.TRANSFER or viewer.role is Role.MANAGER


def _milestone_line(found: MilestoneRecord) -> MilestoneLine:
    return MilestoneLine(
        found.index, found.milestone_id.hex(), found.timestamp_s * 1000, found.block_count
    )


def _time_of(reader: LedgerReader, block: BlockRecord) -> int | None:
    if block.milestone:
        return block.milestone.essence.timestamp * 1000
    by = reader.milestone(block.referenced_by) if block.referenced_by else None
    return by.timestamp_s * 1000 if by else None


def _find_id(reader: LedgerReader, identifier: bytes) -> str | None:
    """Return the page of a block, milestone, transaction or (34 bytes) output."""
    if len(identifier) > 32:
        output = reader.output(identifier)
        known = output is not None and reader.block(output.block_id)
        return f"blocks/{output.block_id.hex()}" if output and known else None
    if reader.block(identifier):
        return f"blocks/{identifier.hex()}"
    milestone = reader.milestone(identifier)
    if milestone:
        return f"milestones/{milestone.index}"
    carrier = reader.carrier(identifier)
    return f"blocks/{carrier.hex()}" if carrier else None
