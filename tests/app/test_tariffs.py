"""Tariffs in a running district: versions, fees by level, spot, imbalance; nothing of the past."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from sqlmodel import delete

from app.commands.audit import audit
from app.commands.interval_export import export_interval
from app.services.tariffs import prices, sealed, versions
from app.services.tariffs.prices import PriceImportError
from app.services.tariffs.told import lines
from app.services.tariffs.versions import TariffRefusedError
from app.store import leaves, tariffs
from app.tables import DistrictRow, SlotRow, StatementRow, TariffVersionRow
from ledger_client.verify import render
from market.money import Price
from market.tariff_text import written
from market.tariffs import TariffVersion
from metering.interval import Interval
from tests.app.district_kit import START, Kit, key

MakeKit = Callable[..., Kit]
BY_LEVEL = """
vat_percent = 19
[[component]]
part = "energy"
spot_markup_ct_per_kwh = 2
fallback_ct_per_kwh = 20
[[component]]
part = "grid-fee"
ct_per_kwh = {building = 0, feeder = 2, district = 4, outside = 9}
[[component]]
part = "tax"
ct_per_kwh = 2
[[component]]
part = "feed-in"
ct_per_kwh = 8
"""


@pytest.fixture
def make_plain(sqlite_url: str, tmp_path: Path) -> Iterator[MakeKit]:
    kits: list[Kit] = []

    def make(**options: object) -> Kit:
        kits.append(Kit(tmp_path, sqlite_url, **options))
        return kits[-1]

    yield make
    for kit in kits:
        kit.check()
        kit.close()


def by_level() -> TariffVersion:
    return written(tomllib.loads(BY_LEVEL, parse_float=Decimal))


def put(kit: Kit, version: TariffVersion, *, real: bool = True) -> None:
    """Let the district have been founded on this tariff; a real one has no made-up prices."""
    with kit.database.write() as session:
        session.exec(delete(TariffVersionRow))
        tariffs.add(session, "t", date(2026, 6, 23), version, 0)
        for row in session.exec(tariffs.select(DistrictRow)):
            row.simulated = not real


def prices_file(tmp_path: Path, *rows: str, head: str = "start,eur_per_mwh") -> Path:
    file = tmp_path / "day-ahead.csv"
    file.write_text("\n".join([head, *rows]) + "\n", "utf-8")
    return file


def tariff_at(kit: Kit, number: int, name: str = "flat"):
    rows = kit.rows(SlotRow, SlotRow.interval == key(number))
    return next(leaves.tariff_of(row) for row in rows if row.point == kit.homes[name].point)


def test_near_energy_costs_the_fee_of_its_level_and_the_proof_holds(make_plain: MakeKit) -> None:
    """The roof's own house first, then its feeder; the fallback price stands in, people are told.

    Retail 20 + 9 ct, feed-in 8: the building's rate is (8 + 29) / 2, the feeder's (8 + 27) / 2.
    """
    kit = make_plain()
    put(kit, by_level())
    for name in ("solar", "flat"):
        kit.move_to(name, "building", "b1")
    kit.live(solar=(0, 500), flat=(300, 0), shop=(400, 0))
    bought = {
        name: [
            (line["kind"], line["wh"], line["price_micro_per_kwh"])
            for line in kit.statement(key(0), name)["lines"]
            if "local" in line["kind"]
        ]
        for name in ("flat", "shop")
    }
    assert bought == {
        "flat": [("local-buy", 300, 185_000), ("local-fee-building", 300, 0)],
        "shop": [("local-buy", 200, 175_000), ("local-fee-feeder", 200, 20_000)],
    }
    assert {each.level for each in kit.seal(key(0)).hub_prices} == {"building", "feeder"}
    assert len(kit.notices("spot/t/2026-06-23")) == 1
    for name in kit.names:
        verdict = kit.prove(key(0), name)
        assert verdict.code == 0, render(verdict)
    assert all(row.saving_micro >= 0 for row in kit.rows(StatementRow))
    verdict = audit(key(0), export_interval(kit.house, key(0)), kit.keys())
    assert verdict.code == 0, render(verdict)
    assert any("Where points stand" in remark for remark in verdict.remarks)


def test_spot_prices_come_by_file_and_never_for_what_is_metered(
    make_plain: MakeKit, tmp_path: Path
) -> None:
    kit = make_plain()
    put(kit, by_level())
    local = prices_file(tmp_path, "2026-06-23T11:00,85.5", "2026-06-23T12:00,-40")
    found = prices.preview(kit.house, local, "spot", "Europe/Berlin")
    assert (len(found.new), found.changed, found.first) == (8, [], START.key)
    assert prices.listed(kit.house, "spot", "", "3") == []
    prices.enter(kit.house, local, "spot", "Europe/Berlin")
    kit.live(flat=(300, 0))
    assert tariff_at(kit, 0).energy == Price(85_500 + 20_000)
    assert kit.notices("spot/t/2026-06-23") == []
    again = prices_file(tmp_path, "2026-06-23T11:00,85.5", "2026-06-23T12:00,-30.5")
    found = prices.preview(kit.house, again, "spot", "Europe/Berlin")
    assert (len(found.changed), found.same) == (4, 4)
    assert found.changed[0] == (key(4), Price(-40_000), Price(-30_500))
    wrong = prices_file(tmp_path, "2026-06-23T11:00,85", "2026-06-23T12:00,-30.5")
    for step in (prices.preview, prices.enter):
        with pytest.raises(PriceImportError, match=r"row 2: .* is metered already"):
            step(kit.house, wrong, "spot", "Europe/Berlin")
    again = prices_file(tmp_path, "2026-06-23T11:00,85.5", "2026-06-23T12:00,-30.5")
    prices.enter(kit.house, again, "spot", "Europe/Berlin")
    assert prices.listed(kit.house, "spot", key(4), key(4))[0].micro_per_kwh == -30_500


def test_the_demos_curve_is_kept_and_labelled(make_plain: MakeKit) -> None:
    kit = make_plain()
    put(kit, by_level(), real=False)
    kit.live(flat=(300, 0))
    (row,) = prices.listed(kit.house, "spot", "", "3")
    assert (row.interval, row.source) == (key(0), "synthetic")
    assert tariff_at(kit, 0).energy == Price(row.micro_per_kwh + 20_000)


def test_a_version_holds_from_its_day_on_and_never_before(make_plain: MakeKit) -> None:
    kit = make_plain()
    kit.live(flat=(300, 0), solar=(0, 100))
    version = by_level()
    for day in (date(2026, 6, 22), date(2026, 6, 23)):
        with pytest.raises(TariffRefusedError, match="first day that a tariff may change is 2026"):
            versions.add(kit.house, "t", version, day, preview=True)
    tomorrow = versions.next_day(kit.house)
    assert tomorrow == date(2026, 6, 24)
    told = versions.add(kit.house, "t", version, tomorrow, preview=True)
    assert {each.name for each in told.effects} == {"solar", "flat", "shop"}
    flat = next(each for each in told.effects if each.name == "flat")
    assert (flat.month, flat.was_micro) == ("2026-06", round(300 * 310 * 1.19))
    assert flat.becomes_micro is not None
    assert len(versions.listed(kit.house)) == 1
    versions.add(kit.house, "t", version, tomorrow, preview=False)
    with pytest.raises(TariffRefusedError, match="stands already"):
        versions.add(kit.house, "t", version, tomorrow, preview=False)
    with kit.database.read() as session:
        zone = kit.settings.tz
        last, first = (
            tariffs.holding(session, each, zone)[kit.homes["flat"].point]
            for each in ("2026-06-23T21:45:00Z", "2026-06-23T22:00:00Z")
        )
        assert last.version != version.digest
        assert first.version == version.digest == told.digest
        assert tariffs.version_on(session, "t", date(2026, 6, 24)) == version
        with pytest.raises(tariffs.UnknownTariffError):
            tariffs.version_on(session, "u", tomorrow)


def test_points_are_put_on_a_tariff_by_a_link(make_plain: MakeKit) -> None:
    kit = make_plain()
    kit.live(flat=(300, 0))
    point, day = kit.homes["flat"].point, date(2026, 6, 24)
    with pytest.raises(TariffRefusedError, match="no tariff 'new'"):
        versions.assign(kit.house, "new", [point], day, "x", preview=True)
    versions.add(kit.house, "new", by_level(), day, preview=False)
    for preview in (True, False):
        told = versions.assign(kit.house, "new", [point], day, "x", preview=preview)
        assert [each.point for each in told.effects] == [point]
    with pytest.raises(TariffRefusedError):
        versions.assign(kit.house, "new", ["1"], day, "x", preview=False)
    with pytest.raises(TariffRefusedError):
        versions.assign(kit.house, "new", [point], date(2026, 6, 23), "x", preview=False)
    with kit.database.read() as session:
        held = tariffs.holding(session, "2026-06-23T22:00:00Z", kit.settings.tz)
        assert held[point].by_level
        assert sum(each.by_level for each in held.values()) == 1


def test_a_contract_missed_costs_the_imbalance_price(
    make_plain: MakeKit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = make_plain(changes={"imbalance": "price"})
    point = kit.homes["flat"].point
    monkeypatch.setattr(sealed, "_contracted", lambda session, interval: [point])
    file = prices_file(tmp_path, "2026-06-23T09:00Z,-120", "2026-06-23T09:15Z,500")
    prices.enter(kit.house, file, "imbalance")
    kit.live(flat=(300, 0), shop=(100, 0))
    assert tariff_at(kit, 0).imbalance == Price(-120_000)
    assert tariff_at(kit, 0, "shop").imbalance is None
    (first, *_) = kit.statement(key(0), "flat")["lines"]
    assert (first["kind"], first["micro"]) == ("residual-import", 36_000)
    verdict = kit.prove(key(0), "flat")
    assert verdict.code == 0, render(verdict)
    kit.live(flat=(300, 0))
    kit.live(flat=(300, 0))
    assert tariff_at(kit, 2).imbalance is None
    assert len(kit.notices("imbalance/2026-06-23")) == 1


def test_a_folder_from_before_versions_gets_one(make_plain: MakeKit) -> None:
    kit = make_plain()
    with kit.database.write() as session:
        before = tariffs.holding(session, key(0), kit.settings.tz)
        session.exec(delete(TariffVersionRow))
        tariffs.ensure(session)
        tariffs.ensure(session)
        assert tariffs.holding(session, key(0), kit.settings.tz) == before
        (row,) = tariffs.versions(session, "t")
    assert row.first_day == "2026-06-23"


def test_the_sample_is_told_in_words() -> None:
    told = lines(versions.read(Path("docs/samples/tariff.toml")))
    assert told[0].when == "mon-fri 06:00-22:00"
    assert told[0].price == "14.50 ct/kWh"
    assert "building 0.60, feeder 2.40" in next(x for x in told if x.part == "grid-fee").price
    assert [x.price for x in told if x.part == "feed-in"] == [
        "day-ahead price - 0.40 ct/kWh",
        "6.00 ct/kWh",
    ]


def test_what_is_no_tariff_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    vat = b"\xef\xbb\xbfvat_percent = "  # Windows marks UTF-8 so
    for content, says in (
        (b"a = ", "not TOML"),
        (b"\xff", "not TOML"),
        (b"a = 1", "no 'a' here"),
        (b"a = " + b"[" * 50_000, "not TOML"),
        (vat + b"1e999999999", "is absurd"),
        (vat + b"-inf", "is absurd"),
        (vat + b"1e-999999999", "is too fine"),
    ):
        file.write_bytes(content)
        with pytest.raises(TariffRefusedError, match=says):
            versions.read(file)
    file.write_bytes(b"#" * (versions.MAX_BYTES + 1))
    with pytest.raises(TariffRefusedError, match="larger"):
        versions.read(file)
    with pytest.raises(TariffRefusedError, match="cannot read"):
        versions.read(tmp_path / "none.toml")
    with pytest.raises(TariffRefusedError, match="larger"):
        versions.read(Path("/dev/zero"))
    assert Interval.parse(key(0)) == START
