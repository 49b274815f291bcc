"""Lines that tell by themselves: ``[[line]]`` tables of kind ``p1`` and ``mqtt`` (docs/inputs.md).

The other kinds are Modbus lines and belong to :mod:`metering.lines.config`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

KINDS: Final = ("p1", "mqtt")
_COUNTER_UNITS: Final = {"Wh": 1, "kWh": 1_000, "MWh": 1_000_000}
_POWER_UNITS: Final = {"W": 1, "kW": 1_000}
_RESETTABLE: Final = re.compile(
    r"(^|[^a-z])(to_?day|yesterday|day|daily|week|weekly|month|monthly|year|hour|hourly|by_minute|"
    r"period|partial|session|trip)([^a-z]|$)"
)
_ADVICE: Final = {
    "extra_forbidden": "unknown key: remove it or correct its spelling",
    "missing": "is absent: add it",
    "union_tag_not_found": 'is absent: add kind = "p1" or kind = "mqtt"',
}


class InputConfigError(ValueError):
    """A table is wrong: mend the keys that the message names, one a line."""


def _topic(topic: str) -> str:
    if not topic.isprintable() or "+" in topic or "#" in topic or topic.startswith("$"):
        raise ValueError("a topic of one meter is expected, without + and #")
    return topic


def _decimal(text: str) -> str:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ValueError('a decimal in quotes is expected, such as "0.001"') from error
    if not value.is_finite() or not value or abs(value.adjusted()) > 9:
        raise ValueError("it has to be neither 0 nor larger than 1e9, nor smaller than 1e-9")
    return text


_Text = Annotated[str, Field(min_length=1, max_length=200)]
_Topic = Annotated[_Text, AfterValidator(_topic)]
_Port = Annotated[int, Field(ge=1, le=65_535)]
_Age = Annotated[float, Field(ge=1, le=60)]
_Watts = Annotated[int, Field(ge=1, le=10_000_000)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class P1Line(_Table):
    """A P1 port: ``device`` of this machine, or an adapter at ``host`` and ``port``.

    ``max_age_s`` is how old a telegram may be when the meter is polled; ``clock_s`` how far its own
    time may be from the gateway's clock; ``max_power_w`` the most that can flow there (its fuse),
    without which no spike can be told.
    """

    kind: Literal["p1"]
    name: _Text
    device: str = ""
    host: str = ""
    port: _Port = 23
    max_age_s: _Age = 12.0
    clock_s: Annotated[float, Field(ge=1, le=900)] = 10.0
    max_power_w: _Watts | None = None

    @model_validator(mode="after")
    def _one_place(self) -> P1Line:
        if bool(self.device) == bool(self.host):
            raise ValueError("write device = (a serial port) or host = (an adapter), one of them")
        return self

    @property
    def where(self) -> str:
        """Where it is, in messages."""
        return self.device or f"{self.host}:{self.port}"


class Register(_Table):
    """Where a value stands in a message: ``path`` of names and numbers, divided by dots.

    ``scale`` is what one unit of the message is worth in ``unit``, a decimal in quotes.
    """

    path: _Text
    unit: str
    scale: Annotated[str, AfterValidator(_decimal)] = "1"

    def factor(self) -> Fraction:
        """Return what one unit of the message is worth, in Wh or W."""
        return Fraction(self.scale) * (_COUNTER_UNITS | _POWER_UNITS)[self.unit]


class Time(_Table):
    """Where a message says when it was measured: Unix seconds or milliseconds, or ISO 8601.

    ``zone`` (such as Europe/Berlin) is that of times which say none.
    """

    path: _Text
    zone: str = ""


class Ask(_Table):
    """What makes a meter tell now: a message to publish."""

    topic: _Topic
    payload: Annotated[str, Field(max_length=4_096)] = ""


class Device(_Table):
    """One meter behind a broker; ``unit`` is its number on this line.

    Of the counters one at least is there, ``import`` what is drawn and ``export`` what is fed in.
    """

    unit: Annotated[int, Field(ge=0, le=255)] = 1
    topic: _Topic
    import_: Annotated[Register | None, Field(alias="import")] = None
    export: Register | None = None
    power: Register | None = None
    time: Time | None = None
    ask: Ask | None = None
    resolution_wh: Annotated[int, Field(ge=1, le=100_000)] = 1
    max_power_w: _Watts | None = None
    max_age_s: _Age = 30.0

    @model_validator(mode="after")
    def _sound(self) -> Device:
        counters = [one for one in (self.import_, self.export) if one is not None]
        if not counters:
            raise ValueError("neither import nor export: say where a counter stands")
        for one in counters:
            if one.unit not in _COUNTER_UNITS:
                raise ValueError(
                    f"{one.path}: unit {one.unit!r} counts no energy: a counter is in "
                    f"{', '.join(_COUNTER_UNITS)}"
                )
            if one.scale.lstrip().startswith("-"):
                raise ValueError(f"{one.path}: a counter's scale is above 0")
            if _RESETTABLE.search(one.path.rsplit(".", 1)[-1].lower()):
                raise ValueError(
                    f"{one.path} begins anew each day or at somebody's will and is no counter: "
                    "name the total that only rises (ENERGY.Total, total_act, energy)"
                )
        if self.power is not None and self.power.unit not in _POWER_UNITS:
            raise ValueError(f"{self.power.path}: power is in {', '.join(_POWER_UNITS)}")
        return self


class MqttLine(_Table):
    """A broker. With ``relay`` it also carries batches that meters sign by themselves."""

    kind: Literal["mqtt"]
    name: _Text
    host: _Text
    port: _Port | None = None
    tls: bool = False
    ca_file: str = ""
    user: str = ""
    password_file: str = ""
    relay: bool = False
    device: list[Device] = []

    @model_validator(mode="after")
    def _distinct(self) -> MqttLine:
        units = [one.unit for one in self.device]
        if len(set(units)) != len(units):
            raise ValueError("two devices have one unit: give each its own")
        if not (self.device or self.relay):
            raise ValueError("neither a device nor relay = true: nothing would be heard")
        if self.ca_file and not self.tls:
            raise ValueError("ca_file is for tls = true")
        return self

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port or (8883 if self.tls else 1883)

    @property
    def where(self) -> str:
        """Where it is, in messages."""
        return f"{self.host}:{self.place[1]}"


InputConfig = P1Line | MqttLine
_INPUT: Final[TypeAdapter[InputConfig]] = TypeAdapter(
    Annotated[InputConfig, Field(discriminator="kind")]
)


def parse_input(table: Mapping[str, object], where: str, folder: Path = Path()) -> InputConfig:
    """Return the line that ``table`` describes; its files are looked for from ``folder``.

    Raises:
        InputConfigError: one line per key that is wrong, absent or unknown.
    """
    try:
        line = _INPUT.validate_python(table)
    except ValidationError as error:
        raise InputConfigError("\n".join(_explain(where, error))) from error
    if isinstance(line, P1Line):
        return line
    files = {
        name: str(folder / path)
        for name, path in (("ca_file", line.ca_file), ("password_file", line.password_file))
        if path
    }
    return line.model_copy(update=files)


def _explain(where: str, error: ValidationError) -> list[str]:
    told = []
    for detail in error.errors():
        key = ".".join(str(part) for part in detail["loc"] if part not in KINDS)
        advice = _ADVICE.get(detail["type"], detail["msg"].removeprefix("Value error, "))
        told.append(f"{where}: {f'{key}: ' if key else ''}{advice}")
    return told
