"""``/api/v1/prices/expected``: what local power will probably cost, for devices. For everybody."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel

from app.api.problems import ProblemError
from app.services.forecasts.prices import NoForecastError, expected_prices, message
from app.services.house import House

_HEADERS: Final = {"Cache-Control": "public, max-age=300"}


class ExpectedIntervalItem(BaseModel):
    """One quarter-hour; prices are null where no local trade is expected."""

    start: str
    local_price_micro_per_kwh: int | None
    local_all_in_micro_per_kwh: int | None
    mean_all_in_micro_per_kwh: int
    local_share_ppm: int
    import_wh: int
    export_wh: int
    local_wh: int


class ExpectedPriceList(BaseModel):
    """The newest forecast's prices, in time order."""

    district: str
    issued_at: str
    model: str
    tariff: str
    grid_all_in_micro_per_kwh: int
    feed_in_micro_per_kwh: int
    intervals: Sequence[ExpectedIntervalItem]


def build_router(house: House) -> APIRouter:
    """Return the route of the expected prices; it needs no login."""
    router = APIRouter(prefix="/api/v1/prices", tags=["prices"])

    @router.get("/expected", response_model=ExpectedPriceList)
    def expected(if_none_match: Annotated[str, Header()] = "") -> Response:
        """Return the expected prices; 304 to who has them already."""
        try:
            with house.database.read() as session:
                content = message(expected_prices(session))
        except NoForecastError as error:
            raise ProblemError(404, str(error)) from error
        headers = {**_HEADERS, "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}
        if headers["ETag"] in {tag.strip() for tag in if_none_match.split(",")}:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="application/json", headers=headers)

    return router
