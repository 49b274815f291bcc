"""How an interval was cleared, as far as each viewer may see it, and what if."""
