"""Reads the contracts of ``wattloom clear --contracts``: a CSV, taken whole or not at all."""

from __future__ import annotations

from typing import Final

from app.files.book import MAX_ORDERS
from app.files.rows import Source, TableFileError, integer, once, price, rows_of
from market.contracts import Contract, ContractError
from metering.quantities import Energy

REQUIRED: Final = ("contract_id", "seller", "buyer", "price_micro_per_kwh", "cap_wh")
OPTIONAL: Final = ("seller_point", "buyer_point")


def read_contracts(source: Source, tick: int = 1) -> tuple[Contract, ...]:
    """Return the contracts of a CSV file: UTF-8, a header, one contract per row.

    Seller and buyer are participants of the book, or of another; a point is one that the book
    names. Every price is a multiple of ``tick`` micro-euros per kWh.

    Raises:
        TableFileError: the file or one of its rows cannot be read; names the row and the field.
    """
    contracts: dict[str, Contract] = {}
    row_of: dict[str, int] = {}
    for number, fields in rows_of(source, REQUIRED, OPTIONAL):
        if len(contracts) == MAX_ORDERS:
            raise TableFileError(f"row {number}: more than {MAX_ORDERS} contracts; split the file")
        try:
            contract = Contract(
                fields["contract_id"],
                fields["seller"],
                fields["buyer"],
                price(number, "price_micro_per_kwh", fields["price_micro_per_kwh"], tick),
                Energy(integer(number, "cap_wh", fields["cap_wh"])),
                fields.get("seller_point", ""),
                fields.get("buyer_point", ""),
            )
        except ContractError as error:
            raise TableFileError(f"row {number}: {error}") from error
        once(number, "contract", contract.contract_id, row_of)
        contracts[contract.contract_id] = contract
    return tuple(contracts.values())
