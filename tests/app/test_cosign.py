"""Cosignatures: who is asked for which checkpoint, what is kept, and what delays nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event

import pytest

from app.jobs.cosign import Cosigner
from app.services.checkpoints import cosignatures, is_enough, latest_note, public_keys
from app.services.keyring import Keyring
from app.services.proofs import ProofNotReadyError, settlement_proof
from app.settings import WitnessAddress
from app.tables import CheckpointRow, CosignatureRow, NoticeRow
from ledger_client.checkpoint import NoteLine, parse_note, split_note
from ledger_client.merkle import verify_consistency
from ledger_client.verify import ANCHOR_DEADLINE_S, Verdict, render, verify_bytes
from ledger_client.witness.client import (
    WitnessBehindError,
    WitnessRefusedError,
    WitnessUnavailableError,
)
from metering.interval import Interval
from tests.app.district_kit import Kit
from tests.ledger_client.ledger_bytes import key, public
from tests.ledger_client.proof_chain import cosign

TRADE = {"solar": (0, 900), "flat": (300, 0)}
NAMES = ("city.example/w", "grid.example/w")
SETTINGS = tuple(f"{name}=http://127.0.0.1:1={public(name).hex()}" for name in NAMES)


class FakeWitness:
    """A witness that checks as a real one does; set the attributes to bring troubles on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.size, self.root = 0, b""
        self.asked: list[tuple[int, int]] = []
        self.down = self.refuses = False
        self.silent: Event | None = None  # set it to let the answer come
        self.time_s = 1_782_000_000

    def add_checkpoint(self, note: str, old_size: int, proof: Sequence[bytes]) -> str:
        head = parse_note(note)[0]
        self.asked.append((old_size, head.size))
        if self.silent is not None:
            assert self.silent.wait(30)
        if self.down:
            raise WitnessUnavailableError("down")
        if self.refuses:
            raise WitnessRefusedError(403, "no")
        if old_size != self.size:
            raise WitnessBehindError(self.size)
        if self.size and not verify_consistency(old_size, head.size, proof, self.root, head.root):
            raise WitnessRefusedError(422, "inconsistent")
        self.size, self.root, self.time_s = head.size, head.root, self.time_s + 1
        return cosign(head, self.name, key(self.name), self.time_s)


