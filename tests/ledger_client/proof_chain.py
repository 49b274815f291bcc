"""A small district, sealed and anchored by hand, for the tests of proofs.

A test bends a :class:`World` and seals it: hashes and signatures then fit, as a dishonest operator
who holds every operator's key would make them, and only the rule that was bent can catch it.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from nacl.signing import SigningKey

from ledger_client import merkle
from ledger_client.checkpoint import (
    Checkpoint,
    anchor_data,
    anchor_tag,
    mldsa_sign,
    sign_note,
)
from ledger_client.log import encode_entry
from ledger_client.proof import (
    Anchor,
    Borders,
    Correction,
    Corrections,
    LogEntry,
    Payment,
    PointProof,
    ReadingProof,
    RosterLeaf,
    SaltedLeaf,
    SettlementProof,
    SignedReading,
    Slot,
    order_leaf,
    reading_leaf,
    receipt_leaf,
    roster_leaf,
    salted_leaf,
    slot_leaf,
    statement_leaf,
    tariff_leaf,
    to_bytes,
)
from ledger_client.verify import Verdict, leaf_hash
from tests.ledger_client.ledger_bytes import (
    NIL,
    blake,
    block,
    key,
    milestone,
    mldsa,
    output,
    public,
    salt,
    tagged,
    text,
    transaction,
    tree,
)
from tests.ledger_client.proof_records import (
    END_MS,
    INTERVAL,
    ORIGIN,
    OTHER,
    ROOF,
    SHOP,
    SILENT,
    START_MS,
    TREASURY,
    WALLET,
    Json,
    Meter,
    line,
    lines_of_the_district,
    metered,
    meters_of_the_district,
    order,
)

COSIGNED_S = END_MS // 1000 + 500


def cosign(head: Checkpoint, name: str, signer: SigningKey, time_s: int) -> str:
    """A witness's signature line, by hand from C2SP tlog-cosignature."""
    root = b64encode(head.root).decode()
    message = f"cosignature/v1\ntime {time_s}\n{head.origin}\n{head.size}\n{root}\n".encode()
    named = sha256(name.encode() + b"\n\4" + bytes(signer.verify_key)).digest()[:4]
    blob = named + time_s.to_bytes(8, "big") + signer.sign(message).signature
    return f"\u2014 {name} {b64encode(blob).decode()}"


@dataclass
class World:
    """Everything of one interval as plain values; bend them, then :meth:`seal`."""

    clock: str = "simulated"
    price: int | None = 120_000
    sealed: Json = field(default_factory=dict)  # what else the seal says, or says otherwise
    anchor_s: int = END_MS // 1000 + 600
    origin: str = ORIGIN
    meters: list[Meter] = field(default_factory=meters_of_the_district)
    metered: list[Json] = field(
        default_factory=lambda: [
            metered(ROOF, "export", 400, 280, 20),
            metered(ROOF, "import", 150, 100, 0),
            metered(SILENT, "export", 0, 0, 0, estimated=1),
            metered(SILENT, "import", 250, 0, 0, estimated=1),
            metered(SHOP, "export", 0, 0, 0),
            metered(SHOP, "import", 20, 0, 20),
        ]
    )
    lines: list[Json] = field(default_factory=lines_of_the_district)
    orders: list[Json] = field(
        default_factory=lambda: [
            order(ROOF, "offer", 80_000, 380),
            order(ROOF, "bid", 200_000, 150),
        ]
    )
    statement: Json = field(default_factory=dict)
    correction: Json = field(default_factory=dict)  # what is bent in the log's entry
    delta: Json = field(default_factory=dict)
    group: bytes = b"\0\0"
    transfers: list[Json] = field(
        default_factory=lambda: [{"address": WALLET.hex(), "micro": 21_600}]
    )
    consumed: list[tuple[bytes, int]] = field(
        default_factory=lambda: [(TREASURY, 10**6), (WALLET, 50_000), (OTHER, 90_000)]
    )
    outputs: list[tuple[bytes, int]] = field(
        default_factory=lambda: [(TREASURY, 10**6), (WALLET, 71_600), (OTHER, 68_400)]
    )
    pay_tag: bytes = b"wattloom-pay-v1"
    pay_root: bytes | None = None
    note_origin: str = ORIGIN
    log_signer: str = "log"
    witnesses: list[str] = field(default_factory=list)
    mldsa_signers: list[str] = field(default_factory=list)
    previous_size: int = 1
    registry_signer: str = "registry"
    tag: bytes = anchor_tag(ORIGIN)
    milestone_signers: list[str] = field(default_factory=lambda: ["coo 1", "coo 3"])
    paying_index: int = 8

    def keys(self, **changes: object) -> bytes:
        pinned = [
            {"from_index": 1, "key": public(f"coo {i}").hex(), "to_index": None if i < 3 else 9}
            for i in (1, 2, 3)
        ]
        value = {
            "log": [public("log").hex()],
            "milestones": {"keys": pinned, "threshold": 2},
            "mldsa": [],
            "origin": ORIGIN,
            "receipts": [public("receipt").hex()],
            "registry": [public("old registry").hex(), public("registry").hex()],
            "version": 1,
            "witnesses": {"keys": [], "threshold": 0},
        }
        return text(value | changes).encode() + b"\n"

    def seal(self) -> bytes:
        return to_bytes(self.settlement())

    def settlement(self) -> SettlementProof:
        return Sealing(self).settlement()

    def single(self) -> bytes:
        return to_bytes(Sealing(self).single())

    def account(self) -> Json:
        """The statement with its sums worked out, then what the test wants otherwise."""
        local = [
            item["micro"] for item in self.lines if item["kind"] in ("local-buy", "local-sell")
        ]
        return {
            "closing_carry_micro": 10 + sum(local) - sum(t["micro"] for t in self.transfers),
            "district": ORIGIN,
            "interval": INTERVAL,
            "lines": self.lines,
            "memo_micro": sum(item["micro"] for item in self.lines) - sum(local),
            "metered": self.metered,
            "opening_carry_micro": 10,
            "participant": "Änna",
            "sum_micro": sum(local),
            "transfers": self.transfers,
        } | self.statement


