"""The pages over the fakes, for the in-process client and for a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import fields
from typing import Literal

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page, sync_playwright

from tests.web.balance_fakes import FakeBalance
from tests.web.bank_fakes import FakeBank
from tests.web.books_fakes import FakeBooks
from tests.web.browsing import Console, Open, Served
from tests.web.certificate_fakes import FakeCertificates
from tests.web.change_fakes import FakeMeterChanges
from tests.web.corrections_fakes import FakeCorrections, FakeDisputes
from tests.web.forecast_fakes import FakeForecasts
from tests.web.forward_fakes import FakeForward
from tests.web.ledger_fakes import FakeLedgerViews
from tests.web.limits_fakes import FakeLimits
from tests.web.losses_fakes import FakeLosses
from tests.web.market_fakes import FakeMarket
from tests.web.meter_fakes import FakeMeters
from tests.web.people_fakes import FakePeople
from tests.web.sharing_fakes import FakeSharing
from tests.web.statement_fakes import FakeStatements
from tests.web.tariff_fakes import FakeTariffs
from tests.web.web_fakes import FakeSessions, FakeViews
from web.pages import STATIC, Ports, build_router, mount_static
from web.security import SecurityMiddleware

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]


@pytest.fixture
def views() -> FakeViews:
    return FakeViews()


@pytest.fixture
def sessions() -> FakeSessions:
    return FakeSessions()


@pytest.fixture
def ledger() -> FakeLedgerViews:
    return FakeLedgerViews()


@pytest.fixture
def bank() -> FakeBank:
    return FakeBank()


@pytest.fixture
def statements() -> FakeStatements:
    return FakeStatements()


@pytest.fixture
def books() -> FakeBooks:
    return FakeBooks()


@pytest.fixture
def losses() -> FakeLosses:
    return FakeLosses()


@pytest.fixture
def balance() -> FakeBalance:
    return FakeBalance()


@pytest.fixture
def market() -> FakeMarket:
    return FakeMarket()


@pytest.fixture
def people() -> FakePeople:
    return FakePeople()


@pytest.fixture
def meters() -> FakeMeters:
    return FakeMeters()


@pytest.fixture
def changes() -> FakeMeterChanges:
    return FakeMeterChanges()


@pytest.fixture
def sharing() -> FakeSharing:
    return FakeSharing()


@pytest.fixture
def forecasts() -> FakeForecasts:
    return FakeForecasts()


@pytest.fixture
def forward() -> FakeForward:
    return FakeForward()


@pytest.fixture
def certificates() -> FakeCertificates:
    return FakeCertificates()


@pytest.fixture
def tariffs() -> FakeTariffs:
    return FakeTariffs()


@pytest.fixture
def limits() -> FakeLimits:
    return FakeLimits()


@pytest.fixture
def corrections() -> FakeCorrections:
    return FakeCorrections()


@pytest.fixture
def disputes() -> FakeDisputes:
    return FakeDisputes()


@pytest.fixture
def ports(request: pytest.FixtureRequest) -> Ports:
    """Each port's fake is the fixture of its name."""
    return Ports(**{port.name: request.getfixturevalue(port.name) for port in fields(Ports)})


class StandIn:
    """Stands where a port is, and passes every question on to the fake of the running test."""

    fake: object = None  # while the pages are being made, which ask nothing yet

    def __getattr__(self, name: str) -> object:
        def later(*args: object, **more: object) -> object:
            return getattr(self.fake, name)(*args, **more)

        return later if self.fake is None else getattr(self.fake, name)


@pytest.fixture(scope="session")
def pages() -> tuple[FastAPI, Ports]:
    """All pages, made once, since that takes longer than most tests; and what they ask."""
    stand_ins = Ports(**{port.name: StandIn() for port in fields(Ports)})
    app = FastAPI(openapi_url=None)
    app.include_router(build_router(stand_ins))
    mount_static(app)
    app.add_middleware(SecurityMiddleware)
    return app, stand_ins


@pytest.fixture
def app(ports: Ports, pages: tuple[FastAPI, Ports]) -> FastAPI:
    app, stand_ins = pages
    for port in fields(Ports):
        getattr(stand_ins, port.name).fake = getattr(ports, port.name)
    return app


@pytest.fixture
def served(app: FastAPI) -> Iterator[Served]:
    served = Served(app)
    served.start()
    yield served
    served.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path, "chromium is missing: install it (Debian: apt-get install chromium)"
    vendored = STATIC / "vendor" / "htmx.js"
    assert vendored.is_file(), "front-end packages are missing: run `npm ci && npm run vendor`"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_as(browser: Browser, served: Served) -> Iterator[Open]:
    """Return a function that enters in a role and gives the page and its console."""
    contexts = []

    def enter(
        role: str,
        width: int = 1280,
        color_scheme: Literal["dark", "light"] = "light",
        scripts: bool = True,
    ) -> tuple[Page, Console]:
        context = browser.new_context(
            base_url=served.url,
            viewport={"width": width, "height": 844},
            color_scheme=color_scheme,
            java_script_enabled=scripts,
        )
        contexts.append(context)
        page, console = context.new_page(), Console()
        console.watch(page)
        page.goto("/")
        page.click(f"button[value={role}]")
        if scripts:  # until htmx has taken the page over, forms and links go the plain way
            page.locator("#live[data-htmx-powered]").wait_for(state="attached")
        return page, console

    yield enter
    for context in contexts:
        context.close()


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False) as client:
        yield client
