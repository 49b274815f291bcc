"""An entry adds up to 0 or does not exist."""

import pytest

from market.journal import Entry, Posting, UnbalancedEntryError, entry_of, receivable, wallet


def test_entries_add_up_to_zero_at_birth():
    assert Entry("r", "k", (Posting("a", 5), Posting("b", -5))).postings[0].micro == 5
    with pytest.raises(UnbalancedEntryError, match="adds up to 1"):
        Entry("r", "k", (Posting("a", 5), Posting("b", -4)))


def test_movements_become_one_posting_per_account():
    entry = entry_of("r", "k", [("b", 3), ("a", -5), ("b", 2), ("c", 1), ("c", -1)])
    assert entry.postings == (Posting("a", -5), Posting("b", 5))
    assert (wallet("p"), receivable("p")) == ("wallet:p", "receivable:p")
