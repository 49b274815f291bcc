"""The balance from roll-ups: sums, production meters, and what may be told of how many people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.api import balance as api
from app.api import problems
from app.clock import SimulatedClock
from app.db import Database
from app.services.balance.desk import BalanceDesk
from app.services.house import House
from app.services.keyring import Keyring
from app.settings import Settings
from app.store import balance as store
from app.store import exchange
from app.store.balance import Scope
from app.tables import (
    CertificateMonthRow,
    CorrectionRow,
    DeviceRow,
    EnrolmentRow,
    IntervalRow,
    MeteringPointRow,
    ParticipantRow,
    ProductionRollupRow,
    RollupRow,
    SettledRow,
    SlotRow,
)
from ledger_client.ledger import Ledger
from market.balance import Flows
from market.settled import Span
from metering.interval import Interval
from tests.app.district_kit import tariff
from tests.app.schema import lay_tables
from web.ports import NotFoundError, Role, Sessions, Viewer

NOW = Interval.parse("2026-06-23T20:00:00Z").start_ms
PEOPLE = [f"p{n}" for n in range(1, 8)]
KEY = "2026-06-23T09:00:00Z"


def point(person: str, building: str) -> str:
    return f"{person}-{building or 'x'}"


def rollup(
    start: str, person: str, place: tuple[str, str], import_wh: int, local_wh: int, export_wh: int
) -> RollupRow:
    return RollupRow(
        span="month" if len(start) == 7 else "day",
        start=start,
        point=point(person, place[1]),
        participant=person,
        feeder=place[0],
        building=place[1],
        supplier="",
        balance_party="",
        intervals=2_880,
        estimated=0,
        import_wh=import_wh,
        import_local_wh=local_wh,
        import_own_wh=0,
        import_residual_wh=import_wh - local_wh,
        export_wh=export_wh,
        export_local_wh=0,
        export_own_wh=0,
        export_residual_wh=export_wh,
        peak_import_wh=0,
        peak_export_wh=0,
        wallet_micro=0,
        memo_micro=0,
        saving_micro=1_000,
    )


# Seven people: p1 to p5 on feeder f in two buildings, p6 and p7 alone on feeder g.
PLACES = {
    "p1": ("f", "a"),
    "p2": ("f", "a"),
    "p3": ("f", "b"),
    "p4": ("f", "b"),
    "p5": ("f", "b"),
    "p6": ("g", ""),
    "p7": ("g", ""),
}


def month(name: str, people: Sequence[str] = PEOPLE) -> list[RollupRow]:
    rows = [rollup(name, each, PLACES[each], 100_000, 40_000, 60_000) for each in people]
    return rows + [rollup(f"{name}-05", p, PLACES[p], 100_000, 40_000, 60_000) for p in people]


def house_of(folder: Path, url: str) -> House:
    settings = Settings(data=folder, database_url=url)
    database = Database(url)
    lay_tables(database)
    return House(
        settings, database, cast("Keyring", None), SimulatedClock(NOW), cast("Ledger", None)
    )


def found(house: House, *rows: object) -> None:
    with house.database.write() as session:
        session.add(tariff())
        session.flush()
        for number, name in enumerate(PEOPLE, 1):
            session.add(
                ParticipantRow(id=name, name=name, account=number, address="", credit_limit_micro=0)
            )
        session.flush()
        for name, (feeder, building) in PLACES.items():
            session.add(_point(point(name, building), name, feeder, None))
        session.add(_point("pv", "p1", "f", "production"))
        session.flush()
        session.add_all(rows)


def _point(gsrn: str, owner: str, feeder: str, purpose: str | None) -> MeteringPointRow:
    return MeteringPointRow(
        gsrn=gsrn, name=gsrn, kind="home", feeder=feeder, participant=owner, tariff="t",
        max_power_w=10_000, purpose=purpose,
    )  # fmt: skip


def device(kind: str, at: str, meter: str | None) -> DeviceRow:
    return DeviceRow(
        id=f"{kind}-{at}", point=at, meter_point=meter, name=kind, kind=kind, technology="T01",
        source="F01", capacity_w=1, valid_from="2026-01-01T00:00:00Z",
    )  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = house_of(tmp_path, f"sqlite:///{tmp_path / 'district.db'}")
    yield house
    house.database.close()


def test_the_district_its_places_and_its_days(house: House) -> None:
    found(house, *month("2026-05"), *month("2026-06"))
    page = BalanceDesk(house).page([], "month", "", "", operator=False)
    assert (page.at, page.earlier, page.later) == ("2026-06", "2026-05", None)
    assert page.total is not None
    assert page.total.flows == Flows(
        import_wh=700_000, import_local_wh=280_000, export_wh=420_000, hidden_export_wh=420_000
    )
    assert page.total.saving_micro == 7_000
    assert (page.total.settled, page.total.of) == (2_880, 2_880)
    assert page.before is not None
    assert page.before.flows == page.total.flows
    assert [bar.start for bar in page.bars or ()] == ["2026-06-05"]
    assert page.year is not None
    assert (page.year.positive, page.year.settled) == (None, 2 * 2_880)
    year = BalanceDesk(house).page([], "year", "2026", "", operator=False)
    assert year.total is not None
    assert year.total.flows.import_wh == 1_400_000
    assert [bar.start for bar in year.bars or ()] == ["2026-05", "2026-06"]
    assert BalanceDesk(house).csv([], "month", "", "", operator=True).count(b"\n") == 7


def places(house: House, own: Sequence[str] = (), *, operator: bool = False) -> dict[str, bool]:
    page = BalanceDesk(house).page([(p, p) for p in own], "month", "", "", operator=operator)
    return {
        each.feeder if each.building is None else f"{each.feeder}/{each.building}": each.flows
        is not None
        for each in page.places
    }


def test_what_few_people_did_is_hidden_and_what_would_tell_it(house: House) -> None:
    found(house, *month("2026-06"))
    # Two on feeder g: hidden; then f is the district less g, and hidden with its buildings.
    none = {"f": False, "f/a": False, "f/b": False, "g": False}
    assert places(house) == none
    assert places(house, ["p6"]) == none, "one's own neighbour would be told"
    assert places(house, ["p6", "p7"]) == none | {"f": True, "g": True}
    assert all(places(house, operator=True).values())
    assert all(places(house, PEOPLE).values())


@pytest.mark.parametrize(("count", "told"), [(4, False), (5, True)])
def test_a_month_of_few_is_hidden(house: House, count: int, told: bool) -> None:
    found(house, *month("2026-05", PEOPLE[:count]))
    page = BalanceDesk(house).page([], "month", "2026-05", "", operator=False)
    assert (page.total is not None, page.hidden) == (told, not told)
    assert page.bars is None or told
    own = BalanceDesk(house).page([("p1", "p1")], "month", "2026-05", "p1", operator=False)
    assert own.total is not None
    assert own.total.flows.import_wh == 100_000
    assert (page.year.settled if page.year else None) == (2_880 if told else 0)


def test_one_day_of_few_hides_all_days_of_its_month(house: House) -> None:
    few = [rollup("2026-06-06", p, PLACES[p], 1, 0, 0) for p in PEOPLE[:2]]
    found(house, *month("2026-06"), *few)
    page = BalanceDesk(house).page([], "month", "", "", operator=False)
    assert page.total is not None
    assert page.bars is None
    assert BalanceDesk(house).page([], "month", "", "", operator=True).bars


@pytest.mark.parametrize(
    "at", ["2026-6", "2026-13", "june", "1999-01", "2000-12", "2999-01", "2026-06-01"]
)
def test_a_time_that_is_none(house: House, at: str) -> None:
    found(house)
    with pytest.raises(NotFoundError):
        BalanceDesk(house).page([], "month", at, "", operator=False)
    page = BalanceDesk(house).page([], "month", "", "", operator=False)
    assert (page.began, page.total, page.earlier, page.places) == (False, None, None, [])


def test_production_meters_tell_what_is_self_used(database_url: str, tmp_path: Path) -> None:
    house = house_of(tmp_path, database_url)
    made = ProductionRollupRow(
        span="month", start="2026-06", meter="pv", point="p1-a", intervals=1, estimated=0,
        output_wh=90_000,
    )  # fmt: skip
    claimed = CertificateMonthRow(month="2026-06", participant="p1", claimed_wh=9, avoided_mg=3_267)
    battery = rollup("2026-06", "p5", PLACES["p5"], 100_000, 40_000, 60_000)
    found(house, device("production", "p1-a", "pv"), device("storage", "p5-b", None))
    with house.database.write() as session:
        session.add_all([*month("2026-06", PEOPLE[:4]), battery, made, claimed])
    page = BalanceDesk(house).page([], "month", "2026-06", "", operator=False)
    assert page.total is not None
    flows = page.total.flows
    assert (flows.self_used_wh, flows.cycled_wh) == (30_000, 60_000)
    assert flows.hidden_export_wh == 3 * 60_000, "p2, p3 and p4 have roofs without a meter"
    assert page.total.avoided_mg == 3_267
    _correct_production(house)
    with house.database.read() as session:
        scope = Scope(Span.MONTH, "2026-06", "2026-06")
        sums = store.sums(session, house.settings.tz, scope)
    assert sum(each.flows.self_used_wh for each in sums.values()) == 30_000 + 700 + (800 - 500)
    _ask_for_shares(house)
    house.database.close()


def _correct_production(house: House) -> None:
    """Settle an interval with the production meter, then correct what it counted."""
    with house.database.write() as session:
        session.add(IntervalRow(key=KEY, state="settled", rule="mid-market"))
        session.add(
            EnrolmentRow(
                key="", point="pv", serial="", profile="", epoch=1, valid_from=KEY, log_index=0
            )
        )
        session.flush()
        enrolment = session.get_one(EnrolmentRow, 1)
        session.add(
            SlotRow(
                interval=KEY, point="pv", position=0, enrolment=enrolment.id or 0, tariff="",
                estimated=False, import_wh=3, export_wh=500, salt=b"", count=0,
                readings_root=b"", leaf=b"",
            )
        )  # fmt: skip
        session.flush()
        store.record_production(session, house.settings.tz, KEY)
        session.flush()
        row = session.get_one(ProductionRollupRow, ("month", "2026-06", "pv", "p1-a"))
        assert (row.intervals, row.output_wh) == (2, 90_500)
        row.output_wh += 200
        for version, export_wh in ((1, 900), (2, 800)):
            session.add(
                CorrectionRow(
                    interval=KEY, point="pv", version=version, import_wh=0, export_wh=export_wh,
                    reason="", payload=b"", salt=b"", known_ms=0, log_index=version,
                )
            )  # fmt: skip


def _ask_for_shares(house: House) -> None:
    with house.database.write() as session:
        session.add(_settled())
        session.flush()
        after = Interval.parse(KEY).next().key
        for each in (True, False):
            (share,) = exchange.shares(session, KEY, after, per_interval=each)
            assert (share.start, share.import_wh, share.short_wh) == (KEY * each, 100, None)
        (row,) = exchange.settled_rows(session, KEY, after, ["p1-a"])
        assert exchange.known(session, "p1-a", KEY, KEY) == {KEY: (100, row.export_wh, False)}


class Logins:
    """Sessions with one viewer, who is set."""

    seen: Viewer | None = None

    def viewer(self, _cookie: str | None) -> Viewer | None:
        return self.seen


def _client(house: House, logins: Logins, managed: frozenset[str]) -> TestClient:
    app = FastAPI()
    problems.install(app)
    app.include_router(api.build_router(house, cast("Sessions", logins), managed))
    return TestClient(app)


def test_the_api(house: House) -> None:
    found(house, *month("2026-06"))
    with house.database.write() as session:
        session.add(IntervalRow(key=KEY, state="settled", rule="mid-market"))
        session.flush()
        session.add(_settled())
    logins, ask = Logins(), "/api/v1/balance?from=2026-06"
    client = _client(house, logins, frozenset(PEOPLE))
    # A manager could ask without a name and take off what is known: who is managed is one.
    assert client.get(ask).json()["items"] == []
    assert _client(house, logins, frozenset(sorted(PEOPLE)[:4])).get(ask).json()["items"] == []
    client = _client(house, logins, frozenset(sorted(PEOPLE)[:3]))
    public = client.get(ask).json()
    assert [item["import_wh"] for item in public["items"]] == [700_000]
    assert public["items"][0]["saving_micro"] is None
    assert public["year"]["positive"] is None
    assert client.get(f"{ask}&level=feeder").json()["items"] == []
    assert len(client.get(f"{ask}&span=day").json()["items"]) == 1
    for wrong in (
        "from=june",
        "from=2026-06&to=2026-05",
        "from=2020-01&to=2026-06",
        "from=2999-01",
    ):
        assert client.get(f"/api/v1/balance?{wrong}").status_code == 422
    assert client.get("/api/v1/balance?from=2998-12").json()["items"] == []
    assert client.get(f"{ask}&span=day&level=feeder").status_code == 422
    allocation = "/api/v1/allocation?time=2026-06-23"
    assert client.get(allocation).status_code == 401
    logins.seen = Viewer(Role.MANAGER, None, "")
    client = _client(house, logins, frozenset(PEOPLE))
    assert client.get(f"{ask}&level=building").json()["items"][0]["saving_micro"] == 2_000
    assert client.get(allocation).status_code == 403
    logins.seen = Viewer(Role.OPERATOR, None, "")
    items = client.get(f"{ask}&level=feeder").json()["items"]
    assert [item["saving_micro"] for item in items] == [None, None]
    told = client.get(allocation).json()
    assert (told["lines"][0]["point"], told["totals"][-1]["import_local_wh"]) == ("p1-a", 60)
    assert client.get(f"{allocation}&as=csv").text.count("\n") == 2
    assert client.get("/api/v1/allocation?time=today").status_code == 422


def _settled() -> SettledRow:
    return SettledRow(
        interval=KEY, point="p1-a", participant="p1", supplier="s", balance_party="b", feeder="f",
        building="a", estimated=False, import_wh=100, import_local_wh=60, import_own_wh=0,
        import_residual_wh=40, export_wh=0, export_local_wh=0, export_own_wh=0,
        export_residual_wh=0, saving_micro=0,
    )  # fmt: skip
