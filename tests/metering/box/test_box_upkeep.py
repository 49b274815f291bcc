"""What a person does at a box by hand: make it, check it, look at what was refused, begin anew."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from metering.box.config import load_config
from metering.box.keys import create_key, load_key
from metering.box.lock import alone, is_running
from metering.box.main import main, watch_files
from metering.box.meters import add_meter, replace_meter
from metering.box.service import begun_mark, load_signers
from metering.event import Event, Finding, GatewayEvent, Kind
from metering.event_spool import EventSpool, Reporter
from metering.reading import FIRST_PREV, Clock, Reading
from metering.signing import public_key
from metering.spool import Answer, EpochEndedError, Spool, SpoolCorruptError
from tests.metering.box.test_box_config import HEAD, LINE, entry, gsrn, written
from tests.metering.test_spool import measured
from tests.metering.virtual_time import run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A box with one meter and its keys."""
    path = written(tmp_path, HEAD + LINE)
    create_key(tmp_path / "keys" / "gateway.key")
    create_key(tmp_path / "keys" / "1.key")
    add_meter(path, entry(1))
    (tmp_path / "data").mkdir(mode=0o700)
    return path


def sign(config: Path, count: int) -> Spool:
    loaded = load_config(config)
    ((signer,),) = load_signers(loaded).values()
    spool = Spool.open(loaded.spool)
    spool.append([(signer, measured(1_000 + n)) for n in range(count)])
    return spool


def test_a_new_box_says_what_is_to_be_completed(tmp_path: Path, capsys) -> None:
    path = tmp_path / "etc" / "gateway.toml"
    assert main(["--init", str(path)]) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()[-1]) == 64
    assert main(["--check", str(path)]) == 1
    assert "server.receipt_key" in capsys.readouterr().err
    path.write_text(path.read_text().replace("replace-me", "5" * 63 + "8"))
    assert main(["--init", str(path)]) == 1
    assert "gateway.toml" in capsys.readouterr().err


def test_a_sound_box_is_called_so(config: Path, capsys) -> None:
    assert main(["--check", str(config)]) == 0
    assert "1 meters on 1 lines" in capsys.readouterr().out
    assert main(["--check", "--json", str(config)]) == 0
    (meter,) = json.loads(capsys.readouterr().out)["meters"]
    assert meter["key"] == public_key(load_key(config.parent / "keys" / "1.key")).hex
    (config.parent / "keys" / "1.key").chmod(0o644)
    assert main(["--check", str(config)]) == 1
    assert "chmod 400" in capsys.readouterr().err


def test_a_key_that_two_share_is_refused(config: Path, capsys) -> None:
    keys = config.parent / "keys"
    (keys / "2.key").write_bytes((keys / "1.key").read_bytes())
    (keys / "2.key").chmod(0o400)
    add_meter(config, entry(2))
    assert main(["--check", str(config)]) == 1
    assert "two key files hold one key" in capsys.readouterr().err


def test_refused_readings_are_listed_and_offered_again(config: Path, capsys) -> None:
    spool = sign(config, 3)
    spool.acknowledge([Answer(2, 403, error="key is not enrolled here")], now_ms=5_000)
    spool.close()
    assert main(["--dead", str(config)]) == 0
    said = capsys.readouterr().out
    assert f"{gsrn(1)}  1970-01-01 00:00:01Z  epoch 1 no. 2  403  key is not enrolled" in said
    assert main(["--dead", "--json", str(config)]) == 0
    (dead,) = json.loads(capsys.readouterr().out)
    assert (dead["status"], dead["seq"], dead["refused_ms"]) == (403, 2, 5_000)
    assert main(["--requeue", str(config)]) == 0
    assert "1 reading will be offered again" in capsys.readouterr().out
    assert main(["--dead", "--json", str(config)]) == 0
    assert json.loads(capsys.readouterr().out) == []


def damage(config: Path) -> None:
    path = load_config(config).spool
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[4_096:] = b"\xee" * (len(content) - 4_096)
    path.write_bytes(content)


