"""The pages: one router over the ports, the static files, and the errors as pages.

An application needs four calls: ``app.include_router(build_router(Ports(...)))``,
``mount_static(app)``, ``app.add_middleware(ProblemPages)`` and, outermost,
``app.add_middleware(SecurityMiddleware, surprise=...)``. Uvicorn should run with a
graceful-shutdown time-out, since a live page keeps its stream open for as long as it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles

from web.pages import (
    balance,
    books,
    certificates,
    changes,
    corrections,
    disputes,
    district,
    entrance,
    forecasts,
    forward,
    intervals,
    ledger,
    limits,
    losses,
    market,
    meters,
    money,
    people,
    proofs,
    sharing,
    statements,
    tariffs,
    transparency,
    treasury,
)
from web.pages.desk import BODY_LIMITS, Desk, PageRoute, error_page
from web.pages.problems import ProblemPages, as_page
from web.ports import Sessions, Views
from web.ports.balance import Balance
from web.ports.bank import Bank
from web.ports.books import Books
from web.ports.certificates import Certificates
from web.ports.changes import MeterChanges
from web.ports.corrections import Corrections
from web.ports.disputes import Disputes
from web.ports.forecasts import Forecasts
from web.ports.forward import Forward
from web.ports.ledger import LedgerViews
from web.ports.limits import Limits
from web.ports.losses import Losses
from web.ports.market import Market
from web.ports.meters import Meters
from web.ports.people import People
from web.ports.sharing import Sharing
from web.ports.statements import Statements
from web.ports.tariffs import Tariffs

STATIC: Final = Path(__file__).parents[1] / "static"

__all__ = [
    "BODY_LIMITS",
    "Ports",
    "ProblemPages",
    "as_page",
    "build_router",
    "error_page",
    "mount_static",
]


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that the application satisfies."""

    views: Views
    sessions: Sessions
    ledger: LedgerViews
    bank: Bank
    market: Market
    limits: Limits
    sharing: Sharing
    forecasts: Forecasts
    forward: Forward
    people: People
    meters: Meters
    changes: MeterChanges
    corrections: Corrections
    disputes: Disputes
    balance: Balance
    statements: Statements
    books: Books
    losses: Losses
    certificates: Certificates
    tariffs: Tariffs


def build_router(ports: Ports) -> APIRouter:
    """Return the router of all pages."""
    router = APIRouter(route_class=PageRoute, include_in_schema=False)
    desk = Desk(ports.views, ports.sessions)
    for module in (entrance, district, people, intervals, proofs, transparency):
        module.add_routes(router, desk)
    ledger.add_routes(router, desk, ports.ledger)
    market.add_routes(router, desk, ports.market)
    limits.add_routes(router, desk, ports.limits)
    people.add_point_routes(router, desk, ports.people)
    meters.add_routes(router, desk, ports.meters)
    changes.add_routes(router, desk, ports.changes)
    sharing.add_routes(router, desk, ports.sharing)
    forecasts.add_routes(router, desk, ports.forecasts)
    forward.add_routes(router, desk, ports.forward)
    balance.add_routes(router, desk, ports.balance)
    statements.add_routes(router, desk, ports.statements)
    books.add_routes(router, desk, ports.books)
    losses.add_routes(router, desk, ports.losses)
    certificates.add_routes(router, desk, ports.certificates)
    tariffs.add_routes(router, desk, ports.tariffs)
    corrections.add_routes(router, desk, ports.corrections)
    disputes.add_routes(router, desk, ports.disputes)
    for module in (money, treasury):
        module.add_routes(router, desk, ports.bank)
    for route in router.routes:
        # The stream has no end, so asking for its headers alone would not end either.
        if isinstance(route, APIRoute) and route.methods == {"GET"} and route.path != "/stream":
            route.methods = {"GET", "HEAD"}
    return router


def mount_static(app: FastAPI) -> None:
    """Serve style sheets, scripts and the packages that ``npm run vendor`` copied."""
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
