"""The edge towards the district: ask what a token allows, bring an enrolment, ask how it stands."""

from __future__ import annotations

import json
from typing import Final, TypeVar

import httpx

from metering.commissioning.wire import (
    EnrolmentRequest,
    MalformedRequestError,
    Offer,
    RotationRequest,
    Standing,
)

PATH: Final = "/api/v1/enrolments"
ROTATIONS: Final = "/api/v1/rotations"
_M = TypeVar("_M", Offer, Standing)


class RegistrarError(Exception):
    """Root of this module's errors: nothing was enrolled; see the message."""


class DistrictAwayError(RegistrarError):
    """The district does not answer: try again; the same enrolment may be brought twice."""


class RefusedByDistrictError(RegistrarError):
    """The district says no: do as its words say."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Registrar:
    """Speaks to one district's API at ``url`` over ``client`` (which knows whom to trust)."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url.rstrip("/")
        self._client = client

    async def offer(self, token: str) -> Offer:
        """Return what the token allows.

        Raises:
            RegistrarError: see there.
        """
        return await self._ask("GET", "/offer", Offer, token=token)

    async def bring(self, token: str, request: EnrolmentRequest) -> Standing:
        """Bring an enrolment; the same one may be brought again after a lost answer.

        Raises:
            RegistrarError: see there.
        """
        body = request.to_json().encode()
        return await self._ask("POST", "", Standing, token=token, body=body)

    async def rotate(self, request: RotationRequest) -> Standing:
        """Have a new key take over from the one that signed it; the same may be sent again.

        Raises:
            RegistrarError: see there.
        """
        body = request.to_json().encode()
        return await self._ask("POST", "", Standing, body=body, root=ROTATIONS)

    async def standing(self, key: str) -> Standing:
        """Return how far the enrolment of a key (hex) has come.

        Raises:
            RegistrarError: see there.
        """
        return await self._ask("GET", f"/{key}", Standing)

    async def _ask(
        self,
        method: str,
        path: str,
        kind: type[_M],
        *,
        token: str = "",
        body: bytes = b"",
        root: str = PATH,
    ) -> _M:
        headers = {"Content-Type": "application/json"} if body else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = self._url + root + path
        try:
            answer = await self._client.request(method, url, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise DistrictAwayError(
                f"{url}: {type(error).__name__} {error}; check address and network"
            ) from error
        if answer.status_code >= 500:
            raise DistrictAwayError(f"{url}: HTTP {answer.status_code}; try again in a minute")
        if not answer.is_success:
            raise RefusedByDistrictError(_detail(answer), answer.status_code)
        try:
            return kind.parse(answer.content)
        except MalformedRequestError as error:
            raise RefusedByDistrictError(
                f"{url}: the answer is not one of this version ({error}): is that a district?",
                answer.status_code,
            ) from error


def _detail(answer: httpx.Response) -> str:
    """Return the words of a problem document, or the bare status."""
    try:
        detail = json.loads(answer.content)["detail"]
    except (ValueError, KeyError, TypeError, RecursionError):
        detail = answer.reason_phrase
    return f"the district refuses ({answer.status_code}): {str(detail)[:500]}"
