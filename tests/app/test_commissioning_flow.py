"""From a meter on the wall to readings that count: real Modbus TCP, the real API over HTTP."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from nacl.signing import SigningKey
from sqlmodel import select
from typer.testing import CliRunner, Result

from app.api import enrolments, problems
from app.clock import RealClock, wall_ms
from app.commands.meter import meter_cli
from app.commands.meter_field import Target, looked_at
from app.serve.server import serving
from app.services.commissioning import requests
from app.tables import EnrolmentRequestRow, EnrolmentRow, MeterChangeRow, ReadingRow
from metering.batch import Batch
from metering.box.config import load_config
from metering.box.entries import PreviousKey
from metering.box.keys import create_key, load_key
from metering.commissioning import fieldwork
from metering.commissioning.fieldwork import Box
from metering.commissioning.wire import compared, fingerprint
from metering.identity import PublicKey
from metering.inputs.types import P1
from metering.interval import Interval
from metering.profiles import load_profile
from metering.reading import FIRST_PREV, Clock, Measurement, Quality, Reading, SignedReading
from metering.registers import RegisterMap
from metering.signing import Purpose, public_key, sign
from metering.simulator import MeterServer, SimulatedMeter
from tests.app.box_kit import in_a_loop
from tests.app.commissioning_kit import Cellar
from tests.app.doorway import ORIGIN, District
from tests.metering.inputs.inputs_kit import p1_adapter

SETTINGS = """
district = "{origin}"
name = "cellar-1"

[server]
url = "{url}"
receipt_key = "{receipt}"

[[line]]
name = "bus"
kind = "tcp"
host = "127.0.0.1"
port = {port}
"""


@dataclass
class Steady:
    """A curve that draws (or, below 0, feeds in) the same power all the time."""

    power: int
    since_ms: int = field(default_factory=lambda: wall_ms() - 3_600_000)

    def import_milli_wh(self, at_ms: int) -> int:
        return max(0, self.power) * (at_ms - self.since_ms) // 3_600

    def export_milli_wh(self, at_ms: int) -> int:
        return max(0, -self.power) * (at_ms - self.since_ms) // 3_600

    def power_w(self, at_ms: int) -> int:
        return self.power


def meter(profile: str, unit: int, serial: str, power: int = 3_000, **more: object):
    return SimulatedMeter(load_profile(profile), unit, serial, Steady(power), wall_ms, **more)


@dataclass
class Site:
    """Meters, an API and a gateway's folder; the servers run in a thread of their own."""

    cellar: Cellar
    folder: Path
    port: int
    url: str

    @property
    def config(self) -> Path:
        return self.folder / "gateway.toml"

    def run(self, command: str, *args: str) -> Result:
        where = [] if command in {"token", "list"} else ["--config", str(self.config)]
        return CliRunner().invoke(meter_cli, [command, *args, *where])

    def confirm(self, fingerprint_: str) -> None:
        (row,) = self.rows(EnrolmentRequestRow, EnrolmentRequestRow.state == "pending")
        _, typed = compared(fingerprint_)
        requests.confirm(self.cellar.house, row.id or 0, typed, "manager")

    def rows(self, table, *conditions):
        with self.cellar.house.database.read() as session:
            return list(session.exec(select(table).where(*conditions)))


METERS = [
    meter("eastron_sdm630", 3, "21000003"),
    meter("carlo_gavazzi_em340", 17, "KX17", settings={"measurement mode": "0"}),
    meter("sunspec_meter", 240, "SUN240"),
    meter("eastron_sdm630", 60, "21000060"),
]


def swapped(unit: int) -> SimulatedMeter:
    """A meter that serves its words the other way round than its profile says."""
    one = meter("eastron_sdm630", unit, "21000099")
    layout = one.profile.layout
    assert isinstance(layout, RegisterMap)
    fields = {
        name: replace(field_, low_word_first=not field_.low_word_first)
        for name, field_ in layout.fields.items()
    }
    one.profile = replace(one.profile, layout=replace(layout, fields=fields))
    return one


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[FastAPI, int, str]]:
    """Meters and an empty application on free ports; a test gives it its routes."""
    app = FastAPI()
    problems.install(app)
    ready, ports = threading.Event(), []
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            meters = await stack.enter_async_context(MeterServer([*METERS, swapped(99)]))
            url = await stack.enter_async_context(serving(app, "127.0.0.1", 0))
            ports.extend((meters.port, url))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(20)
    yield app, ports[0], ports[1]
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)


