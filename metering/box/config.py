"""What one gateway is told: one TOML file, and a file per meter beside it (ADR 31).

``gateway.toml`` is a person's: nothing here writes it once it exists. ``meters.d/*.toml`` beside
it holds one meter each, with the keys of a ``[[meter]]`` table at its top level; commands write
those (:mod:`metering.box.meters`). Paths are relative to the folder of ``gateway.toml``.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from metering.box.entries import (
    METERS_FOLDER,
    FileState,
    MeterEntry,
    PreviousKey,
    files_beside,
)
from metering.identity import IdentityError, PublicKey, check_district, check_gsrn
from metering.inputs.config import KINDS, InputConfig, InputConfigError, parse_input
from metering.inputs.types import TYPES, meter_type, type_of, units_of
from metering.interval import LENGTH_MS, Interval, IntervalError
from metering.lines.config import LineConfig, LineConfigError, parse_line
from metering.profiles import ProfileError
from metering.reading import MAX_NAME

MIB: Final = 1024 * 1024
_MOST_PROBLEMS: Final = 20
_DAY_MS: Final = 86_400_000
_S = TypeVar("_S", bound="_Spec")
_is_host: Final = re.compile(r"[A-Za-z0-9._:-]{1,253}").fullmatch


class ConfigError(ValueError):
    """Root of this module's errors: a person mends the file and the key that are named.

    ``faults`` holds one line per fault, the message all of them.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where readings go, whose receipts count, and which authority is asked (``ca_file``)."""

    url: str
    receipt_key: PublicKey
    ca_file: Path | None


@dataclass(frozen=True, slots=True)
class ClockConfig:
    """By whom the clock is judged; see :mod:`metering.box.clock`."""

    source: Literal["system", "ntp", "server"]
    ntp_server: str


@dataclass(frozen=True, slots=True)
class StatusConfig:
    """Where the status page is; beyond this machine only with a password."""

    host: str
    port: int
    password_file: Path | None


@dataclass(frozen=True, slots=True)
class Limits:
    """How often readings are signed, and how much disk the spool may take."""

    sign_every_ms: int
    live_every_s: float
    spool_max_bytes: int
    disk_free_bytes: int
    keep_receipts_ms: int


@dataclass(frozen=True, slots=True)
class BoxConfig:
    """One gateway's settings, judged: names are unique and everything referred to is there.

    ``lines`` are asked (Modbus), ``inputs`` tell by themselves (docs/inputs.md). ``beside`` is how
    the files of ``meters.d`` were when they were read (see :func:`files_beside`).
    """

    path: Path
    district: str
    name: str
    key_file: Path
    data: Path
    server: ServerConfig
    clock: ClockConfig
    status: StatusConfig
    limits: Limits
    lines: Mapping[str, LineConfig]
    inputs: Mapping[str, InputConfig]
    meters: tuple[MeterEntry, ...]
    beside: frozenset[FileState]

    @property
    def spool(self) -> Path:
        """The file that keeps readings until they are receipted."""
        return self.data / "spool.db"


def load_config(path: Path) -> BoxConfig:
    """Read and judge ``gateway.toml`` and the meters beside it; key files are not opened.

    Raises:
        ConfigError: each fault with its file, its key, and how to mend it.
    """
    spec = _validated(_BoxSpec, path, _table(path))
    folder = path.absolute().parent
    lines, inputs = _lines(spec.line, path, folder)
    beside = files_beside(path)
    meters = (*(_entry(folder, path, one) for one in spec.meter), *_beside(path))
    check_meters(meters, lines, inputs)
    return BoxConfig(
        path=path,
        district=spec.district,
        name=spec.name,
        key_file=folder / spec.key_file,
        data=folder / spec.data,
        server=_server(folder, spec.server, path),
        clock=_clock(spec.clock, path),
        status=_status(folder, spec.status, path),
        limits=_limits(spec),
        lines=lines,
        inputs=inputs,
        meters=meters,
        beside=beside,
    )


def parse_meter(folder: Path, where: Path, text: str) -> MeterEntry:
    """Return the meter that a file of ``meters.d`` holds; ``folder`` is that of the settings.

    Raises:
        ConfigError: it is no TOML, or a key is missing, unknown or out of range.
    """
    return _entry(folder, where, _validated(_MeterSpec, where, _loads(where, text)))


# --- The file's shape ----------------------------------------------------------------------------


def _text(value: str) -> str:
    if not (0 < len(value) <= MAX_NAME and value.isprintable()):
        raise ValueError(f"1 to {MAX_NAME} printable characters are expected")
    return value


def _url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("write the district's address as https://district.example")
    return url.rstrip("/")


def _host(host: str) -> str:
    if not _is_host(host):
        raise ValueError("an address or a host name is expected, without scheme and port")
    return host


def _sign_every(seconds: float) -> float:
    every_ms = round(seconds * 1_000)
    if every_ms < 100 or LENGTH_MS % every_ms:
        raise ValueError("it has to divide a quarter-hour: 60, 30, 20, 15, 10, 5, 300 or 900, say")
    return seconds


_Name = Annotated[str, AfterValidator(_text)]
_Path = Annotated[str, Field(min_length=1, max_length=1_024)]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _ServerSpec(_Spec):
    url: Annotated[str, AfterValidator(_url)]
    receipt_key: str
    plain_http: bool = False
    ca_file: str = ""


class _ClockSpec(_Spec):
    source: Literal["system", "ntp", "server"] = "system"
    ntp_server: Annotated[str, AfterValidator(_host)] | Literal[""] = ""


class _StatusSpec(_Spec):
    host: Annotated[str, AfterValidator(_host)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8010
    password_file: str = ""


class _ReadingsSpec(_Spec):
    every_s: Annotated[float, AfterValidator(_sign_every)] = 60
    live_every_s: Annotated[float, Field(ge=0.1, le=3_600)] = 5


class _LimitsSpec(_Spec):
    spool_mib: Annotated[int, Field(ge=1, le=1_048_576)] = 2_048
    disk_free_mib: Annotated[int, Field(ge=0, le=1_048_576)] = 256
    keep_receipts_days: Annotated[int, Field(ge=0, le=3_660)] = 7


class _PreviousSpec(_Spec):
    key_file: _Path
    valid_from: str


class _MeterSpec(_Spec):
    point: Annotated[str, AfterValidator(check_gsrn)]
    serial: _Name
    profile: _Name
    line: _Name
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    key_file: _Path
    epoch: Annotated[int, Field(ge=1, lt=2**31)] = 1
    valid_from: str
    previous: _PreviousSpec | None = None


class _BoxSpec(_Spec):
    district: Annotated[str, AfterValidator(check_district)]
    name: _Name
    key_file: _Path = "keys/gateway.key"
    data: _Path = "data"
    server: _ServerSpec
    clock: _ClockSpec = _ClockSpec()
    status: _StatusSpec = _StatusSpec()
    readings: _ReadingsSpec = _ReadingsSpec()
    limits: _LimitsSpec = _LimitsSpec()
    line: list[dict[str, object]] = []
    meter: list[_MeterSpec] = []


def _table(path: Path) -> dict[str, object]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}): check its name and rights, or make one with "
            "wattloom gateway --init"
        ) from error
    return _loads(path, text)


def _loads(where: Path, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not TOML: {error}") from error


def _validated(spec: type[_S], where: Path, table: Mapping[str, object]) -> _S:
    try:
        return spec.model_validate(table)
    except ValidationError as error:
        raise ConfigError(*_explain(where, error)) from error


def _explain(where: Path, error: ValidationError) -> Iterable[str]:
    """Yield a line per breach: file, key, what is wrong there; never the value of a key."""
    for detail in error.errors()[:_MOST_PROBLEMS]:
        key = ".".join(str(part) for part in detail["loc"])
        advice = {
            "extra_forbidden": "unknown key: remove it or correct its spelling",
            "missing": "is missing: add it",
        }.get(detail["type"], detail["msg"].removeprefix("Value error, "))
        yield f"{where}: {key}: {advice}"


# --- From its shape to what it means -------------------------------------------------------------


def _lines(
    tables: Sequence[Mapping[str, object]], path: Path, folder: Path
) -> tuple[dict[str, LineConfig], dict[str, InputConfig]]:
    """Return the lines that are asked and those that tell by themselves, by name."""
    lines, inputs, faults = dict[str, LineConfig](), dict[str, InputConfig](), list[str]()
    for number, table in enumerate(tables, start=1):
        where = f"{path}: line {number}"
        if table.get("name") in (*lines, *inputs):
            faults.append(f"{where}: name: {table['name']!r} is taken: give each line its own")
        try:
            if table.get("kind") in KINDS:
                told = parse_input(table, where, folder)
                inputs[told.name] = told
            else:
                asked = parse_line(table, where, folder)
                lines[asked.name] = asked
        except (LineConfigError, InputConfigError) as error:
            faults += str(error).splitlines()
    if faults:
        raise ConfigError(*faults)
    return lines, inputs


def _server(folder: Path, spec: _ServerSpec, where: Path) -> ServerConfig:
    parts = urlsplit(spec.url)
    if parts.scheme == "http" and not (spec.plain_http or is_loopback(parts.hostname or "")):
        raise ConfigError(
            f"{where}: server.url: {spec.url} would carry readings in the clear: write https://, "
            "or set plain_http = true where the network is the district's own"
        )
    try:
        receipt_key = PublicKey.parse(spec.receipt_key)
    except IdentityError as error:
        raise ConfigError(
            f"{where}: server.receipt_key: {error}; it stands in the district's keys.json under "
            "receipts"
        ) from error
    return ServerConfig(spec.url, receipt_key, folder / spec.ca_file if spec.ca_file else None)


def _clock(spec: _ClockSpec, where: Path) -> ClockConfig:
    if spec.source == "ntp" and not spec.ntp_server:
        raise ConfigError(f"{where}: clock.ntp_server: name the server that is to be asked")
    return ClockConfig(spec.source, spec.ntp_server)


def _status(folder: Path, spec: _StatusSpec, where: Path) -> StatusConfig:
    if not spec.password_file and not is_loopback(spec.host):
        raise ConfigError(
            f"{where}: status.host: {spec.host} is seen beyond this machine, and the page shows "
            "people's consumption: set status.password_file, or use 127.0.0.1"
        )
    password = folder / spec.password_file if spec.password_file else None
    return StatusConfig(spec.host, spec.port, password)


def _limits(spec: _BoxSpec) -> Limits:
    return Limits(
        sign_every_ms=round(spec.readings.every_s * 1_000),
        live_every_s=spec.readings.live_every_s,
        spool_max_bytes=spec.limits.spool_mib * MIB,
        disk_free_bytes=spec.limits.disk_free_mib * MIB,
        keep_receipts_ms=spec.limits.keep_receipts_days * _DAY_MS,
    )


def _entry(folder: Path, where: Path, spec: _MeterSpec) -> MeterEntry:
    try:
        meter_type(spec.profile)
        valid_from = Interval.parse(spec.valid_from)
        previous = _previous(folder, spec.previous)
    except ProfileError as error:
        raise ConfigError(f"{where}: profile: {error}") from error
    except IntervalError as error:
        raise ConfigError(f"{where}: valid_from: {error}") from error
    if previous is not None and previous.valid_from.key >= valid_from.key:
        raise ConfigError(
            f"{where}: previous.valid_from: it signs from {previous.valid_from} on, and so has to "
            f"begin before valid_from, {valid_from}"
        )
    return MeterEntry(
        point=spec.point, serial=spec.serial, profile=spec.profile, line=spec.line, unit=spec.unit,
        key_file=folder / spec.key_file, epoch=spec.epoch, valid_from=valid_from, written_in=where,
        previous=previous,
    )  # fmt: skip


def _previous(folder: Path, spec: _PreviousSpec | None) -> PreviousKey | None:
    if spec is None:
        return None
    return PreviousKey(folder / spec.key_file, Interval.parse(spec.valid_from))


def _beside(path: Path) -> Iterable[MeterEntry]:
    """Yield the meters of ``meters.d``, in the order of their files' names."""
    folder = path.absolute().parent
    for file in sorted((folder / METERS_FOLDER).glob("*.toml")):
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file} cannot be read ({error}): check its rights") from error
        yield parse_meter(folder, file, text)


