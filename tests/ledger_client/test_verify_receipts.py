"""Receipts against seals: the file alone convicts a dishonest server, and never an honest one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_client import merkle
from ledger_client.log import encode_entry
from ledger_client.proof import SignedReading, Slot, to_bytes
from ledger_client.verify import (
    BareReading,
    Borders,
    LogText,
    SealedLeaves,
    Unsealed,
    canonical,
    leaf_hash,
    main,
    reading_leaf,
    render,
    slot_leaf,
    verify_bytes,
    verify_receipt,
)
from tests.conftest import LONG
from tests.ledger_client.ledger_bytes import key, public, salt, text
from tests.ledger_client.proof_chain import Sealing, World, receipt
from tests.ledger_client.proof_records import (
    END_MS,
    INTERVAL,
    ROOF,
    SHOP,
    SILENT,
    START_MS,
    reading,
)

KEYS = World().keys()
STRANGER = "707057500000000999"


class Server:
    """Takes readings in, promises each to the seal, and seals what it likes."""

    def __init__(self, count: int, late: int = 0, omitted: frozenset[int] = frozenset()) -> None:
        self.readings = [self._sign(number) for number in range(count + late)]
        self.leaves = [leaf_hash(reading_leaf(each)) for each in self.readings]
        kept = [number for number in range(count + late) if number not in omitted]
        self.slot_leaves = [self.leaves[n] for n in kept if n < count]
        self.late = sorted(self.leaves[n] for n in kept if n >= count)
        self.sealing = self._seal()

    @staticmethod
    def _sign(number: int) -> SignedReading:
        payload = text(reading(ROOF, START_MS + 1_000 * number, number + 1, (number, 0)))
        signature = key(ROOF).sign(b"wattloom-reading-v1\0" + payload.encode()).signature
        return SignedReading(payload, salt("reading"), signature)

    def _seal(self) -> Sealing:
        """Seal the roof's slot with the leaves that are kept, and the late ones."""
        world, leaves = World(), self.slot_leaves
        world.sealed["late_root"] = merkle.root(self.late).hex()

        class Kept(Sealing):
            def _slots(self) -> None:
                super()._slots()
                borders = Borders(
                    salt("closing"), len(leaves), salt("opening"), merkle.root(leaves)
                )
                self.slots[0] = Slot(borders, (), self.slots[0].salt)
                leaf = slot_leaf(ROOF, INTERVAL, self.slots[0].salt, borders)
                self.leaves[0] = leaf_hash(leaf)

        return Kept(world)

    def promise(self, number: int) -> bytes:
        """The receipt of a reading, as the gateway keeps it beside what it signed."""
        signed = self.readings[number]
        held = {
            "kind": "receipt",
            "reading": {"payload": signed.payload, "signature": signed.signature.hex()},
            "receipt": receipt(self.leaves[number]),
            "version": 1,
        }
        return text(held).encode() + b"\n"

    def shown(self) -> SealedLeaves:
        """What the server says its seal holds of the roof."""
        return SealedLeaves(
            anchor=self.sealing.anchor(),
            late=tuple(self.late),
            leaves=tuple(self.slot_leaves),
            point=ROOF,
            roster=(self.sealing.roster_leaf(0),),
            seal=self.sealing.entry(self.sealing.seal_index),
            slot=self.sealing.slot(0),
        )


def judged(server: Server, number: int, shown: SealedLeaves | None = None) -> int:
    seal = canonical(shown or server.shown()) + b"\n"
    return verify_receipt(server.promise(number), KEYS, seal).code


# --- Kept and broken ----------------------------------------------------------------------------


@settings(max_examples=4_000 if LONG else 10)
@given(st.data())
def test_a_server_is_convicted_for_what_it_omits_and_for_nothing_else(data: st.DataObject) -> None:
    count, late = data.draw(st.integers(1, 9)), data.draw(st.integers(0, 4))
    omitted = data.draw(st.frozensets(st.integers(0, count + late - 1)))
    server = Server(count, late, omitted)
    for number in range(count + late):
        assert judged(server, number) == (3 if number in omitted else 0)


