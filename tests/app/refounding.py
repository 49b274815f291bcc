"""Lets a small district have been founded otherwise: other prices, other links."""

from __future__ import annotations

from typing import Any

from sqlmodel import delete, select

from app.db import Database
from app.store import tariffs
from app.tables import LinkRow, MeteringPointRow, TariffRow, TariffVersionRow


class Refounding:
    """What a district's kit can change of its beginning."""

    database: Database
    homes: dict[str, Any]

    def reprice(self, **prices: int) -> None:
        """Let the district have been founded with other prices."""
        with self.database.write() as session:
            row = session.get_one(TariffRow, "t")
            for name, value in prices.items():
                setattr(row, name, value)
            session.exec(delete(TariffVersionRow))
            tariffs.ensure(session)

    def move_to(self, name: str, role: str, target: str) -> None:
        """Let a home have been bound to another target ever since."""
        with self.database.write() as session:
            point = session.get_one(MeteringPointRow, self.homes[name].point)
            setattr(point, role, target)
            links = select(LinkRow).where(LinkRow.point == point.gsrn, LinkRow.role == role)
            session.exec(links).one().target = target
