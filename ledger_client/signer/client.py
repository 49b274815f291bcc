"""Asks milestone signers elsewhere, all at once, and returns the signatures that hold."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Self
from urllib.parse import urlsplit

import httpx
from nacl.signing import SigningKey

from ledger_client.ledger import LedgerUnavailableError
from ledger_client.signer.rules import SignerSettingsError
from ledger_client.stardust.milestone import Milestone, MilestoneEssence, MilestoneSignature
from ledger_client.stardust.signature import is_valid_signature
from ledger_client.verify import key_is_sound

_MOST_ANSWER_BYTES: Final = 16 * 1024

History = Callable[[int], bytes | None]
"""Look-up of a confirmed milestone's payload by its index."""

_log = logging.getLogger(__name__)


class _AnswerError(Exception):
    """A signer did not give its signature; the message says why. Stays in this module."""


@dataclass(frozen=True, slots=True)
class SignerEndpoint:
    """Where a signer is, the key it has to sign with (32 bytes), and the token it wants."""

    url: str
    public_key: bytes
    token: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str, token: str | None = None) -> Self:
        """Return what ``URL=KEY`` says, the key as 64 hex digits.

        Raises SignerSettingsError.
        """
        url, _, key = text.rpartition("=")
        try:
            parts, public_key = urlsplit(url), bytes.fromhex(key)
        except ValueError:
            parts, public_key = urlsplit(""), b""
        is_url = parts.scheme in ("http", "https") and parts.hostname
        if not is_url or len(public_key) != 32 or not key_is_sound(public_key):
            raise SignerSettingsError(
                f"signer {text!a:.200}: write http://HOST:PORT=KEY, the key as the signer prints it"
            )
        return cls(url, public_key, token)


class RemoteSigner:
    """Signs through signers elsewhere, and with keys of this process where there are some.

    It is a ``MilestoneSigner`` of the embedded node.

    Args:
        endpoints: the signers; each key once.
        threshold: how many signatures are enough to stop waiting for the rest.
        timeout_s: how long one call waits for answers at most.
        local_keys: keys of this process that sign too.
        grace_s: how long to wait for further signers once there are enough.
        network: told to the signers, who refuse another network's milestones.

    Raises:
        SignerSettingsError: a key is given twice.
    """

    def __init__(
        self,
        endpoints: Sequence[SignerEndpoint],
        *,
        threshold: int,
        timeout_s: float = 5.0,
        local_keys: Iterable[SigningKey] = (),
        grace_s: float = 0.1,
        network: str | None = None,
    ) -> None:
        own = list(local_keys)
        keys = [item.public_key for item in endpoints] + [bytes(key.verify_key) for key in own]
        if len(set(keys)) != len(keys):
            raise SignerSettingsError("two milestone signers have one key: each has its own")
        self._own = own
        self._threshold = threshold
        self._timeout_s = timeout_s
        self._grace_s = grace_s
        self._network = network
        self._history: History = lambda _index: None
        self._lines = [_Line(endpoint, timeout_s) for endpoint in endpoints]
        self._problems: dict[str, str] = {}
        self._turn = threading.Lock()

    def remember(self, history: History) -> None:
        """Tell where to find milestones by index: they help signers on that were away."""
        self._history = history

    def problems(self) -> dict[str, str]:
        """Return, by URL, why a signer did not sign the last essence that it was asked for."""
        return dict(self._problems)

    def close(self) -> None:
        """Let go of connections and threads."""
        for line in self._lines:
            line.close()

    def sign(self, essence: MilestoneEssence) -> tuple[MilestoneSignature, ...]:
        """Return the signatures that hold, sorted by key, as soon as there are enough of them.

        Fewer than the threshold when more could not be had in time. Call it from any thread, and
        again with the same essence. Raises LedgerUnavailableError when there is none at all.
        """
        own = Milestone.sign(essence, self._own).signatures if self._own else ()
        found = {made.public_key: made for made in own}
        previous = self._history(essence.index - 1) if essence.index > 1 else None
        body = _body(essence, previous, self._network)
        with self._turn:
            asked = {line.ask(essence, body): line for line in self._lines}
            for made in self._collect(asked, len(found)):
                found[made.public_key] = made
        if not found:
            reasons = "; ".join(f"{url}: {text}" for url, text in self._problems.items())
            raise LedgerUnavailableError(f"no signer signs milestone {essence.index}: {reasons}")
        return tuple(found[key] for key in sorted(found))

    def _collect(
        self, asked: dict[Future[MilestoneSignature], _Line], have: int
    ) -> list[MilestoneSignature]:
        made: list[MilestoneSignature] = []
        waiting = set(asked)
        deadline = time.monotonic() + self._timeout_s
        while waiting:
            if have + len(made) >= self._threshold:
                deadline = min(deadline, time.monotonic() + self._grace_s)
            left_s = max(0.0, deadline - time.monotonic())
            done, waiting = wait(waiting, left_s, FIRST_COMPLETED)
            if not done:
                break
            for future in done:
                signature = self._judge(asked[future].url, future)
                if signature is not None:
                    made.append(signature)
        if have + len(made) < self._threshold:  # else the slow ones are not needed, and no problem
            for future in waiting:
                self._note(asked[future].url, f"no answer within {self._timeout_s:g} s")
        return made

    def _judge(self, url: str, future: Future[MilestoneSignature]) -> MilestoneSignature | None:
        try:
            signature = future.result()
        except _AnswerError as error:
            self._note(url, str(error))
            return None
        if self._problems.pop(url, None) is not None:
            _log.warning("milestone signer %s signs again", url)
        return signature

    def _note(self, url: str, problem: str) -> None:
        if self._problems.get(url) != problem:  # said once, not at every milestone
            _log.warning("milestone signer %s: %s", url, problem)
        self._problems[url] = problem


