"""What a gateway keeps while an enrolment is under way: one file a point, beside its settings.

``pending/GSRN.json`` is written before anything is sent, so that a lost answer, a closed laptop or
a power cut loses neither the key's purpose nor the old meter's last values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from metering import canonical
from metering.box.files import make_folder, sync_folder, write_whole
from metering.commissioning.wire import (
    EnrolmentRequest,
    MalformedRequestError,
    Message,
    Registers,
    RotationRequest,
)

FOLDER: Final = "pending"
_Name = Annotated[str, Field(min_length=1, max_length=1_024)]


class PapersError(Exception):
    """A kept file cannot be read: a person looks at it, or removes it and begins anew."""


class Site(Message):
    """Where a meter answers: the name of a line of the settings, and the unit on it."""

    line: _Name
    unit: Annotated[int, Field(ge=0, le=255)]


class Sent(Message):
    """An enrolment that was signed: whose it is, where the meter answers, what was sent with it."""

    kind: Literal["sent"] = "sent"
    site: Site
    key_file: _Name
    token: _Name
    request: EnrolmentRequest


class Closing(Message):
    """A meter that was read for the last time, before another takes its place."""

    kind: Literal["closing"] = "closing"
    site: Site
    profile: _Name
    old_key: _Name
    old_serial: _Name
    registers: Registers
    by: Literal["meter", "person"]


class Turned(Message):
    """A new key that the old one signed over: the entry is to be changed when it begins."""

    kind: Literal["turned"] = "turned"
    key_file: _Name
    request: RotationRequest


Paper = Sent | Closing | Turned
_KINDS: Final[Mapping[object, type[Paper]]] = {"sent": Sent, "closing": Closing, "turned": Turned}


def keep(config: Path, point: str, paper: Paper) -> Path:
    """Write a point's paper whole or not at all, in place of what is there; return its file.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = config.absolute().parent / FOLDER
    make_folder(folder)
    path = folder / f"{point}.json"
    write_whole(path, paper.to_json())
    return path


def kept(config: Path, point: str) -> Paper | None:
    """Return a point's paper, ``None`` where there is none.

    Raises:
        PapersError: the file is there and cannot be read.
    """
    path = config.absolute().parent / FOLDER / f"{point}.json"
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise PapersError(f"{path} cannot be read: {error}") from error
    try:
        kind = canonical.decode(text.encode()).get("kind")
        return _KINDS.get(kind, Sent).parse(text)
    except (MalformedRequestError, canonical.CanonicalError) as error:
        raise PapersError(f"{path}: {error}; remove it to begin anew") from error


def points(config: Path) -> Iterable[str]:
    """Return the points of which something is kept, sorted."""
    folder = config.absolute().parent / FOLDER
    return sorted(path.stem for path in folder.glob("[0-9]*.json"))


def drop(config: Path, point: str) -> None:
    """Remove a point's paper."""
    path = config.absolute().parent / FOLDER / f"{point}.json"
    path.unlink(missing_ok=True)
    if path.parent.exists():
        sync_folder(path.parent)
