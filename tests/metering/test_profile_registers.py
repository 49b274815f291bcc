"""Every profile against a device that holds known raw registers, over real Modbus TCP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from metering.lines.config import TcpLine
from metering.lines.errors import RegisterAbsentError
from metering.lines.line import Line, open_line
from metering.profiles import Profile, load_profile, profile_names
from metering.registers import Field, MeterValues
from tests.metering.profile_sheets import SHEETS


@dataclass
class Sheet:
    """One device: what it holds, and what has to be read from it."""

    title: str
    registers: dict[int, dict[int, int]] = field(default_factory=lambda: {3: {}, 4: {}})
    expected: str = ""
    settings: list[str] = field(default_factory=list)

    @property
    def profile(self) -> Profile:
        return load_profile(self.title.split()[0])

    def hold(self, line: str) -> None:
        function, address, *words = line.split()
        values = [
            value
            for word in words
            for value in ([0] * int(word[1:]) if word[0] == "*" else [int(word, 16)])
        ]
        self.registers[int(function)].update(enumerate(values, int(address, 0)))

    def device(self, unit: int) -> SimDevice:
        coils = [SimData(0, values=False, datatype=DataType.BITS)]
        holding, inputs = runs(self.registers[3]), runs(self.registers[4])
        return SimDevice(id=unit, simdata=(coils, list(coils), holding, inputs))


def runs(registers: dict[int, int]) -> list[SimData]:
    found: list[tuple[int, list[int]]] = []
    for address, value in sorted(registers.items()):
        if found and sum((found[-1][0], len(found[-1][1]))) == address:
            found[-1][1].append(value)
        else:
            found.append((address, [value]))
    if not found:
        return [SimData(0, datatype=DataType.INVALID)]
    return [SimData(at, values=words, datatype=DataType.REGISTERS) for at, words in found]


def sheets() -> Iterator[Sheet]:
    for block in SHEETS.strip().split("\n\n"):
        title, *lines = block.splitlines()
        sheet = Sheet(title.removeprefix("== "))
        for line in lines:
            if line[0] == ">":
                sheet.expected = f"{sheet.expected} {line[2:]}".strip()
            elif line[0] == "!":
                sheet.settings.append(line[2:])
            else:
                sheet.hold(line)
        yield sheet


ALL = list(sheets())


def dash(value: object) -> str:
    return "-" if value is None else str(value)


def shown(values: MeterValues, serial: str | None) -> str:
    totals = (values.import_total, values.export_total)
    imported, exported = (dash(None if total is None else total.wh) for total in totals)
    volts = ",".join(map(dash, values.voltages_mv))
    moduli = f"{dash(values.import_modulus_wh)},{dash(values.export_modulus_wh)}"
    return (
        f"import={imported} export={exported} power={dash(values.power and values.power.w)} "
        f"volts={volts} hertz={dash(values.frequency_mhz)} step={values.resolution_wh} "
        f"modulus={moduli} serial={dash(serial)}"
    )


async def registers(line: Line, unit: int, wanted: Field) -> list[int] | None:
    read = wanted.range
    try:
        return await line.unit(unit).read(read.function, read.address, read.count)
    except RegisterAbsentError:
        return None


async def settings(line: Line, unit: int, profile: Profile) -> list[str]:
    lines = []
    for setting in profile.watch:
        words = await registers(line, unit, setting.field)
        value = None if words is None else setting.value(words)
        verdict = "safe" if setting.is_safe(value) else "unsafe"
        lines.append(f"{setting.name} = {dash(value)} {verdict}")
    return lines


async def types(line: Line, unit: int) -> list[str]:
    """Return the profiles whose identification registers fit this device."""
    fitting = []
    for profile in map(load_profile, profile_names()):
        answers = [(known, await registers(line, unit, known.field)) for known in profile.identify]
        if answers and all(words is not None and known.fits(words) for known, words in answers):
            fitting.append(profile.name)
    return fitting


@dataclass
class Found:
    """What was read from one device."""

    values: str
    settings: list[str]
    types: list[str]


async def read_all() -> dict[str, Found]:
    server = ModbusTcpServer(
        [sheet.device(unit) for unit, sheet in enumerate(ALL, start=1)], address=("127.0.0.1", 0)
    )
    await server.serve_forever(background=True)
    found = {}
    try:
        listener = cast("asyncio.Server", server.transport)
        port = listener.sockets[0].getsockname()[1]
        async with open_line(TcpLine(name="sheets", host="127.0.0.1", port=port)) as line:
            for unit, sheet in enumerate(ALL, start=1):
                profile = sheet.profile
                meter = line.meter(unit, lambda: 0, tries=1)
                values = (await meter.read(profile)).values
                serial = await meter.serial(profile)
                found[sheet.title] = Found(
                    shown(values, serial),
                    await settings(line, unit, profile),
                    await types(line, unit),
                )
    finally:
        server.close()
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, Found]:
    return asyncio.run(read_all())


@pytest.mark.parametrize("sheet", ALL, ids=lambda sheet: sheet.title)
def test_known_registers_are_read_as_the_manual_says(sheet: Sheet, found: dict[str, Found]) -> None:
    assert found[sheet.title].values == sheet.expected


@pytest.mark.parametrize("sheet", ALL, ids=lambda sheet: sheet.title)
def test_watched_settings_are_read_and_judged(sheet: Sheet, found: dict[str, Found]) -> None:
    assert found[sheet.title].settings == sheet.settings


@pytest.mark.parametrize("sheet", ALL, ids=lambda sheet: sheet.title)
def test_a_device_is_taken_for_its_own_type_alone(sheet: Sheet, found: dict[str, Found]) -> None:
    own = [sheet.profile.name] if sheet.profile.identify else []
    assert found[sheet.title].types == own


def test_every_profile_has_a_sheet() -> None:
    assert {sheet.profile.name for sheet in ALL} == set(profile_names())