class Sealing:
    """One pass over a world: trees, log, blocks, and the records of the proof."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.entries = [encode_entry("audit", {"head": salt("audit").hex()})]
        self.enrolments = [self._enrol(meter) for meter in world.meters]
        self._orders()
        self._statements()
        self._slots()
        self._roster()
        self.seal_index = len(self.entries)
        self.entries.append(encode_entry("seal", self._seal()))
        self.entries.append(encode_entry("audit", {"head": salt("audit 2").hex()}))
        self.size = len(self.entries)  # of the log as it was anchored first
        self.entries.append(encode_entry("correction", self._correction()))
        self.log = [leaf_hash(entry) for entry in self.entries]

    def _enrol(self, meter: Meter) -> list[int]:
        first = meter.signer or meter.point
        payloads = {first: meter.enrolled(first, **meter.enrolment)}
        if meter.next_key:
            changes = {"valid_from": "2026-06-23T09:15:00Z"} | meter.rotation
            payloads[meter.next_key] = meter.enrolled(meter.next_key, **changes)
        found = []
        for name, payload in payloads.items():
            message = b"wattloom-enrol-v1\0" + text(payload).encode()
            entry = {
                "enrolment": text(payload),
                "possession": key(name).sign(message).signature.hex(),
                "registry": key(self.world.registry_signer).sign(message).signature.hex(),
            }
            found.append(len(self.entries))
            self.entries.append(encode_entry("enrol", entry))
        return found

    def _orders(self) -> None:
        texts = [text(item) for item in self.world.orders]
        self.order_texts = [text(order("7" * 18, "bid", 1, 1)), *texts]
        self.order_hashes = [leaf_hash(order_leaf(salt(t), t)) for t in self.order_texts]

    def _statements(self) -> None:
        self.statement_texts = [text({"other": 1}), text(self.world.account()), text({"other": 2})]
        self.statement_hashes = [
            leaf_hash(statement_leaf(salt(t), t)) for t in self.statement_texts
        ]
        self.settlement_root = merkle.root(self.statement_hashes)

    def signed(self, payload: Json | None, name: str) -> SignedReading | None:
        if payload is None:
            return None
        signature = key(name).sign(b"wattloom-reading-v1\0" + text(payload).encode()).signature
        return SignedReading(text(payload), salt(text(payload)), signature)

    def _slots(self) -> None:
        self.borders, self.slots, self.leaves = [], [], []
        for meter in self.world.meters:
            name = meter.leaf_signer or meter.signer or meter.point
            opening = self.signed(meter.opening, name)
            closing = self.signed(meter.closing, meter.next_key or name)
            hashes = [leaf_hash(reading_leaf(r)) if r else NIL for r in (opening, closing)]
            own = [hashes[0], salt("in between")] if opening else []
            borders = Borders(hashes[1], len(own), hashes[0], merkle.root(own))
            slot = Slot(borders if opening or closing else None, (), salt(meter.point))
            self.borders.append((opening, closing))
            self.slots.append(slot)
            leaf = slot_leaf(meter.point, INTERVAL, slot.salt, slot.borders)
            self.leaves.append(leaf_hash(leaf))
        self.leaves += [salt("slot 4"), salt("slot 5")]

    def _roster(self) -> None:
        self.roster_texts = []
        for slot, meter in enumerate(self.world.meters):
            enrolled = meter.enrolled(meter.signer or meter.point, **meter.enrolment)
            leaf = {name: enrolled[name] for name in ("epoch", "key", "point", "valid_from")}
            leaf |= {"enrolment": self.enrolments[slot][0], "slot": slot} | meter.roster
            self.roster_texts.append(text(leaf))
        self.roster = [leaf_hash(roster_leaf(item)) for item in self.roster_texts]
        self.roster += [salt("roster 4"), salt("roster 5")]

    def _tariffs(self) -> list[bytes]:
        leaves = [
            tariff_leaf(meter.point, salt(meter.point), text(meter.tariff))
            for meter in self.world.meters
        ]
        return [*map(leaf_hash, leaves), salt("tariff 4"), salt("tariff 5")]

    def _correction(self) -> dict[str, object]:
        """SILENT's estimate of 250 Wh turns out to be 200 Wh drawn, 30 Wh fed in."""
        delta = {
            "district": ORIGIN,
            "export_wh": 30,
            "import_wh": 200,
            "interval": INTERVAL,
            "lines": [
                line("residual-import", SILENT, -50, 301_002, 15_051),
                line("grid-fee", SILENT, -50, 70_000, 3_500),
                line("levy", SILENT, -50, 10_000, 500),
                line("residual-export", SILENT, 30, 80_000, 2_400),
                line("vat", SILENT, -50, 0, 3_620),
            ],
            "point": SILENT,
            "version": 1,
        }
        self.delta = text(delta | self.world.delta)
        return {
            "delta_root": leaf_hash(statement_leaf(salt("delta"), self.delta)).hex(),
            "district": ORIGIN,
            "interval": INTERVAL,
            "new_leaf": salt("new leaf").hex(),
            "old_leaf": self.leaves[1].hex(),
            "reason": "the meter is back",
            "slot": 1,
        } | self.world.correction

    def corrections(self, items: int = 1) -> Corrections:
        """The correction under a checkpoint over the whole log."""
        index = len(self.log) - 1
        item = Correction(self.delta, self.entry(index, index + 1), salt("delta"))
        return Corrections(self.anchor(index + 1), (item,) * items)

    def _seal(self) -> dict[str, object]:
        counts = {"estimated": 1, "missing": 1, "orders": len(self.order_texts)}
        counts |= {"readings": 4, "statements": len(self.statement_texts), "trades": 3}
        return {
            "clock": self.world.clock,
            "counts": counts,
            "district": self.world.origin,
            "engine_version": "0.1.0",
            "interval": INTERVAL,
            "late_root": merkle.EMPTY_ROOT,
            "order_root": merkle.root(self.order_hashes),
            "price": self.world.price,
            "roster_root": merkle.root(self.roster),
            "roster_size": len(self.roster),
            "rule": "mid-market",
            "settlement_root": self.settlement_root,
            "tariff_hash": merkle.root(self._tariffs()),
            "tree_root": merkle.root(self.leaves),
        } | self.world.sealed

    def entry(self, index: int, size: int = 0) -> LogEntry:
        body = self.entries[index].partition(b"\0")[2].decode()
        log = self.log[: size or self.size]
        return LogEntry(body, index, tuple(merkle.inclusion_path(log, index)))

    def checkpoint(self, size: int = 0) -> Checkpoint:
        log = self.log[: size or self.size]
        return Checkpoint(self.world.note_origin, len(log), merkle.root(log))

    def cosignatures(self, size: int) -> list[str]:
        head = self.checkpoint(size)
        found = [cosign(head, name, key(name), COSIGNED_S) for name in self.world.witnesses]
        return found + [mldsa_sign(head, mldsa(name)) for name in self.world.mldsa_signers]

    def anchored_data(self, size: int = 0) -> bytes:
        note = sign_note(self.checkpoint(size), key(self.world.log_signer))
        return anchor_data(note, Checkpoint(ORIGIN, self.world.previous_size, salt("earlier")))

    def anchor(self, size: int = 0) -> Anchor:
        body = block(tagged(self.world.tag, self.anchored_data(size)))
        root, path = tree([salt("b1"), salt("b2"), blake(body), salt("b3"), salt("b4")], 2)
        time_s, signers = self.world.anchor_s, self.world.milestone_signers
        cosigned = tuple(sorted(self.cosignatures(size)))
        signed = milestone(7, time_s, root, salt("applied"), signers)
        return Anchor(body, signed, path, cosigned)

    def payment(self) -> Payment:
        world = self.world
        consumed = [output(*item) for item in world.consumed]
        outputs = [output(*item) for item in world.outputs]
        root = self.settlement_root if world.pay_root is None else world.pay_root
        body = block(transaction(consumed, outputs, world.pay_tag, root + world.group))
        applied, path = tree([salt("t1"), blake(body)], 1)
        signers = ["coo 1", "coo 2", "coo 3"]
        paid = milestone(world.paying_index, world.anchor_s + 5, salt("incl"), applied, signers)
        return Payment(body, tuple(consumed), paid, path)

    def point(self, slot: int) -> PointProof:
        opening, closing = self.borders[slot]
        return PointProof(
            closing=closing,
            enrolments=tuple(self.entry(index) for index in self.enrolments[slot]),
            opening=opening,
            orders=tuple(
                salted_leaf(item, salt(item), index, self.order_hashes)
                for index, item in enumerate(self.order_texts)
                if json.loads(item)["point"] == self.world.meters[slot].point
            ),
            roster=self.roster_leaf(slot),
            slot=self.slot(slot),
            tariff=RosterLeaf(
                text(self.world.meters[slot].tariff),
                tuple(merkle.inclusion_path(self._tariffs(), slot)),
            ),
        )

    def roster_leaf(self, slot: int) -> RosterLeaf:
        path = merkle.inclusion_path(self.roster, slot)
        return RosterLeaf(self.roster_texts[slot], tuple(path))

    def slot(self, slot: int) -> Slot:
        found = self.slots[slot]
        return Slot(found.borders, tuple(merkle.inclusion_path(self.leaves, slot)), found.salt)

    def settlement(self) -> SettlementProof:
        statement: SaltedLeaf = salted_leaf(
            self.statement_texts[1], salt(self.statement_texts[1]), 1, self.statement_hashes
        )
        return SettlementProof(
            anchor=self.anchor(),
            payments=(self.payment(),) if self.world.transfers else (),
            points=tuple(self.point(slot) for slot in range(len(self.world.meters))),
            seal=self.entry(self.seal_index),
            statement=statement,
        )

    def single(self) -> ReadingProof:
        opening = self.borders[0][0]
        assert opening is not None
        return ReadingProof(
            anchor=self.anchor(),
            enrolment=self.entry(self.enrolments[0][0]),
            index=0,
            path=(salt("in between"),),
            reading=opening,
            roster=self.roster_leaf(0),
            seal=self.entry(self.seal_index),
            slot=self.slot(0),
        )


