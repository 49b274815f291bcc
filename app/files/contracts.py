"""Reads the contracts of ``wattloom clear --contracts``: a CSV, taken whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from app.files.book import MAX_ORDERS, BookFileError, integer, off_tick, rows_of
from market.contracts import Contract, ContractError
from market.money import Price
from metering.quantities import Energy

REQUIRED: Final = ("contract_id", "seller", "buyer", "price_micro_per_kwh", "cap_wh")
OPTIONAL: Final = ("seller_point", "buyer_point")


def read_contracts(path: Path, tick: int = 1) -> tuple[Contract, ...]:
    """Return the contracts of a CSV file: UTF-8, a header, one contract per row.

    Seller and buyer are participants of the book, or of another; a point is one that the book
    names. Every price is a multiple of ``tick`` micro-euros per kWh.

    Raises:
        BookFileError: the file or one of its rows cannot be read; names the row and the field.
    """
    contracts: dict[str, Contract] = {}
    row_of: dict[str, int] = {}
    for number, fields in rows_of(path, REQUIRED, OPTIONAL):
        if len(contracts) == MAX_ORDERS:
            raise BookFileError(f"row {number}: more than {MAX_ORDERS} contracts; split the file")
        price = integer(number, "price_micro_per_kwh", fields)
        if wrong := off_tick(price, tick):
            raise BookFileError(f"row {number}: price_micro_per_kwh {wrong}")
        try:
            contract = Contract(
                fields["contract_id"],
                fields["seller"],
                fields["buyer"],
                Price(price),
                Energy(integer(number, "cap_wh", fields)),
                fields.get("seller_point", ""),
                fields.get("buyer_point", ""),
            )
        except ContractError as error:
            raise BookFileError(f"row {number}: {error}") from error
        first = row_of.setdefault(contract.contract_id, number)
        if first != number:
            raise BookFileError(
                f"row {number}: contract id {contract.contract_id!r} stands in row {first} "
                "already; ids differ"
            )
        contracts[contract.contract_id] = contract
    return tuple(contracts.values())
