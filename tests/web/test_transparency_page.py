"""The transparency page: open to everybody, the same facts for a reader and for a camera."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Browser

from tests.web.browsing import SCREENS, Console, Served
from tests.web.page_kit import audit, enter
from tests.web.test_browser import CONTRAST, SMALL_TARGETS
from tests.web.transparency_fakes import ROLES, SIZES, WITNESSES, checkpoint, digest, key_line
from tests.web.web_fakes import FakeViews
from web import present
from web.ports import Role


def test_nobody_has_to_log_in(client: TestClient) -> None:
    answer = client.get("/transparency")
    assert answer.status_code == 200
    assert "/leave" not in answer.text
    assert client.head("/transparency").status_code == 200
    assert 'href="/transparency"' in client.get("/").text


@pytest.mark.parametrize("role", Role)
def test_who_is_logged_in_keeps_the_frame(client: TestClient, role: Role) -> None:
    enter(client, role)
    html = client.get("/transparency").text
    assert "/leave" in html
    assert f'href="/ledger/blocks/{checkpoint(len(SIZES) - 2).anchor_block}"' in html


def test_checkpoints_are_shown_whole_and_newest_first(client: TestClient) -> None:
    html = client.get("/transparency").text
    sizes = [int(size) for size in re.findall(r'id="size-([0-9]+)"', html)]
    assert sizes == sorted(SIZES, reverse=True)[:6]
    line = checkpoint(len(SIZES) - 2)
    for text in (line.root, line.anchor_block, "On the ledger", "Waiting for the ledger"):
        assert text in html
    quarter = present.quarter(line.intervals[0], "Europe/Berlin")
    assert quarter in html
    for name in WITNESSES:
        assert name in html
    assert "no witness" in html
    assert "signed a second time by ML-DSA-44" in html


def test_older_checkpoints_are_pages_back(client: TestClient) -> None:
    seen: list[int] = []
    path = "/transparency"
    while True:
        html = client.get(path).text
        seen += [int(size) for size in re.findall(r'id="size-([0-9]+)"', html)]
        older = re.search(r'href="(/transparency[?]before=[0-9]+)">Older', html)
        if older is None:
            break
        path = older[1]
    assert seen == sorted(SIZES, reverse=True)
    assert "No checkpoint is older" in client.get("/transparency?before=1").text


def test_the_consistency_of_neighbours_is_a_download(client: TestClient) -> None:
    html = client.get("/transparency").text
    paths = re.findall(r'href="(/transparency/consistency/[^"]+)"', html)
    assert len(paths) == 6
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 200
        disposition = answer.headers["content-disposition"]
        assert re.fullmatch(
            r'attachment; filename="wattloom-consistency-[0-9]+-[0-9]+[.]json"', disposition
        )


@pytest.mark.parametrize(
    "path",
    [
        "/transparency?before=0",
        "/transparency?before=x",
        "/transparency?before=01",
        "/transparency?before=99999999999999999",
        "/transparency/consistency/13/15",
        "/transparency/consistency/0/13",
        "/transparency/consistency/-1/13",
        "/transparency/consistency/x/13",
        "/transparency/consistency/13/" + "9" * 400,
    ],
)
def test_odd_sizes_are_404(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_each_key_has_a_role_a_fingerprint_and_a_code(client: TestClient) -> None:
    html = client.get("/transparency").text
    assert html.count('class="qr"') == len(ROLES) == html.count('role="img"')
    for role, name in ROLES:
        line = key_line(role, name)
        assert present.groups(line.fingerprint) in html
        assert (line.text in html) == line.whole
    assert present.groups(digest("x")).split(" ")[0] == digest("x")[:4]
    assert "too long to print" in html


def test_the_policy_allows_all_of_it(client: TestClient) -> None:
    found = audit(client.get("/transparency").text)
    assert found.forbidden == []
    assert len(found.ids) == len(set(found.ids))


def test_the_banner_stands_over_demo_data_alone(client: TestClient, views: FakeViews) -> None:
    assert "Demo data" in client.get("/transparency").text
    views.simulated = False
    assert "Demo data" not in client.get("/transparency").text


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_it_fits_and_can_be_read(browser: Browser, served: Served, width: int, scheme: str) -> None:
    context = browser.new_context(
        base_url=served.url,
        viewport={"width": width, "height": 844},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    try:
        page, console = context.new_page(), Console()
        console.watch(page)
        page.goto("/transparency")
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(overflow) == 0
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate(SMALL_TARGETS) == []
        assert console.lines == []
        with page.expect_download() as download:
            page.click("text=download the proof >> nth=0")
        assert download.value.suggested_filename.startswith("wattloom-consistency-")
    finally:
        context.close()
