"""What somebody asks to change behind metering points, read from words, and why it is refused."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, tzinfo
from typing import Final

from app.bankfiles.statement import clean
from market.registry import RegistryError, Role
from metering.interval import Interval, IntervalError
from metering.localtime import day_start

MOST_NAME: Final = 120
MOST_ADDRESS: Final = 300
MOST_LINES: Final = 8
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class ChangeError(RegistryError):
    """A change is refused for good: mend ``field`` ('' for the whole) as the message says."""

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.field = field


def check_id(text: str, field: str) -> None:
    """Make sure that a text can be the id of somebody new.

    Raises:
        ChangeError: it cannot.
    """
    if not _ID.fullmatch(text):
        raise ChangeError(
            f"{text[:60]!r} is no id: 1 to 40 letters, digits, '-' or '_', the first a letter or "
            "digit",
            field,
        )


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Who is not a participant yet. ``postal_address``: lines, for statements.

    Raises:
        ChangeError: no name, an id that cannot be one, or an address that fits on no envelope.
    """

    id: str
    name: str
    postal_address: str = ""

    def __post_init__(self) -> None:
        check_id(self.id, "to")
        if not self.name:
            raise ChangeError("name who moves in: the name stands on their statements", "name")
        if len(self.postal_address.splitlines()) > MOST_LINES:
            raise ChangeError(
                f"write the postal address in at most {MOST_LINES} lines, as on an envelope", "name"
            )

    @classmethod
    def of(cls, participant: str, name: str, postal_address: str) -> Newcomer:
        """Return a newcomer from what somebody typed, less what cannot be printed."""
        lines = (clean(line, MOST_NAME) for line in postal_address.splitlines())
        address = "\n".join(line for line in lines if line)[:MOST_ADDRESS]
        return cls(participant, clean(name, MOST_NAME), address)


@dataclass(frozen=True, slots=True)
class Change:
    """Other targets of some points from ``begin`` on, until what is planned after that.

    ``newcomer`` is the participant target where they are new; ``names`` gives suppliers and
    balance responsible parties that are new their names, by id.
    """

    points: Sequence[str]
    begin: Interval
    targets: Mapping[Role, str]
    newcomer: Newcomer | None = None
    names: Mapping[str, str] = field(default_factory=dict)


def read_begin(text: str, zone: tzinfo) -> Interval:
    """Return the interval that a local day (``2026-10-25``: its midnight) or a key names.

    Raises:
        ChangeError: it names none.
    """
    text = text.strip()
    try:
        if _DAY.fullmatch(text):
            return day_start(date.fromisoformat(text), zone)
        return Interval.parse(text)
    except (ValueError, IntervalError) as error:
        raise ChangeError(
            f"{text[:40]!r} names no begin: write a local day as 2026-10-25, or the UTC start of "
            "an interval as 2026-10-25T00:15:00Z",
            "begin",
        ) from error


def new_id(name: str, taken: Collection[str]) -> str:
    """Return a free id that reminds of a name: ``Ada Ek`` becomes ada-ek, the next one ada-ek-2."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    base = "-".join(re.findall(r"[a-z0-9]+", plain))[:30].strip("-") or "participant"
    tries = (base if n == 1 else f"{base}-{n}" for n in range(1, len(taken) + 2))
    return next(each for each in tries if each not in taken)
