"""``/api/v1/health``, ``/api/v1/district`` and ``/api/v1/keys``: what anybody may know."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel

from app.services.checkpoints import public_keys
from app.services.house import House
from app.services.live import LiveBoard
from app.services.views import flows
from app.store import people, registry
from metering.interval import from_ms


class Health(BaseModel):
    """Whether the service works."""

    status: str


class DistrictStatus(BaseModel):
    """The district's clock (UTC) and its flows now, in watts; import is positive."""

    district: str
    name: str
    clock: str
    clock_simulated: bool
    exporting_w: int
    importing_w: int
    shared_w: int
    from_grid_w: int
    to_grid_w: int


def build_router(house: House, board: LiveBoard) -> APIRouter:
    """Return the routes that need no login."""
    router = APIRouter(prefix="/api/v1", tags=["district"])

    @router.get("/health")
    def health() -> Health:
        """Answer once the database does."""
        with house.database.read() as session:
            people.district(session)
        return Health(status="ok")

    @router.get("/district")
    def district() -> DistrictStatus:
        """Return the district's flows now, without prices, balances or people."""
        with house.database.read() as session:
            row, alone = people.district(session), registry.alone(session)
        powers = board.powers(house.clock.now_ms())
        now = flows({point: w for point, w in powers.items() if point not in alone})
        return DistrictStatus(
            district=row.origin,
            name=row.name,
            clock=from_ms(house.clock.now_ms()).isoformat(),
            clock_simulated=house.clock.simulated,
            exporting_w=now.exporting_w,
            importing_w=now.importing_w,
            shared_w=now.shared_w,
            from_grid_w=now.from_grid_w,
            to_grid_w=now.to_grid_w,
        )

    @router.get("/keys")
    def keys() -> Response:
        """Return the district's KEYS: pin them once, then verify proofs offline."""
        return Response(public_keys(house), media_type="application/json")

    return router