@pytest.fixture
def site(
    served: tuple[FastAPI, int, str], plain_district: District, tmp_path: Path
) -> Iterator[Site]:
    app, port, url = served
    vars(plain_district)["clock"] = RealClock()
    cellar = Cellar(plain_district, tmp_path, wall_ms())
    folder = tmp_path / "box"
    create_key(folder / "keys" / "gateway.key")
    text = SETTINGS.format(
        origin=ORIGIN, url=url, port=port, receipt=public_key(plain_district.receipt_key).hex
    )
    (folder / "gateway.toml").write_text(text)
    before = list(app.router.routes)
    app.include_router(enrolments.build_router(cellar.house))
    yield Site(cellar, folder, port, url)
    app.router.routes[:] = before


def told(result: Result) -> str:
    """The fingerprint that a command printed."""
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("fingerprint")]
    return line.split(": ")[1]


def measured(site: Site, entry_point: str) -> SignedReading:
    """The first reading of an entered meter, polled over Modbus and signed by its key."""
    box = Box.load(site.config)
    entry = box.entry(entry_point)
    signer = box.signer(entry)
    aimed = Target(entry.line, entry.unit, entry.profile, entry.serial, 0, (), 0)
    seen, _ = asyncio.run(looked_at(box.config.lines[entry.line], aimed))
    shown = fieldwork.registers(seen)
    now = wall_ms()
    values = Measurement(
        asked_ms=shown.at_ms, answered_ms=now, clock=Clock.SYNCHRONISED,
        import_wh=shown.import_wh, export_wh=shown.export_wh, resolution_wh=1, power_w=None,
        quality=Quality.MEASURED, raw="ab" * 32,
    )  # fmt: skip
    payload = Reading.of(signer.enrolment, values, 1, FIRST_PREV).to_payload()
    return SignedReading(payload, sign(signer.key, Purpose.READING, payload))


def send(site: Site, signed: SignedReading) -> int:
    key = load_key(site.folder / "keys" / "gateway.key")
    batch = Batch.pack([signed], key, ORIGIN, "cellar-1", wall_ms())
    return site.cellar.district.door.receive(batch)[0].status


def test_a_scan_finds_the_units_that_are_there(site: Site) -> None:
    found = site.run("scan", "bus", "--json")
    assert found.exit_code == 0, found.output
    rows = json.loads(found.stdout)
    assert {(row["unit"], row["profile"], row["serial"]) for row in rows if row["profile"]} == {
        (3, "eastron_sdm630", "21000003"),
        (17, "carlo_gavazzi_em340", "KX17"),
        (60, "eastron_sdm630", "21000060"),
        (99, "eastron_sdm630", "21000099"),
        (240, "sunspec_meter", "SUN240"),
    }
    assert "5 of 247" in found.stderr


def test_nobody_there_is_exit_code_1(site: Site) -> None:
    assert site.run("scan", "bus", "--units", "100-110").exit_code == 1
    assert site.run("scan", "tcp://127.0.0.1:1", "--units", "1").exit_code == 1
    assert site.run("scan", "nobody").exit_code == 1


def test_swapped_words_and_easy_connection_are_told_with_evidence(site: Site) -> None:
    found = site.run("test", "bus", "--unit", "99", "--seconds", "0", "--json")
    report = json.loads(found.stdout)
    assert (found.exit_code, report["verdict"]) == (1, "wrong")
    (line,) = [each for each in report["findings"] if each["check"] == "word_order"]
    assert "decoded low-word-first it would be 230.0 V" in line["advice"]
    easy = site.run("test", "bus", "--unit", "17", "--seconds", "0", "--json")
    advice = [each["advice"] for each in json.loads(easy.stdout)["findings"]]
    assert easy.exit_code == 1
    assert any("easy connection" in each for each in advice)
    good = site.run("test", "bus", "--unit", "3", "--seconds", "0")
    assert good.exit_code == 0, good.output


