"""Receipts: the promise holds for one reading, one district and one key."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from ledger_client import merkle
from metering import canonical
from metering.interval import Interval
from metering.reading import SignedReading, leaf_hash
from metering.receipt import LEAF_PREFIX, Receipt, ReceiptError, climb
from metering.signing import Purpose, public_key, sign

KEY = SigningKey(b"\x05" * 32)
SALT = b"\x03" * 32
INTERVAL = "2026-06-23T09:00:00Z"


def readings(count: int) -> list[SignedReading]:
    return [SignedReading(f'{{"n":{n}}}'.encode(), bytes([n]) * 64) for n in range(count)]


def issue(
    items: list[SignedReading], index: int, district: str = "lindenhof.example"
) -> dict[str, Any]:
    """Issue one reading's receipt as docs/protocol.md says, with the log's own tree."""
    texts = [
        canonical.encode({
            "deadline": 1_782_206_100_000, "district": district, "seal_interval": INTERVAL,
            "leaf": leaf_hash(SALT, item.payload, item.signature).hex(),
        })
        for item in items
    ]  # fmt: skip
    leaves = [merkle.leaf_hash(LEAF_PREFIX + text) for text in texts]
    root = merkle.root(leaves)
    return {
        "index": index, "item": texts[index].decode(), "key": public_key(KEY).hex,
        "path": [step.hex() for step in merkle.inclusion_path(leaves, index)], "root": root.hex(),
        "salt": SALT.hex(), "signature": sign(KEY, Purpose.RECEIPT, root).hex(), "size": len(items),
    }  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31])
def test_every_receipt_of_a_batch_holds_for_its_own_reading_only(size: int) -> None:
    items = readings(size)
    for index, item in enumerate(items):
        receipt = Receipt.parse(issue(items, index))
        assert receipt.check(item, "lindenhof.example", public_key(KEY)) == Interval.parse(INTERVAL)
        assert Receipt.parse(json.loads(receipt.to_json())) == receipt
        with pytest.raises(ReceiptError, match="another leaf"):
            receipt.check(
                items[index - 1] if size > 1 else readings(2)[1],
                "lindenhof.example",
                public_key(KEY),
            )
        with pytest.raises(ReceiptError, match="district"):
            receipt.check(item, "other.example", public_key(KEY))
        with pytest.raises(ReceiptError, match="receipt key"):
            receipt.check(item, "lindenhof.example", public_key(SigningKey(b"\x06" * 32)))


@given(st.integers(1, 40), st.data())
def test_a_wrong_place_length_or_step_leads_elsewhere(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = [merkle.leaf_hash(bytes([n])) for n in range(size)]
    path, root = merkle.inclusion_path(leaves, index), merkle.root(leaves)
    assert climb(leaves[index], index, size, path) == root
    for wrong in ([*path, root], path[:-1], path[1:], [root, *path]):
        if len(wrong) != len(path):
            assert climb(leaves[index], index, size, wrong) is None
    for place in range(len(path)):
        changed = [*path[:place], b"\0" * 32, *path[place + 1 :]]
        assert climb(leaves[index], index, size, changed) != root
    other = data.draw(st.integers(0, size - 1))
    assert (climb(leaves[index], other, size, path) == root) == (other == index)


CHANGES: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda r: r.pop("salt"), "keys"),
    (lambda r: r.update(more=1), "keys"),
    (lambda r: r.update(index=5), "index and size"),
    (lambda r: r.update(index=True), "index and size"),
    (lambda r: r.update(index=0), "path"),
    (lambda r: r.update(path=None), "path"),
    (lambda r: r.update(path=["00"] * 3), "path"),
    (lambda r: r.update(path=["00" * 32] * 54), "path"),
    (lambda r: r.update(root="00" * 32), "path"),
    (lambda r: r.update(salt="00" * 32), "another leaf"),
    (lambda r: r.update(signature="00" * 64), "signature"),
    (lambda r: r.update(signature=7), "signature"),
    (lambda r: r.update(key="00" * 32), "small order"),
    (lambda r: r.update(item=r["item"].replace("0000", "0001")), "path"),
    (lambda r: r.update(item=r["item"] + " "), "item"),
    (lambda r: r.update(item="\ud800"), "surrogates"),
    (lambda r: r.update(item=r["item"].replace("09:00", "09:01")), "item"),
    (lambda r: r.update(item='{"seal_interval":"' + INTERVAL + '"}'), "item"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_refused_receipts(change: Callable[[dict[str, Any]], object], message: str) -> None:
    items = readings(5)
    fields = issue(items, 2)
    change(fields)
    with pytest.raises(ReceiptError, match=message):
        Receipt.parse(fields).check(items[2], "lindenhof.example", public_key(KEY))


def test_a_root_signed_for_another_purpose_is_refused() -> None:
    items = readings(3)
    fields = issue(items, 0)
    fields["signature"] = sign(KEY, Purpose.READING, bytes.fromhex(fields["root"])).hex()
    with pytest.raises(ReceiptError, match="signature"):
        Receipt.parse(fields).check(items[0], "lindenhof.example", public_key(KEY))
