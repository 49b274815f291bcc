"""Bringing the spool to the server: in order, one request at a time, the next one made meanwhile.

Each step posts a batch, stores the answers to the one before and prepares the one after, side by
side. A reading is off the spool only for a receipt that holds.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from nacl.signing import SigningKey

from metering.batch import MAX_READINGS, Batch
from metering.identity import PublicKey
from metering.receipt import Receipt, ReceiptError
from metering.sender import BadAnswerError, ItemResult, Sender, SenderError
from metering.spool import TOO_EARLY, Answer, Spool, Spooled

SMALLEST_BATCH: Final = 10

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class GatewayIdentity:
    """Under which name and key the gateway signs its batches."""

    district: str
    name: str
    key: SigningKey


@dataclass(frozen=True, slots=True)
class Sent:
    """What a pass over the spool came to; ``waiting`` are those to offer again later."""

    acknowledged: int = 0
    dead: int = 0
    waiting: int = 0

    def plus(self, answers: Sequence[Answer]) -> Sent:
        """Return the sum with what was answered to one batch."""
        states = Counter(answer.state for answer in answers)
        return Sent(
            self.acknowledged + states["acknowledged"],
            self.dead + states["dead"],
            self.waiting + states["pending"],
        )


@dataclass(slots=True)
class Backoff:
    """Waits of 1, 2, 4 ... 60 s, each shortened by up to half so that gateways spread out."""

    jitter: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)
    _failures: int = 0

    def reset(self) -> None:
        """Begin at 1 s again."""
        self._failures = 0

    def next_s(self) -> float:
        """Return the seconds to wait after one more failure."""
        longest = min(60.0, 2.0 ** min(self._failures, 6))
        self._failures += 1
        return longest * (0.5 + 0.5 * self.jitter())


@dataclass(slots=True)
class Reach:
    """How the server fares, in district time: when it last answered, and since when it does not."""

    answered_ms: int | None = None
    failing_since_ms: int | None = None
    error: str = ""
    kind: type[Exception] | None = None

    def ok(self, now_ms: int) -> None:
        """Note an answer."""
        if self.failing_since_ms is not None:
            silent_s = (now_ms - self.failing_since_ms) // 1_000
            _log.info("the server takes readings again, after %d s", silent_s)
        self.answered_ms, self.failing_since_ms = now_ms, None
        self.kind, self.error = None, ""

    def failed(self, error: Exception, now_ms: int) -> None:
        """Note that there was none that counts; it is logged once, until it changes its kind."""
        if self.failing_since_ms is None or type(error) is not self.kind:
            _log.warning("sending does not work, every reading is kept: %s", error)
        if self.failing_since_ms is None:
            self.failing_since_ms = now_ms
        self.kind, self.error = type(error), str(error)


@dataclass(frozen=True, slots=True)
class _Offer:
    items: Sequence[Spooled]
    batch: Batch


class Dispatcher:
    """Offers what is in the spool to the server; ``now_ms`` is the district clock.

    With ``receipt_key`` a 200 counts only if its receipt holds.
    """

    def __init__(
        self,
        spool: Spool,
        sender: Sender,
        identity: GatewayIdentity,
        now_ms: Callable[[], int],
        receipt_key: PublicKey | None,
    ) -> None:
        self._spool = spool
        self._sender = sender
        self._identity = identity
        self._now_ms = now_ms
        self._receipt_key = receipt_key
        self._sending = asyncio.Lock()
        self._size = MAX_READINGS
        self.reach = Reach()

    async def send(self) -> Sent:
        """Offer everything once, oldest first, batch by batch.

        A reading that has to wait (425) blocks none behind it. Answers already given are kept
        when a later batch fails.

        Raises:
            SenderError: the server gave no answer that counts; every reading is kept.
            SpoolUnavailableError: an answer could not be stored; it will be asked for again.
        """
        async with self._sending:
            try:
                sent = await self._send()
            except Exception as error:
                self.reach.failed(error, self._now_ms())
                if isinstance(error, SenderError):
                    self._size = max(SMALLEST_BATCH, self._size // 2)
                raise
            return sent

    async def _send(self) -> Sent:
        sent, answers = Sent(), list[Answer]()
        offer = await asyncio.to_thread(self._prepare, 0)
        while offer is not None:
            last_id = offer.items[-1].id
            results, following = await _all(
                asyncio.to_thread(self._store, answers),
                self._sender.post(offer.batch),
                asyncio.to_thread(self._prepare, last_id),
            )
            answers = await asyncio.to_thread(self._judge, offer.items, results)
            self.reach.ok(self._now_ms())
            self._size = min(MAX_READINGS, self._size * 2)
            sent, offer = sent.plus(answers), following
        await asyncio.to_thread(self._store, answers)
        return sent

    # --- Each in a thread, so that polling goes on ------------------------------------------------

    def _prepare(self, after_id: int) -> _Offer | None:
        items = self._spool.unacknowledged(self._size, after_id)
        if not items:
            return None
        who = self._identity
        readings = [item.reading for item in items]
        return _Offer(items, Batch.pack(readings, who.key, who.district, who.name, self._now_ms()))

    def _store(self, answers: Sequence[Answer]) -> None:
        if answers:
            self._spool.acknowledge(answers, self._now_ms())

    def _judge(self, items: Sequence[Spooled], results: Sequence[ItemResult]) -> list[Answer]:
        if [result.index for result in results] != list(range(len(items))):
            raise BadAnswerError(f"{len(items)} results in order were expected")
        answers = [self._answer(item, one) for item, one in zip(items, results, strict=True)]
        refused = Counter(
            (answer.status, answer.error or "")
            for answer in answers
            if answer.status not in (200, TOO_EARLY)
        )
        for (status, error), count in refused.most_common(3):
            _log.warning("%d readings got no receipt: status %d, %s", count, status, error)
        return answers

    def _answer(self, item: Spooled, result: ItemResult) -> Answer:
        """Turn a result into what the spool stores; a 200 without a good receipt has to wait."""
        if result.status != 200:
            return Answer(item.id, result.status, error=result.error)
        try:
            receipt = Receipt.parse(result.receipt or {})
            if self._receipt_key is not None:
                receipt.check(item.reading, self._identity.district, self._receipt_key)
        except ReceiptError as error:
            return Answer(item.id, 0, error=f"receipt refused: {error}")
        return Answer(item.id, 200, receipt=receipt.to_json())


async def _all(
    storing: Awaitable[None], posting: Awaitable[Sequence[ItemResult]], preparing: Awaitable[_T]
) -> tuple[Sequence[ItemResult], _T]:
    """Wait for all three, even when one fails: what was answered is stored in any case."""
    store, post = asyncio.ensure_future(storing), asyncio.ensure_future(posting)
    prepare = asyncio.ensure_future(preparing)
    await asyncio.gather(store, post, prepare, return_exceptions=True)
    store.result()
    return post.result(), prepare.result()
