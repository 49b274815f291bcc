"""A participant's forward orders: entered, amended and cancelled until the gate closes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final

from fastapi import APIRouter, File, Form, UploadFile
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from web import present, session_picture
from web.pages.desk import MAX_UPLOAD_BYTES, Desk, csv_file
from web.ports import RefusedError, Viewer
from web.ports.forward import FIELDS, Forward, GateClosedError, OrdersPage
from web.security import check_csrf

DONE: Final = {
    "entered": "Entered. You can amend or cancel it until the gate closes.",
    "cancelled": "Cancelled. “Undo” brings it back until the gate closes.",
    "undone": "The last change is taken back.",
    "on": "From now on orders are made by forecast where you enter none.",
    "off": "No orders are made by forecast any more.",
    "file": "All orders of the file are entered.",
    "same": "The file changes nothing: its orders stand as they are.",
}


# Which fields the form of a kind has: a mistake in another one is told above the form.
_TIMES: Final = ("point", "first", "last", "energy", "price")
ON_FORM: Final[Mapping[str, tuple[str, ...]]] = {
    "step": ("side", *_TIMES),
    "block": ("side", "share", "link", *_TIMES),
    "flexible": ("power", *_TIMES),
    "storage": ("point", "capacity", "stored", "efficiency", "power", "price"),
}


def add_routes(router: APIRouter, desk: Desk, forward: Forward) -> None:
    """Add the page of orders, its forms, and files in and out."""
    add_pages(router, desk, forward)
    add_entry(router, desk, forward)
    add_steps(router, desk, forward)
    add_file(router, desk, forward)


def show(
    desk: Desk,
    forward: Forward,
    request: Request,
    viewer: Viewer,
    participant: str,
    error: RefusedError | None = None,
    **context: object,
) -> Response:
    """Return the page of orders; with an error it keeps what was typed."""
    found = forward.page(participant, request.query_params.get("session"))
    given = context.pop("typed", None)
    typed = given if isinstance(given, dict) else filled(found, request.query_params)
    typed = {**typed, "kind": typed["kind"] if typed["kind"] in ON_FORM else "step"}
    cleared = found.cleared
    page = desk.form(
        request,
        viewer,
        "orders.html",
        DONE,
        error,
        shown=found,
        typed=typed,
        blocks=[("", "none"), *_blocks(found, typed["order_id"])],
        on_form=ON_FORM[typed["kind"]],
        left=session_picture.countdown(found.open.gate_ms - found.clock_ms) if found.open else "",
        drawn=session_picture.draw(cleared.intervals, found.zone) if cleared else None,
        **{"where": "", **context},
    )
    if isinstance(error, GateClosedError):
        page.status_code = 409
    return page


def filled(found: OrdersPage, asked: Mapping[str, str]) -> dict[str, str]:
    """Return what stands in the form at first: an order to amend, or a new one of a kind."""
    for order in found.orders:
        if order.order_id == asked.get("order_id") and order.fields and order.state == "entered":
            return {**dict.fromkeys(FIELDS, ""), **order.fields}
    kind = asked.get("kind", "")
    keys = found.open.keys if found.open else ("",)
    ceiling = present.cents(found.ceiling_micro_per_kwh).replace(present.MINUS, "-")
    return {
        **dict.fromkeys(FIELDS, ""),
        "kind": kind,
        "point": found.points[0][0] if found.points else "",
        "side": "bid",
        "first": keys[0],
        "last": keys[-1],
        "share": "100",
        "efficiency": "90",
        "stored": "0",
        "price": "0" if kind == "storage" else ceiling,
    }


def _blocks(found: OrdersPage, but: str) -> list[tuple[str, str]]:
    """Return the blocks that another one may hang on."""
    return [
        (order.order_id, f"{order.order_id}: {order.text}")
        for order in found.orders
        if order.kind == "block" and order.state == "entered" and order.order_id != but
    ]


def back(participant: str, done: str) -> Response:
    """Lead back to the page, so that loading it again repeats nothing."""
    return RedirectResponse(f"/participants/{participant}/orders?done={done}", status_code=303)


def who(viewer: Viewer) -> str:
    """Return under which name a change is kept: the participant's, or the manager's."""
    return viewer.participant or viewer.role.value


def add_pages(router: APIRouter, desk: Desk, forward: Forward) -> None:
    """Add the way to one's orders, the page, and the orders as a file."""

    @router.get("/orders")
    def orders(request: Request) -> Response:
        viewer = desk.customer(request)
        if viewer.participant:
            return RedirectResponse(f"/participants/{viewer.participant}/orders", status_code=303)
        return desk.page(request, viewer, "orders_of.html", people=desk.views.participants(viewer))

    @router.get("/participants/{participant}/orders")
    def of_one(request: Request, participant: str) -> Response:
        viewer = desk.owner(request, participant)
        return show(desk, forward, request, viewer, participant)

    @router.get("/participants/{participant}/orders.csv")
    def orders_csv(request: Request, participant: str) -> Response:
        desk.owner(request, participant)
        return csv_file(forward.orders_csv(participant), "wattloom-orders.csv")


