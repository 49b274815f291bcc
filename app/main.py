"""The web application: API under /api/v1, pages, one body limit, one set of headers."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from app.api import (
    balance,
    certificates,
    enrolments,
    events,
    evidence,
    log,
    prices,
    problems,
    readings,
    status,
)
from app.api.backpressure import Backpressure
from app.api.limits import READINGS_PATH, BodyLimits
from app.jobs.statements import issue_shown
from app.services.balance.desk import BalanceDesk
from app.services.bank_desk import BankDesk
from app.services.books.desk import BooksDesk
from app.services.certificates.desk import CertificateDesk
from app.services.changes_desk import ChangesDesk
from app.services.commissioning.desk import MetersDesk
from app.services.corrections.desk import CorrectionsDesk
from app.services.disputes.desk import DisputesDesk
from app.services.events import EventDoor
from app.services.forecasts.desk import ForecastDesk
from app.services.forward.desk import ForwardDesk
from app.services.house import House
from app.services.ingest import Door
from app.services.ledger_view import LedgerExplorer
from app.services.limits.desk import LimitsDesk
from app.services.live import LiveBoard
from app.services.losses.desk import LossesDesk
from app.services.market.desk import MarketDesk
from app.services.registry.desk import PeopleDesk
from app.services.sessions import SessionStore
from app.services.sharing.desk import SharingDesk
from app.services.statements.desk import StatementDesk
from app.services.tariffs.desk import TariffDesk
from app.services.views import DatabaseViews
from app.services.waiting import WaitingReadings
from metering.batch import MAX_BODY_BYTES
from web.pages import BODY_LIMITS, Ports, ProblemPages, as_page, build_router, mount_static
from web.security import SecurityMiddleware


def create_app(
    house: House,
    board: LiveBoard,
    views: DatabaseViews,
    sessions: SessionStore,
) -> FastAPI:
    """Compose the application of one district."""
    app = FastAPI(
        title="Wattloom",
        summary="The operating software of a positive-energy district.",
        version="0.2.0",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # the docs page wants scripts of another origin, which the CSP refuses
        redoc_url=None,
    )
    problems.install(app)
    settings = house.settings
    queue = WaitingReadings(settings.ingest_queue_mib * 2**20, settings.ingest_queue_readings)
    for router in _api(house, board, views, sessions, queue):
        app.include_router(router)
    app.include_router(build_router(_ports(house, views, sessions)))
    mount_static(app)
    app.add_middleware(BodyLimits, by_path={READINGS_PATH: MAX_BODY_BYTES, **BODY_LIMITS})
    app.add_middleware(Backpressure, queue=queue)
    app.add_middleware(ProblemPages)
    # A strange name that resolves to this machine would make its pages ours (DNS rebinding).
    app.add_middleware(
        TrustedHostMiddleware, allowed_hosts=house.settings.known_hosts, www_redirect=False
    )
    app.add_middleware(SecurityMiddleware, surprise=_surprise)
    return app


def _api(
    house: House,
    board: LiveBoard,
    views: DatabaseViews,
    sessions: SessionStore,
    queue: WaitingReadings,
) -> tuple[APIRouter, ...]:
    """What programs ask, under /api/v1."""
    door = Door(house.database, house.settings, house.keyring.receipt, house.clock, board)
    return (
        readings.build_router(door, queue),
        events.build_router(EventDoor(house.database, house.settings.origin, house.clock)),
        enrolments.build_router(house),
        status.build_router(house, board),
        log.build_router(house),
        evidence.build_router(house),
        prices.build_router(house),
        balance.build_router(house, sessions, views.managed),
        certificates.build_router(house, sessions, views.managed),
    )


def _ports(house: House, views: DatabaseViews, sessions: SessionStore) -> Ports:
    """What stands behind the pages that people see."""
    managed = views.managed
    return Ports(
        views,
        sessions,
        LedgerExplorer(house, managed, views.keys_file),
        BankDesk(house),
        market=MarketDesk(house, managed),
        limits=LimitsDesk(house),
        sharing=SharingDesk(house),
        forecasts=ForecastDesk(house),
        forward=ForwardDesk(house),
        people=PeopleDesk(house, managed),
        meters=MetersDesk(house, managed),
        changes=ChangesDesk(house, managed),
        corrections=CorrectionsDesk(house, managed),
        disputes=DisputesDesk(house),
        balance=BalanceDesk(house),
        statements=StatementDesk(house, managed, issue_shown),
        books=BooksDesk(house, managed),
        losses=LossesDesk(house, managed),
        certificates=CertificateDesk(house),
        tariffs=TariffDesk(house, managed),
    )


def _surprise(request: Request) -> Response:
    """Answer an error that nothing expected: as a page to browsers, else as a problem."""
    detail = "something unexpected happened and was logged: try again, then tell the administrator"
    return as_page(request, problems.response(500, detail))
