"""Derives a month's statements again from what was measured, traded and agreed upon.

An auditor's arithmetic: it shares nothing with the settlement but the parsers of what was signed
and sealed (:mod:`ledger_client.verify`); an import contract holds it to that. The rules are those
of ``docs/money.md``.
"""
