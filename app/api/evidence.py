"""``/api/v1/beacon`` and what shows a reading's way: for who holds the reading.

A meter's key is no secret: neighbours' proofs name it. So the reading's link has to be given, the
SHA-256 of its payload and signature, which nobody can work out who has not seen both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.api.problems import ProblemError
from app.services import evidence
from app.services.beacons import newest
from app.services.house import House
from app.services.proofs import NoSuchProofError, ProofNotReadyError

Key = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="the meter's public key, hex")]
Epoch = Annotated[int, Path(ge=1, lt=2**31)]
Seq = Annotated[int, Path(ge=1, lt=2**53)]
Link = Annotated[
    str, Query(pattern=r"^[0-9a-f]{64}$", description="SHA-256(payload || signature), hex")
]


def build_router(house: House) -> APIRouter:
    """Return the routes by which gateways and people come to evidence."""
    router = APIRouter(prefix="/api/v1", tags=["readings"])

    @router.get("/beacon")
    def beacon() -> dict[str, object]:
        """Return the newest milestone, whose digest a reading may hold as its beacon."""
        found = newest(house)
        if found is None:
            raise ProblemError(404, "no milestone is known yet: ask again once a seal is anchored")
        return asdict(found)

    @router.get("/readings/{key}/{epoch}/{seq}/proof")
    def proof(key: Key, epoch: Epoch, seq: Seq, link: Link) -> Response:
        """Return the file that shows a reading up to the ledger."""
        return _file(house, (key, epoch, seq), link, evidence.reading_proof)

    @router.get("/readings/{key}/{epoch}/{seq}/leaves")
    def leaves(key: Key, epoch: Epoch, seq: Seq, link: Link) -> Response:
        """Return all leaves of the seal that the reading was promised to, for its receipt."""
        return _file(house, (key, epoch, seq), link, evidence.promised_leaves)

    return router


def _file(
    house: House,
    which: tuple[str, int, int],
    link: str,
    make: Callable[[House, str, int, int], bytes],
) -> Response:
    try:
        evidence.check_held(house, *which, bytes.fromhex(link))
        return Response(make(house, *which), media_type="application/json")
    except NoSuchProofError as error:
        raise ProblemError(404, str(error)) from error
    except ProofNotReadyError as error:
        raise ProblemError(409, str(error)) from error