def test_a_meter_is_added_and_its_readings_count(site: Site) -> None:
    token = site.cellar.token(site.cellar.empty)
    args = ("bus", "--unit", "3", "--by", "Kim Volt", "--seconds", "0", "--wait", "0")
    sent = site.run("add", *args, "--token", token.lower())
    assert sent.exit_code == 1, "nobody confirmed it yet"
    assert not load_config(site.config).meters
    (row,) = site.rows(EnrolmentRequestRow)
    assert (row.serial, row.profile, row.brought_by) == ("21000003", "eastron_sdm630", "Kim Volt")
    assert row.profile_version == load_profile("eastron_sdm630").version
    again = site.run("add", *args, "--token", token)
    assert again.exit_code == 1
    assert "used" in again.stderr
    site.confirm(told(sent))
    done = site.run("add", "--wait", "0")
    assert done.exit_code == 0, done.output
    (entry,) = load_config(site.config).meters
    assert (entry.point, entry.unit, entry.serial) == (site.cellar.empty, 3, "21000003")
    assert "PRIVATE" not in done.output
    assert send(site, measured(site, site.cellar.empty)) == 200
    (reading,) = site.rows(ReadingRow)
    assert reading.point == site.cellar.empty
    assert site.run("add").stderr.startswith("nothing waits")


def test_what_was_signed_before_a_power_cut_is_brought_after_it(site: Site) -> None:
    token, box = site.cellar.token(site.cellar.empty), Box.load(site.config)
    target = Target("bus", 60, "eastron_sdm630", "", 0, (), 0)
    _, report = asyncio.run(looked_at(box.config.lines["bus"], target))
    where = fieldwork.Site(line="bus", unit=60)
    bringing = fieldwork.Bringing(token, where, "21000060", report, "Kim")
    sent = fieldwork.sign_up(box, site.cellar.offer(token), bringing)
    assert not site.rows(EnrolmentRequestRow), "the power went before anything was sent"
    with pytest.raises(fieldwork.FieldworkError, match="sent already"):
        fieldwork.sign_up(box, site.cellar.offer(token), bringing)
    for _ in range(2):
        again = site.run("add", "--wait", "0")
        assert again.exit_code == 1
        assert told(again) == fingerprint(fieldwork.key_of(sent))
    (row,) = site.rows(EnrolmentRequestRow)
    requests.withdraw(site.cellar.house, row.id or 0, "manager")
    over = site.run("add", "--wait", "0")
    assert (over.exit_code, "withdrawn" in over.stdout) == (1, True)
    assert site.run("add").stderr.startswith("nothing waits")
    assert not load_config(site.config).meters


def test_nothing_wrong_and_nothing_foreign_is_brought(site: Site) -> None:
    token = site.cellar.token(site.cellar.empty)
    args = ("--by", "Kim", "--seconds", "0", "--wait", "0", "--token", token)
    for told_, line in (
        ("mend what is wrong", ("bus", "--unit", "99")),
        ("no [[line]] named", ("attic", "--unit", "3")),
        ("replace", ("bus", "--unit", "3")),
    ):
        more = (*args[:-1], site.cellar.token(site.cellar.taken)) if told_ == "replace" else args
        refused = site.run("add", *line, *more)
        assert refused.exit_code == 1
        assert told_ in refused.stderr
    assert not site.rows(EnrolmentRequestRow)


def test_a_meter_is_exchanged_in_two_halves_and_its_key_rotated(site: Site) -> None:
    old = site.cellar.district.meters[0]
    _enter_old(site, old.signing_key)
    token = site.cellar.token(site.cellar.taken)
    args = ("--by", "Kim", "--token", token, "--seconds", "0", "--wait", "0")
    closed = site.run("replace", *args, "--closing-import", "5000")
    assert closed.exit_code == 0, closed.output
    assert not load_config(site.config).meters, "nobody signs with the old key any more"
    sent = site.run("replace", *args, "--unit", "60")
    assert sent.exit_code == 1, sent.output
    site.confirm(told(sent))
    assert site.run("add", "--wait", "0").exit_code == 0
    (change,) = site.rows(MeterChangeRow)
    assert (change.kind, change.state, change.closing_import_wh) == ("exchange", "approved", 5_000)
    ended, new = site.rows(EnrolmentRow, EnrolmentRow.point == site.cellar.taken)
    assert ended.revoked_from == new.valid_from
    _rotate(site, Interval.parse(new.valid_from).next())
    after = site.rows(EnrolmentRow, EnrolmentRow.point == site.cellar.taken)[-1]
    (entry,) = load_config(site.config).meters
    assert after.key == public_key(load_key(entry.key_file)).hex
    assert fingerprint(PublicKey.parse(after.key)) != fingerprint(PublicKey.parse(new.key))


