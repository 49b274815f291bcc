"""From nothing to a running district: init, points, meters, readings, trades, seals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import func
from sqlmodel import select
from typer.testing import CliRunner, Result

from app.cli import cli
from app.clock import SimulatedClock
from app.files.exchange_master import SHEETS
from app.serve.district import open_real
from app.services.enrolment import EnrolmentConflictError, endorse, enrol
from app.services.founding import GATEWAY_NAME
from app.services.house import House
from app.services.ingest import Door
from app.settings import Settings, load_settings
from app.store import journal, registry
from app.tables import (
    AddressRow,
    FeederRow,
    IntervalRow,
    LinkRow,
    MeteringPointRow,
    ParticipantRow,
    SlotRow,
    TradeRow,
)
from app.worker import Worker
from metering.batch import Batch
from metering.interval import LENGTH_MS, Interval
from metering.reading import (
    FIRST_PREV,
    Clock,
    Enrolment,
    Measurement,
    Quality,
    Reading,
    SignedReading,
    link,
)
from metering.signing import Purpose, public_key, sign
from tests.app.district_kit import GRACE_MS, gsrn
from tests.app.runs import ROOT

TARIFF = ROOT / "docs" / "samples" / "tariff.toml"
SHEET_ROWS: Mapping[str, Sequence[str]] = {
    "suppliers": ["nord,Nordstrom AS"],
    "feeders": [f"north,Northern feeder,{gsrn(3)}"],
    "buildings": ["north,l4,Lindenweg 4"],
    "participants": ["ada,Ada Ek,Lindenweg 4 | 12345 Linden,12/345,yes", "bo,Bo Ek,,,"],
    "points": [
        f"{gsrn(1)},Roof,home-pv,,43000,yes",
        f"{gsrn(2)},Flat,home,,11000,no",
        f"{gsrn(3)},Head,home,feeder-head,90000,",
    ],
    "links": [
        line
        for number, who in ((1, "ada"), (2, "bo"), (3, "ada"))
        for line in (
            f"{gsrn(number)},participant,{who},,",
            f"{gsrn(number)},tariff,tariff,,",
            f"{gsrn(number)},feeder,north,,",
        )
    ]
    + [f"{gsrn(1)},building,l4,,", f"{gsrn(2)},supplier,nord,,"],
}


def wattloom(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def write(folder: Path, **changed: Sequence[str]) -> Path:
    """Write the sheets of a small district, some of them ``changed``."""
    folder.mkdir(exist_ok=True)
    for sheet, rows in {**SHEET_ROWS, **changed}.items():
        text = "\n".join([",".join(SHEETS[sheet]), *rows, ""])
        (folder / f"{sheet}.csv").write_text(text)
    return folder


def founded(folder: Path) -> Settings:
    done = wattloom("init", folder, "--origin", "hof.example", "--tariff", TARIFF)
    assert done.exit_code == 0, done.output
    return load_settings(folder / "district.toml")


@pytest.fixture(params=["postgres", pytest.param("sqlite", marks=pytest.mark.long)])
def settings(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    if request.param == "postgres":
        monkeypatch.setenv("WATTLOOM_DATABASE_URL", request.getfixturevalue("postgres_url"))
    return founded(tmp_path / "hof")


@pytest.fixture
def file(settings: Settings) -> Path:
    return settings.data / "district.toml"


def counts(settings: Settings) -> tuple[int, ...]:
    tables = (ParticipantRow, AddressRow, MeteringPointRow, LinkRow, FeederRow)
    with open_real(settings, working=False) as house, house.database.read() as session:
        return tuple(session.exec(select(func.count()).select_from(each)).one() for each in tables)


# --- From nothing to trades ----------------------------------------------------------------------


@dataclass
class Meter:
    """A meter at a point, as its gateway signs for it."""

    house: House
    enrolment: Enrolment
    import_wh: int = 1_000
    export_wh: int = 1_000
    seq: int = 0
    prev: str = FIRST_PREV

    @classmethod
    def at(cls, house: House, point: str, begin: Interval) -> Meter:
        key = public_key(house.keyring.meter(point))
        origin = house.settings.origin
        return cls(house, Enrolment(origin, point, f"SN{point}", "simulated", key, 1, begin))

    def enrol(self) -> None:
        ring = self.house.keyring
        signed = endorse(self.enrolment, ring.meter(self.enrolment.point), ring.registry)
        with self.house.database.write() as session:
            enrol(session, self.house.settings.origin, public_key(ring.registry), signed)

    def read(self) -> SignedReading:
        """Sign what it shows now."""
        now = self.house.clock.now_ms()
        self.seq += 1
        shown = Measurement(now, now, Clock.SYNCHRONISED, self.import_wh, self.export_wh, 1, None,
                            Quality.MEASURED, "ab" * 32)  # fmt: skip
        payload = Reading.of(self.enrolment, shown, self.seq, self.prev).to_payload()
        key = self.house.keyring.meter(self.enrolment.point)
        signature = sign(key, Purpose.READING, payload)
        self.prev = link(payload, signature)
        return SignedReading(payload, signature)


def trade(house: House, clock: SimulatedClock, roof: Meter, flat: Meter) -> None:
    """Let two quarter-hours pass: border readings at the door, and the worker after each grace."""
    door, worker = Door(house.database, house.settings, house.keyring.receipt, clock), Worker(house)
    start_ms = clock.now_ms()
    for quarter in range(3):
        clock.advance_to(start_ms + quarter * LENGTH_MS)
        batch = Batch.pack(
            [roof.read(), flat.read()], house.keyring.gateway, house.settings.origin,
            GATEWAY_NAME, clock.now_ms(),
        )  # fmt: skip
        assert [each.status for each in door.receive(batch)] == [200, 200]
        clock.advance_to(clock.now_ms() + GRACE_MS)
        worker.run_due()
        roof.export_wh += 900
        flat.import_wh += 400


def test_from_nothing_to_trades(settings: Settings, file: Path, tmp_path: Path) -> None:
    sheets = write(tmp_path / "sheets")
    done = wattloom("exchange", "import", "master", sheets, "--yes", "--settings", file)
    assert done.exit_code == 0, done.output
    added = ["point", "add", gsrn(4), "--name", "Shop", "--to", "cy", "--participant-name", "Cy"]
    added += ["--feeder", "north", "--max-power-w", "11000", "--supplier", "nord"]
    for words in ("entered", "is there already"):
        done = wattloom(*added, "--settings", file)
        assert (done.exit_code, words in done.output) == (0, True), done.output
    with open_real(settings, working=True) as real:
        first = Interval.containing_ms(real.clock.now_ms()).next()
        clock = SimulatedClock(first.start_ms)
        house = replace(real, clock=clock)
        with house.database.read() as session:
            begin = registry.begin(session, gsrn(1))
        assert begin is not None
        with pytest.raises(EnrolmentConflictError, match="is there from"):
            Meter.at(house, gsrn(1), begin.previous()).enrol()
        roof, flat = (Meter.at(house, gsrn(number), first) for number in (1, 2))
        roof.enrol()
        flat.enrol()
        trade(house, clock, roof, flat)
        with house.database.read() as session:
            slots = session.exec(select(SlotRow).order_by(SlotRow.interval, SlotRow.point)).all()
            states = session.exec(select(IntervalRow.state).order_by(IntervalRow.key)).all()
            trades = session.exec(select(TradeRow)).all()
            wallets = journal.balances(session, "wallet:")
    keys = [first.key, first.next().key]
    told = [(row.interval, row.import_wh, row.export_wh, row.estimated) for row in slots]
    assert told == [row for key in keys for row in ((key, 0, 900, False), (key, 400, 0, False))], (
        "a point joins with the first interval whose opening border is there"
    )
    assert states[-3:] == ["sealed", "sealed", "open"]
    assert [row.wh for row in trades] == [400, 400]
    assert wallets["wallet:ada"] == -wallets["wallet:bo"] > 0


# --- Files of master data ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A district to which nothing is ever written."""
    return founded(tmp_path_factory.mktemp("empty") / "hof")


