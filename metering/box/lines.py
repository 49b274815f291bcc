"""The ``[[line]]`` tables: how the box reaches its meters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class LineConfigError(ValueError):
    """A line's table is wrong: a person mends the key that is named."""


@dataclass(frozen=True, slots=True)
class LineConfig:
    """One line."""

    name: str
    host: str
    port: int
    rtu: bool
    timeout_s: float


class _LineSpec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(min_length=1, max_length=64)]
    kind: Literal["tcp", "rtu-over-tcp"] = "tcp"
    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Annotated[int, Field(ge=1, le=65_535)] = 502
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 2.0


def parse_lines(tables: Sequence[Mapping[str, object]]) -> dict[str, LineConfig]:
    """Return the lines by name.

    Raises:
        LineConfigError: a line per fault.
    """
    lines: dict[str, LineConfig] = {}
    for number, table in enumerate(tables):
        try:
            spec = _LineSpec.model_validate(table)
        except ValidationError as error:
            raise LineConfigError(
                "\n".join(
                    f"line.{number}.{'.'.join(map(str, one['loc']))}: {one['msg']}"
                    for one in error.errors()
                )
            ) from error
        if spec.name in lines:
            raise LineConfigError(f"line.{number}.name: {spec.name!r} stands twice: rename one")
        lines[spec.name] = LineConfig(
            spec.name, spec.host, spec.port, spec.kind != "tcp", spec.timeout_s
        )
    return lines
