"""A small ledger in memory that satisfies the ledger's port: a bushy DAG with one of everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from tests.web.web_fakes import keys
from web.ports import NotFoundError, Role, Viewer
from web.ports.ledger import (
    AddressPage,
    AnchorView,
    BlockKind,
    BlockLine,
    BlockPage,
    BlockState,
    CoinLine,
    Dag,
    DataView,
    LedgerPage,
    LedgerSilentError,
    MilestoneLine,
    MilestonePage,
    Signer,
    TransactionView,
)

NOW_MS = 1_782_212_400_000
GENESIS = "0" * 64
MILESTONES = 30
OWN_ADDRESS = "rms1qp0v5y4qx2d8u6lq9e3k7w0r5t2n8m4c6a1s9d7f3g5h2j4k6l8z0xydemo"
TREASURY = "rms1treasury"


def hex_id(name: str) -> str:
    return sha256(name.encode()).hexdigest()


def block(
    name: str,
    kind: BlockKind,
    parents: Sequence[str],
    by: int | None,
    *,
    conflict: str | None = None,
    milestone: int | None = None,
) -> BlockLine:
    state = BlockState.CONFLICTING if conflict else BlockState.CONFIRMED
    if by is None and milestone is None:
        state = BlockState.PENDING
    ids = [parent if parent == GENESIS else hex_id(parent) for parent in parents]
    return BlockLine(hex_id(name), kind, state, ids, by, conflict, milestone)


ANCHOR = hex_id("anchor-6")
PAYMENT = hex_id("pay-5")
CONFLICT = hex_id("double-7")
PENDING = hex_id("late-8")


def blocks() -> list[BlockLine]:
    """Milestones 5 to 8 and what lies between them, then what waits."""
    kinds = BlockKind
    return [
        block("m5", kinds.MILESTONE, ["older"], 6, milestone=5),
        block("pay-5", kinds.PAYMENT, ["m5"], 6),
        block("anchor-6", kinds.ANCHOR, ["m5"], 6),
        *(block(f"wide-{n}", kinds.DATA, ["m5"], 6) for n in range(9)),
        block("join", kinds.EMPTY, [f"wide-{n}" for n in range(8)], 6),
        block("m6", kinds.MILESTONE, ["join", "pay-5", "anchor-6", "wide-8"], 7, milestone=6),
        block("pay-7", kinds.TRANSFER, ["m6"], 7),
        block(
            "double-7", kinds.TRANSFER, ["m6", "wide-8"], 7, conflict="an input was spent before"
        ),
        block("odd", kinds.OTHER, ["pay-7"], 7),
        block("m7", kinds.MILESTONE, ["odd", "double-7"], 8, milestone=7),
        block("next", kinds.ANCHOR, ["m7", "pay-5"], 8),
        block("m8", kinds.MILESTONE, ["next"], None, milestone=8),
        block("late-8", kinds.PAYMENT, ["m8"], None),
        block("late-9", kinds.DATA, ["m8", "m7"], None),
    ]


def milestone_line(index: int, count: int | None = 2) -> MilestoneLine:
    at_ms = NOW_MS - (MILESTONES - index) * 10_000
    return MilestoneLine(index, hex_id(f"milestone {index}"), at_ms, count)


def coin(address: str, micro: int | None, *, own: bool = False) -> CoinLine:
    return CoinLine(
        hex_id(f"coin {address} {micro}") + "0000",
        address,
        "Family Weber" if own else None,
        own,
        micro,
        spent_index=7,
        block_id=PAYMENT,
    )


@dataclass
class FakeLedgerViews:
    """The ledger; careless like its brother: it hands amounts to everybody who may see a page."""

    silent: bool = False
    bare: bool = False  # a node over REST, which tells less
    asked: list[str] = field(default_factory=list)

    def overview(self, viewer: Viewer, before: int | None, limit: int) -> LedgerPage:
        self._answer()
        rows = [n for n in range(MILESTONES, 0, -1) if before is None or n < before]
        return LedgerPage(
            network="wattloom-test",
            hrp="rms",
            supply_micro=None if viewer.role is Role.OPERATOR else 10**12,
            blocks=None if self.bare else 61,
            transfers=None if self.bare else 17,
            now_ms=NOW_MS + 3_000,
            latest=milestone_line(MILESTONES),
            milestones=[milestone_line(n, None if self.bare else 2) for n in rows[:limit]],
            more=len(rows) > limit,
            dag=Dag([] if self.bare else blocks(), complete=False),
        )

    def milestone(self, viewer: Viewer, index: int) -> MilestonePage:
        self._answer()
        if index > MILESTONES:
            raise NotFoundError(str(index))
        bad = index == 4
        return MilestonePage(
            line=milestone_line(index),
            block_id=hex_id(f"m{index}"),
            previous_id=hex_id(f"milestone {index - 1}"),
            parents=[GENESIS] if index == 1 else [hex_id("join")],
            inclusion_root=hex_id("inclusion"),
            applied_root=hex_id("applied"),
            signers=[
                Signer(hex_id("city"), holds=not bad, pinned=True),
                Signer(hex_id("grid"), holds=True, pinned=True),
                Signer(hex_id("stranger"), holds=True, pinned=False),
            ],
            threshold=2,
            has_next=index < MILESTONES,
            cone=Dag([] if index == 1 else blocks()[1:13], complete=index != 6),
            now_ms=NOW_MS,
        )

    def block(self, viewer: Viewer, block_id: str) -> BlockPage:
        self._answer()
        lines = {line.block_id: line for line in blocks()}
        if block_id not in lines:
            raise NotFoundError(block_id)
        line = lines[block_id]
        return BlockPage(
            line=line,
            size_bytes=328,
            at_ms=None if line.state is BlockState.PENDING else NOW_MS,
            children=None if self.bare else [ANCHOR, PENDING],
            data=DataView(hex_id("tag"), None, "00ff", None, 700),
            transaction=paid(viewer) if line.kind in PAYS else None,
            anchor=ANCHORS.get(block_id) if line.kind is BlockKind.ANCHOR else None,
            interval=keys()[2] if line.kind is BlockKind.PAYMENT else None,
            dag=Dag(blocks(), complete=True),
            now_ms=NOW_MS,
        )

    def address(self, viewer: Viewer, address: str) -> AddressPage:
        self._answer()
        own = viewer.role is Role.PROSUMER
        if address != OWN_ADDRESS:
            raise NotFoundError(address)
        spent = (coin(OWN_ADDRESS, 40, own=own),)
        return AddressPage(
            address=address,
            owner="Family Weber",
            own=own,
            others=["rms1before"] if own else [],
            balance_micro=96_130,
            unspent=(replace(coin(OWN_ADDRESS, 96_130, own=own), spent_index=None),),
            complete=not self.bare,
            spent=None if self.bare else spent,
            now_ms=NOW_MS,
        )

    def find(self, viewer: Viewer, text: str) -> str | None:
        self._answer()
        self.asked.append(text)
        return {
            PAYMENT: f"blocks/{PAYMENT}",
            hex_id("tx"): f"blocks/{PAYMENT}",
            "6": "milestones/6",
        }.get(text)

    def _answer(self) -> None:
        if self.silent:
            raise LedgerSilentError("down", NOW_MS)


PAYS = {BlockKind.PAYMENT, BlockKind.TRANSFER}
ANCHORS = {
    ANCHOR: AnchorView(
        note="lindenhof.example\n17\nAAAA\n\n— lindenhof.example BBBB\n",
        genuine=True,
        size=17,
        root=hex_id("log"),
        previous_size=15,
        intervals=[keys()[2], keys()[3]],
        more_intervals=4,
    ),
    hex_id("next"): AnchorView(note="", genuine=False),
}


def paid(viewer: Viewer) -> TransactionView:
    if viewer.role is Role.OPERATOR:
        return TransactionView(hex_id("tx"), (), (), 12, 3, amounts_hidden=True)
    own = viewer.role is Role.PROSUMER
    return TransactionView(
        transaction_id=hex_id("tx"),
        inputs=(coin(OWN_ADDRESS, 50_000, own=own), coin(TREASURY, None)),
        outputs=(coin(OWN_ADDRESS, 61_234, own=own),),
        hidden_inputs=1 if own else 0,
        hidden_outputs=11 if own else 0,
        amounts_hidden=False,
    )