def test_what_is_said_of_an_omission() -> None:
    server = Server(3, 1, frozenset({1}))
    verdict = verify_receipt(server.promise(1), KEYS, canonical(server.shown()))
    said = render(verdict)
    assert f"the seal of {INTERVAL} holds the leaf neither in the slot of {ROOF}" in said
    assert "this file and the receipt show it to anybody" in said
    assert said.endswith("The promise WAS BROKEN.")
    kept = render(verify_receipt(server.promise(3), KEYS, canonical(server.shown())))
    assert "kept: the leaf stands in the tree of late readings" in kept


@pytest.mark.parametrize("number", [0, 3])
def test_no_leaf_can_be_hidden_or_added_afterwards(number: int) -> None:
    """Neither can a server that sealed honestly be accused, nor a dishonest one be helped."""
    server = Server(3, 1)
    fewer = replace(server.shown(), leaves=tuple(server.slot_leaves[1:]), late=())
    assert judged(server, number, fewer) == 1
    liar = Server(3, 1, frozenset({number}))
    more = replace(liar.shown(), leaves=tuple(server.slot_leaves), late=tuple(server.late))
    assert judged(liar, number, more) == 1


def test_a_point_without_a_slot_is_shown_to_have_none() -> None:
    """The roster is sorted: two neighbours leave no place between them."""
    server = Server(1)
    sealing = server.sealing
    stranger = SealedLeaves(
        anchor=sealing.anchor(),
        late=(),
        leaves=(),
        point="707057500000000020",
        roster=(sealing.roster_leaf(0), sealing.roster_leaf(1)),
        seal=sealing.entry(sealing.seal_index),
        slot=None,
    )
    assert verify_bytes(to_bytes(stranger), KEYS).code == 0
    for point, places in ((ROOF, (0, 1)), (SILENT, (0, 2)), (STRANGER, (2,)), (SHOP, (1,))):
        roster = tuple(sealing.roster_leaf(place) for place in places)
        found = verify_bytes(to_bytes(replace(stranger, point=point, roster=roster)), KEYS)
        assert (found.code, found.steps[-1].name) == (1, "roster")


UNJUDGED = {
    "a bare receipt": lambda s: (text(receipt(s.leaves[0])).encode(), s.shown()),
    "another seal": lambda s: (_of_another_interval(s), s.shown()),
}


def _of_another_interval(server: Server) -> bytes:
    held = json.loads(server.promise(0))
    item = json.loads(held["receipt"]["item"]) | {"seal_interval": "2026-06-23T09:15:00Z"}
    one = receipt(server.leaves[0])
    leaf = leaf_hash(b"wattloom-leaf-receipt-v1\0" + text(item).encode())
    root = merkle.root([salt("r1"), leaf, salt("r3")])
    path = merkle.inclusion_path([salt("r1"), leaf, salt("r3")], 1)
    signature = key("receipt").sign(b"wattloom-receipt-v1\0" + root).signature.hex()
    held["receipt"] = one | {
        "item": text(item),
        "path": [part.hex() for part in path],
        "root": root.hex(),
        "signature": signature,
    }
    return text(held).encode()


@pytest.mark.parametrize("case", UNJUDGED.values(), ids=UNJUDGED)
def test_what_cannot_be_judged(case) -> None:
    server = Server(2, 0, frozenset({0}))
    held, shown = case(server)
    assert verify_receipt(held, KEYS, canonical(shown)).code == 2


def test_a_proof_of_the_reading_shows_that_it_was_kept() -> None:
    sealing = Sealing(World())
    opening = sealing.borders[0][0]
    assert opening is not None
    one = text(receipt(leaf_hash(reading_leaf(opening)))).encode()
    assert verify_receipt(one, KEYS, to_bytes(sealing.single())).code == 0
    other = text(receipt(salt("another"))).encode()
    assert verify_receipt(other, KEYS, to_bytes(sealing.single())).code == 2


# --- No seal at all -----------------------------------------------------------------------------


