"""One settings file (TOML) per district; secrets come from the environment.

Each setting is documented in ``docs/settings.md``; a test keeps the two together.
"""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from app.bankfiles.identifiers import check_bic, check_iban
from ledger_client.verify import ANCHOR_DEADLINE_S, Witness, key_is_sound
from metering.identity import check_district

SETTINGS_FILE: Final = "district.toml"
"""What a founded district's settings are called in its folder."""
_NODE_URL: Final = re.compile(
    r"https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?/?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?/?"
)
_MQTT_URL: Final = re.compile(r"mqtts?://([A-Za-z0-9._-]+@)?[A-Za-z0-9._-]+(:[0-9]{1,5})?")
_WITNESS: Final = re.compile(
    r"(?P<name>[!-*\--<>-~]{1,255})=(?P<url>https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?(/[!-~]*)?)"
    r"=(?P<key>[0-9a-f]{64})"
)
_HOST_NAME: Final = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")


class SettingsError(ValueError):
    """The settings file or an environment variable is wrong: mend it and start again."""


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no IANA time zone; write one such as 'Europe/Berlin'")
    return name


def _split(value: object) -> object:
    """Take names from the environment as ``a.example,b.example``."""
    if not isinstance(value, str):
        return value
    return [name.strip() for name in value.split(",") if name.strip()]


def _host_name(name: str) -> str:
    if not _HOST_NAME.fullmatch(name):
        raise ValueError(
            f"{name[:80]!r} is no host name: write it in small letters, without scheme and port, "
            "such as 'district.example' or '*.district.example'"
        )
    return name


def _iban(text: str) -> str:
    return check_iban(text) if text else ""


def _bic(text: str) -> str:
    return check_bic(text) if text else ""


def _mqtt_url(url: str) -> str:
    if url and not _MQTT_URL.fullmatch(url):
        raise ValueError(
            f"{url[:80]!r} is no address of a broker: write it as mqtt://broker.example:1883 or "
            "mqtts://NAME@broker.example:8883"
        )
    return url


def _node_url(url: str) -> str:
    if not _NODE_URL.fullmatch(url):
        raise ValueError(
            f"{url[:80]!r} is no address of a node: write it as http://127.0.0.1:14265 or with "
            "https://, without a path"
        )
    return url.rstrip("/")


class WitnessAddress(NamedTuple):
    """A witness of the log's checkpoints: its pinned name and key, and where it answers."""

    witness: Witness
    url: str


def _witness(value: object) -> WitnessAddress:
    match = _WITNESS.fullmatch(value) if isinstance(value, str) else None
    if match is None or not key_is_sound(bytes.fromhex(match["key"])):
        raise ValueError(
            f"{value!r:.80} is no witness: write NAME=URL=KEY, such as "
            "'city.example/w=https://witness.city.example=' and 64 digits of lowercase hex"
        )
    return WitnessAddress(Witness(bytes.fromhex(match["key"]), match["name"]), match["url"])


def _each_once(witnesses: tuple[WitnessAddress, ...]) -> tuple[WitnessAddress, ...]:
    names = {item.witness.name for item in witnesses}
    keys = {item.witness.key for item in witnesses}
    if not len(names) == len(keys) == len(witnesses):
        raise ValueError("two witnesses have one name or one key: name each once")
    return witnesses


