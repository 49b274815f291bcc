"""The mapping of a file of values: which columns, whose time, which unit and sign. TOML, whole.

What each line means and what holds without one: ``docs/money.md``, "Files of values and master
data"; ``docs/samples/mapping.toml`` is a sample.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from app.files.rows import TableFileError
from app.files.tomlfile import TomlFileError, read_toml

MAX_BYTES: Final = 64 * 1024
ISO: Final = "iso"
SPLIT: Final = (
    "import_local",
    "import_own",
    "import_residual",
    "export_local",
    "export_own",
    "export_residual",
)


_NOTHING: Final[MappingOf[str, dict[str, str] | str]] = {}


class MappingError(TableFileError):
    """The mapping is refused for good: mend the line that the message names."""


def _zone(name: str) -> str:
    if name and name not in available_timezones():
        raise ValueError(f"{name!r} is no IANA time zone; write one such as 'Europe/Oslo', or ''")
    return name


def _format(text: str) -> str:
    if text == ISO:
        return text
    at = datetime(2026, 10, 25, 2, 45, tzinfo=UTC)
    try:
        told = datetime.strptime(at.strftime(text), text).replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"{text!r} is no pattern: {error}") from error
    if told != at:
        raise ValueError(f"{text!r} does not tell day, hour and minute: write '%d.%m.%Y %H:%M'")
    return text


Column = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
Words = Annotated[tuple[str, ...], Field(min_length=1, max_length=20)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class TimeRule(_Strict):
    """How a time is written. ``zone`` is that of times which name none; '': each names its own."""

    label: Literal["start", "end"] = "start"
    zone: Annotated[str, AfterValidator(_zone)] = ""
    format: Annotated[str, AfterValidator(_format)] = ISO

    @model_validator(mode="after")
    def _name_a_zone(self) -> Self:
        if not self.zone and self.format != ISO and "%z" not in self.format:
            raise ValueError(
                f"format {self.format!r} names no zone, and zone is '': say whose time it is"
            )
        return self


class ValueRule(_Strict):
    """How an energy is written. kW is the mean power of the quarter-hour.

    Of kind ``counter`` a value is what the meter's counter showed at the row's time.
    """

    kind: Literal["profile", "counter"] = "profile"
    unit: Literal["Wh", "kWh", "kW"] = "Wh"
    sign: Literal["unsigned", "export-negative", "import-positive", "export-positive"] = "unsigned"
    rounding: Literal["refuse", "half-up"] = "refuse"


class Columns(_Strict):
    """Names of the file's columns; '' where it has none.

    Energy stands in ``import`` and ``export``, in one signed ``net``, or in ``value`` with the
    register's name beside it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    point: Annotated[Column, Field(min_length=1)] = "point"
    time: Annotated[Column, Field(min_length=1)] = "start"
    date: Column = ""
    imported: Column = Field("import_wh", alias="import")
    exported: Column = Field("export_wh", alias="export")
    net: Column = ""
    value: Column = ""
    register_: Column = Field("", alias="register")
    status: Column = "status"
    import_local: Column = "import_local_wh"
    import_own: Column = "import_own_wh"
    import_residual: Column = "import_residual_wh"
    export_local: Column = "export_local_wh"
    export_own: Column = "export_own_wh"
    export_residual: Column = "export_residual_wh"

    @model_validator(mode="before")
    @classmethod
    def _one_layout(cls, given: object) -> object:
        """Take the default columns of energy away where the mapping names another layout."""
        if isinstance(given, dict) and (given.get("net") or given.get("value")):
            return {"import": "", "export": ""} | given
        return given

    @model_validator(mode="after")
    def _check_layout(self) -> Self:
        pair, net, value = bool(self.imported or self.exported), bool(self.net), bool(self.value)
        if pair + net + value != 1:
            raise ValueError("energy stands in import and export, or in net, or in value: one way")
        if value != bool(self.register_):
            raise ValueError("value and register go together: name both columns, or neither")
        named = [name for name in self.model_dump().values() if name]
        if len(set(named)) != len(named):
            raise ValueError("two of the columns have one name")
        return self

    @property
    def split(self) -> tuple[str, ...]:
        """The columns of local, own and residual energy, in the order of :data:`SPLIT`."""
        return tuple(getattr(self, name) for name in SPLIT)

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that a file has to have."""
        energy = (self.imported, self.exported, self.net, self.value, self.register_)
        return tuple(name for name in (self.point, self.date, self.time, *energy) if name)


class Registers(_Strict):
    """What the register column says for each direction: OBIS codes of the load profile at first."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    imported: Words = Field(("1-1:1.29.0", "import"), alias="import")
    exported: Words = Field(("1-1:2.29.0", "export"), alias="export")


class Statuses(_Strict):
    """What the status column says; the first word of each is written."""

    measured: Words = ("measured",)
    estimated: Words = ("estimated",)
    corrected: Words = ("corrected",)

    @cached_property
    def meaning(self) -> dict[str, str]:
        """Return what each word means."""
        return {word: name for name, words in self.model_dump().items() for word in words}


class Mapping(_Strict):
    """All of a mapping; without a file what :func:`Mapping` alone gives holds."""

    point: Column = ""  # of every row, where the file has no column for it
    delimiter: Literal[",", ";", "\t", "|"] = ","
    decimal_mark: Literal[".", ","] = "."
    time: TimeRule = TimeRule()
    values: ValueRule = ValueRule()
    columns: Columns = Columns.model_validate({})
    registers: Registers = Registers.model_validate({})
    status: Statuses = Statuses()

    @model_validator(mode="after")
    def _check_sign(self) -> Self:
        signed = self.values.sign in ("import-positive", "export-positive")
        if signed != bool(self.columns.net):
            raise ValueError(
                "sign import-positive or export-positive is that of a net column, and no other: "
                f"it is {self.values.sign!r}, and net is {self.columns.net!r}"
            )
        if self.delimiter == self.decimal_mark:
            raise ValueError("delimiter and decimal_mark are the same: one of them is another")
        if self.values.kind == "counter" and (signed or self.values.unit == "kW"):
            raise ValueError("a counter is written in Wh or kWh, import and export each by itself")
        return self

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that a file has to have."""
        needed = self.columns.needed
        return needed[1:] if self.point else needed


def read_mapping(
    file: Path | None, instead: MappingOf[str, dict[str, str] | str] = _NOTHING
) -> Mapping:
    """Read a mapping; None is the default one. What ``instead`` says holds in its place.

    Raises:
        MappingError: it cannot be read, is no TOML, or has a line that it may not have.
    """
    try:
        table = {} if file is None else dict(read_toml(file, MAX_BYTES))
        for name, given in instead.items():
            held = table.get(name)
            if isinstance(given, dict) and isinstance(held, dict):
                table[name] = held | given
            else:
                table[name] = given
        return Mapping.model_validate(table)
    except TomlFileError as error:
        raise MappingError(str(error)) from error
    except ValidationError as error:
        where = file or "the options"
        raise MappingError(f"{where}: {'; '.join(_explained(error))}") from error


def _explained(error: ValidationError) -> list[str]:
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return [f"{'.'.join(map(str, each['loc'])) or 'the mapping'}: {each['msg']}" for each in found]
