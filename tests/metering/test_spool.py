"""The spool: one chain per meter and epoch, whatever fails and wherever the process dies."""

import json
import sqlite3
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from metering.batch import MAX_BODY_BYTES, Batch
from metering.identity import gsrn_check_digit
from metering.interval import Interval
from metering.reading import (
    FIRST_PREV,
    Clock,
    Enrolment,
    MalformedReadingError,
    Measurement,
    Quality,
    Reading,
    SignedReading,
    link,
)
from metering.signing import Purpose, public_key, verify
from metering.spool import (
    Answer,
    Signer,
    SignerError,
    Spool,
    SpoolCorruptError,
    Spooled,
    SpoolUnavailableError,
)


def signer(
    number: int, epoch: int = 1, serial: str = "SDM-1", district: str = "lindenhof.example"
) -> Signer:
    key = SigningKey(bytes([number]) * 32)
    body = f"7070575000000{number:04d}"
    return Signer(
        Enrolment(
            district, body + gsrn_check_digit(body), serial, "eastron_sdm630",
            public_key(key), epoch, Interval.parse("2026-06-23T09:00:00Z"),
        ),
        key,
    )  # fmt: skip


def measured(answered_ms: int, wh: int = 1_000) -> Measurement:
    return Measurement(
        answered_ms - 50, answered_ms, Clock.SYNCHRONISED, wh, None, 1, 250, Quality.MEASURED,
        "ab" * 32,
    )  # fmt: skip


METERS = [signer(n) for n in range(1, 4)]


def assert_chain(readings: list[SignedReading]) -> None:
    """Check, as an auditor would, that readings form unbroken chains with good signatures."""
    heads: dict[tuple[str, int], tuple[int, str]] = {}
    keys = {meter.enrolment.key.hex: meter.enrolment.key for meter in METERS}
    for signed in readings:
        reading = Reading.from_payload(signed.payload)
        seq, prev = heads.get((reading.key, reading.epoch), (0, FIRST_PREV))
        assert (reading.seq, reading.prev) == (seq + 1, prev)
        assert verify(keys[reading.key], Purpose.READING, signed.payload, signed.signature)
        heads[reading.key, reading.epoch] = (reading.seq, link(signed.payload, signed.signature))


def readings_of(items: list[Spooled]) -> list[SignedReading]:
    return [item.reading for item in items]


def test_rounds_are_chained_signed_and_survive_a_restart(tmp_path: Path) -> None:
    for minute in range(5):
        spool = Spool.open(tmp_path / "spool.db")
        spool.append([(meter, measured(60_000 * minute + 100)) for meter in METERS])
        spool.close()
    spool = Spool.open(tmp_path / "spool.db")
    items = spool.unacknowledged()
    assert len(items) == spool.pending() == 15
    assert [item.id for item in items] == sorted(item.id for item in items)
    assert_chain(readings_of(items))