class Settings(BaseSettings):
    """What one district's processes need to know. Prices are net, in micro-euros per kWh."""

    model_config = SettingsConfigDict(
        env_prefix="WATTLOOM_", extra="forbid", frozen=True, validate_default=True
    )

    origin: Annotated[str, AfterValidator(check_district)] = "lindenhof.wattloom.example"
    name: str = "Lindenhof"
    zone: Annotated[str, AfterValidator(_known_zone)] = "Europe/Berlin"

    data: Path = Path("data")
    database_url: str = ""  # '' means SQLite in the data folder

    mode: Literal["metered", "forward", "sharing"] = "metered"
    rule: Literal["mid-market", "uniform", "pay-as-bid", "sdr"] = "mid-market"
    price_tick_micro_per_kwh: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    clear_timeout_s: Annotated[int, Field(ge=1, le=600)] = 10
    session_intervals: Annotated[int, Field(ge=1, le=96)] = 96
    gate_closure_s: Annotated[int, Field(ge=0, le=172_800)] = 3_600  # before the first interval
    grace_s: Annotated[int, Field(ge=0)] = 300
    seal_s: Annotated[int, Field(ge=1)] = 900
    correction_days: Annotated[int, Field(ge=0, le=1_095)] = 30
    retention_days: Annotated[int, Field(ge=0, le=36_500)] = 400  # 0: for ever
    settle_every: Annotated[int, Field(ge=1, le=96)] = 1
    network: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")] = "wattloom-lindenhof"
    hrp: Annotated[str, Field(pattern=r"^[a-z]{1,10}$")] = "wl"
    credit_limit_micro: Annotated[int, Field(ge=0, le=10**12)] = 20_000_000

    # Who issues statements, as printed on them.
    issuer_name: Annotated[str, Field(max_length=100)] = ""  # '' is the district's name
    issuer_address: Annotated[str, Field(max_length=200)] = ""
    issuer_tax_number: Annotated[str, Field(max_length=40)] = ""
    # Days after a month's end when its statements are issued by themselves; 0: by command alone.
    statement_days: Annotated[int, Field(ge=0, le=60)] = 3
    correction_months: Annotated[int, Field(ge=1, le=120)] = 36  # older energy is never corrected
    imbalance: Literal["tariff", "price"] = "tariff"  # what a forward residual costs
    grid_emissions_mg_per_kwh: Annotated[int, Field(ge=0, le=2_000_000)] = 363_000
    loss_alarm_ppm: Annotated[int, Field(ge=0, le=1_000_000)] = 80_000  # of a feeder's daily energy

    # The district's own account; '' means that nothing is paid in or out through a bank.
    bank_name: Annotated[str, Field(max_length=70)] = ""
    bank_iban: Annotated[str, AfterValidator(_iban)] = ""
    bank_bic: Annotated[str, AfterValidator(_bic)] = ""

    # The ledger's nodes, first choice first; () means the embedded node in this process.
    ledger_url: Annotated[
        tuple[Annotated[str, AfterValidator(_node_url)], ...], NoDecode, BeforeValidator(_split)
    ] = ()
    ledger_token: SecretStr = SecretStr("")
    ledger_keys: Path | None = None  # KEYS of the nodes' milestones
    ledger_timeout_s: Annotated[int, Field(ge=1, le=120)] = 10
    treasury_units: Annotated[int, Field(ge=1, le=10**15)] = 10**12  # the supply; never changes

    # Who cosigns the log's checkpoints, and how many of them the published KEYS demand.
    witnesses: Annotated[
        tuple[Annotated[WitnessAddress, PlainValidator(_witness)], ...],
        NoDecode,
        BeforeValidator(_split),
        AfterValidator(_each_once),
    ] = ()
    witness_threshold: Annotated[int, Field(ge=0, le=16)] = 0
    mldsa: bool = False  # a second signature on checkpoints

    # Where the district stands, in decimal degrees, for the sun's height; weather from a file.
    latitude: Annotated[Decimal, Field(ge=-90, le=90)] = Decimal("52.52")
    longitude: Annotated[Decimal, Field(ge=-180, le=180)] = Decimal("13.41")
    weather_file: Path | None = None
    forecast_model: Literal["baseline", "learned"] = "baseline"

    # Where expected prices are published for devices; '' means by HTTP alone.
    mqtt_url: Annotated[str, AfterValidator(_mqtt_url)] = ""
    mqtt_password: SecretStr = SecretStr("")

    # What may wait at the door for readings; beyond it gateways are told to come back later.
    ingest_queue_mib: Annotated[int, Field(ge=1, le=4_096)] = 32
    ingest_queue_readings: Annotated[int, Field(ge=1_000, le=10_000_000)] = 40_000

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    allowed_hosts: Annotated[
        tuple[Annotated[str, AfterValidator(_host_name)], ...], NoDecode, BeforeValidator(_split)
    ] = ()
    poll_timeout_ms: Annotated[int, Field(ge=10, le=60_000)] = 2_000

    @model_validator(mode="after")
    def _keep_the_deadline(self) -> Self:
        """Keep within what each proof of a real interval is judged by (docs/proof.md, `time`)."""
        if self.grace_s + self.seal_s > ANCHOR_DEADLINE_S:
            raise ValueError(
                f"{self.grace_s} s of grace and {self.seal_s} s to seal are more than the "
                f"{ANCHOR_DEADLINE_S} s after which no proof would hold: lower one of the two"
            )
        return self

    @field_validator("retention_days")
    @classmethod
    def _keep_what_may_be_corrected(cls, days: int, info: ValidationInfo) -> int:
        window = info.data.get("correction_days", 0)
        if 0 < days <= window:
            raise ValueError(
                f"readings are needed while corrections are possible ({window} days): keep them "
                "longer, or 0 for ever"
            )
        return days

    @field_validator("witnesses")
    @classmethod
    def _call_none_as_the_log(
        cls, witnesses: tuple[WitnessAddress, ...], info: ValidationInfo
    ) -> tuple[WitnessAddress, ...]:
        """Lines by the origin's name are the log's own second signatures."""
        if any(item.witness.name == info.data.get("origin") for item in witnesses):
            raise ValueError("a witness has the name of the district: it is somebody else's")
        return witnesses

    @field_validator("witness_threshold")
    @classmethod
    def _demand_no_more_than_there_are(cls, threshold: int, info: ValidationInfo) -> int:
        there = len(info.data.get("witnesses", ()))
        if "witnesses" in info.data and threshold > there:
            raise ValueError(f"{threshold} witnesses are demanded and {there} named: lower it")
        return threshold

    @property
    def sqlalchemy_url(self) -> str:
        """The database's URL; SQLite in the data folder unless one is set."""
        return self.database_url or f"sqlite:///{self.data.resolve() / 'district.db'}"

    @property
    def known_hosts(self) -> tuple[str, ...]:
        """The names under which the pages answer, whatever ``Host`` a request claims."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return ("localhost", "127.0.0.1", "[::1]", own, *self.allowed_hosts)

    @property
    def tz(self) -> ZoneInfo:
        """The district's time zone."""
        return ZoneInfo(self.zone)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: what the command line says, the environment, the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(file: Path | None = None, **overrides: object) -> Settings:
    """Read the settings of a district.

    Args:
        file: a TOML file. Without it that in the folder ``data`` of the overrides, if there is
            one (a founded district has it there), else defaults and environment alone.
        overrides: settings given on the command line; they win.

    Raises:
        SettingsError: unreadable file, unknown key, or a value out of range; it says which.
    """
    file = file or _in_folder(overrides.get("data"))
    source = str(file) if file else "environment"
    if file is not None:
        _check_readable(file)

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        loaded = FromFile(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError(_explain(source, error)) from error
    return Settings.model_construct(**dict(loaded))


def _in_folder(data: object) -> Path | None:
    file = data / SETTINGS_FILE if isinstance(data, Path) else None
    return file if file and file.is_file() else None


def _check_readable(file: Path) -> None:
    try:
        tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not TOML: {error}") from error


def _explain(source: str, error: ValidationError) -> str:
    lines = [f"{source}: the settings are wrong; mend these lines and start again"]
    known = ", ".join(sorted(Settings.model_fields))
    for item in error.errors(include_input=False, include_url=False):
        key = ".".join(str(part) for part in item["loc"]) or "grace_s, seal_s"
        if item["type"] == "extra_forbidden":
            lines.append(f"  {key}: no such setting; there are {known}")
        else:
            lines.append(f"  {key}: {item['msg']}")
    return "\n".join(lines)
