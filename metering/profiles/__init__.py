"""Meter types as data: every ``*.toml`` beside this file is one; adding a meter needs no code.

A folder of one's own may hold more (docs/meters.md shows how to write one). A profile has
``title``, ``source`` (where the addresses come from), ``layout`` and ``function`` (3 holding,
4 input registers). In the ``fixed`` layout ``[[read]]`` lists the requests of one poll and
``[quantity.NAME]`` says where each of ``registers.QUANTITIES`` stands: ``address`` (0-based, as
on the wire), ``type``, ``unit`` and, where needed, ``scale`` (a decimal in quotes), ``missing``
(bit patterns in hex that mean "no value"), ``modulus`` and ``resolution`` (decimals in its unit).
``[serial]``, ``[[identify]]`` and ``[[watch]]`` are registers outside the poll: the serial number,
what tells the type, and settings that change what the counters mean. In the ``sunspec`` layout
the meter's block is found by walking its chain of models: ``[[model]]`` gives ``ids``,
``length`` and quantities whose addresses count from the model's ID word. ``like`` takes the
registers of a built-in profile over; whatever the file gives itself stands instead.
"""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final

from metering.profiles.model import Identifier, Profile, ProfileError, Role, Setting
from metering.profiles.schema import build

__all__ = [
    "Identifier",
    "Profile",
    "ProfileError",
    "Role",
    "Setting",
    "candidates",
    "load_profile",
    "parse_profile",
    "profile_names",
]

_TAKEN_OVER: Final = (
    "layout", "role", "function", "word_order", "read", "quantity", "serial", "bases", "model",
)  # fmt: skip
"""What ``like`` takes over: the registers, not the words about them."""

_EVIDENCE: Final = ("register", "models", "values")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def profile_names(folder: Path | None = None) -> tuple[str, ...]:
    """Return the names of the built-in profiles and of those in ``folder``, sorted.

    Raises:
        ProfileError: ``folder`` cannot be read, or a file in it has a name that is taken.
    """
    return tuple(sorted((*_built_in_names(), *(_own_files(folder) if folder else ()))))


def load_profile(name: str, folder: Path | None = None) -> Profile:
    """Return the profile called ``name``: a built-in one, or one of ``folder``.

    Raises:
        ProfileError: there is none of that name, or its file breaks the schema.
    """
    if name in _built_in_names():
        return _built_in(name)
    own = _own_files(folder) if folder else {}
    if name not in own:
        known = ", ".join(profile_names(folder))
        raise ProfileError(f"no profile {name!r}: known are {known}")
    try:
        text = own[name].read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{own[name]} cannot be read as UTF-8 text: {error}") from error
    return parse_profile(name, text)


def candidates(folder: Path | None = None) -> tuple[Profile, ...]:
    """Return all profiles in the order in which a scan tries them: the surest evidence first.

    Types with registers that identify them, then SunSpec (its marker and models do), then the
    rest, for which only plausible values speak.

    Raises:
        ProfileError: a file of ``folder`` breaks the schema.
    """
    found = [load_profile(name, folder) for name in profile_names(folder)]
    return tuple(sorted(found, key=lambda profile: _EVIDENCE.index(profile.evidence)))


def parse_profile(name: str, text: str) -> Profile:
    """Return the profile written in ``text`` (TOML); ``name`` is used in messages.

    Raises:
        ProfileError: naming the file, the key and how to mend it.
    """
    tables = _tables(name, text)
    base = tables.pop("like", None)
    if base is not None:
        if not isinstance(base, str) or base not in _built_in_names():
            raise ProfileError(
                f"{name}.toml: like: {base!r} is no built-in profile: name one of "
                f"{', '.join(_built_in_names())}"
            )
        taken = _tables(base, _built_in_text(base))
        if "like" in taken:
            raise ProfileError(
                f"{name}.toml: like: {base} is itself like {taken['like']}: name that one"
            )
        tables = {key: taken[key] for key in _TAKEN_OVER if key in taken} | tables
    return build(name, tables)


def _tables(name: str, text: str) -> dict[str, object]:
    try:
        return dict(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{name}.toml is not TOML: {error}") from error


@lru_cache
def _built_in(name: str) -> Profile:
    return parse_profile(name, _built_in_text(name))


@lru_cache
def _built_in_names() -> tuple[str, ...]:
    files = resources.files(__name__).iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


def _built_in_text(name: str) -> str:
    return resources.files(__name__).joinpath(f"{name}.toml").read_text("utf-8")


def _own_files(folder: Path) -> dict[str, Path]:
    """Return the profiles in a folder of one's own, by name."""
    try:
        files = {path.stem: path for path in folder.iterdir() if path.suffix == ".toml"}
    except OSError as error:
        raise ProfileError(f"{folder}: no folder of profiles: {error.strerror}") from error
    for name, path in files.items():
        if name in _built_in_names():
            raise ProfileError(f"{path}: {name} is built in already: choose another file name")
        if not _NAME.fullmatch(name):
            raise ProfileError(
                f"{path}: a profile's name has 1 to 64 lower-case letters, digits, '-' and '_': "
                "rename the file"
            )
    return files