def _enter_old(site: Site, key: SigningKey) -> None:
    """Let the gateway's settings hold the meter that is enrolled at the point."""
    file = site.folder / "keys" / "old.key"
    file.write_text(bytes(key).hex())
    file.chmod(0o400)
    enrolled = site.cellar.district.meters[0].enrolment
    folder = site.folder / "meters.d"
    folder.mkdir()
    (folder / f"{enrolled.point}.toml").write_text(
        f'point = "{enrolled.point}"\nserial = "{enrolled.serial}"\nprofile = "eastron_sdm630"\n'
        f'line = "bus"\nunit = 3\nkey_file = "keys/old.key"\n'
        f'valid_from = "{enrolled.valid_from.key}"\n'
    )


def _rotate(site: Site, begins: Interval) -> None:
    point = site.cellar.taken
    turned = fieldwork.begin_rotation(Box.load(site.config), point, begins)
    assert fieldwork.begin_rotation(Box.load(site.config), point, begins) == turned

    async def bring() -> str:
        async with fieldwork.registrar_of(Box.load(site.config).config) as registrar:
            return (await registrar.rotate(turned.request)).state

    assert asyncio.run(bring()) == "active"
    (was,) = load_config(site.config).meters
    for _ in range(2):
        fieldwork.enter_rotation(Box.load(site.config), point, turned)
        (now,) = load_config(site.config).meters
        assert now.previous == PreviousKey(was.key_file, was.valid_from)
        assert (now.key_file, now.valid_from) == (Path(turned.key_file), begins)
    aside = fieldwork.end_rotation(Box.load(site.config), point)
    assert aside is not None
    assert load_key(aside)
    assert not was.key_file.exists()
    assert fieldwork.end_rotation(Box.load(site.config), point) is None


def test_a_meter_that_tells_by_itself_is_added_as_any_other(site: Site) -> None:
    async def tell(stop: asyncio.Event, ready: Callable[[int], None]) -> None:
        async with p1_adapter("E00650", wall_ms) as port:
            ready(port)
            await stop.wait()

    with in_a_loop(tell) as port:
        line = f'[[line]]\nname = "p1"\nkind = "p1"\nhost = "127.0.0.1"\nport = {port}\n'
        site.config.write_text(f"{site.config.read_text()}{line}")
        shown = site.run("test", "p1", "--seconds", "0")
        assert shown.exit_code == 0, shown.output
        assert "E00650" in shown.stdout
        args = ("p1", "--by", "Kim", "--seconds", "0", "--wait", "0")
        sent = site.run("add", *args, "--token", site.cellar.token(site.cellar.empty))
        site.confirm(told(sent))
        assert site.run("add", "--wait", "0").exit_code == 0
        nobody = site.run("test", "p1", "--unit", "2", "--seconds", "0")
        assert (nobody.exit_code, "no unit 2" in nobody.stderr) == (1, True)
    (row,) = site.rows(EnrolmentRequestRow)
    assert (row.serial, row.profile, row.profile_version) == ("E00650", "dsmr_p1", P1.version)
    (entry,) = load_config(site.config).meters
    assert (entry.point, entry.line, entry.unit) == (site.cellar.empty, "p1", 1)


def test_the_gateways_commands_load_neither_web_framework_nor_database() -> None:
    code = (
        "import sys; from app.cli import cli; import app.commands.meter_enrol; "
        "print([n for n in ('sqlmodel', 'sqlalchemy', 'fastapi', 'uvicorn') if n in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