class _Line:
    """The connection to one signer, with a thread of its own, so that one cannot hold up others."""

    def __init__(self, endpoint: SignerEndpoint, timeout_s: float) -> None:
        self.url = endpoint.url
        self._timeout_s = timeout_s
        self._key = endpoint.public_key
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if endpoint.token is not None:
            headers["Authorization"] = f"Bearer {endpoint.token}"
        # A proxy of the environment has no business between a node and its signers.
        self._http = httpx.Client(headers=headers, timeout=timeout_s, trust_env=False)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="signer")
        self._future: Future[MilestoneSignature] | None = None

    def ask(self, essence: MilestoneEssence, body: bytes) -> Future[MilestoneSignature]:
        """Ask in the background; what is still queued from an earlier call is dropped."""
        if self._future is not None:
            self._future.cancel()
        self._future = self._thread.submit(self._ask, essence, body)
        return self._future

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._http.close()

    def _ask(self, essence: MilestoneEssence, body: bytes) -> MilestoneSignature:
        try:
            status, answer = self._post(body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _AnswerError(f"no answer ({str(error) or type(error).__name__})") from error
        if status == HTTPStatus.UNAUTHORIZED:
            raise _AnswerError("401: it wants another token, give its own by --signer-token-file")
        try:
            fields = json.loads(answer)
            if status != 200:
                raise _AnswerError(f"{status}: {fields['error']['message']}")
            key, signature = (bytes.fromhex(fields[n][2:]) for n in ("publicKey", "signature"))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _AnswerError(f"answered {status} with {answer[:80]!r}") from error
        if key != self._key:
            raise _AnswerError(f"signs with {key.hex()}, but {self._key.hex()} is pinned")
        if len(signature) != 64 or not is_valid_signature(key, essence.id(), signature):
            raise _AnswerError("its signature is wrong")
        return MilestoneSignature(key, signature)

    def _post(self, body: bytes) -> tuple[int, bytes]:
        url = self.url.rstrip("/") + "/sign"
        end = time.monotonic() + self._timeout_s
        with self._http.stream("POST", url, content=body) as response:
            answer = b""
            # The raw bytes: a packed answer would be measured after it swelled.
            for part in response.iter_raw():
                answer += part
                if len(answer) > _MOST_ANSWER_BYTES or time.monotonic() > end:
                    raise _AnswerError("its answer is too long or too slow")
            return response.status_code, answer


def _body(essence: MilestoneEssence, previous: bytes | None, network: str | None) -> bytes:
    fields = {"essence": "0x" + essence.encode().hex()}
    if previous is not None:
        fields["previous"] = "0x" + previous.hex()
    if network is not None:
        fields["network"] = network
    return json.dumps(fields).encode()
