"""Rows that are going to change: locked, and as they are now."""

from __future__ import annotations

from typing import TypeVar

from sqlmodel import SQLModel
from sqlmodel.sql.expression import SelectOfScalar

Row = TypeVar("Row", bound=SQLModel)


def locked(query: SelectOfScalar[Row]) -> SelectOfScalar[Row]:
    """Return a query that locks its rows and reads them anew.

    A session hands out what it read before, even if it waited for somebody who changed it.
    """
    fresh = query.execution_options(populate_existing=True)
    return fresh.with_for_update(of=query.column_descriptions[0]["entity"])
