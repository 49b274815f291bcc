"""What a month's statements are made of where people move and suppliers switch within it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import Session

from app.db import Database
from app.services.statements import gather
from app.services.statements.span import Span
from app.store import journal, statements, tariffs
from app.tables import (
    BillLineRow,
    CertificateMonthRow,
    DistrictRow,
    LinkRow,
    MeteringPointRow,
    ParticipantRow,
    RollupRow,
    SupplierRow,
)
from market.journal import BANK, entry_of, wallet
from market.money import Price
from market.statement_parts import Month
from market.tariffs import Component, Fees, Fixed, Part, Payee, TariffVersion
from tests.app.district_kit import tariff
from tests.app.schema import lay_tables

ZONE = ZoneInfo("Europe/Berlin")
SPAN = Span.of("2026-06", ZONE)
POINT, SUB = "401234500000000050", "401234500000000067"
MOVE = "2026-06-14T08:00:00Z"  # 10:00 on the 14th
SWITCH = "2026-06-19T22:00:00Z"  # midnight to the 20th


def link(role: str, target: str, start: str, end: str | None = None, point: str = POINT) -> LinkRow:
    return LinkRow(
        point=point,
        role=role,
        target=target,
        valid_from=start,
        valid_to=end,
        known_ms=0,
        entered_by="test",
    )


def version(standing: int) -> TariffVersion:
    fees = Fees(Price(0), Price(0), Price(0), Price(90_000))
    return TariffVersion(
        190_000,
        (
            Component(Part.ENERGY, Payee.SUPPLIER, "Energy", Fixed(Price(200_000))),
            Component(Part.GRID_FEE, Payee.GRID, "Grid", Fixed(fees)),
            Component(Part.STANDING, Payee.SUPPLIER, "Basic", Fixed(Price(standing))),
            Component(Part.CAPACITY, Payee.GRID, "Power", Fixed(Price(3_000_000))),
        ),
    )


def rollup(who: str, span: str, start: str, wh: int, supplier: str = "") -> RollupRow:
    zeros = dict.fromkeys(
        (
            "import_local_wh",
            "import_own_wh",
            "export_wh",
            "export_local_wh",
            "export_own_wh",
            "export_residual_wh",
            "peak_export_wh",
            "wallet_micro",
            "memo_micro",
        ),
        0,
    )
    return RollupRow(
        span=span,
        start=start,
        point=POINT,
        participant=who,
        feeder="f",
        building="",
        supplier=supplier,
        balance_party="",
        intervals=4,
        estimated=1,
        import_wh=wh,
        import_residual_wh=wh,
        peak_import_wh=wh,
        saving_micro=wh,
        **zeros,
    )


def bill(who: str, micro: int, supplier: str = "") -> BillLineRow:
    return BillLineRow(
        month="2026-06",
        participant=who,
        point=POINT,
        origin="2026-06",
        kind="residual-import",
        vat_ppm=190_000,
        supplier=supplier,
        lines=4,
        wh=1_000,
        micro=micro,
        low_micro_per_kwh=200_000,
        high_micro_per_kwh=200_000,
    )


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder: Path = tmp_path_factory.mktemp("gather")
    database = Database(f"sqlite:///{folder / 'd.db'}")
    lay_tables(database)
    with database.write() as session:
        session.add(
            DistrictRow(
                origin="d.example",
                name="D",
                zone="Europe/Berlin",
                simulated=False,
                clock_ms=SPAN.end_ms,
                seed=1,
            )
        )
        session.add(tariff())
        session.add(SupplierRow(id="north", name="Nordstrom"))
        for n, who in enumerate(("ada", "ben"), 1):
            session.add(
                ParticipantRow(id=who, name=who, account=n, address="", credit_limit_micro=0)
            )
        session.flush()
        for gsrn, purpose in ((POINT, None), (SUB, "production")):
            session.add(
                MeteringPointRow(
                    gsrn=gsrn,
                    name="Flat",
                    kind="home",
                    feeder="f",
                    participant="ben",
                    tariff="t",
                    max_power_w=9,
                    purpose=purpose,
                )
            )
        session.flush()
        before = "2026-03-01T00:00:00Z"
        session.add_all(
            [
                link("participant", "ada", before, MOVE),
                link("participant", "ben", MOVE),
                link("supplier", "", before, SWITCH),
                link("supplier", "north", SWITCH),
                link("tariff", "t", before),
                link("participant", "ada", before, point=SUB),
                rollup("ada", "month", "2026-06", 1_000),
                rollup("ada", "month", "2026-05", 500),
                rollup("ben", "month", "2026-06", 2_000),
                rollup("ben", "month", "2026-06", 3_000, "north"),
                rollup("ada", "day", "2026-06-02", 1_000),
                rollup("ben", "day", "2026-06-15", 800),
                rollup("ben", "day", "2026-06-20", 600, "north"),
                bill("ada", -200_000),
                bill("ben", -300_000),
                bill("ben", -400_000, "north"),
                CertificateMonthRow(month="2026-06", participant="ben", received_wh=7),
            ]
        )
        tariffs.add(session, "t", date(2026, 1, 1), version(100_000), 0)
        tariffs.add(session, "t", date(2026, 6, 25), version(200_000), 0)
        _book(session)
    yield database
    database.close()


def _book(session: Session) -> None:
    """May's last interval is booked in June; June's top-up is of no interval."""
    may = "2026-05-31T21:45:00Z"
    entries = [
        ("a", "top-up", 5_000, None, SPAN.start_ms - 1),
        ("b", "local", -700, may, SPAN.start_ms + 300_000),
        ("c", "top-up", 40, None, SPAN.start_ms + 1),
        ("d", "local", -60, SPAN.first, SPAN.start_ms + 1_200_000),
    ]
    for ref, kind, micro, key, booked_ms in entries:
        entry = entry_of(ref, kind, [(wallet("ada"), micro), (BANK, -micro)])
        journal.book(session, entry, interval=key, booked_ms=booked_ms)


@pytest.fixture(scope="module")
def months(database: Database) -> Mapping[str, Month]:
    with database.read() as session:
        ground = gather.ground(session, SPAN, SPAN.end_ms)
        return gather.months_of(session, ground, ["ada", "ben"])


def test_a_move_and_a_switch_split_the_sections(months: Mapping[str, Month]) -> None:
    shown = {
        who: [(s.supplier, s.periods, s.energy.import_wh) for s in month.sections]
        for who, month in months.items()
    }
    assert shown == {
        "ada": [("", (("2026-06-01", "2026-06-14"),), 1_000)],
        "ben": [
            ("", (("2026-06-14", "2026-06-19"),), 2_000),
            ("north", (("2026-06-20", "2026-06-30"),), 3_000),
        ],
    }


def test_each_day_is_charged_once_to_who_has_the_point_at_its_end(
    months: Mapping[str, Month],
) -> None:
    standing = {
        who: [(c.account, c.days, c.micro) for c in month.charges if c.kind == "standing"]
        for who, month in months.items()
    }
    assert standing == {
        "ada": [("supplier", 13, -1_300_000)],
        "ben": [
            ("supplier", 6, -600_000),
            ("supplier:north", 5, -500_000),
            ("supplier:north", 6, -1_200_000),
        ],
    }


def test_peaks_are_those_of_the_participants_own_days(months: Mapping[str, Month]) -> None:
    capacity = {
        who: [(c.days, c.micro, c.peaks_w) for c in month.charges if c.kind == "capacity"]
        for who, month in months.items()
    }
    bens = (("2026-06-15", 3_200), ("2026-06-20", 2_400))  # 2.8 kW on average: 8.40 EUR a month
    assert capacity == {
        "ada": [(13, -5_200_000, (("2026-06-02", 4_000),))],
        "ben": [(6, -1_680_000, bens), (5, -1_400_000, bens), (6, -1_680_000, bens)],
    }


def test_the_wallet_goes_by_when_energy_flowed(months: Mapping[str, Month]) -> None:
    ada = months["ada"]
    assert ada.wallet_opening_micro == 5_000 - 700
    assert ada.wallet_movements == [("top-up", 40)]
    assert months["ben"].wallet_opening_micro == 0


def test_savings_and_certificates_are_the_months(months: Mapping[str, Month]) -> None:
    assert (months["ada"].saving_month_micro, months["ada"].saving_year_micro) == (1_000, 1_500)
    assert months["ada"].certificates_wh is None
    assert months["ben"].certificates_wh == {
        "bought_wh": 7,
        "claimed_wh": 0,
        "issued_wh": 0,
        "self_used_wh": 0,
        "sold_wh": 0,
    }


def test_of_a_running_month_only_days_that_are_over_count(database: Database) -> None:
    noon = Span.of("2026-06", ZONE).start_ms + 36 * 3_600_000
    with database.read() as session:
        ground = gather.ground(session, SPAN, noon)
        found = gather.months_of(session, ground, ["ada"])["ada"]
    assert [(c.days, c.days_of_month) for c in found.charges] == [(1, 30), (1, 30)]


def test_a_sub_meter_alone_makes_nobody_a_statement(database: Database) -> None:
    with database.read() as session:
        after = Span.of("2026-07", ZONE)
        assert statements.holders(session, after.first, after.after) == {"ben"}


def test_days_of_autumn_and_spring_have_their_last_interval() -> None:
    oslo = ZoneInfo("Europe/Oslo")
    autumn, spring = Span.of("2026-10", oslo), Span.of("2027-03", oslo)
    assert autumn.last_interval(date(2026, 10, 25)) == "2026-10-25T22:45:00Z"
    assert spring.last_interval(date(2027, 3, 28)) == "2027-03-28T21:45:00Z"
    assert (autumn.end_ms - autumn.start_ms) // 900_000 == 31 * 96 + 4
    assert (len(spring.days), spring.next().month) == (31, "2027-04")