class Cosigned(Kit):
    """A district whose worker asks two witnesses, by a clock of the test's own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.witnesses = {name: FakeWitness(name) for name in NAMES}
        self.now_s = 100.0
        self.restart()

    def restart(self) -> None:
        self.cosigner = Cosigner(self.house, self.connect, lambda: self.now_s)
        self.worker = type(self.worker)(self.house, cosigner=self.cosigner)

    def connect(self, address: WitnessAddress) -> FakeWitness:
        return self.witnesses[address.witness.name]

    def sizes(self) -> list[int]:
        return sorted(row.size for row in self.rows(CheckpointRow))

    def cosigned(self, name: str) -> list[int]:
        rows = self.rows(CosignatureRow, CosignatureRow.name == name)
        return sorted(row.size for row in rows)

    def judge(self, interval: str, threshold: int = 0) -> Verdict:
        self.set(witness_threshold=threshold)
        proof = settlement_proof(self.house, interval, "flat")
        return verify_bytes(proof, public_keys(self.house))

    def set(self, **changes: object) -> None:
        settings = self.house.settings.model_copy(update=changes)
        object.__setattr__(self.house, "settings", settings)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Cosigned]:
    url = f"sqlite:///{tmp_path / 'district.db'}"
    kit = Cosigned(tmp_path, url, changes={"witnesses": SETTINGS})
    yield kit
    kit.check()
    kit.close()


@pytest.fixture
def pair(kit: Cosigned) -> tuple[FakeWitness, FakeWitness]:
    return kit.witnesses[NAMES[0]], kit.witnesses[NAMES[1]]


def test_each_checkpoint_is_cosigned_from_where_the_witness_stood(kit: Cosigned) -> None:
    for _ in range(3):
        kit.live(**TRADE)
    sizes = kit.sizes()
    assert len(sizes) == 3
    for name, witness in kit.witnesses.items():
        assert kit.cosigned(name) == sizes
        assert witness.asked == list(zip([0, *sizes], sizes, strict=False))


def test_proofs_carry_the_cosignatures_and_keys_name_the_witnesses(kit: Cosigned) -> None:
    interval = kit.live(**TRADE)
    verdict = kit.judge(interval, threshold=2)
    assert verdict.code == 0, render(verdict)
    for name in NAMES:
        assert f"witness {name} cosigned it" in render(verdict)
    assert not any("another log" in remark for remark in verdict.remarks)
    body, lines = split_note(latest_note(kit.house))
    assert [line.name for line in lines] == [kit.settings.origin, *NAMES]
    assert body.splitlines()[1] == str(kit.sizes()[-1])


def test_a_witness_that_is_down_delays_nothing_and_gets_the_newest_later(
    kit: Cosigned, pair: tuple[FakeWitness, FakeWitness]
) -> None:
    city, grid = pair
    grid.down = True
    first = kit.live(**TRADE)
    assert kit.state(first) == "sealed"
    assert kit.interval(first).anchor == "confirmed"
    kit.live(**TRADE)
    kit.worker.run_due()
    assert len(grid.asked) == 1  # left alone for a while
    assert kit.cosigned(city.name) == kit.sizes()
    grid.down = False
    kit.now_s += 5.0
    kit.worker.run_due()
    assert kit.cosigned(grid.name) == kit.sizes()[-1:]
    assert kit.judge(first, threshold=2).code == 0  # by the first checkpoint that both cosigned


def test_pauses_grow_up_to_a_minute(kit: Cosigned, pair: tuple[FakeWitness, FakeWitness]) -> None:
    pair[0].down = True
    kit.live(**TRADE)
    for second in range(200):
        kit.now_s = 100.0 + second
        kit.worker.run_due()
    assert len(pair[0].asked) == 7  # at 0, 5, 15, 35, 75, 135 and 195 s
    assert not kit.rows(NoticeRow, NoticeRow.level == "alarm")


def test_a_witness_that_says_nothing_is_asked_once_and_not_waited_for_again(
    kit: Cosigned, pair: tuple[FakeWitness, FakeWitness], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.cosign.ANSWER_S", 0.0)
    silent = pair[0]
    silent.silent = Event()
    kit.live(**TRADE)
    kit.live(**TRADE)
    assert len(silent.asked) == 1
    assert kit.interval(kit.live(**TRADE)).anchor == "confirmed"
    pending = kit.cosigner._desks[0].request
    assert pending is not None
    silent.silent.set()
    pending.answer.result(30)
    silent.silent = None
    kit.cosigner.run()  # collects the answer to the first, and asks for the newest
    assert kit.cosigned(silent.name)[:1] == kit.sizes()[:1]


def test_a_witness_elsewhere_is_asked_again_from_where_it_stands(
    kit: Cosigned, pair: tuple[FakeWitness, FakeWitness]
) -> None:
    city = pair[0]
    kit.live(**TRADE)
    with kit.database.write() as session:  # as if the answer had been lost
        session.delete(session.get_one(CosignatureRow, (kit.sizes()[0], "witness", city.name)))
    kit.restart()
    kit.live(**TRADE)
    first, second = kit.sizes()
    assert city.asked[1:] == [(0, second), (first, second)]
    assert kit.cosigned(city.name) == [second]


def test_the_same_checkpoint_is_cosigned_again_when_the_answer_was_lost(
    kit: Cosigned, pair: tuple[FakeWitness, FakeWitness]
) -> None:
    kit.live(**TRADE)
    (size,) = kit.sizes()
    with kit.database.write() as session:
        session.delete(session.get_one(CosignatureRow, (size, "witness", pair[0].name)))
    kit.restart()
    kit.worker.run_due()
    assert kit.cosigned(pair[0].name) == [size]


@pytest.mark.parametrize("trouble", ["refuses", "ahead"])
def test_what_a_person_has_to_look_at_is_an_alarm_once(
    kit: Cosigned, pair: tuple[FakeWitness, FakeWitness], trouble: str
) -> None:
    city = pair[0]
    city.refuses = trouble == "refuses"
    city.size = 10_000 if trouble == "ahead" else 0
    for _ in range(3):
        assert kit.interval(kit.live(**TRADE)).anchor == "confirmed"
        kit.now_s += 100.0
    alarms = kit.rows(NoticeRow, NoticeRow.level == "alarm")
    assert len(alarms) == 1
    assert city.name in alarms[0].text
    assert kit.cosigned(city.name) == []


def test_two_that_take_turns_at_one_witness_leave_it_alone_for_a_while(
    kit: Cosigned, pair: tuple[FakeWitness, FakeWitness]
) -> None:
    class Restless(FakeWitness):
        def add_checkpoint(self, note: str, old_size: int, proof: Sequence[bytes]) -> str:
            self.asked.append((old_size, 0))
            raise WitnessBehindError(1)

    kit.witnesses[NAMES[0]] = restless = Restless(NAMES[0])
    kit.restart()
    kit.live(**TRADE)
    kit.worker.run_due()
    assert restless.asked == [(0, 0), (1, 0)]


def test_cosignatures_of_a_witness_that_went_are_left_out(kit: Cosigned) -> None:
    interval = kit.live(**TRADE)
    (size,) = kit.sizes()
    kit.set(witnesses=kit.settings.witnesses[1:])
    lines = kit.ask(lambda session: cosignatures(kit.house, session, [size])[size])
    assert [NoteLine.read(line).name for line in lines] == [NAMES[1]]
    assert kit.judge(interval, threshold=1).code == 0


def test_a_cosignature_that_does_not_hold_is_not_kept(
    kit: Cosigned, pair: tuple[FakeWitness, FakeWitness], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = pair[1]
    monkeypatch.setattr(pair[0], "add_checkpoint", honest.add_checkpoint)
    kit.live(**TRADE)
    assert kit.cosigned(pair[0].name) == []
    assert kit.interval(kit.rows(CheckpointRow) and kit.live(**TRADE)).anchor == "confirmed"


def test_a_surprise_in_a_client_is_survived(
    kit: Cosigned, pair: tuple[FakeWitness, FakeWitness], monkeypatch: pytest.MonkeyPatch
) -> None:
    def surprise(*_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # it would print the error
    monkeypatch.setattr(pair[0], "add_checkpoint", surprise)
    kit.live(**TRADE)
    assert kit.cosigned(pair[0].name) == []
    assert kit.cosigned(pair[1].name) == kit.sizes()


def test_a_real_interval_keeps_its_first_checkpoint_when_cosignatures_come_too_late(
    kit: Cosigned, pair: tuple[FakeWitness, FakeWitness]
) -> None:
    def cosigned() -> int:
        proof = json.loads(settlement_proof(kit.house, first, "flat"))
        return len(proof["anchor"].get("cosignatures", []))

    for witness in pair:
        witness.down = True
    first = kit.live(**TRADE)
    for witness in pair:
        witness.down = False
    kit.now_s += 5.0
    kit.live(**TRADE)
    assert cosigned() == 2
    kit.clock.simulated = False  # milestones follow the wall clock: all of them are late now
    assert cosigned() == 0


def test_a_proof_waits_for_demanded_witnesses_while_they_can_be_in_time(
    kit: Cosigned, pair: tuple[FakeWitness, FakeWitness]
) -> None:
    for witness in pair:
        witness.down = True
    first = kit.live(**TRADE)
    assert kit.judge(first).code == 0  # nobody is demanded
    with pytest.raises(ProofNotReadyError, match="2 of the district's witnesses"):
        kit.judge(first, threshold=2)
    kit.clock.simulated = False
    with pytest.raises(ProofNotReadyError):
        kit.judge(first, threshold=2)
    kit.clock.advance_to(Interval.parse(first).end_ms + ANCHOR_DEADLINE_S * 1000 + 1)
    verdict = kit.judge(first, threshold=2)
    assert (verdict.code, verdict.steps[-1].name) == (1, "checkpoint")
    assert "0 of 2 needed witnesses" in render(verdict)
    kit.clock.simulated = True
    for witness in pair:
        witness.down = False
    kit.now_s += 5.0
    kit.worker.run_due()
    assert kit.judge(first, threshold=2).code == 0


# --- The second signature -------------------------------------------------------------------------


class TwiceSigned(Kit):
    """A district whose log signs by ML-DSA-44, too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.keyring = Keyring.open(self.folder / "keys", mldsa=True)
        object.__setattr__(self.house, "keyring", self.keyring)


def test_checkpoints_are_signed_by_ml_dsa_where_there_is_a_key(
    database_url: str, tmp_path: Path
) -> None:
    kit = TwiceSigned(tmp_path, database_url, changes={"mldsa": True})
    try:
        interval = kit.live(**TRADE)
        keys = public_keys(kit.house)
        assert len(json.loads(keys)["mldsa"][0]) == 2 * 1312
        verdict = verify_bytes(settlement_proof(kit.house, interval, "flat"), keys)
        assert verdict.code == 0, render(verdict)
        assert "ML-DSA-44 key signed it" in render(verdict)
        assert len(split_note(latest_note(kit.house))[1]) == 2
    finally:
        kit.close()


def test_enough_is_what_keys_demand_and_one_witness_at_least(kit: Cosigned) -> None:
    kit.live(**TRADE)
    (size,) = kit.sizes()
    lines = kit.ask(lambda session: cosignatures(kit.house, session, [size])[size])
    assert [is_enough(kit.house, lines[:n]) for n in range(3)] == [False, True, True]
    kit.set(witness_threshold=2)
    assert [is_enough(kit.house, lines[:n]) for n in range(3)] == [False, False, True]
