"""The sharing pages: who sees what, keys in with a preview, and undoing."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from app.services.sharing.file import MAX_BYTES
from tests.web.browsing import SCREENS, Open
from tests.web.page_kit import audit, enter, token
from tests.web.sharing_fakes import HOSTILE, OWN, PAGE, TODAY, FakeSharing
from tests.web.web_fakes import FakeViews
from web.pages.desk import MAX_KEYS_BYTES
from web.ports import Role
from web.ports.sharing import KeysRefusedError, Today

NOTHING = Today(TODAY.day, 0, 0)


def post(client: TestClient, path: str, **data: object) -> Response:
    answer: Response = client.post(path, data={"csrf_token": token(client), **data})
    return answer


def upload(client: TestClient, content: bytes, name: str = "july.csv") -> Response:
    answer: Response = client.post(
        "/sharing/import", data={"csrf_token": token(client)}, files={"keys": (name, content)}
    )
    return answer


@pytest.mark.parametrize(
    ("role", "page", "file"),
    [(Role.MANAGER, 200, 200), (Role.PROSUMER, 200, 404), (Role.OPERATOR, 200, 404)],
)
def test_who_sees_what(client: TestClient, role: Role, page: int, file: int) -> None:
    enter(client, role)
    assert client.get("/sharing").status_code == page
    assert client.get("/sharing/keys.csv").status_code == file


def test_without_a_session_there_is_only_the_entrance(client: TestClient) -> None:
    for path in ("/sharing", "/sharing/keys.csv"):
        assert client.get(path).status_code == 303


@pytest.mark.parametrize("role", [Role.PROSUMER, Role.OPERATOR])
def test_others_cannot_change_keys(client: TestClient, sharing: FakeSharing, role: Role) -> None:
    enter(client, role)
    assert post(client, "/sharing/confirm", name="x", file="").status_code == 404
    assert post(client, "/sharing/undo", number=5).status_code == 404
    assert upload(client, b"x").status_code == 404
    assert sharing.asked == []


def test_a_change_needs_the_token(client: TestClient, sharing: FakeSharing) -> None:
    enter(client, Role.MANAGER)
    for path, data in (("confirm", {"name": "x", "file": ""}), ("undo", {"number": "5"})):
        assert client.post(f"/sharing/{path}", data=data).status_code == 403
    assert client.post("/sharing/import", files={"keys": ("a", b"x")}).status_code == 403
    assert sharing.asked == []


@pytest.mark.parametrize("role", Role)
def test_nothing_hostile_runs_and_figures_have_units(client: TestClient, role: Role) -> None:
    enter(client, role)
    html = client.get("/sharing").text
    found = audit(html)
    assert found.forbidden == []
    assert len(set(found.ids)) == len(found.ids)
    assert HOSTILE not in html
    counts = {"1", "2", "3", "4", "5", "6"}  # of members, and version numbers
    bare = [text for text in found.figures if re.fullmatch(r"[\d.,]+", text)]
    assert set(bare) <= counts


def test_the_managers_page(client: TestClient, sharing: FakeSharing) -> None:
    enter(client, Role.MANAGER)
    text = client.get("/sharing").text.replace("\u00a0", " ")
    for shown in (
        "31.3 kWh", "of 48.3 kWh that roofs fed in", "Lindenhof School", "40.0 %", "Nobody: to the",
        "15.0 %", "by use", "9.85 ct/kWh", "given away (0 ct/kWh)", "From Wed 1 Jul 2026",
        "No members: from then on everything goes to the grid", "2 earlier versions", "Withdrawn",
    ):  # fmt: skip
        assert shown in text, shown
    assert text.count('action="/sharing/undo"') == 2  # nothing that holds can be undone
    school = text.split('id="version-3"')[1].split("</article>")[0]
    widths = re.findall(r'<rect class="(\w+)" x="0" y="0" width="([\d.]+)"', school)
    assert widths == [
        ("shared", "40.00"),
        ("shared", "25.00"),
        ("shared", "20.00"),
        ("grid", "15.00"),
    ]
    mill = text.split('id="version-4"')[1].split("</article>")[0]
    assert re.findall(r'x="0" y="0" width="([\d.]+)"', mill) == ["47.40", "16.76", "35.84"]
    sharing.shown = replace(PAGE, active=False, today=NOTHING, versions=())
    empty = client.get("/sharing").text
    for shown in (
        "trades by a market",
        "what roofs feed in is traded",
        "No key holds.",
        "No change",
    ):
        assert shown in empty, shown
    sharing.shown = replace(PAGE, today=NOTHING, versions=())
    empty = client.get("/sharing").text
    for shown in ("Nothing was left over", "No key holds: all surplus goes to the grid"):
        assert shown in empty, shown


def test_a_prosumers_own_share(client: TestClient, sharing: FakeSharing) -> None:
    enter(client, Role.PROSUMER)
    text = client.get("/sharing").text.replace("\u00a0", " ")
    assert sharing.asked == [("own", "weber")]
    for shown in ("25.0 %", "4.30 kWh", "You pay 9.85 ct/kWh", "costs you nothing", "Roof B",
                  "4 members, together 85.0 %", "6.60 kWh"):  # fmt: skip
        assert shown in text, shown
    for hidden in ("Lindenhof School", "Bakery Korn", "/sharing/import", "Undo"):
        assert hidden not in text, hidden
    sharing.mine = replace(OWN, active=False, shares=(), roofs=())
    empty = client.get("/sharing").text
    assert "You are in no key" in empty
    assert "From your own roof" not in empty


def test_the_grid_operator_sees_energy_alone(client: TestClient, sharing: FakeSharing) -> None:
    enter(client, Role.OPERATOR)
    text = client.get("/sharing").text
    assert "31.3\u00a0kWh" in text
    for hidden in ("ct/kWh", "€", "Lindenhof School", "Bakery Korn", "%"):
        assert hidden not in text, hidden
    sharing.shown = replace(PAGE, today=NOTHING)
    assert "Nothing was shared by keys yet" in client.get("/sharing").text


@pytest.mark.parametrize(
    ("role", "mode", "linked"),
    [
        (Role.MANAGER, "metered", True),
        (Role.PROSUMER, "metered", False),
        (Role.PROSUMER, "sharing", True),
        (Role.OPERATOR, "sharing", True),
    ],
)
def test_the_way_to_the_page(
    client: TestClient, views: FakeViews, role: Role, mode: str, linked: bool
) -> None:
    views.mode = mode
    enter(client, role)
    assert ('<a href="/sharing"' in client.get("/intervals").text) == linked


def test_keys_are_shown_and_then_kept(client: TestClient, sharing: FakeSharing) -> None:
    enter(client, Role.MANAGER)
    content = b"generator\r\n\xc3\xa4+/=&;\n"
    shown = upload(client, content, f"{HOSTILE}.csv")
    assert shown.status_code == 200
    for text in ("Nothing is written yet", "in place of version 3", "Equal parts"):
        assert text in shown.text, text
    assert audit(shown.text).forbidden == []
    assert sharing.asked == [("preview", f"{HOSTILE}.csv", content)]
    file = re.search(r'name="file" value="([^"]+)"', shown.text)
    assert file
    kept = post(client, "/sharing/confirm", name="july.csv", file=file[1])
    assert (kept.status_code, kept.headers["location"]) == (303, "/sharing?done=import")
    assert sharing.asked[-1] == ("confirm", "july.csv", content)
    assert "The keys are kept" in client.get(kept.headers["location"]).text
    assert "notice done" not in client.get("/sharing?done=nonsense").text


def test_what_is_refused_is_told_line_by_line(client: TestClient, sharing: FakeSharing) -> None:
    enter(client, Role.MANAGER)
    sharing.refuses = KeysRefusedError(["row 2: no whole number", f"row 3: {HOSTILE}"])
    answers = (
        upload(client, b"x"),
        post(client, "/sharing/confirm", name="a", file="YQ=="),
        post(client, "/sharing/undo", number=5),
    )
    for answer in answers:
        assert answer.status_code == 422
        assert "Nothing was changed." in answer.text
        assert "<li>Row 2: no whole number.</li>" in answer.text
        assert audit(answer.text).forbidden == []
    assert sharing.asked == []


@pytest.mark.parametrize("file", ["a", "ä", "%%%%%"])
def test_a_preview_that_was_changed_is_refused(
    client: TestClient, sharing: FakeSharing, file: str
) -> None:
    enter(client, Role.MANAGER)
    answer = post(client, "/sharing/confirm", name="july.csv", file=file)
    assert answer.status_code == 422
    assert "choose the file again" in answer.text
    assert sharing.asked == []


def test_undoing(client: TestClient, sharing: FakeSharing) -> None:
    enter(client, Role.MANAGER)
    answer = post(client, "/sharing/undo", number=5)
    assert answer.headers["location"] == "/sharing?done=undo"
    assert "What held before holds on" in client.get(answer.headers["location"]).text
    assert sharing.asked == [("undo", 5)]
    for number in ("", "x", "0", "99999999999999999999"):
        assert post(client, "/sharing/undo", number=number).status_code == 422


def test_how_large_a_file_may_be(client: TestClient, sharing: FakeSharing) -> None:
    assert MAX_KEYS_BYTES == MAX_BYTES
    enter(client, Role.MANAGER)
    content = b"x" * MAX_KEYS_BYTES
    assert upload(client, content).status_code == 200
    file = urlsafe_b64encode(content).decode()
    assert post(client, "/sharing/confirm", name="a", file=file).status_code == 303
    assert sharing.asked[-1] == ("confirm", "a", content)
    assert upload(client, b"x" * 2 * 2**20).status_code == 413


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_nothing_is_cut_off(open_as: Open, scheme: str, width: int) -> None:
    for role in ("building-manager", "prosumer", "grid-operator"):
        page, console = open_as(role, width, scheme)
        page.goto("/sharing")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert console.lines == []


@pytest.mark.browser
def test_everything_works_without_scripts(open_as: Open, sharing: FakeSharing) -> None:
    page, _ = open_as("building-manager", scripts=False)
    page.goto("/sharing")
    page.set_input_files("#keys", {"name": "j.csv", "mimeType": "text/csv", "buffer": b"generator"})
    page.click("text=Show what it would change")
    page.click("text=Keep these keys")
    assert "The keys are kept" in page.inner_text("main")
    page.click("#version-5 >> text=Undo this file")
    assert "Undone" in page.inner_text("main")
    assert sharing.asked == [
        ("preview", "j.csv", b"generator"), ("confirm", "j.csv", b"generator"), ("undo", 5)
    ]  # fmt: skip
