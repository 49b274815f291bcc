"""Enrolments that a gateway brings with a one-time token and that a person confirms."""
