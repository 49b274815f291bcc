"""What the small services of the ledger share: a private folder, bounded requests, one server."""
