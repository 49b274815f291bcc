"""Settings: defaults, file, environment, command line, and what wrong ones are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from nacl.signing import SigningKey
from pydantic import ValidationError

from app.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"WATTLOOM_{name.upper()}", raising=False)


def write(folder: Path, text: str) -> Path:
    path = folder / "district.toml"
    path.write_text(text)
    return path


def test_defaults_are_valid() -> None:
    assert load_settings() == Settings()


def test_the_command_line_wins_over_the_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, 'name = "file"\nport = 1\ngrace_s = 1\n')
    monkeypatch.setenv("WATTLOOM_PORT", "2")
    monkeypatch.setenv("WATTLOOM_GRACE_S", "2")
    settings = load_settings(path, grace_s=3)
    assert (settings.name, settings.port, settings.grace_s) == ("file", 2, 3)


def test_a_district_s_folder_brings_its_own_settings(tmp_path: Path) -> None:
    own = write(tmp_path, 'origin = "own.example"\ndata = "elsewhere"\n')
    found = load_settings(None, data=tmp_path)
    assert (found.origin, found.data) == ("own.example", tmp_path)
    other = write(tmp_path, "").rename(tmp_path / "other.toml")
    assert load_settings(other, data=tmp_path).origin == Settings().origin, "the one that is named"
    own.unlink(missing_ok=True)
    assert load_settings(None, data=tmp_path).origin == Settings().origin


def test_two_files_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = load_settings(write(tmp_path, "port = 1\n"))
    second = load_settings(write(tmp_path / "other", "grace_s = 9\n"))
    assert (first.port, first.grace_s) == (1, 300)
    assert (second.port, second.grace_s) == (8000, 9)


def test_the_database_is_a_file_in_the_data_folder_unless_one_is_named(tmp_path: Path) -> None:
    here = load_settings(data=tmp_path / "x" / ".." / "y")
    assert here.sqlalchemy_url == f"sqlite:///{tmp_path.resolve() / 'y' / 'district.db'}"
    there = load_settings(database_url="postgresql+psycopg://u@h/d")
    assert there.sqlalchemy_url == "postgresql+psycopg://u@h/d"
    assert here.tz.key == "Europe/Berlin"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        load_settings().port = 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('naem = "x"', "naem: no such setting; there are"),
        ("port = 65536", "port:"),
        ("port = -1", "port:"),
        ('rule = "auction"', "rule:"),
        ("settle_every = 0", "settle_every:"),
        ("settle_every = 97", "settle_every:"),
        ("grace_s = 1.5", "grace_s:"),
        ("grace_s = 301", "1200 s after which no proof would hold"),
        ("seal_s = 901", "lower one of the two"),
        ("credit_limit_micro = -1", "credit_limit_micro:"),
        ('zone = "Mars/Olympus"', "zone:"),
        ('origin = "Not A Name"', "origin:"),
        ('network = "UPPER"', "network:"),
        ('hrp = ""', "hrp:"),
        ("port = [", "is not TOML"),
        ("a = 1\na = 2", "is not TOML"),
    ],
)
def test_wrong_settings(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text + "\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_every_wrong_line_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(write(tmp_path, "port = -1\ngrace_s = -1\n"))
    assert "port:" in str(caught.value)
    assert "grace_s:" in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load_settings(tmp_path / "nowhere.toml")
    with pytest.raises(SettingsError, match="cannot read"):
        load_settings(tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'name = "K\xf6ln"\n')
    with pytest.raises(SettingsError, match="not TOML"):
        load_settings(latin)


def test_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTLOOM_PORT", "many")
    with pytest.raises(SettingsError, match=r"environment(.|\n)*port"):
        load_settings()


def test_a_secret_in_a_wrong_url_is_not_echoed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTLOOM_DATABASE_URL", "postgresql://u:hush@h/d")
    with pytest.raises(SettingsError) as caught:
        load_settings(port="x")
    assert "hush" not in str(caught.value)


def test_names_of_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "district.toml"
    file.write_text('allowed_hosts = ["district.example", "*.lindenhof.example"]\n')
    own = ("localhost", "127.0.0.1", "[::1]", "127.0.0.1")
    assert load_settings(file).known_hosts == (*own, "district.example", "*.lindenhof.example")
    monkeypatch.setenv("WATTLOOM_ALLOWED_HOSTS", "a.example, b.example")
    assert load_settings(file).known_hosts == (*own, "a.example", "b.example")
    monkeypatch.setenv("WATTLOOM_ALLOWED_HOSTS", "")
    assert load_settings(file, host="::").known_hosts == (*own[:3], "[::]")


@pytest.mark.parametrize(
    "name", ["*", "https://a.example", "a.example:80", "A.example", "*a.example"]
)
def test_what_is_no_host_name_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("WATTLOOM_ALLOWED_HOSTS", name)
    with pytest.raises(SettingsError, match="is no host name"):
        load_settings()


GOOD_KEY, OTHER_KEY = (bytes(SigningKey(bytes([n] * 32)).verify_key).hex() for n in (1, 2))
WITNESS = f"city.example/w=http://127.0.0.1:1={GOOD_KEY}"


def test_witnesses_are_a_list_by_name_address_and_key() -> None:
    second = f"grid.example/w=https://w.example={OTHER_KEY}"
    settings = load_settings(witnesses=f"{WITNESS},{second}", witness_threshold=2)
    assert [item.witness.name for item in settings.witnesses] == [
        "city.example/w",
        "grid.example/w",
    ]
    assert settings.witnesses[1].url == "https://w.example"


@pytest.mark.parametrize(
    ("witnesses", "threshold", "says"),
    [
        (WITNESS, 2, "lower it"),
        (f"{WITNESS},city.example/w=http://127.0.0.1:2={OTHER_KEY}", 1, "name each once"),
        (f"{WITNESS},grid.example/w=http://127.0.0.1:2={GOOD_KEY}", 1, "name each once"),
        (f"{Settings().origin}=http://127.0.0.1:1={GOOD_KEY}", 1, "somebody else's"),
        (f"city.example/w=http://127.0.0.1:1={'00' * 32}", 1, "is no witness"),
        (f"city.example/w=http://127.0.0.1:1=01{'00' * 31}", 1, "is no witness"),
        (f"city.example/w=ftp://127.0.0.1:1={GOOD_KEY}", 1, "is no witness"),
        (f"a+b=http://127.0.0.1:1={GOOD_KEY}", 1, "is no witness"),
    ],
)
def test_witnesses_that_cannot_be_told_apart_are_refused(
    witnesses: str, threshold: int, says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        load_settings(witnesses=witnesses, witness_threshold=threshold)