def test_the_file_is_private_and_synced_fully(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db")
    spool.append([(METERS[0], measured(100))])
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    pragmas = [
        spool._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    ]
    assert pragmas == ["wal", 2]


def test_a_new_epoch_begins_a_new_chain(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db")
    spool.append([(signer(1), measured(100)), (signer(1), measured(200))])
    spool.append([(signer(1, epoch=2), measured(300))])
    last = Reading.from_payload(spool.unacknowledged()[-1].reading.payload)
    assert (last.epoch, last.seq, last.prev) == (2, 1, FIRST_PREV)
    assert spool.head(METERS[0].enrolment.key.hex, 1)[0] == 2


def test_answers_decide_what_becomes_of_a_reading(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db")
    items = spool.append([(METERS[0], measured(100 * n)) for n in range(1, 10)])
    statuses = [200, 400, 401, 403, 409, 425, 500, 503, 0]
    answers = [
        Answer(item.id, status, receipt='{"a":1}' if status == 200 else None, error=f"E{status}")
        for item, status in zip(items, statuses, strict=True)
    ]
    spool.acknowledge(answers, now_ms=5_000)
    assert [item.id for item in spool.unacknowledged()] == [item.id for item in items[5:]]
    dead = spool.dead_letters()
    assert [(d.status, d.error, d.seq) for d in dead] == [
        (400, "E400", 2), (401, "E401", 3), (403, "E403", 4), (409, "E409", 5)
    ]  # fmt: skip
    assert readings_of(items[1:5]) == [d.reading for d in dead]
    key = METERS[0].enrolment.key.hex
    assert [spool.receipt(key, 1, seq) for seq in (1, 2, 99)] == ['{"a":1}', None, None]


def test_a_later_answer_changes_nothing_decided(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db")
    [item] = spool.append([(METERS[0], measured(100))])
    spool.acknowledge([Answer(item.id, 200, receipt="{}")], now_ms=1)
    spool.acknowledge([Answer(item.id, 403, error="late")], now_ms=2)
    assert spool.receipt(METERS[0].enrolment.key.hex, 1, 1) == "{}"
    assert spool.dead_letters() == []


def test_dead_letters_can_be_offered_again_in_their_place(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db")
    items = spool.append([(METERS[0], measured(100 * n)) for n in range(1, 4)])
    spool.acknowledge([Answer(items[0].id, 403, error="not enrolled yet")], now_ms=1)
    spool.requeue([items[0].id])
    assert spool.unacknowledged() == items
    assert spool.dead_letters() == []


def test_pruning_bounds_the_disk_and_leaves_the_chain(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db")
    items = spool.append([(METERS[0], measured(100 * n)) for n in range(1, 5)])
    spool.acknowledge([Answer(items[0].id, 200, receipt="{}")], now_ms=1_000)
    spool.acknowledge([Answer(items[1].id, 200, receipt="{}")], now_ms=2_000)
    spool.acknowledge([Answer(items[2].id, 403)], now_ms=1_000)
    assert spool.prune(acknowledged_before_ms=2_000, dead_before_ms=1_000) == 1
    assert len(spool.dead_letters()) == 1
    assert spool.prune(acknowledged_before_ms=3_000, dead_before_ms=1_001) == 2
    spool.acknowledge([Answer(items[3].id, 200, receipt="{}")], now_ms=3_000)
    assert spool.prune(4_000, 4_000) == 1
    spool.close()
    again = Spool.open(tmp_path / "spool.db")
    [fifth] = again.append([(METERS[0], measured(500))])
    reading = Reading.from_payload(fifth.reading.payload)
    before = items[3].reading
    assert (reading.seq, reading.prev) == (5, link(before.payload, before.signature))
    assert fifth.id > items[3].id


def test_a_batch_of_the_longest_readings_fits_into_the_limit(tmp_path: Path) -> None:
    """Names full of quotes double in size on the wire, so bytes bound the batch, not items."""
    spool = Spool.open(tmp_path / "spool.db")
    long = signer(1, serial='"' * 64, district=".".join(["x" * 62] * 4))
    big = 2**53 - 1
    spool.append([(long, measured(big, big))] * 1_001)
    first = spool.unacknowledged()
    body = Batch.pack(readings_of(first), SigningKey(b"\x09" * 32), "a", '"' * 64, big).to_body()
    assert MAX_BODY_BYTES - 4_096 < len(body) <= MAX_BODY_BYTES
    rest = spool.unacknowledged(after_id=first[-1].id)
    assert len(first) + len(rest) == 1_001
    assert len(spool.unacknowledged(limit=7)) == 7


def test_a_common_batch_holds_a_thousand(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db")
    spool.append([(METERS[0], measured(1_782_205_200_150, 123_456_789))] * 1_001)
    assert len(spool.unacknowledged()) == 1_000


def test_a_reading_out_of_range_keeps_nothing_of_its_round(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db")
    wrong = measured(100)
    object.__setattr__(wrong, "import_wh", 2**64)
    with pytest.raises(MalformedReadingError):
        spool.append([(METERS[0], measured(100)), (METERS[1], wrong)])
    assert spool.pending() == 0
    assert spool.head(METERS[0].enrolment.key.hex, 1) == (0, FIRST_PREV)


def test_a_signer_needs_the_enrolled_key() -> None:
    with pytest.raises(SignerError, match="not the enrolled one"):
        Signer(METERS[0].enrolment, METERS[1].key)


def test_a_head_that_fits_no_reading_stops_the_gateway(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db")
    spool.append([(METERS[0], measured(100))])
    spool._connection.execute("UPDATE chain SET link = ?", ("cd" * 32,))
    spool.close()
    with pytest.raises(SpoolCorruptError, match="new epoch"):
        Spool.open(tmp_path / "spool.db")


def test_a_full_disk_keeps_the_chain_whole(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db")
    spool.append([(METERS[0], measured(100))])
    pages = spool._connection.execute("PRAGMA page_count").fetchone()[0]
    spool._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(SpoolUnavailableError, match="full"):
        spool.append([(METERS[0], measured(200 + n)) for n in range(200)])
    spool._connection.execute("PRAGMA max_page_count = 100000")
    spool.append([(METERS[0], measured(200))])
    items = spool.unacknowledged()
    assert len(items) == 2
    assert_chain(readings_of(items))


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnavailableError, match=r"nowhere.*check disk"):
        Spool.open(tmp_path / "nowhere" / "spool.db")
    (tmp_path / "text").write_text("this is no database, however long it may be" * 50)
    with pytest.raises(SpoolCorruptError, match=r"text is damaged.*evidence"):
        Spool.open(tmp_path / "text")


def test_threads_share_one_spool(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db")

    def work(meter: Signer) -> None:
        for n in range(20):
            [item] = spool.append([(meter, measured(100 + n))])
            spool.acknowledge([Answer(item.id, 425)], now_ms=n)

    threads = [threading.Thread(target=work, args=(meter,)) for meter in METERS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    items = spool.unacknowledged()
    assert len(items) == 60
    assert_chain(readings_of(items))


class Killed(BaseException):
    """The process dies here."""


class DyingConnection(sqlite3.Connection):
    """Raises in place of, or right after, the n-th statement, and refuses everything later."""

    steps_left = 10**9
    after = False

    def _step(self) -> bool:
        DyingConnection.steps_left -= 1
        if DyingConnection.steps_left < 0 or (self.steps_left == 0 and not self.after):
            raise Killed
        return self.steps_left == 0

    def execute(self, *args: Any) -> sqlite3.Cursor:
        last = self._step()
        cursor = super().execute(*args)
        if last:
            raise Killed
        return cursor

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        last = self._step()
        cursor = super().executemany(*args)
        if last:
            raise Killed
        return cursor


@settings(max_examples=40)
@given(st.lists(st.sampled_from("aaks"), min_size=1, max_size=8), st.booleans(), st.data())
def test_death_at_any_statement_leaves_whole_rounds(
    tmp_path_factory: pytest.TempPathFactory, story: list[str], after: bool, data: st.DataObject
) -> None:
    """a: append a round; k: acknowledge the oldest; s: restart. Death strikes at each statement."""
    for steps in range(data.draw(st.integers(1, 30)), 400, 7):
        path = tmp_path_factory.mktemp("spool") / "spool.db"
        Spool.open(path).close()
        DyingConnection.steps_left, DyingConnection.after = steps, after
        done, acknowledged, died = play(path, story)
        DyingConnection.steps_left = 10**9
        check_after(path, done, acknowledged, died)
        if died is None:
            break


def play(path: Path, story: list[str]) -> tuple[int, list[int], str | None]:
    """Return the rounds whose append returned, the ids acknowledged, and the step that died."""
    done, acknowledged, step = 0, list[int](), "s"
    spool = None
    try:
        spool = Spool.open(path, factory=DyingConnection)
        for step in story:
            if step == "a":
                spool.append([(meter, measured(1_000 + done)) for meter in METERS])
                done += 1
            elif step == "k":
                for item in spool.unacknowledged(limit=1):
                    spool.acknowledge([Answer(item.id, 200, receipt="{}")], now_ms=1)
                    acknowledged.append(item.id)
            else:
                spool.close()
                spool = Spool.open(path, factory=DyingConnection)
    except Killed:
        return done, acknowledged, step
    finally:
        if spool is not None:
            sqlite3.Connection.close(spool._connection)
    return done, acknowledged, None


def check_after(path: Path, done: int, acknowledged: list[int], died: str | None) -> None:
    spool = Spool.open(path)
    rows = spool._connection.execute(
        "SELECT id, payload, signature, state FROM reading ORDER BY id"
    )
    stored = rows.fetchall()
    rounds, rest = divmod(len(stored), len(METERS))
    assert rest == 0, "half a round was kept"
    assert rounds == done or (rounds == done + 1 and died == "a")
    assert set(acknowledged) <= {row[0] for row in stored if row[3] == "acknowledged"}
    spool.append([(meter, measured(9_000)) for meter in METERS])
    new = spool.unacknowledged()[-len(METERS) :]
    assert_chain([SignedReading(row[1], row[2]) for row in stored] + readings_of(new))
    spool.close()


def test_receipts_are_stored_as_given(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db")
    [item] = spool.append([(METERS[0], measured(100))])
    receipt = json.dumps({"item": '{"leaf":"é"}', "path": []})
    spool.acknowledge([Answer(item.id, 200, receipt=receipt)], now_ms=1)
    assert spool.receipt(METERS[0].enrolment.key.hex, 1, 1) == receipt
