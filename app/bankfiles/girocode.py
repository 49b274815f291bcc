"""The text of a payment's QR code: EPC069-12, which bank apps read as "GiroCode"."""

from __future__ import annotations

from app.bankfiles.amounts import euros
from app.bankfiles.pain import BankAccount, sepa_text


def girocode(account: BankAccount, reference: str, micro: int = 0) -> str:
    """Return the code's text: version 2 (no BIC needed), UTF-8, structured reference.

    The payer's app fills in the account, the reference and the amount, micro-euros in whole cents;
    without one (0) it asks for it.
    """
    lines = ["BCD", "002", "1", "SCT", account.bic, sepa_text(account.name, 70), account.iban]
    amount = f"EUR{euros(micro)}" if micro else ""
    return "\n".join([*lines, amount, "", reference])
