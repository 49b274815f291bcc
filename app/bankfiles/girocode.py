"""The text of a payment's QR code: EPC069-12, which bank apps read as "GiroCode"."""

from __future__ import annotations

from app.bankfiles.pain import BankAccount, sepa_text


def girocode(account: BankAccount, reference: str) -> str:
    """Return the code's text: version 2 (no BIC needed), UTF-8, no amount, structured reference.

    The payer's app fills in the account and the reference and asks for the amount.
    """
    lines = ["BCD", "002", "1", "SCT", account.bic, sepa_text(account.name, 70), account.iban]
    return "\n".join([*lines, "", "", reference])
