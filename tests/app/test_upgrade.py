"""A district of the first schema goes on with today's code: addresses, coins, money."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from app.db import MIGRATIONS, Database
from app.tables import AddressRow, CoinRow
from tests.app.district_kit import RATE, TOP_UP, Kit, key

TRADE = {"solar": (0, 900), "flat": (300, 0)}
FIRST = "0001"


def downgrade(database: Database) -> None:
    """Take the second revision away again, as if it had never been."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, FIRST)


def tables(database: Database) -> Sequence[str]:
    names = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
        "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    }
    with database.read() as session:
        return list(session.execute(text(names[database.engine.dialect.name])).scalars())


@pytest.mark.parametrize("trouble", ["none", "under way"])
def test_a_district_of_the_first_schema_goes_on(
    database_url: str, tmp_path: Path, trouble: str
) -> None:
    """At rest, or with a signed payment that the ledger has not seen and one only planned."""
    kit = Kit(tmp_path, database_url)
    kit.live(**TRADE)
    kit.ledger.refuses_transfers = trouble != "none"
    kit.live(**TRADE)
    kit.live(**TRADE)
    states = {kit.payments()[f"{key(number)}/0"] for number in (1, 2)}
    assert states == ({"confirmed"} if trouble == "none" else {"signed", "planned"})
    downgrade(kit.database)
    assert "coin" not in tables(kit.database)
    homes, now = kit.homes, kit.clock.now_ms()
    kit.close()

    again = Kit(tmp_path, database_url)
    again.homes = homes
    again.clock.advance_to(now)
    again.check()
    again.worker.run_due()
    assert set(again.payments().values()) == {"confirmed"}
    for _ in range(2):
        again.live(**TRADE)
    assert set(again.payments().values()) == {"confirmed"}
    sold = 5 * 300 * RATE // 1000
    held = {row.participant: row.planned_micro for row in again.rows(AddressRow)}
    assert held == {"solar": TOP_UP + sold, "flat": TOP_UP - sold, "shop": TOP_UP}
    assert {name: each.ledger_micro for name, each in again.accounts().items()} == held
    assert sum(row.units for row in again.rows(CoinRow)) == 10**12
    assert again.prove(key(4), "flat").code == 0
    assert again.prove(key(0), "flat").code == 0
    again.check()
    again.close()
