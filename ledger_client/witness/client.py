"""Asks a witness for a cosignature (C2SP tlog-witness) and believes only what checks out."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Final

import httpx

from ledger_client.verify import NoteError, Witness, open_cosignature, parse_body, split_note
from ledger_client.witness.messages import write_request

_MOST_ANSWER_BYTES: Final = 64 * 1024
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


class WitnessClientError(Exception):
    """Root of the client's errors: there is no cosignature."""


class WitnessUnavailableError(WitnessClientError):
    """The witness does not answer, or not sensibly: ask again later."""


class WitnessRefusedError(WitnessClientError):
    """The witness will not cosign this checkpoint: a person has to look. ``status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class WitnessBehindError(WitnessClientError):
    """The witness is at another size: ask again with a consistency proof from ``size``."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the witness is at size {size}: send a proof from there")
        self.size = size


class WitnessClient:
    """One witness, by its address, name and pinned key (32 bytes). Call it from any thread.

    ``timeout_s`` bounds a whole request, however slowly its answer drips in.
    """

    def __init__(
        self,
        url: str,
        name: str,
        public_key: bytes,
        *,
        timeout_s: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.witness = Witness(public_key, name)
        self._url = url.rstrip("/") + "/add-checkpoint"
        self._timeout_s = timeout_s
        self._transport = transport
        self._trust = httpx.create_ssl_context(trust_env=False)

    def add_checkpoint(self, note: str, old_size: int, proof: Sequence[bytes]) -> str:
        """Return the witness's verified signature line, without its newline.

        Args:
            note: the log's signed checkpoint.
            old_size: the size that the witness cosigned last (0: none).
            proof: the consistency proof from there (none from 0 or the same size).

        Raises:
            WitnessBehindError: it is at another size, and says which.
            WitnessRefusedError: it will not cosign this.
            WitnessUnavailableError: no answer, or none that makes sense; ask again later.
            NoteError: the note is no checkpoint of ours.
        """
        checkpoint = parse_body(split_note(note)[0])
        status, answer = self._post(write_request(old_size, proof, note))
        if status == 409:
            match = _SIZE.fullmatch(answer)
            if match is None:
                raise WitnessUnavailableError(f"the witness answered 409 with {answer[:60]!r}")
            raise WitnessBehindError(int(match[1]))
        if status != 200:
            refused = 400 <= status < 500 and status not in (408, 429)
            text = _message(answer)
            if refused:
                raise WitnessRefusedError(status, text)
            raise WitnessUnavailableError(f"the witness answered {status}: {text}")
        for line in answer.decode(errors="replace").splitlines():
            try:
                open_cosignature(line, checkpoint, [self.witness])
            except NoteError:
                continue  # the protocol asks to ignore what is by unknown keys
            return line
        raise WitnessUnavailableError(f"{self.witness.name} sent no cosignature that holds")

    def _post(self, body: bytes) -> tuple[int, bytes]:
        name = self.witness.name
        try:
            return asyncio.run(self._exchange(body))
        except TimeoutError as error:
            late = f"{name} gave no whole answer within {self._timeout_s:g} s"
            raise WitnessUnavailableError(late) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise WitnessUnavailableError(f"{name} does not answer: {why}") from error

    async def _exchange(self, body: bytes) -> tuple[int, bytes]:
        """Send a request in a loop of its own, which alone can end it at any point."""
        plain, whole_s = {"Accept-Encoding": "identity"}, self._timeout_s
        async with (
            asyncio.timeout(whole_s),
            httpx.AsyncClient(
                transport=self._transport, verify=self._trust, timeout=whole_s, trust_env=False
            ) as http,
            http.stream("POST", self._url, content=body, headers=plain) as response,
        ):
            answer = b""
            # The raw bytes: a packed answer would be measured before it swells.
            async for part in response.aiter_raw():
                answer += part
                if len(answer) > _MOST_ANSWER_BYTES:
                    raise WitnessUnavailableError("the witness's answer is too long")
            return response.status_code, answer


def _message(answer: bytes) -> str:
    """Return what an error says, in the node's form or as it is."""
    try:
        return str(json.loads(answer)["error"]["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return repr(answer[:200])
