"""The gateway's settings: what is wrong is named, and commands change one meter's file alone."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from metering.box.config import ConfigError, load_config
from metering.box.entries import MeterEntry, PreviousKey
from metering.box.keys import create_key, load_key
from metering.box.meters import MeterFileError, add_meter, key_path, remove_meter, replace_meter
from metering.identity import gsrn_check_digit
from metering.interval import Interval
from metering.signing import KeyFileModeError, public_key

RECEIPT_KEY = public_key(SigningKey(b"\x05" * 32)).hex
START = Interval.parse("2026-06-23T09:00:00Z")
HEAD = f"""
# The cellar of number 5.
district = "lindenhof.example"
name = "cellar-5"  # printed on the lid

[server]
url = "https://district.example"
receipt_key = "{RECEIPT_KEY}"
"""
P1 = """
[[line]]
name = "port"
kind = "p1"
device = "/dev/ttyUSB0"
"""
LINE = """
[[line]]
name = "bus"
kind = "tcp"
host = "192.0.2.7"
"""


def gsrn(number: int) -> str:
    body = f"7070575000000{number:04d}"
    return body + gsrn_check_digit(body)


def table(number: int, **changes: object) -> str:
    fields = {
        "point": gsrn(number),
        "serial": f"A-{number}",
        "profile": "eastron_sdm630",
        "line": "bus",
        "unit": number,
        "key_file": f"keys/{number}.key",
        "valid_from": START.key,
    } | changes
    said = (f"{name} = {value!r}" for name, value in fields.items() if value is not None)
    return "\n[[meter]]\n" + "\n".join(said) + "\n"


def entry(number: int, **changes: object) -> MeterEntry:
    made = MeterEntry(
        gsrn(number), f"A-{number}", "eastron_sdm630", "bus", number,
        Path(f"keys/{number}.key"), 1, START,
    )  # fmt: skip
    return replace(made, **changes)


def written(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text)
    return path


def test_what_is_told_is_what_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + LINE + table(1) + table(2, epoch=3))
    config = load_config(path)
    assert (config.district, config.name) == ("lindenhof.example", "cellar-5")
    assert config.key_file == tmp_path / "keys/gateway.key"
    assert config.spool == tmp_path / "data/spool.db"
    assert (config.limits.sign_every_ms, config.limits.spool_max_bytes) == (60_000, 2 << 30)
    assert [(one.point, one.unit, one.epoch) for one in config.meters] == [
        (gsrn(1), 1, 1),
        (gsrn(2), 2, 3),
    ]
    assert (config.status.host, config.status.port) == ("127.0.0.1", 8010)


FAULTS = {
    "no TOML": (HEAD + "]", "is not TOML"),
    "a key is missing": (HEAD.replace('name = "cellar-5"', "#"), "name: is missing: add it"),
    "an unknown key": (HEAD + "[limits]\nspool_gib = 2", "limits.spool_gib: unknown key"),
    "a wrong type": (HEAD + '[status]\nport = "80"', "status.port: "),
    "another district": (HEAD.replace("lindenhof", "Linden Hof"), "district: 'Linden Hof.example'"),
    "no such key": (HEAD.replace(RECEIPT_KEY, "ab"), "server.receipt_key: 'ab' is not a key"),
    "readings in the clear": (HEAD.replace("https", "http"), "plain_http = true"),
    "no address": (HEAD.replace("https://", "ftp://"), "server.url: write the district's"),
    "a page for everybody": (HEAD + '[status]\nhost = "0.0.0.0"', "status.password_file"),
    "a clock of nobody": (HEAD + '[clock]\nsource = "ntp"', "clock.ntp_server: name"),
    "a period off the grid": (HEAD + "[readings]\nevery_s = 7", "readings.every_s: it has to"),
    "no GSRN": (HEAD + LINE + table(1, point="1" * 18), "meter.0.point: 1"),
    "no profile": (HEAD + LINE + table(1, profile="x"), "profile: no profile 'x'"),
    "no interval": (HEAD + LINE + table(1, valid_from="2026-06-23"), "valid_from: '2026-06-23'"),
    "no line": (HEAD + table(1), "line: there is no [[line]] named 'bus': known are none"),
    "one line twice": (HEAD + LINE + LINE, "line 2: name: 'bus' is taken"),
    "no list of lines": (HEAD + '[line]\nname = "bus"', "line: "),
    "a wrong line that tells": (HEAD + P1 + "host = 'h'", "line 1: write device = "),
    "Modbus on a P1 line": (HEAD + P1 + table(1, line="port"), "is of the profile dsmr_p1"),
    "P1 on a Modbus line": (HEAD + LINE + table(1, profile="dsmr_p1"), "not read over Modbus"),
    "no unit of a P1 line": (
        HEAD + P1 + table(2, line="port", profile="dsmr_p1"),
        "line 'port' tells of unit 1",
    ),
    "one point twice": (HEAD + LINE + table(1) + table(2, point=gsrn(1)), "stands in 2 meters"),
    "one unit twice": (HEAD + LINE + table(1) + table(2, unit=1), "unit: 1 on line 'bus' stands"),
    "one key twice": (HEAD + LINE + table(1) + table(2, key_file="keys/1.key"), "key_file: "),
}


@pytest.mark.parametrize(("text", "said"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    assert said in str(refused.value)


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--init"):
        load_config(tmp_path / "gateway.toml")


def test_commands_write_one_file_per_meter_and_leave_the_rest(tmp_path: Path) -> None:
    text = HEAD + LINE + table(1)
    path = written(tmp_path, text)
    file = add_meter(path, entry(2, serial='quo"te \\ ü'))
    assert file == tmp_path / "meters.d" / f"{gsrn(2)}.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.serial for one in load_config(path).meters] == ["A-1", 'quo"te \\ ü']

    file.write_text("# behind the door\n" + file.read_text())
    replace_meter(path, entry(2, serial="B-2", epoch=2))
    assert "# behind the door" in file.read_text()
    assert [(one.serial, one.epoch) for one in load_config(path).meters] == [("A-1", 1), ("B-2", 2)]

    kept = remove_meter(path, gsrn(2))
    assert "B-2" in kept.read_text()
    assert [one.serial for one in load_config(path).meters] == ["A-1"]
    assert path.read_text() == text


REFUSED = {
    "the point is taken in the file": entry(3, point=gsrn(1)),
    "the point is taken beside it": entry(3, point=gsrn(2)),
    "the unit is taken": entry(3, unit=2),
    "the key file is taken": entry(3, key_file=Path("keys/1.key")),
    "there is no such line": entry(3, line="bas"),
    "a profile that nobody knows": entry(3, profile="none"),
    "a serial that cannot be printed": entry(3, serial="a\x07"),
}


@pytest.mark.parametrize("wrong", REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_not_written(tmp_path: Path, wrong: MeterEntry) -> None:
    path = written(tmp_path, HEAD + LINE + table(1))
    add_meter(path, entry(2))
    before = {file: file.read_bytes() for file in (tmp_path / "meters.d").iterdir()}
    with pytest.raises(ConfigError):
        add_meter(path, wrong)
    assert {file: file.read_bytes() for file in (tmp_path / "meters.d").iterdir()} == before


def test_a_meter_in_the_persons_file_is_the_persons(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + LINE + table(1))
    with pytest.raises(MeterFileError, match="by hand"):
        replace_meter(path, entry(1, epoch=2))
    with pytest.raises(MeterFileError, match="add it first"):
        remove_meter(path, gsrn(2))


def test_keys_are_read_only_and_never_replaced(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    path = key_path(config, "A 7/1")
    assert path == tmp_path / "keys" / "meter-A-7-1.key"
    key = create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert load_key(path) == key
    with pytest.raises(FileExistsError):
        create_key(path)
    assert list(path.parent.iterdir()) == [path]
    assert key_path(config, "A 7/1").name == "meter-A-7-1-2.key"


@pytest.mark.parametrize("mode", [0o600, 0o440, 0o404, 0o777])
def test_a_looser_key_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys" / "gateway.key"
    create_key(path)
    path.chmod(mode)
    with pytest.raises(KeyFileModeError, match="chmod 400"):
        load_key(path)


def test_a_previous_key_is_written_and_read(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + LINE)
    before = PreviousKey(Path("keys/1.key"), START)
    turned = entry(1, key_file=Path("keys/1-2.key"), valid_from=START.next(), previous=before)
    add_meter(path, turned)
    (found,) = load_config(path).meters
    assert found.previous == PreviousKey(tmp_path / "keys/1.key", START)
    assert found.key_files == (tmp_path / "keys/1.key", tmp_path / "keys/1-2.key")
    with pytest.raises(ConfigError, match=r"key_file: .*1\.key stands in 2 meters"):
        add_meter(path, entry(2, key_file=Path("keys/1.key")))
    with pytest.raises(ConfigError, match=r"previous\.valid_from: it signs from"):
        replace_meter(path, replace(turned, valid_from=START))
    replace_meter(path, replace(turned, previous=None))
    (found,) = load_config(path).meters
    assert found.previous is None
