"""Key files: what is refused and why, what is written, withdrawn and told at the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from app.cli import cli
from app.services.sharing import keys
from app.services.sharing.file import (
    MAX_BYTES,
    MAX_ROWS,
    OPTIONAL,
    REQUIRED,
    SharingFileError,
    read_keys,
)
from app.services.sharing.keys import SharingVersionError
from app.tables import SharingMemberRow, SharingVersionRow
from tests.app.district_kit import CEILING, FEED_IN, Kit
from tests.app.sharing_kit import EVE, HEADER, TOMORROW, csv, key_file, refusal, sharing_kit
from tests.conftest import LONG

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """A district for what is refused: nothing is ever written to it."""
    folder = tmp_path_factory.mktemp("quiet")
    kit = sharing_kit(folder, f"sqlite:///{folder / 'district.db'}")
    yield kit
    assert kit.rows(SharingVersionRow) == kit.rows(SharingMemberRow) == []
    kit.close()


@pytest.fixture
def kit(database_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = sharing_kit(tmp_path, database_url)
    yield kit
    kit.close()


@pytest.fixture
def plain(sqlite_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = sharing_kit(tmp_path, sqlite_url)
    yield kit
    kit.close()


# --- What is refused -----------------------------------------------------------------------------

NO_MIDNIGHT = "is no local midnight: write its day, such as 2026-07-01"
# Rows of a file below its header (the header is row 1), and what is said of it.
MISTAKES = {
    "<solar>,2026-06-24,static,,,<flat>,600000\n<solar>,2026-06-24,static,,,<shop>,400001":
        "row 3: with it the shares of solar add up to 1000001 ppm, more than 1000000",
    "<solar>,2026-06-24,static,,,<flat>,-1": "row 2: share_ppm '-1' is no whole number of 0 to",
    "<solar>,2026-06-24,static,,,<flat>,NaN": "row 2: share_ppm 'NaN' is no whole number",
    "<solar>,2026-06-24,static,,,<flat>,": "row 2: share_ppm '' is no whole number",
    "<solar>,2026-06-24,static,,,<flat>,0.5": "row 2: share_ppm '0.5' is no whole number",
    "<solar>,2026-06-24,static,,,<flat>,1e5": "row 2: share_ppm '1e5' is no whole number",
    "<solar>,2026-06-24,static,,,<flat>,١": "row 2: share_ppm '١' is no whole number",
    "<solar>,2026-06-24,static,,,<flat>,1\n\n<solar>,2026-06-24,static,,,<flat>,2":
        "row 4: member flat stands in row 2 already",
    "<solar>,2026-06-24,static,,,<solar>,5": "row 2: a generating point cannot be a member",
    "<solar>,2026-06-24,static,,,570000000000000991,5": "row 2: there is no metering point '57",
    "570000000000000991,2026-06-24,static,,,<flat>,5": "row 2: there is no metering point '57",
    ",2026-06-24,static,,,<flat>,5": "row 2: it names no generator",
    "<solar>,2026-06-24T00:15:00+02:00,static,,,<flat>,5": NO_MIDNIGHT,
    "<solar>,2026-06-24T00:00:00Z,static,,,<flat>,5": NO_MIDNIGHT,
    "<solar>,2026-06-24T00:00:00,static,,,<flat>,5": NO_MIDNIGHT,
    "<solar>,24.06.2026,static,,,<flat>,5": NO_MIDNIGHT,
    "<solar>,2026-02-30,static,,,<flat>,5": NO_MIDNIGHT,
    "<solar>,0001-01-01,static,,,<flat>,5": NO_MIDNIGHT,
    "<solar>,9999-12-31T23:59:59-12:00,static,,,<flat>,5": NO_MIDNIGHT,
    "<solar>,2026-06-23,static,,,<flat>,5": "row 2: 2026-06-23 has begun",
    "<solar>,2000-01-01,static,,,<flat>,5": "row 2: 2000-01-01 has begun",
    "<solar>,2026-06-24,dynamic,,,<flat>,5": "row 2: kind 'dynamic' is none of static, equal, by",
    "<solar>,2026-06-24,static,twice,,<flat>,5": "row 2: unused 'twice' is neither export",
    "<solar>,2026-06-24,equal,again,,<flat>,5": "row 2: only a static key hands unused shares out",
    "<solar>,2026-06-24,static,,0.5,<flat>,5": "row 2: price_micro_per_kwh '0.5' is no whole",
    "<solar>,2026-06-24,static,,1000000001,<flat>,5": "row 2: price_micro_per_kwh '1000000001'",
    f"<solar>,2026-06-24,equal,,{FEED_IN - 1},<flat>,": "row 2: 79999 is below the feed-in price",
    f"<solar>,2026-06-24,equal,,{CEILING + 1},<flat>,": "row 2: 250001 is above 250000, from where",
    "<solar>,2026-06-24,equal,,,<flat>,\n<solar>,2026-06-24,static,,,<shop>,5":
        "row 3: kind, unused and price have to be the same as in row 2",
    "<solar>,2026-06-24,equal,,90000,<flat>,\n<roof>,2026-06-25,equal,,95000,<flat>,":
        "one internal price per district",
    "<solar>,2026-06-24,equal,,,,5": "row 2: it has a share and no member",
    "<solar>,2026-06-24,equal,,,<flat>,\n<solar>,2026-06-24,equal,,,,": "row 3: a row without a",
    "<solar>,2026-06-24,equal,,,,\n<solar>,2026-06-24,equal,,,<flat>,": "row 3: a row without a",
    "<solar>,2026-06-24,static,,,<flat>": "row 2: it has 6 cells, the header has 7",
    '<solar>,2026-06-24,static,,,<flat>,"5': "it is no CSV from here on",
    "<solar>,2026-06-24,static,,,<flat>,5\0": "not printable",
    f"{'x' * 81},2026-06-24,static,,,<flat>,5": "row 2: a cell is longer than 80 characters",
    "": "row 1: no row follows the header",
}  # fmt: skip


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_told_with_their_rows(quiet: Kit, text: str) -> None:
    said = refusal(quiet, csv(quiet, [text]))
    assert len(said) == 1, said
    assert MISTAKES[text] in said[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "row 1: the columns are generator"),
        (HEADER.replace("kind", "sort").encode(), "missing: kind; unknown: sort"),
        (HEADER.encode() + b",kind", "each once"),
        (b"\xff\xfe", "the file is not UTF-8"),
        (b"x" * (MAX_BYTES + 1), "the file has more than 512 KiB"),
        (HEADER.encode() + b"\n" * (MAX_ROWS + 2), f"more than {MAX_ROWS} rows"),
    ],
)
def test_files_that_are_none(quiet: Kit, content: bytes, says: str) -> None:
    assert says in refusal(quiet, content)[0]


def test_every_mistake_is_told_at_once_and_long_lists_are_cut(quiet: Kit) -> None:
    rows = [f"<solar>,2026-06-24,static,,,<flat>,{n}x" for n in range(30)]
    with pytest.raises(SharingFileError, match=r"row 21: .*; and 10 more$") as refused:
        keys.take(quiet.house, "keys.csv", csv(quiet, rows))
    assert [fault.row for fault in refused.value.faults] == list(range(2, 32))


CELL = st.one_of(
    st.sampled_from(["a", "b", "static", "equal", "again", "", "2026-06-24", "5", "-1", ";", '"']),
    st.text(max_size=8),
)


@settings(max_examples=20_000 if LONG else 500)
@given(st.lists(st.lists(CELL, min_size=6, max_size=8), max_size=4), st.sampled_from(",;"))
def test_no_file_does_more_than_being_refused(rows: list[list[str]], mark: str) -> None:
    header = mark.join((*REQUIRED, *OPTIONAL))
    content = "\n".join([header, *(mark.join(row) for row in rows)])
    with suppress(SharingFileError):
        drafts = read_keys(content.encode("utf-8", "replace"), BERLIN)
        assert all(sum(share.ppm for share in draft.key.shares) <= 1_000_000 for draft in drafts)


def test_spellings_that_are_taken(quiet: Kit) -> None:
    text = csv(quiet, ["<solar>;2026-06-24T00:00:00+02:00;static;;;<flat>;5"]).decode()
    first, rest = text.split("\n", 1)
    for given_text in (
        first.replace(",", ";") + "\n" + rest,
        "\ufeff" + first.replace(",", ";").upper() + "\r\n" + rest + "\r\n\r\n",
    ):
        (draft,) = read_keys(given_text.encode(), BERLIN)
        assert draft.start == EVE.next()


# --- What is written -----------------------------------------------------------------------------


def states(kit: Kit) -> list[tuple[int, str, str]]:
    with kit.database.read() as session:
        return [
            (each.number, each.row.valid_from, each.state)
            for each in keys.listed(session, kit.house)
        ]


def test_versions_come_hold_are_replaced_and_withdrawn(kit: Kit) -> None:
    first = key_file(kit, [("flat", 1_000_000)])
    assert [each.replaces for each in keys.preview(kit.house, first)] == [None]
    assert states(kit) == []  # a preview writes nothing
    keys.take(kit.house, "1.csv", first)
    assert refusal(kit, first) == [
        "row 2: version 1 is of solar and this midnight: withdraw it first"
    ]
    second = key_file(kit, [("shop", 500_000)], day="2026-06-25")
    assert [each.replaces for each in keys.preview(kit.house, second)] == [1]
    assert keys.take(kit.house, "2.csv", second) == [2]
    keys.withdraw(kit.house, [2])
    assert keys.take(kit.house, "3.csv", second) == [3]
    kit.live()
    tomorrow, after = "2026-06-23T22:00:00Z", "2026-06-24T22:00:00Z"
    expected = [(1, tomorrow, "holds"), (2, after, "withdrawn"), (3, after, "to-come")]
    assert states(kit) == expected
    for number, says in ((1, "has begun to hold"), (2, "withdrawn already"), (9, "no version 9")):
        with pytest.raises(SharingVersionError, match=says):
            keys.withdraw(kit.house, [3, number])
    assert states(kit) == expected  # all or none
    kit.to(24 * 60 + 15)
    assert states(kit)[::2] == [(1, tomorrow, "replaced"), (3, after, "holds")]
    assert len(kit.rows(SharingMemberRow)) == 3


def test_a_file_is_written_whole_or_not_at_all(plain: Kit) -> None:
    rows = [
        "<solar>,2026-06-24,static,,,<flat>,5",
        "<roof>,2026-06-23,static,,,<flat>,5",
    ]
    assert refusal(plain, csv(plain, rows)) == [
        "row 3: 2026-06-23 has begun: a key holds from a midnight to come"
    ]
    assert plain.rows(SharingVersionRow) == plain.rows(SharingMemberRow) == []


def test_the_keys_of_one_time_have_one_price(plain: Kit) -> None:
    keys.take(plain.house, "1.csv", key_file(plain, [("flat", "")], terms="equal,,90000"))
    other = key_file(
        plain, [("flat", "")], generator="roof", terms="equal,,95000", day="2026-06-25"
    )
    (said,) = refusal(plain, other)
    assert said.startswith("row 2: its price is 95000, and version 1 names 90000 for the same time")
    # Both change from one midnight on, and are undone together; an end has no price.
    rows = [
        "<solar>,2026-06-25,equal,,95000,<flat>,",
        "<roof>,2026-06-25,equal,,95000,<flat>,",
        "<solar>,2026-06-26,equal,,,,",
    ]
    assert keys.take(plain.house, "2.csv", csv(plain, rows)) == [2, 3, 4]
    with pytest.raises(SharingVersionError, match="then version 1 at 90000 and version 4 at 95000"):
        keys.withdraw(plain.house, [2])
    keys.withdraw(plain.house, [2, 3, 4])
    assert {number: state for number, _, state in states(plain)} == {
        1: "to-come", 2: "withdrawn", 3: "withdrawn", 4: "withdrawn"
    }  # fmt: skip


def test_an_end_shares_nothing_out(plain: Kit) -> None:
    keys.take(plain.house, "1.csv", key_file(plain, [("flat", "")], terms="equal,,"))
    keys.take(plain.house, "2.csv", key_file(plain, [], terms="equal,,", day="2026-06-25"))
    with plain.database.read() as session:
        found = keys.listed(session, plain.house)
    assert [len(each.shares) for each in found] == [1, 0]


def test_rows_of_intervals_are_believed_before_the_clock(plain: Kit) -> None:
    """A command beside a simulated district has a clock that may lag behind."""
    plain.live()
    with plain.database.read() as session:
        assert keys.begun(session, plain.house) == EVE.next()
        plain.house.clock._now_ms = EVE.start_ms
        assert keys.begun(session, plain.house) == EVE.next()
    assert refusal(plain, key_file(plain, [("flat", 5)])) == [
        f"row 2: {TOMORROW} has begun: a key holds from a midnight to come"
    ]


# --- The command line ----------------------------------------------------------------------------


def share(kit: Kit, *arguments: object) -> Result:
    given_arguments = [*map(str, arguments), "--data", str(kit.folder)]
    environment = {"WATTLOOM_DATABASE_URL": kit.url}
    return CliRunner().invoke(cli, ["share", *given_arguments], env=environment)


def parsed(kit: Kit, *arguments: object) -> Any:
    result = share(kit, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_keys_at_the_command_line(kit: Kit, tmp_path: Path) -> None:
    file = tmp_path / "keys.csv"
    file.write_bytes(key_file(kit, [("flat", 600_000), ("shop", 400_000)], terms="static,again,0"))
    solar, flat, shop = (kit.homes[name].point for name in ("solar", "flat", "shop"))
    version = {
        "version": None,
        "state": "planned",
        "generator": solar,
        "valid_from": TOMORROW,
        "kind": "static",
        "unused": "again",
        "price_micro_per_kwh": 0,
        "members": {flat: 600_000, shop: 400_000},
    }
    shown = parsed(kit, "import", file)
    assert shown == {"written": False, "versions": [version | {"replaces": None}]}
    assert parsed(kit, "list") == []
    assert "repeat it with --yes" in share(kit, "import", file).output
    assert parsed(kit, "import", file, "--yes")["versions"][0]["version"] == 1
    stored = version | {"version": 1, "state": "to-come", "source": "keys.csv"}
    assert parsed(kit, "list") == [stored]
    assert solar in share(kit, "list").output
    assert share(kit, "withdraw", 1).exit_code == 0
    assert parsed(kit, "list") == [stored | {"state": "withdrawn"}]
    again = share(kit, "withdraw", 1)
    assert (again.exit_code, "withdrawn already" in again.output) == (1, True)


def test_mistakes_at_the_command_line_are_one_line_each(plain: Kit, tmp_path: Path) -> None:
    file = tmp_path / "keys.csv"
    rows = ["<solar>,2026-06-24,static,,,<flat>,NaN", "<solar>,2026-06-24,static,,,<flat>,-3"]
    file.write_bytes(csv(plain, rows))
    result = share(plain, "import", file, "--yes")
    assert result.exit_code == 1
    assert [line[:22] for line in result.output.splitlines()] == [
        "wattloom share: row 2:",
        "wattloom share: row 3:",
    ]
    for strange in (tmp_path / "none.csv", tmp_path):
        result = share(plain, "import", strange)
        assert result.exit_code == 1
        assert str(strange) in result.output
        assert "Traceback" not in result.output
    elsewhere = CliRunner().invoke(cli, ["share", "list", "--data", str(tmp_path / "no")])
    assert (elsewhere.exit_code, "holds no district" in elsewhere.output) == (1, True)
