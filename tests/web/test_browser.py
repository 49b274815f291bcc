"""The pages in a real Chromium: policy, live refresh, verification, phone width, no scripts."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.web.web_fakes import FakeSessions, FakeViews, keys
from web.pages import STATIC
from web.ports import FlowsNow

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
PAGES = {
    "building-manager": ("/district", "/intervals", f"/intervals/{keys()[3]}", "/verify"),
    "prosumer": ("/participants/weber", f"/intervals/{keys()[2]}"),
    "grid-operator": ("/district", f"/intervals/{keys()[2]}"),
}
# Relative luminance as WCAG 2 defines it, over the text of every visible element.
CONTRAST = """() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number);
    return c.startsWith("color(") ? m.slice(0, 3).map(v => v * 255).concat(m[3] ?? 1) : m; };
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if ((c[3] ?? 1) === 1) return c; }
    return [255, 255, 255]; };
  const bad = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest("noscript, title, .chart, .skip")) continue;
    const style = getComputedStyle(e);
    const front = e instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(parse(front)), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const what = `${e.tagName}.${e.className}: ${e.textContent.trim().slice(0, 40)}`;
    if (ratio < 4.5) bad.push(`${ratio.toFixed(2)} ${what}`);
  }
  return bad;
}"""
SMALL_TARGETS = """() => [...document.querySelectorAll("a, button, summary, input")]
  .filter(e => e.checkVisibility() && !e.matches(".skip") && !e.closest("p"))
  .map(e => [e.getBoundingClientRect(), e])
  .filter(([r]) => r.width < 24 || r.height < 24)
  .map(([r, e]) => `${r.width.toFixed(0)}x${r.height.toFixed(0)} ${e.outerHTML.slice(0, 80)}`)"""


@dataclass
class Console:
    """What the browser complains about."""

    lines: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", lambda m: self.lines.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.lines.append(str(error)))


@pytest.fixture
def served(app: FastAPI) -> Iterator[str]:
    """Serve the pages on a free port of the loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listener.close()


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


Open = Callable[..., tuple[Page, Console]]


@pytest.fixture
def open_as(browser: Browser, served: str) -> Iterator[Open]:
    """Return a function that enters in a role and gives the page and its console."""
    contexts = []

    def enter(
        role: str,
        width: int = 1280,
        color_scheme: Literal["dark", "light"] = "light",
        scripts: bool = True,
    ) -> tuple[Page, Console]:
        context = browser.new_context(
            base_url=served,
            viewport={"width": width, "height": 844},
            color_scheme=color_scheme,
            java_script_enabled=scripts,
        )
        contexts.append(context)
        page, console = context.new_page(), Console()
        console.watch(page)
        page.goto("/")
        page.click(f"button[value={role}]")
        return page, console

    yield enter
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("role", PAGES)
def test_every_page_is_clean_fits_and_can_be_read(
    open_as: Open, role: str, width: int, scheme: str
) -> None:
    page, console = open_as(role, width=width, color_scheme=scheme)
    for path in PAGES[role]:
        page.goto(path)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow == 0, path
        assert page.evaluate(CONTRAST) == [], path
        assert page.evaluate(SMALL_TARGETS) == [], path
    assert console.lines == []


def test_the_stream_changes_the_sentence_without_a_reload(open_as: Open, views: FakeViews) -> None:
    page, console = open_as("building-manager")
    sentence = page.locator("#sentence")
    expect(sentence).to_contain_text("62\u00a0kW solar surplus")
    page.locator("#interval-rows > summary").click()
    page.evaluate("window.stillHere = true")
    views.flows = FlowsNow(7_300, 30_300, 7_300, 23_000, 0)
    views.number += 1
    expect(sentence).to_contain_text("7.3\u00a0kW shared with neighbours, 23\u00a0kW from the grid")
    assert page.evaluate("window.stillHere") is True
    assert page.locator("#interval-rows").get_attribute("open") is not None
    assert page.locator("#chart canvas").count() == 1
    assert console.lines == []


def test_pause_freezes_the_page_until_resumed(open_as: Open, views: FakeViews) -> None:
    page, _ = open_as("building-manager")
    page.get_by_role("link", name="Pause").click()
    page.wait_for_url("**/district?pause=1")
    assert page.locator("#stream").count() == 0
    views.flows = FlowsNow(1_000, 1_000, 1_000, 0, 0)
    views.number += 1
    expect(page.locator("#sentence")).to_contain_text("62\u00a0kW")
    page.get_by_role("link", name="Go on live").click()
    expect(page.locator("#sentence")).to_contain_text("1.0\u00a0kW solar surplus")


def test_verify_shows_its_steps_in_place_and_they_outlive_a_refresh(
    open_as: Open, views: FakeViews
) -> None:
    page, console = open_as("prosumer", width=390)
    page.evaluate("window.stillHere = true")
    page.locator(".receipt button").first.click()
    steps = page.locator(".receipt .steps li")
    expect(steps).to_have_count(4)
    expect(page.locator(".verdict h3")).to_contain_text("The proof holds")
    with page.expect_response("**/participants/weber"):
        views.number += 1
    expect(steps).to_have_count(4)
    assert page.evaluate("window.stillHere") is True
    assert console.lines == []


def test_a_session_that_ends_leads_back_to_the_entrance(
    open_as: Open, views: FakeViews, sessions: FakeSessions
) -> None:
    page, _ = open_as("building-manager")
    expect(page.locator("#sentence")).to_be_visible()
    sessions.living.clear()
    views.number += 1
    page.wait_for_url("**/")
    expect(page.get_by_role("heading", name="Wattloom")).to_be_visible()


def test_all_of_it_works_without_scripts(open_as: Open, tmp_path: Path) -> None:
    page, console = open_as("prosumer", scripts=False)
    page.wait_for_url("**/participants/weber")
    assert page.locator("meta[http-equiv=refresh]").count() == 1
    with page.expect_download() as saved:
        page.locator(".receipt").get_by_text("Download proof").first.click()
    proof = tmp_path / saved.value.suggested_filename
    saved.value.save_as(proof)
    page.locator(".receipt button").first.click()
    expect(page.locator(".steps li")).to_have_count(4)
    assert page.url.endswith("/verify")
    page.goto("/verify")
    page.set_input_files("#proof", proof)
    page.get_by_role("button", name="Verify").click()
    expect(page.locator(".verdict")).to_contain_text("The proof holds")
    page.get_by_role("button", name="Leave").click()
    expect(page.locator("button[value=prosumer]")).to_have_count(1)
    assert console.lines == []


def test_a_wrong_file_is_explained(open_as: Open, tmp_path: Path) -> None:
    page, _ = open_as("building-manager")
    big = tmp_path / "film.json"
    big.write_bytes(b"x" * 300 * 1024)
    page.goto("/verify")
    page.set_input_files("#proof", big)
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("main")).to_contain_text("more than 256\u00a0KiB")
    expect(page.locator("main")).to_contain_text("Choose the file that you downloaded")


def test_the_keyboard_reaches_the_content_first(open_as: Open) -> None:
    page, _ = open_as("grid-operator")
    page.goto("/district")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "live"
