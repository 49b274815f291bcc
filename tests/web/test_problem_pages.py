"""Problems become pages for browsers, and stay documents for programs."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from web.pages import ProblemPages, as_page
from web.security import HEADERS, SecurityMiddleware

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()

    @app.get("/api/v1/broken")
    @app.get("/broken")
    def broken() -> JSONResponse:
        problem = {"title": "Gone", "detail": "the <b>thing</b> is not here: look elsewhere"}
        return JSONResponse(problem, 409, media_type="application/problem+json")

    @app.get("/problem/{status}")
    def refuse(status: int) -> JSONResponse:
        problem = {"title": "No", "detail": "see docs/api.md: 278528 bytes, split what you send"}
        headers = {"Allow": "GET", "Retry-After": "5"}
        return JSONResponse(problem, status, headers, media_type="application/problem+json")

    @app.get("/well")
    def well() -> PlainTextResponse:
        return PlainTextResponse("all well")

    app.add_middleware(ProblemPages)
    return TestClient(app)


def test_a_browser_gets_a_page_that_says_why(client: TestClient) -> None:
    answer = client.get("/broken", headers=BROWSER)
    assert answer.status_code == 409
    assert answer.headers["content-type"].startswith("text/html")
    assert "The &lt;b&gt;thing&lt;/b&gt; is not here: look elsewhere." in answer.text


@pytest.mark.parametrize(
    ("path", "headers"), [("/broken", {"Accept": "*/*"}), ("/api/v1/broken", BROWSER)]
)
def test_programs_and_the_api_keep_the_document(
    client: TestClient, path: str, headers: dict[str, str]
) -> None:
    answer = client.get(path, headers=headers)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == "Gone"


def test_other_answers_pass_untouched(client: TestClient) -> None:
    assert client.get("/well", headers=BROWSER).text == "all well"


@pytest.mark.parametrize("status", [404, 405, 413, 500])
def test_a_page_gives_advice_to_residents_not_to_programmers(
    client: TestClient, status: int
) -> None:
    text = client.get(f"/problem/{status}", headers=BROWSER).text
    for phrase in ("docs/api.md", "278528", "split", ".."):
        assert phrase not in text
    assert f"Error {status}" in text
    assert ("more than 256\u00a0KiB." in text) == (status == 413)


@pytest.mark.parametrize("headers", [BROWSER, {"Accept": "*/*"}])
def test_a_page_keeps_the_headers_that_say_how_to_go_on(
    client: TestClient, headers: dict[str, str]
) -> None:
    answer = client.get("/problem/503", headers=headers)
    assert answer.status_code == 503
    assert (answer.headers["allow"], answer.headers["retry-after"]) == ("GET", "5")
    assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize(
    ("path", "headers", "kind"),
    [
        ("/anywhere", BROWSER, "text/html; charset=utf-8"),
        ("/anywhere", {"Accept": "*/*"}, "application/problem+json"),
        ("/api/v1/anywhere", BROWSER, "application/problem+json"),
    ],
)
def test_a_surprise_is_a_page_or_a_problem_with_every_header(
    path: str, headers: dict[str, str], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def burst(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("a secret of ours")

    def surprise(request: Request) -> Response:
        problem = {"title": "No", "detail": "something unexpected happened"}
        return as_page(request, JSONResponse(problem, 500, media_type="application/problem+json"))

    client = TestClient(SecurityMiddleware(burst, surprise=surprise))
    answer = client.get(path, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (500, kind)
    assert (
        HEADERS.items() <= {name.title(): value for name, value in answer.headers.items()}.items()
    )
    assert "secret" not in answer.text
    assert "a secret of ours" in caplog.text


def test_half_an_answer_is_broken_off() -> None:
    async def burst(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("too late for another answer")

    with pytest.raises(RuntimeError, match="too late"):
        TestClient(SecurityMiddleware(burst)).get("/")