def receipt(leaf: bytes = NIL, signer: str = "receipt", district: str = ORIGIN) -> Json:
    """A receipt as it stands in an answer to a batch of three."""
    promise = {"deadline": END_MS + 1_200_000, "district": district, "leaf": leaf.hex()}
    item = text(promise | {"seal_interval": INTERVAL})
    hashes = [salt("r1"), leaf_hash(receipt_leaf(item)), salt("r3")]
    root = merkle.root(hashes)
    return {
        "index": 1,
        "item": item,
        "key": public(signer).hex(),
        "path": [part.hex() for part in merkle.inclusion_path(hashes, 1)],
        "root": root.hex(),
        "salt": salt("reading").hex(),
        "signature": key(signer).sign(b"wattloom-receipt-v1\0" + root).signature.hex(),
        "size": 3,
    }


def rotate(world: World) -> None:
    shop = world.meters[2]
    shop.next_key = "new key"
    assert shop.closing is not None
    shop.closing |= {"key": public("new key").hex(), "seq": 1}


def failing_step(verdict: Verdict) -> str:
    """The one step that failed; it is the last."""
    assert [step.ok for step in verdict.steps] == [True] * (len(verdict.steps) - 1) + [False]
    return verdict.steps[-1].name


assert datetime.fromisoformat(INTERVAL).timestamp() * 1000 == START_MS
