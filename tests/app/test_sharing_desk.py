"""What the sharing pages are told of a district that shares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.services.sharing import keys
from app.services.sharing.desk import SharingDesk
from tests.app.district_kit import Kit
from tests.app.sharing_kit import TOMORROW, csv, key_file, sharing_kit
from web.ports.sharing import KeysRefusedError, Today

ROWS = (
    "<solar>,2026-06-24,static,again,90000,<flat>,500000",
    "<solar>,2026-06-24,static,again,90000,<shop>,300000",
    "<roof>,2026-06-24,equal,,90000,<flat>,",
    "<roof>,2026-06-24,equal,,90000,<solar>,",
)
DAY_AFTER = "2026-06-25"


@pytest.fixture
def kit(database_url: str, tmp_path: Path) -> Iterator[Kit]:
    yield from _first_day(tmp_path, database_url)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """For what leaves no trace."""
    folder = tmp_path_factory.mktemp("plain")
    yield from _first_day(folder, f"sqlite:///{folder / 'district.db'}")


def _first_day(folder: Path, url: str) -> Iterator[Kit]:
    """Two quarter-hours into the first day of sharing; another key is to come."""
    kit = sharing_kit(folder, url)
    keys.take(kit.house, "june.csv", csv(kit, ROWS))
    kit.live(solar=(0, 5_000))  # yesterday
    for _ in range(2):
        kit.live(solar=(0, 1_000), roof=(0, 300), flat=(200, 0), shop=(900, 0))
    later = [row.replace(TOMORROW, DAY_AFTER) for row in ROWS[2:]]
    keys.take(kit.house, "later.csv", csv(kit, later))
    yield kit
    kit.check()
    kit.close()


def test_what_the_pages_are_told(kit: Kit) -> None:
    desk = SharingDesk(kit.house)
    page = desk.page()
    # In each quarter-hour flat takes 125 Wh of solar's and 75 of roof's, since they offer 500 and
    # 300; shop takes its 300 and in the second round the 375 that flat left.
    assert page.active
    assert page.today == desk.today()
    assert page.today.day == TOMORROW
    assert page.today.surplus_wh == 2 * 1_300
    by_roof = {version.roof: version for version in page.of("holds")}
    solar, roof = by_roof["solar"], by_roof["roof"]
    assert [(line.name, line.ppm) for line in solar.members] == [
        ("flat", 500_000), ("shop", 300_000)
    ]  # fmt: skip
    assert [(line.name, line.ppm) for line in roof.members] == [
        ("solar", 500_000), ("flat", 500_000)
    ]  # fmt: skip
    assert solar.unowned_ppm == 200_000
    assert solar.today is not None
    assert roof.today is not None
    assert [line.today_wh for line in solar.members] == [2 * 125, 2 * 675]
    assert [line.today_wh for line in roof.members] == [0, 2 * 75]
    assert (solar.today.shared_wh, roof.today.shared_wh) == (2 * 800, 2 * 75)
    assert page.today.shared_wh == 2 * 875
    (to_come,) = page.of("to-come")
    assert (to_come.roof, to_come.day, to_come.today) == ("roof", DAY_AFTER, None)


def test_a_participant_sees_their_own(plain: Kit) -> None:
    desk = SharingDesk(plain.house)
    own = desk.own("flat")
    assert [(share.roof, share.ppm, share.to_come) for share in own.shares] == [
        ("Roof A", 500_000, False), ("Roof B", 500_000, False), ("Roof B", 500_000, True)
    ]  # fmt: skip
    assert sum(share.today_wh for share in own.shares) == 400
    assert own.roofs == []
    (first,) = desk.own("solar").roofs
    assert (first.name, first.members, first.owned_ppm) == ("solar", 2, 800_000)
    assert first.today is not None
    assert first.today.surplus_wh == 2_000
    nobody = desk.own("lone")
    assert (nobody.shares, nobody.roofs) == ([], [])


def test_the_file_of_todays_keys_can_be_taken_in_again(kit: Kit) -> None:
    desk = SharingDesk(kit.house)
    content = desk.keys_csv()
    with pytest.raises(KeysRefusedError, match="withdraw it first"):
        desk.confirm("again.csv", content)
    (to_come,) = desk.page().of("to-come")
    assert desk.undo(to_come.number or 0) == 1
    planned = desk.preview("again.csv", content).versions
    before = {version.roof: version for version in desk.page().of("holds")}
    assert {version.roof: version.replaces for version in planned} == {
        roof: version.number for roof, version in before.items()
    }
    assert desk.confirm("again.csv", content) == 2
    after = desk.page().of("to-come")
    assert {version.roof: [line.ppm for line in version.members] for version in after} == {
        roof: [line.ppm for line in version.members] for roof, version in before.items()
    }
    # What came in one file is undone together; what is undone or holds is not undone again.
    assert desk.undo(after[0].number or 0) == 2
    assert desk.page().of("to-come") == []
    for number in (after[0].number, before["solar"].number, 99):
        with pytest.raises(KeysRefusedError):
            desk.undo(number or 0)


def test_long_lists_of_mistakes_are_cut(plain: Kit) -> None:
    rows = [f"<solar>,{DAY_AFTER},static,,,<flat>,{n}x" for n in range(30)]
    with pytest.raises(KeysRefusedError) as refused:
        SharingDesk(plain.house).preview("keys.csv", csv(plain, rows))
    assert len(refused.value.reasons) == 21
    assert refused.value.reasons[-1] == "and 10 more"


def test_a_district_with_a_market_has_nothing_to_show(tmp_path: Path, sqlite_url: str) -> None:
    kit = sharing_kit(tmp_path, sqlite_url, changes={"mode": "metered"})
    keys.take(kit.house, "june.csv", key_file(kit, [("flat", 5)]))
    kit.live()
    kit.live(solar=(0, 900), flat=(300, 0))
    page = SharingDesk(kit.house).page()
    assert (page.active, page.today) == (False, Today(TOMORROW, 0, 0))
    assert [version.state for version in page.versions] == ["holds"]
    kit.close()
