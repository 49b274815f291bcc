"""One meter behind any reader of registers: passing and lasting trouble, absent registers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count

import pytest

from metering.lines.errors import (
    MeterBusyError,
    MeterError,
    MeterOfflineError,
    MeterRefusedError,
    MeterTimeoutError,
    MeterUnreachableError,
    RegisterAbsentError,
    ReplyError,
)
from metering.lines.meter import ModbusMeter
from metering.profiles import load_profile
from metering.quantities import RegisterTotal
from metering.registers import RegisterMap, encode
from metering.sunspec import SunSpecLayout


@dataclass
class FakeReader:
    """Registers in memory; ``failures`` are raised one per read before anything is answered."""

    image: dict[int, int]
    failures: list[MeterError] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    asked: list[int] = field(default_factory=list)

    async def read(self, function: int, address: int, count: int) -> list[int]:
        self.asked.append(address)
        if self.failures:
            raise self.failures.pop(0)
        wanted = range(address, address + count)
        if address in self.refused or not all(one in self.image for one in wanted):
            raise RegisterAbsentError(f"no register {address}", 2)
        return [self.image[one] for one in wanted]


ABB = load_profile("abb_b23")
SUNSPEC = load_profile("sunspec_meter")


def abb_image(import_wh: int = 123_450) -> dict[int, int]:
    layout = ABB.layout
    assert isinstance(layout, RegisterMap)
    image = {a: 0 for read in layout.reads for a in range(read.address, read.address + read.count)}
    words = encode(layout.fields["import_total"], Fraction(import_wh))
    return image | dict(enumerate(words, layout.fields["import_total"].address))


def meter(reader: FakeReader, *, tries: int = 2) -> ModbusMeter:
    ticks = count(1000)
    return ModbusMeter(reader, lambda: next(ticks), tries=tries, busy_pauses_s=(0, 0))


def test_a_poll_keeps_its_window_and_values() -> None:
    poll = asyncio.run(meter(FakeReader(abb_image())).read(ABB))
    assert (poll.asked_ms, poll.answered_ms, poll.absent) == (1000, 1001, ())
    assert poll.values.import_total == RegisterTotal(123_450)


@pytest.mark.parametrize(
    ("failures", "reads", "first_ms"),
    [
        ([MeterBusyError("busy")], 3, 1000),
        ([MeterBusyError("busy")] * 2, 4, 1000),
        ([MeterTimeoutError("late")], 3, 1001),
        ([ReplyError("short")], 3, 1001),
        ([MeterUnreachableError("gone")], 3, 1001),
    ],
)
def test_passing_trouble_is_tried_again_within_a_fresh_window(
    failures: list[MeterError], reads: int, first_ms: int
) -> None:
    reader = FakeReader(abb_image(), list(failures))
    poll = asyncio.run(meter(reader).read(ABB))
    assert len(reader.asked) == reads
    assert poll.asked_ms == first_ms


@pytest.mark.parametrize(
    ("failures", "reads"),
    [
        ([MeterBusyError("busy")] * 9, 3),
        ([MeterTimeoutError("late")] * 9, 2),
        ([ReplyError("short")] * 9, 2),
        ([MeterOfflineError("off")] * 9, 1),
        ([MeterRefusedError("no", 1)] * 9, 1),
    ],
)
def test_lasting_trouble_is_raised_as_what_it_is(failures: list[MeterError], reads: int) -> None:
    reader = FakeReader(abb_image(), list(failures))
    with pytest.raises(type(failures[0])):
        asyncio.run(meter(reader).read(ABB))
    assert len(reader.asked) == reads


def test_an_absent_block_is_left_out_named_and_not_asked_for_again() -> None:
    async def scenario() -> None:
        reader = FakeReader(abb_image(), refused={0x5B00})
        one = meter(reader)
        for _ in range(2):
            poll = await one.read(ABB)
            assert poll.values.import_total == RegisterTotal(123_450)
            assert poll.values.power is None
            assert set(poll.absent) == {
                "power", "voltage_l1", "voltage_l2", "voltage_l3", "frequency"
            }  # fmt: skip
        assert reader.asked == [0x5000, 0x5B00, 0x5000]

    asyncio.run(scenario())


def test_after_trouble_absent_registers_are_looked_for_again() -> None:
    """The meter may have been exchanged meanwhile."""

    async def scenario() -> None:
        reader = FakeReader(abb_image(), refused={0x5B00})
        one = meter(reader)
        assert "power" in (await one.read(ABB)).absent
        reader.refused.clear()
        reader.failures.append(MeterTimeoutError("late"))
        assert (await one.read(ABB)).absent == ()

    asyncio.run(scenario())


def test_a_meter_without_any_of_the_registers_is_refused() -> None:
    with pytest.raises(RegisterAbsentError, match="abb_b23"):
        asyncio.run(meter(FakeReader({})).read(ABB))
    assert asyncio.run(meter(FakeReader(abb_image())).serial(ABB)) is None


# SunSpec


def chain(base: int, *models: tuple[int, int], import_wh: int = 4_321) -> dict[int, int]:
    """Return the registers of a SunSpec device; a meter model shows ``import_wh``."""
    layout = SUNSPEC.layout
    assert isinstance(layout, SunSpecLayout)
    words = [0x5375, 0x6E53]
    image: dict[int, int] = {}
    for model, length in models:
        at = base + len(words)
        words += [model, length, *([0] * length)]
        if model in layout.models and layout.models[model].length == length:
            spec = layout.models[model].fields["import_total"].moved(at)
            shown = encode(spec, Fraction(import_wh))
            image |= dict(enumerate(shown, spec.address))
    words += [0xFFFF, 0]
    return dict(enumerate(words, base)) | image


@pytest.mark.parametrize("base", [40000, 0, 50000])
@pytest.mark.parametrize("model", [(201, 105), (203, 105), (211, 124), (214, 124)])
@pytest.mark.parametrize("before", [(), ((1, 66),), ((1, 65), (103, 50), (64001, 7))])
def test_a_meter_model_is_found_at_any_base_behind_other_models(
    base: int, model: tuple[int, int], before: tuple[tuple[int, int], ...]
) -> None:
    reader = FakeReader(chain(base, *before, model))
    poll = asyncio.run(meter(reader).read(SUNSPEC))
    assert poll.values.import_total == RegisterTotal(4_321)
    assert poll.values.export_total == RegisterTotal(0)


def test_the_chain_is_walked_once_and_again_when_the_layout_changed() -> None:
    async def scenario() -> None:
        reader = FakeReader(chain(0, (1, 66), (203, 105)))
        one = meter(reader)
        await one.read(SUNSPEC)
        assert len(reader.asked) == 5  # 40000, 0, two headers, the model
        await one.read(SUNSPEC)
        assert len(reader.asked) == 6
        reader.image = chain(0, (1, 66), (12, 98), (203, 105), import_wh=9_999)
        assert (await one.read(SUNSPEC)).values.import_total == RegisterTotal(9_999)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param({}, "no 'SunS' marker at 40000, 0, 50000", id="nothing"),
        pytest.param(dict.fromkeys(range(40000, 40200), 7), "no 'SunS' marker", id="no marker"),
        pytest.param(chain(40000, (1, 66), (103, 50)), r"among \[1, 103\]", id="an inverter"),
        pytest.param(chain(40000, (1, 66), (203, 99)), r"among \[1, 203\]", id="odd length"),
    ],
)
def test_what_is_no_sunspec_meter_is_refused_with_a_remedy(
    image: dict[int, int], expected: str
) -> None:
    with pytest.raises(MeterRefusedError, match=expected):
        asyncio.run(meter(FakeReader(image)).read(SUNSPEC))


def test_an_endless_chain_of_empty_models_is_left() -> None:
    reader = FakeReader(chain(40000) | dict.fromkeys(range(40002, 65535), 0))
    with pytest.raises(MeterRefusedError, match="no known meter model"):
        asyncio.run(meter(reader).read(SUNSPEC))
    assert len(reader.asked) < 70