def test_files_come_in_once_and_whole(empty: Settings, tmp_path: Path) -> None:
    """Shown first; the same again changes nothing; what goes out could come in elsewhere."""
    settings = founded(tmp_path / "hof")
    sheets, file = write(tmp_path / "sheets"), settings.data / "district.toml"
    before = counts(settings)
    command = ("exchange", "import", "master", sheets, "--settings", file)
    shown = wattloom(*command, "--dry-run")
    assert (shown.exit_code, counts(settings)) == (0, before), shown.output
    assert f"new: point {gsrn(1)}, Roof, of ada (new: Ada Ek) from" in shown.output
    assert f"north: head none -> {gsrn(3)}" in shown.output
    assert wattloom(*command, "--yes").exit_code == 0
    assert counts(settings) == (2, 2, 3, 18, 1)
    again = wattloom(*command, "--yes")
    assert (again.exit_code, "changes found: 0" in again.output) == (0, True), again.output
    with open_real(settings, working=False) as house, house.database.read() as session:
        ada = session.get_one(ParticipantRow, "ada")
        roof = session.get_one(MeteringPointRow, gsrn(1))
        assert session.get_one(FeederRow, "north").head == gsrn(3)
    assert ada.postal_address == "Lindenweg 4\n12345 Linden"
    assert (ada.tax_number, ada.vat_liable) == ("12/345", True)
    assert (roof.max_power_w, roof.green, roof.building) == (43_000, True, "l4")
    assert roof.tariff == "tariff"
    out = tmp_path / "out"
    assert wattloom("exchange", "export", "master", out, "--settings", file).exit_code == 0
    (out / "devices.csv").unlink()  # nothing is certified backwards
    there = ("exchange", "import", "master", out, "--dry-run", "--settings")
    done = wattloom(*there, empty.data / "district.toml")
    assert (done.exit_code, "changes found: 8" in done.output) == (0, True), done.output