def test_after_a_damaged_spool_no_number_is_signed_twice(config: Path, capsys) -> None:
    sign(config, 3).close()
    damage(config)
    with pytest.raises(SpoolCorruptError):
        sign(config, 1)
    broken = load_config(config).spool.read_bytes()
    assert main(["--new-spool", str(config)]) == 0
    said = capsys.readouterr().out
    assert "goes on in epoch 11" in said  # nobody can tell which ones were used
    assert "could not be read" in said
    (aside,) = (config.parent / "data").glob("spool-*Z")
    assert (aside / "spool.db").read_bytes() == broken
    with pytest.raises(EpochEndedError, match="enter a new epoch"):
        sign(config, 1)
    replace_meter(config, entry(1, epoch=11))
    assert sign(config, 2).pending() == 2


def test_what_waits_in_a_spool_that_can_be_read_comes_along(config: Path, capsys) -> None:
    spool = sign(config, 4)
    spool.acknowledge([Answer(1, 200, receipt="{}"), Answer(2, 409, error="used")], now_ms=5_000)
    waiting = [one.reading for one in spool.unacknowledged()]
    spool.close()
    assert main(["--new-spool", str(config)]) == 0
    said = capsys.readouterr().out
    assert "3 readings that had no receipt yet come along" in said
    assert "goes on in epoch 2" in said
    fresh = Spool.open(load_config(config).spool)
    assert [one.reading for one in fresh.unacknowledged()] == waiting
    assert [(one.seq, one.status) for one in fresh.dead_letters()] == [(2, 409)]
    ((signer,),) = load_signers(load_config(config)).values()
    last = fresh.last_good(signer.enrolment.key.hex)
    assert (last.seq if last else None) == 4
    fresh.append([(fresh.going_on(signer), measured(2_000))])
    newest = Reading.from_payload(fresh.unacknowledged()[-1].reading.payload)
    assert (newest.epoch, newest.seq) == (2, 1)


@pytest.mark.parametrize("lost", [False, True])
def test_events_go_on_in_numbers_that_none_had(config: Path, lost: bool) -> None:
    loaded = load_config(config)
    reporter = Reporter(loaded.district, loaded.name, load_key(loaded.key_file))
    event = Event(Finding(Kind.CLOCK_JUMP, {"by_ms": 2_000}), None, 1_000, Clock.UNKNOWN)
    old = EventSpool.open(loaded.spool, reporter)
    sign(config, 1).close()
    for _ in range(3):
        old.report(event)
    told = [one.event for one in old.unacknowledged()]
    old.close()
    if lost:
        loaded.spool.unlink()
    assert main(["--new-spool", str(config)]) == 0
    new = EventSpool.open(loaded.spool, reporter)
    new.report(event)
    *carried, last = [one.event for one in new.unacknowledged()]
    number = GatewayEvent.from_payload(last.payload)
    new.close()
    if lost:
        assert (carried, number.prev) == ([], FIRST_PREV)
        assert number.seq > 1_700_000_000_000
    else:
        assert (carried, number.seq, number.prev) == (told, 4, told[-1].link)


def test_nothing_starts_before_a_new_spool_is_finished(config: Path, capsys) -> None:
    begun_mark(load_config(config)).touch()
    assert main([str(config)]) == 1
    assert "give the command again" in capsys.readouterr().err
    assert main(["--new-spool", str(config)]) == 0
    assert not begun_mark(load_config(config)).exists()


def test_what_commands_change_is_taken_up_but_not_at_a_border(config: Path) -> None:
    start = 1_767_225_600_000 - 30_000  # before a border
    taken = list[int]()

    async def story() -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()

        def now_ms() -> int:
            return start + round(1_000 * (loop.time() - begun))

        watching = asyncio.create_task(
            watch_files(load_config(config), lambda: taken.append(now_ms() - start), now_ms)
        )
        await asyncio.sleep(8)
        create_key(config.parent / "keys" / "2.key")
        add_meter(config, entry(2))
        await asyncio.sleep(120)
        watching.cancel()

    run(story())
    assert taken == [50_000]


def test_two_gateways_do_not_share_a_folder(config: Path, capsys) -> None:
    data = load_config(config).data
    assert is_running(data) is False
    with alone(data):
        assert is_running(data) is True
        assert main(["--requeue", str(config)]) == 1
        assert main([str(config)]) == 1
    assert "in use by another gateway" in capsys.readouterr().err
