"""Events on disk until the server has them, in the gateway's spool file; and the way to send them.

Store and forward as for readings: an event is chained, signed and committed before it may be sent,
and a repeated one is answered the same way. The tables stand beside those of the readings
(``metering.spool``), whose connection this module does not share.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self

import httpx
from nacl.signing import SigningKey

from metering import canonical
from metering.event import MAX_EVENTS, PATH, Event, GatewayEvent, SignedEvent
from metering.reading import FIRST_PREV
from metering.sender import ItemResult, post_items
from metering.signing import Purpose, public_key, sign
from metering.spool import BUSY_TIMEOUT_S, TOO_EARLY

KEPT_MS: Final = 90 * 86_400_000
MAX_PENDING: Final = 20_000
"""More than so many that wait are counted and logged, not kept: readings need the room."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS event_chain (
    key TEXT PRIMARY KEY, seq INTEGER NOT NULL, link TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL, seq INTEGER NOT NULL, payload BLOB NOT NULL, signature BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'acknowledged', 'dead')),
    status INTEGER, error TEXT, decided_ms INTEGER,
    UNIQUE (key, seq)
) STRICT;
CREATE INDEX IF NOT EXISTS event_pending ON event (id) WHERE state = 'pending';
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who signs events: a gateway of a district, under its name and key."""

    district: str
    name: str
    key: SigningKey

    def sign(self, event: Event, seq: int, prev: str) -> SignedEvent:
        """Return an event as number ``seq`` of the gateway's chain."""
        payload = GatewayEvent(
            district=self.district, gateway=self.name, key=public_key(self.key).hex,
            kind=event.finding.kind, point=event.point, at_ms=event.at_ms, clock=event.clock,
            seq=seq, prev=prev, detail=event.finding.detail,
        ).to_payload()  # fmt: skip
        return SignedEvent(payload, sign(self.key, Purpose.EVENT, payload))


@dataclass(frozen=True, slots=True)
class SpooledEvent:
    """An event on disk; ids rise in the order of reporting."""

    id: int
    event: SignedEvent


@dataclass(frozen=True, slots=True)
class EventAnswer:
    """The server's word on one event: 200, or a status with an error."""

    id: int
    status: int
    error: str | None = None

    @property
    def state(self) -> str:
        """What becomes of it: 200 and every 4xx except 425 are final."""
        if self.status == 200:
            return "acknowledged"
        return "dead" if 400 <= self.status < 500 and self.status != TOO_EARLY else "pending"


class EventSpool:
    """The events in a gateway's spool file; an :class:`metering.event.EventSink`.

    ``on_event`` is told of each one that was committed (to wake the sender, say).
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        reporter: Reporter,
        on_event: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._reporter = reporter
        self._on_event = on_event
        self._lock = threading.Lock()
        self.dropped = 0

    @classmethod
    def open(
        cls, path: Path, reporter: Reporter, on_event: Callable[[], None] = lambda: None
    ) -> Self:
        """Open the spool file at ``path`` for its events; creates what is not there (mode 0600).

        Raises:
            sqlite3.Error, OSError: the file cannot be opened or written.
        """
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(_SCHEMA)
        return cls(connection, reporter, on_event)

    def close(self) -> None:
        """Close the file; what was reported stays."""
        with self._lock:
            self._connection.close()

    def report(self, event: Event) -> None:
        """Sign and commit an event. What cannot be kept is logged: no reading waits for it."""
        try:
            self._append(event)
        except (sqlite3.Error, ValueError) as error:
            self.dropped += 1
            _log.error("event %s of %s not kept: %s", event.finding.kind, event.point, error)
        else:
            self._on_event()

    def _append(self, event: Event) -> None:
        key = public_key(self._reporter.key).hex
        with self._lock, self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            waiting = connection.execute("SELECT count(*) FROM event WHERE state = 'pending'")
            if waiting.fetchone()[0] >= MAX_PENDING:
                raise ValueError(f"{MAX_PENDING} events wait already: is the server away?")
            head = connection.execute("SELECT seq, link FROM event_chain WHERE key = ?", (key,))
            seq, prev = head.fetchone() or (0, FIRST_PREV)
            signed = self._reporter.sign(event, seq + 1, prev)
            connection.execute(
                "INSERT INTO event (key, seq, payload, signature) VALUES (?, ?, ?, ?)",
                (key, seq + 1, signed.payload, signed.signature),
            )
            connection.execute(
                "INSERT INTO event_chain (key, seq, link) VALUES (?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, link = excluded.link",
                (key, seq + 1, signed.link),
            )

    def unacknowledged(self, limit: int = MAX_EVENTS, after_id: int = 0) -> list[SpooledEvent]:
        """Return the oldest events that still wait for an answer."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT id, payload, signature FROM event"
                " WHERE state = 'pending' AND id > ? ORDER BY id LIMIT ?",
                (after_id, limit),
            ).fetchall()
        return [SpooledEvent(id_, SignedEvent(payload, mark)) for id_, payload, mark in rows]

    def acknowledge(self, answers: Sequence[EventAnswer], now_ms: int) -> None:
        """Store what the server said, and forget what was decided long ago."""
        with self._lock, self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "UPDATE event SET state = ?, status = ?, error = ?, decided_ms = ?"
                " WHERE id = ? AND state = 'pending'",
                [(each.state, each.status, each.error, now_ms, each.id) for each in answers],
            )
            connection.execute(
                "DELETE FROM event WHERE state != 'pending' AND decided_ms < ?",
                (now_ms - KEPT_MS,),
            )

    def pending(self) -> int:
        """Return how many events wait for an answer."""
        with self._lock:
            rows = self._connection.execute("SELECT count(*) FROM event WHERE state = 'pending'")
            return int(rows.fetchone()[0])


class EventSender(Protocol):
    """Whatever brings events to the server."""

    async def post_events(self, events: Sequence[SignedEvent]) -> Sequence[ItemResult]:
        """Return what the server says of each event, in order.

        Raises:
            SenderError: no answer, or none that counts; they may have been stored or not.
        """


class HttpEventSender:
    """Posts events as JSON to ``URL/api/v1/events``."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url.rstrip("/") + PATH
        self._client = client

    async def post_events(self, events: Sequence[SignedEvent]) -> Sequence[ItemResult]:
        """Post some events; see :meth:`EventSender.post_events`."""
        items = [
            {"payload": each.payload.decode(), "signature": each.signature.hex()} for each in events
        ]
        body = canonical.dumps({"events": items})
        return await post_items(self._client, self._url, body, len(events))


async def send_events(spool: EventSpool, sender: EventSender, now_ms: Callable[[], int]) -> int:
    """Offer every event that waits, oldest first; return how many got a final answer.

    Raises:
        SenderError: the server gave no answer that counts; every event is kept.
    """
    decided, after = 0, 0
    while items := spool.unacknowledged(after_id=after):
        told = await sender.post_events([item.event for item in items])
        answers = [
            EventAnswer(item.id, result.status, result.error)
            for item, result in zip(items, told, strict=True)
        ]
        spool.acknowledge(answers, now_ms())
        for answer in answers:
            if answer.state == "dead":
                _log.warning("event %d refused: %d %s", answer.id, answer.status, answer.error)
        decided += sum(answer.state != "pending" for answer in answers)
        after = items[-1].id
    return decided