REFUSED: dict[str, tuple[dict[str, Sequence[str]], str]] = {
    "no tariff": (
        {"links": [row for row in SHEET_ROWS["links"] if "tariff" not in row]},
        "points.csv, row 2: a new point: links.csv lacks its tariff",
    ),
    "an unknown tariff": (
        {"links": [row.replace(",tariff,,", ",gold,,") for row in SHEET_ROWS["links"]]},
        "there is no tariff 'gold'",
    ),
    "no links": ({"links": []}, "points.csv, row 2: it is new: name its participant"),
    "an unknown feeder": ({"feeders": [], "buildings": []}, "there is no feeder 'north'"),
    "a check digit": (
        {
            name: [row.replace(gsrn(1), gsrn(1)[:-1] + "0") for row in SHEET_ROWS[name]]
            for name in ("points", "links")
        },
        "points.csv, row 2: ",
    ),
    "a point twice": (
        {"points": [*SHEET_ROWS["points"], SHEET_ROWS["points"][0]]},
        "points.csv, row 5:",
    ),
    "a purpose": (
        {"points": [row.replace("feeder-head", "joy") for row in SHEET_ROWS["points"]]},
        "'joy' is no purpose",
    ),
    "a strange participant": (
        {"participants": SHEET_ROWS["participants"][:1]},
        "there is no participant 'bo'",
    ),
    "off the grid": (
        {"links": [f"{gsrn(1)},participant,ada,2026-06-23T09:07:00Z,", *SHEET_ROWS["links"]]},
        "links.csv, row 2: '2026-06-23T09:07:00Z' names no begin",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_bad_row_keeps_a_folder_out(empty: Settings, tmp_path: Path, case: str) -> None:
    changed, reason = REFUSED[case]
    before = counts(empty)
    done = wattloom(
        "exchange", "import", "master", write(tmp_path / "sheets", **changed), "--yes",
        "--settings", empty.data / "district.toml",
    )  # fmt: skip
    assert done.exit_code == 1, done.output
    assert reason in done.output
    assert counts(empty) == before
