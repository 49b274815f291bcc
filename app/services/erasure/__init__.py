"""Erases a person's readings and leaves the seals and proofs of all others whole (ADR 34)."""