def check_meters(
    meters: Sequence[MeterEntry],
    lines: Mapping[str, LineConfig],
    inputs: Mapping[str, InputConfig],
) -> None:
    """Judge meters side by side.

    Raises:
        ConfigError: a line that is not there or knows no such meter, or a point, key file or unit
            that two have.
    """
    faults = [fault for one in meters if (fault := _misplaced(one, lines, inputs))]
    for what, values in (
        ("point", [one.point for one in meters]),
        ("key_file", [str(file) for one in meters for file in one.key_files]),
        ("unit", [f"{one.unit} on line {one.line!r}" for one in meters]),
    ):
        faults += [
            f"{what}: {value} stands in {count} meters: give each its own"
            for value, count in Counter(values).items()
            if count > 1
        ]
    if faults:
        raise ConfigError(*faults)


def _misplaced(
    one: MeterEntry, lines: Mapping[str, LineConfig], inputs: Mapping[str, InputConfig]
) -> str:
    """Return why a meter cannot be on its line; '' where it can."""
    if one.line not in lines and one.line not in inputs:
        known = ", ".join((*lines, *inputs)) or "none"
        return f"{one.written_in}: line: there is no [[line]] named {one.line!r}: known are {known}"
    told = inputs.get(one.line)
    if told is None:
        if one.profile not in TYPES:
            return ""
        return f"{one.written_in}: profile: {one.profile} is not read over Modbus: name its type"
    if one.profile != type_of(told, one.unit).name:
        return (
            f"{one.written_in}: profile: a meter on line {one.line!r} is of the profile "
            f"{type_of(told, one.unit).name}"
        )
    if one.unit not in units_of(told):
        units = ", ".join(map(str, sorted(units_of(told)))) or "none"
        return f"{one.written_in}: unit: line {one.line!r} tells of unit {units}"
    return ""


def is_loopback(host: str) -> bool:
    """Tell whether only this machine is meant."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
