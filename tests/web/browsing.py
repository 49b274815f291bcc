"""What tests in a real browser stand on: a server that can stop, and the browser's complaints."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import uvicorn
from playwright.sync_api import Page
from starlette.types import ASGIApp, Receive, Scope, Send

SCREENS = ((390, "dark"), (1280, "light"))
"""Widths decide what fits and schemes what can be read, so each is looked at once."""


@dataclass
class Console:
    """What the browser complains about."""

    lines: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", lambda m: self.lines.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.lines.append(str(error)))


class Served:
    """The pages on a free port of the loopback; it can stop and start, and counts its streams."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._port = 0
        self.streams = 0
        self.opened = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        here = scope["type"] == "http" and scope["path"] == "/stream"
        self.streams += here
        self.opened += here
        try:
            await self._app(scope, receive, send)
        finally:
            self.streams -= here

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        config = uvicorn.Config(self, log_level="critical", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        kwargs = {"sockets": [self._listener]}
        self._thread = threading.Thread(target=self._server.run, kwargs=kwargs, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._listener.close()


def until(page: Page, expression: str) -> None:
    """Wait until an expression is true; asked from outside, since the policy forbids eval."""
    deadline = time.monotonic() + 15
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"{expression} never came true"
        page.wait_for_timeout(50)


Open = Callable[..., tuple[Page, Console]]
