"""Which lines there are: one table ``[[line]]`` of the gateway's TOML each (docs/lines.md).

The dataclasses are plain: code may build them itself. :func:`parse_line` is for what a person
wrote; it names the key that is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

_CLOSED: Final = ConfigDict(extra="forbid")

_Text = Annotated[str, Field(min_length=1)]
_Port = Annotated[int, Field(strict=True, ge=1, le=65_535)]
_Timeout = Annotated[int, Field(strict=True, ge=20, le=10_000)]
_Gap = Annotated[int, Field(strict=True, ge=0, le=1_000)]
_Baud = Annotated[int, Field(strict=True, ge=300, le=1_000_000)]


class LineConfigError(ValueError):
    """A line's table is wrong: nothing was opened; a person mends the key that is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpLine:
    """Modbus TCP: one meter, or a gateway with many units behind it.

    ``timeout_ms`` is how long a unit may take to begin its answer; ``gap_ms`` is the silence kept
    between two requests; ``baud`` is the speed of the bus behind a gateway, if there is one.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    name: _Text
    host: _Text
    port: _Port = 502
    timeout_ms: _Timeout = 1_000
    gap_ms: _Gap = 0
    baud: _Baud | None = None
    kind: Literal["tcp"] = "tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class RtuOverTcpLine:
    """RTU frames through a plain serial-to-TCP converter: no transaction numbers on the way."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    name: _Text
    host: _Text
    port: _Port
    timeout_ms: _Timeout = 300
    gap_ms: _Gap = 20
    baud: _Baud = 9_600
    kind: Literal["rtu-over-tcp"] = "rtu-over-tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialLine:
    """Modbus RTU on a serial port of this machine, such as an RS-485 adapter."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    name: _Text
    device: _Text
    baud: _Baud = 9_600
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    timeout_ms: _Timeout = 300
    gap_ms: _Gap = 20
    kind: Literal["serial"] = "serial"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsLine:
    """Modbus/TCP Security: both sides show a certificate.

    ``ca_file`` signs the meter's certificate, which must name ``server_name`` (``host`` unless
    given); ``certificate_file`` and ``key_file`` are this gateway's own, in PEM. With ``role`` the
    meter's certificate must carry that role (OID 1.3.6.1.4.1.50316.802.1).

    Source: Modbus/TCP Security Protocol Specification, MB-TCP-Security-v21.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    name: _Text
    host: _Text
    ca_file: Path
    certificate_file: Path
    key_file: Path
    port: _Port = 802
    server_name: _Text | None = None
    role: _Text | None = None
    timeout_ms: _Timeout = 1_000
    gap_ms: _Gap = 0
    baud: _Baud | None = None
    kind: Literal["tls"] = "tls"


LineConfig = TcpLine | RtuOverTcpLine | SerialLine | TlsLine

_KINDS: Final = ("tcp", "rtu-over-tcp", "serial", "tls")
_LINE: Final[TypeAdapter[LineConfig]] = TypeAdapter(
    Annotated[LineConfig, Field(discriminator="kind")]
)
_ADVICE: Final = {
    "unexpected_keyword_argument": "unknown key: remove it or correct its spelling",
    "missing": "is absent: add it",
    "missing_argument": "is absent: add it",
    "union_tag_not_found": f'is absent: add kind = "...", one of {", ".join(_KINDS)}',
    "union_tag_invalid": f"is unknown: choose one of {', '.join(_KINDS)}, p1, mqtt",
}


def parse_line(table: Mapping[str, object], where: str, folder: Path = Path()) -> LineConfig:
    """Return the line that ``table`` describes; its files are looked for from ``folder``.

    ``where`` names the table in messages, such as ``gateway.toml: line 2``.

    Raises:
        LineConfigError: one line per key that is wrong, absent or unknown.
    """
    try:
        line = _LINE.validate_python(table)
    except ValidationError as error:
        raise LineConfigError(_explain(where, error)) from error
    if not isinstance(line, TlsLine):
        return line
    return replace(
        line,
        ca_file=folder / line.ca_file,
        certificate_file=folder / line.certificate_file,
        key_file=folder / line.key_file,
    )


def _explain(where: str, error: ValidationError) -> str:
    lines = []
    for detail in error.errors():
        key = ".".join(str(part) for part in detail["loc"] if part not in _KINDS) or "kind"
        lines.append(f"{where}: {key}: {_ADVICE.get(detail['type'], detail['msg'])}")
    return "\n".join(lines)
