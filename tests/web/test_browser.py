"""The pages in a real Chromium: policy, verification, phone width, no scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.web.browsing import SCREENS, Open
from tests.web.ledger_fakes import ANCHOR, CONFLICT, OWN_ADDRESS, PAYMENT
from tests.web.statement_fakes import DOCUMENT
from tests.web.web_fakes import FakeViews, keys

pytestmark = pytest.mark.browser

LEDGER = ("/ledger", "/ledger/milestones/4", f"/ledger/blocks/{PAYMENT}")
PAGES = {
    "building-manager": (
        "/district",
        "/intervals",
        f"/intervals/{keys()[3]}",
        "/verify",
        f"/ledger/blocks/{CONFLICT}",
        "/ledger/search?q=nothing",
        *LEDGER,
    ),
    "prosumer": (
        "/participants/weber",
        f"/intervals/{keys()[2]}",
        f"/ledger/addresses/{OWN_ADDRESS}",
        f"/ledger/blocks/{ANCHOR}",
        *LEDGER,
    ),
    "grid-operator": ("/district", f"/intervals/{keys()[2]}", *LEDGER),
}
OWN = "/participants/weber/statements"
MONEY = ("/balance", "/tariffs", OWN, f"{OWN}/{DOCUMENT.number}", "/certificates", "/disputes")
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


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
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


def test_the_pages_of_money_on_a_phone_in_the_dark(open_as: Open) -> None:
    page, console = open_as("prosumer", width=390, color_scheme="dark")
    for path in MONEY:
        answer = page.goto(path)
        assert answer is not None
        assert answer.ok, path
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        assert page.evaluate(CONTRAST) == [], path
        assert page.evaluate(SMALL_TARGETS) == [], path
    assert console.lines == []


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
    expect(page.locator("main")).to_contain_text("Choose a smaller file: a proof from a receipt")


def test_the_keyboard_reaches_the_content_first(open_as: Open) -> None:
    page, _ = open_as("grid-operator")
    page.goto("/district")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "live"


# Cells, or labels of a stacked row, that a phone's screen cuts off.
CUT = """() => [...document.querySelectorAll(".scroll tbody :is(td, th)")]
  .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth)
  .map(e => e.textContent.trim())"""


@pytest.mark.parametrize("path", ["/intervals", f"/intervals/{keys()[2]}"])
def test_a_phone_shows_every_cell_with_its_name(open_as: Open, path: str) -> None:
    page, _ = open_as("building-manager", width=390)
    page.goto(path)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate(CUT) == []
    label = "e => getComputedStyle(e, '::before').content"
    cells = page.locator(".stack tbody td.num")
    assert cells.count() >= 6
    names = {cell.evaluate(label).strip('"') for cell in cells.all()}
    assert names & {"Imported", "Energy"}
    assert names & {"Local price", "Price"}


def test_the_legend_matches_the_lines_and_tells_the_values(open_as: Open) -> None:
    page, _ = open_as("building-manager")
    page.goto("/district")
    legend = page.locator("#chart-legend")
    expect(page.locator(".u-legend")).to_have_count(0)
    style = "e => getComputedStyle(e, '::before').borderTopStyle"
    styles = {item.inner_text(): item.evaluate(style) for item in legend.locator(".key").all()}
    assert {name.strip(): kind for name, kind in styles.items()} == {
        "Exported": "solid",
        "Shared locally": "solid",
        "Imported": "dashed",
        "Local price": "dotted",
    }
    page.locator("#chart .u-over").hover()
    expect(legend).to_contain_text("Shared locally 3.10\u00a0kWh")
    expect(legend).to_contain_text("Local price 11.85\u00a0ct/kWh")
    expect(legend).to_contain_text("from 11:45")
