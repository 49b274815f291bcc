"""The ground: Merkle log, checkpoints, the ledger port and its backends. Bytes only."""
