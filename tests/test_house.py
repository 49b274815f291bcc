"""What holds for the whole repository: taste that only tightens, locks, nothing from one machine.

The ratchets are the figures of the day they were set. They may be lowered whenever the code allows
it and are never raised: make the code smaller instead.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
MIGRATIONS = "app/migrations/versions/"
PACKAGES = ("app", "ledger_client", "market", "metering", "optimizer", "web")

LONGEST_FUNCTION = 47
LONGEST_FILE = 480
ANY_COUNT = 4  # in the packages; tests may
NOQA_COUNT = 16
TYPE_IGNORE_COUNT = 7

# Files that may be longer than LONGEST_FILE, each with its reason.
LONG_FILES = {
    "app/migrations/versions/0001_the_first_schema.py": "history, one statement per column",
    "app/migrations/versions/0004_money.py": "history, one statement per column",
    "ledger_client/verify.py": "one file by design: whoever checks a proof copies it alone",
    "tests/metering/test_gateway.py": "one table of what can go wrong between meter and server",
}

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS = {
    "requirements.lock": (),
    "requirements-dev.lock": ("dev",),
    "requirements-bench.lock": ("dev", "bench"),
}
GATEWAY_LOCK = "requirements-gateway.lock"
LOCKS = (*EXTRAS, GATEWAY_LOCK)


@cache
def _house_files() -> tuple[Path, ...]:
    """Every file that is, or would be, in the repository."""
    kinds = "--cached --others --exclude-standard"
    listed = subprocess.run(
        # A checkout may belong to another account than the one that tests it.
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", *kinds.split()],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    return tuple(path for name in sorted(filter(None, listed)) if (path := ROOT / name).is_file())


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _python_files(*folders: str) -> list[Path]:
    return [
        path
        for path in _house_files()
        if path.suffix == ".py" and (not folders or path.relative_to(ROOT).parts[0] in folders)
    ]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), filename=str(path))


def _texts() -> Iterator[tuple[Path, str]]:
    for path in _house_files():
        content = path.read_bytes()
        if b"\0" not in content:
            yield path, content.decode("utf-8")


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def _imports(tree: ast.Module) -> set[str]:
    """The top-level packages that a module imports; a relative import begins with a dot."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or "").split(".")[0])
    return found


def _hold(measured: int, limit: int, ratchet: str, where: Iterable[str] = ()) -> None:
    """Fail when a ratchet would have to rise, and say where to look."""
    found = "\n  ".join(where)
    assert measured <= limit, (
        f"{ratchet} is {limit} and may only fall, but {measured} was measured:\n  {found}"
    )


def test_functions_fit_on_a_screen() -> None:
    lengths = sorted(
        (
            ((node.end_lineno or 0) - node.lineno + 1, f"{_name(path)}:{node.lineno} {node.name}")
            for path in _python_files(*PACKAGES)
            if MIGRATIONS not in _name(path)  # history, written once, one statement per column
            for node in _functions(_tree(path))
        ),
        reverse=True,
    )
    too_long = [f"{length} {where}" for length, where in lengths if length > LONGEST_FUNCTION]
    _hold(lengths[0][0], LONGEST_FUNCTION, "LONGEST_FUNCTION", too_long)


def test_files_stay_short() -> None:
    lengths = sorted(
        (
            (len(path.read_text("utf-8").splitlines()), _name(path))
            for path in _python_files()
            if _name(path) not in LONG_FILES
        ),
        reverse=True,
    )
    too_long = [f"{length} {where}" for length, where in lengths if length > LONGEST_FILE]
    _hold(lengths[0][0], LONGEST_FILE, "LONGEST_FILE", too_long)


def test_listed_long_files_are_still_long() -> None:
    for name in LONG_FILES:
        length = len((ROOT / name).read_text("utf-8").splitlines())
        assert length > LONGEST_FILE, f"{name} has {length} lines: take it off LONG_FILES"


def test_few_any() -> None:
    uses = [
        f"{_name(path)}:{node.lineno}"
        for path in _python_files(*PACKAGES)
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Name) and node.id == "Any"
    ]
    _hold(len(uses), ANY_COUNT, "ANY_COUNT", uses)


@pytest.mark.parametrize(
    ("ratchet", "limit", "pattern"),
    [
        ("NOQA_COUNT", NOQA_COUNT, r"#\s*noqa"),
        ("TYPE_IGNORE_COUNT", TYPE_IGNORE_COUNT, r"#\s*type:\s*ignore"),
    ],
)
def test_few_exceptions_to_the_rules(ratchet: str, limit: int, pattern: str) -> None:
    uses = [
        f"{_name(path)}:{number}  {line.strip()}"
        for path in _python_files()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if re.search(pattern, line)
    ]
    _hold(len(uses), limit, ratchet, uses)


def test_whatever_is_public_says_what_it_is() -> None:
    options = "check --select D1 --ignore D105,D107"
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", *options.split(), *PACKAGES],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_package_index_is_named() -> None:
    hosts = re.compile(
        r"pypi\.org|pythonhosted\.org|npmjs\.(org|com)|yarnpkg\.com|ghcr\.io|quay\.io"
    )
    found = [
        f"{_name(path)}: {hit.group()}" for path, text in _texts() for hit in hosts.finditer(text)
    ]
    assert not found, "a registry's address is in the repository:\n  " + "\n  ".join(found)