class Unfinished(Sealing):
    """A log that was anchored before the interval's end, and later again."""

    def __init__(self, seal_it: bool, later_s: int) -> None:
        world = World(clock="real", anchor_s=END_MS // 1000 - 60)
        super().__init__(world)
        old = self.entries[: self.seal_index]
        added = [encode_entry("audit", {"head": salt(f"a{n}").hex()}) for n in range(3)]
        if seal_it:
            added.insert(1, self.entries[self.seal_index])
        self.entries = old + added
        self.log = [leaf_hash(entry) for entry in self.entries]
        before = self.anchor(len(old))
        world.anchor_s = later_s
        self.file = Unsealed(
            after=self.anchor(len(self.log)),
            before=before,
            entries=tuple(_text_of(entry) for entry in added),
            frontier=tuple(_frontier(self.log[: len(old)])),
        )


def _text_of(entry: bytes) -> LogText:
    prefix, _, body = entry.partition(b"\0")
    return LogText(body.decode(), prefix.decode().split("-")[2])


def _frontier(leaves: list[bytes]) -> list[bytes]:
    found = []
    while leaves:
        size = 1 << (len(leaves).bit_length() - 1)
        found.append(merkle.root(leaves[:size]))
        leaves = leaves[size:]
    return found


DEADLINE_S = END_MS // 1000 + 1_200
NO_SEAL = [
    (False, DEADLINE_S + 1, 3),
    (False, DEADLINE_S, 1),  # it may still come
    (True, DEADLINE_S + 1, 2),  # there is one: ask for its leaves
]


@pytest.mark.parametrize(("seal_it", "later_s", "code"), NO_SEAL)
def test_a_deadline_that_passed_without_a_seal(seal_it: bool, later_s: int, code: int) -> None:
    file = Unfinished(seal_it, later_s).file
    found = verify_receipt(text(receipt()).encode(), KEYS, canonical(file))
    assert found.code == code, render(found)


def test_no_entry_can_be_left_out() -> None:
    file = Unfinished(True, DEADLINE_S + 1).file
    cut = replace(file, entries=(file.entries[0], *file.entries[2:]))
    assert verify_receipt(text(receipt()).encode(), KEYS, canonical(cut)).code == 1


# --- The command --------------------------------------------------------------------------------


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = Server(2, 0, frozenset({1}))
    names = {"keys": KEYS, "seal": canonical(server.shown()), "kept": server.promise(0)}
    names |= {"broken": server.promise(1)}
    for name, content in names.items():
        (tmp_path / name).write_bytes(content)
    paths = {name: str(tmp_path / name) for name in names}
    for name, code in (("kept", 0), ("broken", 3)):
        told = ["--receipt", paths[name], "--seal", paths["seal"], "--keys", paths["keys"]]
        assert main(told) == code
        assert main(["--receipt", paths[name], "--keys", paths["keys"]]) == 0
        assert main([*told, "--json"]) == code
    assert '"code": 3' in capsys.readouterr().out
    for wrong in (["--keys", paths["keys"]], [paths["kept"], "--seal", paths["seal"]]):
        with pytest.raises(SystemExit, match="2"):
            main(wrong)


# --- One number, signed twice -------------------------------------------------------------------


def twice(**changes: object) -> bytes:
    sealing = Sealing(World())
    entry = sealing.entry(sealing.enrolments[0][0]).entry
    values = [reading(ROOF, START_MS, 7, (1, 1)), reading(ROOF, START_MS, 7, (1, 1)) | changes]
    both = [
        BareReading(text(v), key(ROOF).sign(b"wattloom-reading-v1\0" + text(v).encode()).signature)
        for v in values
    ]
    proof = {"entry": entry, "kind": "meter-equivocation", "version": 1}
    return canonical(proof | {"first": both[0], "second": both[1]}) + b"\n"


def test_a_number_signed_twice_is_evidence() -> None:
    said = render(verify_bytes(twice(import_wh=2), KEYS))
    assert f"meter key {public(ROOF).hex()} signed number 7 of epoch 1 twice" in said
    assert said.endswith("The proof HOLDS.")


@pytest.mark.parametrize("change", [{}, {"seq": 8}, {"epoch": 2}, {"point": SHOP}])
def test_what_is_no_evidence(change: dict[str, object]) -> None:
    assert verify_bytes(twice(**change), KEYS).code == 1


def test_every_changed_byte_of_the_evidence_fails() -> None:
    whole = twice(import_wh=2)
    for place in range(0, len(whole), 1 if LONG else 97):
        changed = bytearray(whole)
        changed[place] ^= 1
        assert verify_bytes(bytes(changed), KEYS).code == 1