def add_entry(router: APIRouter, desk: Desk, forward: Forward) -> None:
    """Add entering and amending an order."""

    @router.post("/participants/{participant}/orders")
    async def enter(request: Request, participant: str) -> Response:
        form = await request.form()

        def answer() -> Response:
            viewer = desk.owner(request, participant)
            check_csrf(request, _text(form, "csrf_token"), viewer.csrf_token)
            typed = {name: _text(form, name) for name in FIELDS}
            try:
                forward.enter(participant, who(viewer), typed)
            except RefusedError as error:
                return show(
                    desk,
                    forward,
                    request,
                    viewer,
                    participant,
                    error=error,
                    where="order",
                    typed=typed,
                )
            return back(participant, "entered")

        return await run_in_threadpool(answer)


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""


def add_steps(router: APIRouter, desk: Desk, forward: Forward) -> None:
    """Add what is done with one press: cancel, undo, by forecast or not."""

    def step(request: Request, participant: str, token: str, act: Callable[[str], str]) -> Response:
        viewer = desk.owner(request, participant)
        check_csrf(request, token, viewer.csrf_token)
        try:
            return back(participant, act(who(viewer)))
        except RefusedError as error:
            return show(desk, forward, request, viewer, participant, error=error, where="list")

    def changed(change: Callable[[str, str, str, str], None], done: str) -> Callable[..., Response]:
        def post(
            request: Request,
            participant: str,
            session: Annotated[str, Form()] = "",
            order_id: Annotated[str, Form()] = "",
            csrf_token: Annotated[str, Form()] = "",
        ) -> Response:
            def act(by: str) -> str:
                change(participant, by, session, order_id)
                return done

            return step(request, participant, csrf_token, act)

        return post

    router.post("/participants/{participant}/orders/cancel")(changed(forward.cancel, "cancelled"))
    router.post("/participants/{participant}/orders/undo")(changed(forward.undo, "undone"))

    @router.post("/participants/{participant}/orders/forecast")
    def by_forecast(
        request: Request,
        participant: str,
        wanted: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        def act(by: str) -> str:
            forward.set_by_forecast(participant, by, wanted=wanted == "yes")
            return "on" if wanted == "yes" else "off"

        return step(request, participant, csrf_token, act)


def add_file(router: APIRouter, desk: Desk, forward: Forward) -> None:
    """Add a whole file of orders: shown first, entered when confirmed, all of it or nothing."""

    @router.post("/participants/{participant}/orders/preview")
    async def preview(
        request: Request,
        participant: str,
        orders: Annotated[UploadFile | None, File()] = None,
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        name = (orders.filename or "") if orders else ""
        content = await orders.read(MAX_UPLOAD_BYTES + 1) if orders else b""

        def answer() -> Response:
            viewer = desk.owner(request, participant)
            check_csrf(request, csrf_token, viewer.csrf_token)
            try:
                found = forward.preview(participant, name, content)
            except RefusedError as error:
                return show(desk, forward, request, viewer, participant, error=error, where="file")
            return desk.page(request, viewer, "orders_preview.html", preview=found)

        return await run_in_threadpool(answer)

    @router.post("/participants/{participant}/orders/file")
    def confirm(
        request: Request,
        participant: str,
        session: Annotated[str, Form()] = "",
        content: Annotated[str, Form()] = "",
        csrf_token: Annotated[str, Form()] = "",
    ) -> Response:
        viewer = desk.owner(request, participant)
        check_csrf(request, csrf_token, viewer.csrf_token)
        try:
            changed = forward.confirm(participant, who(viewer), session, content)
        except RefusedError as error:
            return show(desk, forward, request, viewer, participant, error=error, where="file")
        return back(participant, "file" if changed else "same")
