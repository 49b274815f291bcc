"""Bundles: cut, passed on, claimed, refused; no certificate is in two of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.certificate import CertificateError, Status
from market.certificate_bundle import Action, Bundle, overlaps, perform, take, take_back
from tests.conftest import LONG

EXAMPLES = 4_000 if LONG else 200
TODAY = "2026-08-01"


def bundle(first=1, last=100, status=Status.ACTIVE, interval="2026-06-23T09:00:00Z", **more):
    values = {"device": "roof", "account": "solar", "expires": "2028-06-23", **more}
    return Bundle(
        issuance=f"roof/{interval}/1",
        interval=interval,
        status=status,
        first=first,
        last=last,
        **values,
    )


def test_an_empty_range_is_refused():
    with pytest.raises(CertificateError, match="no range"):
        bundle(first=5, last=4)


def test_the_oldest_go_first_and_the_last_one_is_cut():
    late = bundle(interval="2026-06-23T09:15:00Z")
    (change, other) = perform(Action.TRANSFER, [late, bundle()], 130, "shop", TODAY)
    assert (change.after.account, change.after.wh, change.rest) == ("shop", 100, None)
    assert (other.after.first, other.after.last, other.rest.first) == (1, 30, 31)
    assert other.rest.account == "solar"


@pytest.mark.parametrize(
    ("action", "to", "status", "beneficiary", "account"),
    [
        (Action.CLAIM, "", Status.CLAIMED, "solar", "solar"),
        (Action.CANCEL, "Summer fair", Status.CANCELLED, "Summer fair", "solar"),
        (Action.WITHDRAW, "", Status.WITHDRAWN, "", "solar"),
        (Action.TRANSFER, "flat", Status.ACTIVE, "", "flat"),
    ],
)
def test_what_an_action_makes_of_them(action, to, status, beneficiary, account):
    (change,) = perform(action, [bundle()], None, to, TODAY)
    after = change.after
    assert (after.status, after.beneficiary, after.account) == (status, beneficiary, account)


@pytest.mark.parametrize(
    ("held", "wh", "says"),
    [
        (
            bundle(status=Status.RESERVED),
            10,
            "100 Wh are reserved until their quarter-hour is final",
        ),
        (
            bundle(status=Status.CLAIMED),
            None,
            "claimed already: a claimed certificate stays claimed",
        ),
        (bundle(status=Status.LOCKED), 1, "locked for the storage"),
        (bundle(status=Status.WITHDRAWN), 1, "withdrawn already"),
        (bundle(expires="2026-07-31"), 1, "100 Wh are expired"),
        (bundle(), 101, "of 101 Wh is not possible: 100 Wh are Active; there are no others"),
        (bundle(), 0, "say at least 1 Wh"),
    ],
)
def test_what_is_not_free_is_refused_with_its_reason(held, wh, says):
    with pytest.raises(CertificateError, match=says):
        perform(Action.CLAIM, [held], wh, "", TODAY)


def test_a_second_claim_is_refused():
    (change,) = perform(Action.CLAIM, [bundle()], None, "", TODAY)
    with pytest.raises(CertificateError, match="claimed already"):
        perform(Action.CLAIM, [change.after], 1, "", TODAY)


def test_overlaps_are_found():
    assert overlaps([bundle(1, 10), bundle(11, 20)]) is None
    assert overlaps([bundle(1, 10), bundle(11, 20), bundle(10, 10)]) is not None


STEP = st.tuples(
    st.sampled_from(list(Action)),
    st.sampled_from("abc"),
    st.sampled_from("abc"),
    st.integers(1, 90),
)


@settings(max_examples=EXAMPLES)
@given(st.lists(STEP, max_size=12))
def test_whatever_is_done_each_certificate_stays_in_one_bundle(steps):
    held = [bundle(account="a"), replace(bundle(account="b"), issuance="roof/x/2")]
    total, claimed = sum(each.wh for each in held), set()
    for action, account, to, wh in steps:
        own = [each for each in held if each.account == account]
        try:
            changes = perform(action, own, wh, to, TODAY)
        except CertificateError:
            continue
        for change in changes:
            held = [
                e
                for e in held
                if (e.issuance, e.first) != (change.before.issuance, change.before.first)
            ]
            held += [change.after, *([change.rest] if change.rest else [])]
        assert sum(change.after.wh for change in changes) == wh
        numbers = {
            (e.issuance, n)
            for e in held
            if e.status is Status.CLAIMED
            for n in range(e.first, e.last + 1)
        }
        assert claimed <= numbers  # a claimed one stays claimed
        claimed = numbers
        assert overlaps(held) is None
        assert sum(each.wh for each in held) == total
    assert Counter(each.status.held for each in held).total() == len(held)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(0, 200))
def test_taking_and_taking_back_cut_exactly(sizes, wh):
    bundles, first = [], 1
    for size in sizes:
        bundles.append(bundle(first, first + size - 1))
        first += size
    for way in (take, take_back):
        parts = list(way(bundles, wh))
        assert sum(part.wh for part, _ in parts) == min(wh, sum(sizes))
        assert overlaps([each for pair in parts for each in pair if each]) is None
