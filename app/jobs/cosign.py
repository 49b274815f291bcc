"""Asks the witnesses to cosign the newest checkpoint (C2SP tlog-witness).

Nothing waits for a witness: each is asked in a thread of its own, one request at a time, and one
that does not answer is left alone for a while. It then gets the newest checkpoint; a witness need
not cosign each one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass
from threading import Thread
from typing import Final, Protocol

from sqlmodel import Session, col, select

from app.services.alarms import alarm
from app.services.checkpoints import newest
from app.services.house import House
from app.settings import WitnessAddress
from app.store import log
from app.tables import CheckpointRow, CosignatureRow
from ledger_client.verify import (
    COSIGNATURE,
    NoteError,
    NoteLine,
    Witness,
    open_cosignature,
    parse_note,
)
from ledger_client.witness.client import (
    WitnessBehindError,
    WitnessClient,
    WitnessClientError,
    WitnessRefusedError,
)

ANSWER_S: Final = 2.0  # wall seconds that a run waits for those that it has just asked
_FIRST_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 60.0
_MOST_STEPS: Final = 3  # of one run and witness: asked, told its size, cosigned

_log = logging.getLogger(__name__)


class Asks(Protocol):
    """What a witness's client does; :class:`WitnessClient` over HTTP."""

    def add_checkpoint(self, note: str, old_size: int, proof: Sequence[bytes]) -> str:
        """Return the witness's signature line."""
        ...


@dataclass(frozen=True, slots=True)
class _Request:
    """What a witness was asked, and the answer that is on its way."""

    note: str
    answer: Future[str]


class _Desk:
    """One witness: what it was asked, and from when on it may be asked again."""

    def __init__(self, witness: Witness, client: Asks) -> None:
        self.witness, self.client = witness, client
        self.request: _Request | None = None
        self.said_size: int | None = None  # in answer to another size
        self.quiet_until_s, self._pause_s = 0.0, _FIRST_PAUSE_S

    def ask(self, head: CheckpointRow, old: int, path: Sequence[bytes]) -> Future[str]:
        """Send a request; its answer is collected later."""
        answer = _in_thread(lambda: self.client.add_checkpoint(head.note, old, path))
        self.request = _Request(head.note, answer)
        return answer

    def rest(self, now_s: float) -> None:
        """Leave the witness alone, longer each time."""
        self.said_size = None
        self.quiet_until_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def wake(self) -> None:
        """Forget that it was silent."""
        self.said_size = None
        self.quiet_until_s, self._pause_s = 0.0, _FIRST_PAUSE_S


class Cosigner:
    """Collects the cosignatures of one district's checkpoints; run it beside the anchors."""

    def __init__(
        self,
        house: House,
        connect: Callable[[WitnessAddress], Asks] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        connect = connect or _connect
        self._house, self._now_s = house, now_s
        self._desks = [_Desk(item.witness, connect(item)) for item in house.settings.witnesses]

    def run(self) -> None:
        """Ask who may be asked, and keep what has come back; waits a moment for fresh answers."""
        for desk in self._desks:
            self._collect(desk)
        for _ in range(_MOST_STEPS):
            fresh = [answer for desk in self._desks if (answer := self._ask(desk))]
            if not fresh:
                return
            wait(fresh, timeout=ANSWER_S)
            for desk in self._desks:
                self._collect(desk)

    def _ask(self, desk: _Desk) -> Future[str] | None:
        if desk.request is not None or self._now_s() < desk.quiet_until_s:
            return None
        with self._house.database.read() as session:
            head = next(iter(newest(session, None, 1)), None)
            if head is None or _has_cosigned(session, desk.witness, head.size):
                return None
            old = _last_size(session, desk.witness) if desk.said_size is None else desk.said_size
            path = log.consistency_path(session, old, head.size) if 0 < old < head.size else []
        if old > head.size:
            said = f"it saw {old} entries of our log, and there are {head.size}"
            self._alarm(desk, f"witness {desk.witness.name} cannot cosign: {said}")
            return None
        return desk.ask(head, old, path)

    def _collect(self, desk: _Desk) -> None:
        """Take an answer that is there: keep the cosignature, or see what to do next."""
        request = desk.request
        if request is None or not request.answer.done():
            return
        desk.request = None
        try:
            line = request.answer.result()
            self._keep(desk.witness, request.note, line)
        except WitnessBehindError as error:
            if desk.said_size is not None:  # again: somebody else is asking it as well
                desk.rest(self._now_s())
            else:
                desk.said_size = error.size
        except (WitnessRefusedError, NoteError) as error:
            self._alarm(desk, f"witness {desk.witness.name} will not cosign: {error}")
        except (WitnessClientError, CancelledError) as error:
            _log.warning("no cosignature of %s yet: %s", desk.witness.name, error)
            desk.rest(self._now_s())
        else:
            desk.wake()

    def _keep(self, witness: Witness, note: str, line: str) -> None:
        head = parse_note(note)[0]
        _, time_s = open_cosignature(line, head, [witness])
        with self._house.database.write() as session:
            session.merge(
                CosignatureRow(
                    size=head.size, kind="witness", name=witness.name, line=line, time_s=time_s
                )
            )

    def _alarm(self, desk: _Desk, text: str) -> None:
        alarm(self._house, f"cosign/{desk.witness.name}", text)
        desk.rest(self._now_s())


def _connect(address: WitnessAddress) -> Asks:
    witness = address.witness
    return WitnessClient(address.url, witness.name, witness.key, timeout_s=ANSWER_S)


def _in_thread(work: Callable[[], str]) -> Future[str]:
    """Start work in a thread that nobody has to wait for, not even at the end."""
    future: Future[str] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except (WitnessClientError, NoteError) as error:
            future.set_exception(error)
        finally:
            if future.cancel():  # what nobody expected, and the thread itself reports
                future.set_running_or_notify_cancel()

    Thread(target=run, daemon=True, name="cosign").start()
    return future


def _has_cosigned(session: Session, witness: Witness, size: int) -> bool:
    row = session.get(CosignatureRow, (size, "witness", witness.name))
    return row is not None and NoteLine.read(row.line).is_of(*_named(witness))


def _last_size(session: Session, witness: Witness) -> int:
    named = (CosignatureRow.kind == "witness", CosignatureRow.name == witness.name)
    newest_first = (
        select(CosignatureRow.size).where(*named).order_by(col(CosignatureRow.size).desc())
    )
    return session.exec(newest_first.limit(1)).first() or 0


def _named(witness: Witness) -> tuple[str, bytes, bytes]:
    return witness.name, witness.key, COSIGNATURE