def test_nothing_names_this_machine() -> None:
    """No path of the checkout, of its virtual environment or of anybody's home folder."""
    here = {str(ROOT), sys.prefix, str(Path.home())} - {"/"}
    if links := os.environ.get("PIP_FIND_LINKS"):
        here.update(links.split())
    homes = r"/(?:home|Users)/\w+/|/root/"
    pattern = re.compile("|".join([*(re.escape(path) + r"(?!\w)" for path in here), homes]))
    found = [
        f"{_name(path)}: {hit.group()}"
        for path, text in _texts()
        if path != Path(__file__)
        for hit in pattern.finditer(text)
    ]
    assert not found, "a path of one machine is in the repository:\n  " + "\n  ".join(found)


def test_no_private_key_is_kept() -> None:
    marks = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
    found = [_name(path) for path, text in _texts() if marks.search(text)]
    assert not found, f"private keys in the repository: {found}"


# The locks


def _locked(lock: str) -> dict[str, list[Requirement]]:
    """What a lock pins, by name; one name may stand there once per marker."""
    pins: dict[str, list[Requirement]] = {}
    for block in re.split(r"\n(?=[a-zA-Z0-9])", (ROOT / lock).read_text("utf-8")):
        line = block.split("\\\n")[0].strip()
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            pins.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return pins


def _version(pin: Requirement) -> str:
    return str(pin.specifier).removeprefix("==")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_is_exact_and_hashed(lock: str) -> None:
    text = (ROOT / lock).read_text("utf-8")
    blocks = [block for block in re.split(r"\n(?=[a-zA-Z0-9])", text) if not block.startswith("#")]
    for block in blocks:
        assert re.match(r"[\w.-]+==[\w.!+-]+( ; .+)? \\\n", block), block
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_place(lock: str) -> None:
    text = (ROOT / lock).read_text("utf-8")
    assert not re.search(
        r"://|file:|--(extra-)?index|--find-links|^-[a-zA-Z]|/", text, re.MULTILINE
    )


def _wanted(lock: str) -> list[str]:
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *PROJECT["build-system"]["requires"]]
    if lock == GATEWAY_LOCK:
        box = set(PROJECT["tool"]["wattloom"]["gateway"])
        return [line for line in wanted if re.split(r"[<>=~!; ]", line)[0] in box | {"hatchling"}]
    for extra in EXTRAS[lock]:
        wanted += project["optional-dependencies"][extra]
    return wanted


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_gives_what_the_project_asks_for(lock: str) -> None:
    pins = _locked(lock)
    for requirement in map(Requirement, _wanted(lock)):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not in {lock}: run `make lock`"
        for pin in pins[name]:
            assert requirement.specifier.contains(_version(pin)), (
                f"{lock} pins {pin}, pyproject.toml wants {requirement}: run `make lock`"
            )


def test_the_demo_runs_what_the_tests_test() -> None:
    tested = _locked("requirements-dev.lock")
    for name, pins in _locked("requirements.lock").items():
        assert {_version(pin) for pin in pins} == {_version(pin) for pin in tested[name]}, name


def test_the_gateway_runs_what_the_server_runs() -> None:
    tested = _locked("requirements.lock")
    pins = _locked(GATEWAY_LOCK)
    assert len(pins) < len(tested) * 2 // 3
    for name, found in pins.items():
        assert {_version(pin) for pin in found} == {_version(pin) for pin in tested[name]}, name


def test_the_web_lock_names_no_place() -> None:
    text = (ROOT / "package-lock.json").read_text("utf-8")
    assert '"resolved"' not in text, "npm wrote addresses: see omit-lockfile-registry-resolved"
    assert text.count('"integrity"') > 0


# What has to stand alone


def test_the_verifier_needs_the_standard_library_and_pynacl_alone(tmp_path: Path) -> None:
    """Whoever checks a proof copies one file: it imports nothing of ours and starts anywhere."""
    source = ROOT / "ledger_client" / "verify.py"
    imported = _imports(_tree(source))
    assert imported <= {*sys.stdlib_module_names, "nacl"}, imported
    alone = tmp_path / "verify.py"
    alone.write_bytes(source.read_bytes())
    asked = subprocess.run(
        [sys.executable, "-I", alone, "--help"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert asked.returncode == 0, asked.stderr
    assert "--keys" in asked.stdout


# Dependencies


def _asked_for() -> set[str]:
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    python = [*project["dependencies"], *extras["dev"], *extras["bench"]]
    web = json.loads((ROOT / "package.json").read_text("utf-8"))
    return {
        *(re.split(r"[<>=~!; ]", line)[0] for line in python),
        *web.get("dependencies", {}),
        *web.get("devDependencies", {}),
    }


def test_each_dependency_has_a_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    reasons = set(re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE))
    assert reasons == _asked_for()


def test_each_running_dependency_is_used() -> None:
    """By an import; what works unseen is listed with what uses it."""
    unseen = {
        "pyserial": "pymodbus, for serial lines",
        "psycopg": "SQLAlchemy, by the URL postgresql+psycopg://",
        "python-multipart": "FastAPI, for forms",
        "tzdata": "zoneinfo, where the system has no time zones",
    }
    named = {"fpdf2": "fpdf", "pynacl": "nacl", "pydantic-settings": "pydantic_settings"}
    imported = set[str]().union(*(_imports(_tree(path)) for path in _python_files(*PACKAGES)))
    names = {
        canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]
    }
    idle = {name for name in names - unseen.keys() if named.get(name, name) not in imported}
    assert not idle, f"asked for in pyproject.toml and imported nowhere: {idle}"
