"""What all pages share: who asks, how a page is rendered, and how an error becomes a page."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from web import graph, picture, present
from web.ports import NotFoundError, Role, Sessions, Viewer, Views
from web.security import CSRF_FIELD, CSRF_HEADER, SecurityError, read_cookie

TEMPLATES: Final = Path(__file__).parents[1] / "templates"
MAX_UPLOAD_BYTES: Final = 256 * 1024
MAX_STATEMENT_BYTES: Final = 4 * 1024 * 1024
MAX_KEYS_BYTES: Final = 512 * 1024
# A multipart form wraps the file in a few headers and the token; this is room enough for them.
_FORM_BYTES: Final = 16 * 1024
UPLOADS: Final = {
    "/verify": MAX_UPLOAD_BYTES,
    "/treasury/import": MAX_STATEMENT_BYTES,
    "/sharing/import": MAX_KEYS_BYTES,
    "/sharing/confirm": 2 * MAX_KEYS_BYTES,  # the same file again, as base64
}
BODY_LIMITS: Final = {path: most + _FORM_BYTES for path, most in UPLOADS.items()}

TITLES: Final = {
    403: "Not from here",
    404: "Nothing here for you",
    405: "That does not work here",
    411: "How long is it?",
    413: "Too big",
    422: "Something is missing",
    500: "Something went wrong",
    503: "Not just now",
}
ADVICE: Final = {
    403: "Load the page again and repeat the step.",
    404: "It may not exist, or it may belong to somebody else. Go back and choose another.",
    405: "Open the page itself and use the buttons there.",
    411: "Send the file with a browser, or state its length in Content-Length.",
    413: "Choose a smaller file: a proof from a receipt, a bank statement of fewer days, keys of "
    "fewer roofs.",
    422: "Go back, fill in the form and send it again.",
    500: "Go back and try again. If it happens again, tell the district’s administrator.",
    503: "Nothing was lost. Load the page again in a few seconds.",
}


class LoginNeededError(Exception):
    """Nobody is logged in, or the session is over: send them to the entrance."""


def environment() -> Environment:
    """Return the template environment: everything escaped, unknown names refused."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals.update(
        present=present,
        picture=picture,
        graph=graph,
        Role=Role,
        csrf_field=CSRF_FIELD,
        csrf_header=CSRF_HEADER,
    )
    return env


_ENVIRONMENT: Final = environment()


def render(template: str, status: int = 200, /, **context: object) -> HTMLResponse:
    """Return a rendered template as an answer."""
    return HTMLResponse(_ENVIRONMENT.get_template(template).render(context), status_code=status)


@dataclass(frozen=True, slots=True)
class Desk:
    """The two ports, and the small steps that every page takes over them."""

    views: Views
    sessions: Sessions

    def viewer(self, request: Request) -> Viewer:
        """Return who asks.

        Raises:
            LoginNeededError: nobody is logged in.
        """
        viewer = self.sessions.viewer(read_cookie(request))
        if viewer is None:
            raise LoginNeededError
        return viewer

    def customer(self, request: Request) -> Viewer:
        """Return who asks for something with prices or balances; never the grid operator.

        Raises:
            NotFoundError: the grid operator asks.
        """
        viewer = self.viewer(request)
        if viewer.role is Role.OPERATOR:
            raise NotFoundError("the grid operator sees energy, never prices or balances")
        return viewer

    def manager(self, request: Request) -> Viewer:
        """Return the building manager who asks.

        Raises:
            NotFoundError: somebody else asks.
        """
        viewer = self.viewer(request)
        if viewer.role is not Role.MANAGER:
            raise NotFoundError("this is the building manager's")
        return viewer

    def owner(self, request: Request, participant: str) -> Viewer:
        """Return who asks for what is a participant's own.

        Raises:
            NotFoundError: it is not theirs to see.
        """
        viewer = self.customer(request)
        if participant not in {each for each, _ in self.views.participants(viewer)}:
            raise NotFoundError("there is no such participant among yours")
        return viewer

    def form(
        self,
        request: Request,
        viewer: Viewer,
        template: str,
        done: Mapping[str, str],
        error: Exception | None = None,
        **context: object,
    ) -> HTMLResponse:
        """Render a page with forms: what was just done, or why it was refused (422).

        ``done`` has the sentence for each ``?done=`` that such a page is led back to with.
        """
        said = done.get(request.query_params.get("done", ""))
        page = self.page(request, viewer, template, done=said, error=error, **context)
        page.status_code = 422 if error else 200
        return page

    def page(
        self, request: Request, viewer: Viewer, template: str, **context: object
    ) -> HTMLResponse:
        """Render a page inside the frame: banner, navigation, clock."""
        return render(
            template,
            request=request,
            viewer=viewer,
            district=context.pop("district", None) or self.views.district(viewer),
            shows_prices=viewer.role is not Role.OPERATOR,
            paused="pause" in request.query_params,
            **context,
        )


def error_page(request: Request, status: int, reason: str | None = None) -> Response:
    """Return an error as a page (or, for htmx, as a fragment) that says how to go on."""
    fragment = request.headers.get("hx-request") == "true"
    return render(
        "_error.html" if fragment else "error.html",
        status,
        code=status,
        title=TITLES.get(status, "That did not work"),
        reason=present.sentence(reason) if reason else None,
        advice=ADVICE.get(status, "Go back and try again."),
    )


def csv_file(content: bytes, filename: str) -> Response:
    """Return a CSV to be saved."""
    return Response(
        content,
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


def to_entrance(request: Request) -> Response:
    """Send somebody without a session to the entrance; htmx is told by its own header."""
    if request.headers.get("hx-request") == "true":
        return Response(status_code=204, headers={"HX-Redirect": "/"})
    return RedirectResponse("/", status_code=303)


def longest_upload(path: str) -> str:
    """Return in words how long a file may be that is sent to this address."""
    kib = UPLOADS.get(path, MAX_UPLOAD_BYTES) // 1024
    return f"{kib // 1024}{present.NBSP}MiB" if kib >= 1024 else f"{kib}{present.NBSP}KiB"


def check_length(request: Request) -> None:
    """Refuse a body that is too long before a byte of it is read.

    Raises:
        HTTPException: 411 without a stated length, 413 above the limit.
    """
    if request.method != "POST":
        return
    stated = request.headers.get("content-length", "")
    if not stated.isdecimal():
        raise HTTPException(411, "the request does not say how long its body is")
    if int(stated) > BODY_LIMITS.get(request.url.path, MAX_UPLOAD_BYTES + _FORM_BYTES):
        raise HTTPException(413, f"the file has more than {longest_upload(request.url.path)}")


class PageRoute(APIRoute):
    """A route whose errors become pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[None, None, Response]]:
        """Return the handler, wrapped so that it answers errors with pages."""
        handle = super().get_route_handler()

        async def handle_as_page(request: Request) -> Response:
            try:
                check_length(request)
                return await handle(request)
            except LoginNeededError:
                return to_entrance(request)
            except NotFoundError:
                return error_page(request, 404)
            except SecurityError as error:
                return error_page(request, 403, str(error))
            except RequestValidationError:
                return error_page(request, 422)
            except HTTPException as error:
                return error_page(request, error.status_code, error.detail)

        return handle_as_page
