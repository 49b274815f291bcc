"""Disputes: a participant does not accept a statement's line, and what comes of it."""
