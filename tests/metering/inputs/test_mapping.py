"""Messages of MQTT meters by their mapping: exact, and told apart from what is no counter."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.inputs.config import Device, InputConfigError, MqttLine, P1Line, parse_input
from metering.inputs.mapping import MAX_BYTES, MessageError, StaleMessageError, read_message
from metering.inputs.types import type_of
from metering.quantities import Power, RegisterTotal
from tests.conftest import LONG

NOW_MS = round(datetime(2026, 6, 23, 12, 15, tzinfo=UTC).timestamp()) * 1_000


def device(**more: object) -> Device:
    fields = {"topic": "t", "import": {"path": "ENERGY.Total", "unit": "kWh"}} | more
    line = parse_input({"kind": "mqtt", "name": "b", "host": "h", "device": [fields]}, "x")
    assert isinstance(line, MqttLine)
    return line.device[0]


SHELLY = device(**{
    "import": {"path": "result.total_act", "unit": "Wh"},
    "export": {"path": "result.total_act_ret", "unit": "Wh"},
})  # fmt: skip
TASMOTA = device(
    power={"path": "ENERGY.Power", "unit": "W"}, time={"path": "Time", "zone": "Europe/Berlin"}
)
ZIGBEE = device(**{
    "import": {"path": "energy", "unit": "kWh"},
    "power": {"path": "power", "unit": "kW", "scale": "-0.001"},
    "time": {"path": "last_seen"},
    "resolution_wh": 10,
})  # fmt: skip

# device, message, import Wh, export Wh, power W
TAKEN = {
    "Shelly": (
        SHELLY,
        '{"id":1,"dst":"w","result":{"id":0,"total_act":4512345.99,"total_act_ret":120400.5}}',
        4_512_345, 120_400, None,
    ),
    "Tasmota": (
        TASMOTA,
        '{"Time":"2026-06-23T14:14:58","ENERGY":{"Total":1234.567,"Today":0.2,"Power":42}}',
        1_234_567, None, 42,
    ),
    "Zigbee2MQTT": (
        ZIGBEE, f'{{"energy":12.34,"power":30.5,"last_seen":{NOW_MS - 2_000}}}', 12_340, None, -30,
    ),
    "seconds": (ZIGBEE, f'{{"energy":0.29,"last_seen":{NOW_MS // 1000}.25}}', 290, None, None),
    "with its zone": (
        ZIGBEE, '{"energy":1,"last_seen":"2026-06-23T14:15:01+02:00"}', 1_000, None, None,
    ),
    "as no float": (device(), '{"ENERGY":{"Total":1000000000.001}}', 10**12 + 1, None, None),
    "a decimal as text": (device(), '{"ENERGY":{"Total":"0.3"}}', 300, None, None),
    "null": (SHELLY, '{"result":{"total_act":null,"total_act_ret":7}}', None, 7, None),
    "NaN": (SHELLY, '{"result":{"total_act":NaN,"total_act_ret":7}}', None, 7, None),
    "in words": (SHELLY, '{"result":{"total_act":"nan","total_act_ret":7}}', None, 7, None),
    "absent": (SHELLY, '{"result":{"total_act_ret":7}}', None, 7, None),
    "in a list": (
        device(**{"import": {"path": "meters.1.total", "unit": "Wh"}}),
        '{"meters":[{"total":1},{"total":2}]}', 2, None, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_taken(case: str) -> None:
    mapping, message, import_wh, export_wh, power_w = TAKEN[case]
    found = read_message(mapping, message.encode(), NOW_MS)
    assert found is not None
    assert found.import_total == (None if import_wh is None else RegisterTotal(import_wh))
    assert found.export_total == (None if export_wh is None else RegisterTotal(export_wh))
    assert found.power == (None if power_w is None else Power(power_w))
    assert found.resolution_wh == mapping.resolution_wh


REFUSED = {
    "no JSON": (TASMOTA, "12.5 kWh", "no JSON"),
    "too long": (TASMOTA, " " * (MAX_BYTES + 1), "a message has at most"),
    "too deep": (TASMOTA, "[" * 60_000, "no JSON"),
    "an hour old": (
        TASMOTA, '{"Time":"2026-06-23T13:14:58","ENERGY":{"Total":1}}', "3,602 s before it came",
    ),
    "of the future": (
        TASMOTA, '{"Time":"2026-06-23T15:15:00","ENERGY":{"Total":1}}', "3,600 s after it came",
    ),
    "no time": (TASMOTA, '{"ENERGY":{"Total":1}}', "Time is absent"),
    "no zone": (ZIGBEE, '{"energy":1,"last_seen":"2026-06-23T12:15:00"}', "says no zone"),
    "a word for a time": (ZIGBEE, '{"energy":1,"last_seen":"just now"}', "is no time"),
    "text": (SHELLY, '{"result":{"total_act":"12,5"}}', "'12,5' is no number"),
    "an object": (SHELLY, '{"result":{"total_act":{"a":1}}}', "is no number"),
    "true": (SHELLY, '{"result":{"total_act":true}}', "'True' is no number"),
    "below 0": (SHELLY, '{"result":{"total_act":-1}}', "a counter is never below 0"),
    "beyond": (SHELLY, '{"result":{"total_act":9007199254740992}}', "more Wh than any meter"),
    "an exponent": (SHELLY, '{"result":{"total_act":1e999999999}}', "another order"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    mapping, message, said = REFUSED[case]
    with pytest.raises(MessageError, match=said):
        read_message(mapping, message.encode(), NOW_MS)


@pytest.mark.parametrize("message", ['{"result":{"a":1}}', "{}", "[]", "5", '{"result":null}'])
def test_a_message_about_something_else_is_passed_over(message: str) -> None:
    assert read_message(SHELLY, message.encode(), NOW_MS) is None


@settings(max_examples=4_000 if LONG else 100)
@given(st.integers(0, 9_007_199_254_740), st.integers(0, 3))
def test_every_watt_hour_comes_through_as_written(wh: int, places: int) -> None:
    text = format(Decimal(wh).scaleb(-3), "f") + "0" * places
    found = read_message(device(), f'{{"ENERGY":{{"Total":{text}}}}}'.encode(), NOW_MS)
    assert found is not None
    assert found.import_total == RegisterTotal(wh)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["Time", "ENERGY", "Total", "Power"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=4_000 if LONG else 100)
@given(_json.map(json.dumps).map(str.encode) | st.binary(max_size=64))
def test_nothing_else_than_its_own_errors(message: bytes) -> None:
    try:
        found = read_message(TASMOTA, message, NOW_MS)
    except MessageError:
        return
    assert found is None or isinstance(found.import_total, RegisterTotal | None)


def test_a_stale_message_is_one_of_its_errors() -> None:
    assert issubclass(StaleMessageError, MessageError)


def mqtt(**more: object) -> dict[str, object]:
    one = {"topic": "t", "import": {"path": "energy", "unit": "kWh"}}
    return {"kind": "mqtt", "name": "b", "host": "h", "device": [one | more]}


WRONG = {
    "today's": (
        mqtt(**{"import": {"path": "ENERGY.Today", "unit": "kWh"}}), "begins anew each day",
    ),
    "the minute's": (
        mqtt(**{"import": {"path": "aenergy.by_minute", "unit": "Wh"}}), "begins anew each day",
    ),
    "power": (mqtt(**{"import": {"path": "power", "unit": "W"}}), "counts no energy"),
    "downwards": (
        mqtt(**{"import": {"path": "e", "unit": "Wh", "scale": "-1"}}), "a counter's scale",
    ),
    "a float": (
        mqtt(**{"import": {"path": "e", "unit": "Wh", "scale": 0.1}}), "import.scale: Input should",
    ),
    "no decimal": (mqtt(**{"import": {"path": "e", "unit": "Wh", "scale": "x"}}), "in quotes"),
    "nothing": (mqtt(**{"import": {"path": "e", "unit": "Wh", "scale": "0"}}), "neither 0"),
    "no counter": (mqtt(**{"import": None}), "neither import nor export"),
    "energy for power": (mqtt(power={"path": "p", "unit": "kWh"}), "power is in W, kW"),
    "many topics": (mqtt(topic="shellies/+/energy"), "without + and #"),
    "too old": (mqtt(max_age_s=3_600), "max_age_s: "),
    "an unknown key": (mqtt(qos=1), "device.0.qos: unknown key"),
    "two of one unit": (
        {**mqtt(), "device": [*mqtt()["device"], *mqtt()["device"]]}, "two devices have one unit",
    ),
    "nobody": ({**mqtt(), "device": []}, "nothing would be heard"),
    "an authority in the clear": ({**mqtt(), "ca_file": "ca.pem"}, "ca_file is for tls"),
    "P1 nowhere": ({"kind": "p1", "name": "p"}, "write device = "),
    "P1 twice": ({"kind": "p1", "name": "p", "device": "/dev/x", "host": "h"}, "one of them"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_table_is_named_by_its_key(case: str) -> None:
    table, said = WRONG[case]
    with pytest.raises(InputConfigError) as refused:
        parse_input(table, "gateway.toml: line 3")
    assert str(refused.value).startswith("gateway.toml: line 3: ")
    assert said in str(refused.value)


def test_the_fuse_of_each_device_is_known() -> None:
    two = [mqtt(max_power_w=6_000)["device"][0], mqtt(unit=2)["device"][0]]
    broker = parse_input(mqtt() | {"device": two}, "x")
    assert [type_of(broker, unit).rated_w for unit in (1, 2, 3)] == [6_000, None, None]
    port = parse_input({"kind": "p1", "name": "p", "host": "h", "max_power_w": 24_000}, "x")
    assert type_of(port, 1).rated_w == 24_000


def test_the_port_of_p1_is_that_of_its_adapter() -> None:
    found = parse_input({"kind": "p1", "name": "p", "host": "192.0.2.9", "port": 8088}, "x")
    assert isinstance(found, P1Line)
    assert found.where == "192.0.2.9:8088"
