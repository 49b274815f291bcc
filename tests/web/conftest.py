"""The pages over the fakes, for the in-process client and for a real browser."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from tests.web.web_fakes import FakeSessions, FakeViews
from web.pages import build_router, mount_static
from web.security import SecurityMiddleware


@pytest.fixture
def views() -> FakeViews:
    return FakeViews()


@pytest.fixture
def sessions() -> FakeSessions:
    return FakeSessions()


@pytest.fixture
def app(views: FakeViews, sessions: FakeSessions) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.include_router(build_router(views, sessions))
    mount_static(app)
    app.add_middleware(SecurityMiddleware)
    return app
