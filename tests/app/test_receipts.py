from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from app.services import receipts
from app.services.ingest import Door
from ledger_client import merkle
from metering.interval import Interval
from metering.receipt import LEAF_PREFIX, Receipt, ReceiptError
from metering.signing import Purpose, public_key, verify
from tests.app.doorway import ORIGIN, START, District

KEY = SigningKey(bytes(31) + b"\7")


def test_item_is_the_protocols() -> None:
    leaf = sha256(b"leaf").digest()
    text = receipts.item(ORIGIN, leaf, "2026-06-23T09:00:00Z", window_ms=1_200_000)
    deadline = Interval.parse("2026-06-23T09:15:00Z").start_ms + 1_200_000
    assert text.decode() == (
        f'{{"deadline":{deadline},"district":"{ORIGIN}","leaf":"{leaf.hex()}",'
        '"seal_interval":"2026-06-23T09:00:00Z"}'
    )


@given(st.integers(1, 130))
def test_every_path_is_that_of_the_plain_tree(size: int) -> None:
    items = [b"%d" % number for number in range(size)]
    leaves = [merkle.leaf_hash(LEAF_PREFIX + each) for each in items]
    signed = receipts.promise(items, KEY)
    assert signed.root == merkle.root(leaves)
    assert signed.size == size
    assert verify(public_key(KEY), Purpose.RECEIPT, signed.root, signed.signature)
    for index, path in enumerate(signed.paths):
        assert path == b"".join(merkle.inclusion_path(leaves, index))


def test_a_stored_receipt_convinces_the_gateway_and_every_changed_one_does_not(
    plain_district: District,
) -> None:
    district = plain_district
    key = public_key(district.receipt_key)
    signed = district.meters[0].chain(5)
    receipt = Receipt.parse(district.send(*signed)[2].receipt)
    assert receipt.check(signed[2], ORIGIN, key) == START
    wrong = {
        "another reading": (receipt, signed[3], ORIGIN, key),
        "another district": (receipt, signed[2], "elsewhere.example", key),
        "another key": (receipt, signed[2], ORIGIN, public_key(KEY)),
        "salt": (replace(receipt, salt=bytes(32)), signed[2], ORIGIN, key),
        "index": (replace(receipt, index=3), signed[2], ORIGIN, key),
        "size": (replace(receipt, size=9), signed[2], ORIGIN, key),
        "path": (replace(receipt, path=receipt.path[:-1]), signed[2], ORIGIN, key),
        "signature": (replace(receipt, signature=bytes(64)), signed[2], ORIGIN, key),
    }
    for changed, reading, origin, pinned in wrong.values():
        with pytest.raises(ReceiptError):
            changed.check(reading, origin, pinned)


def test_a_receipt_survives_a_change_of_the_settings(plain_district: District) -> None:
    """The deadline was signed; later settings must not rewrite it."""
    district = plain_district
    one, two = district.meters[0].chain(2)
    (before,) = district.send(one)
    settings = district.settings.model_copy(update={"grace_s": 7, "seal_s": 7})
    later = Door(district.database, settings, district.receipt_key, district.clock)
    (after,) = later.receive(district.batch(one))
    assert after == before
    (new,) = later.receive(district.batch(two))
    deadlines = [json.loads(each.receipt["item"])["deadline"] for each in (before, new)]
    assert deadlines == [START.end_ms + 1_200_000, START.end_ms + 14_000]
