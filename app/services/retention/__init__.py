"""Readings between the borders go when the time to keep them is over (ADR 33)."""
