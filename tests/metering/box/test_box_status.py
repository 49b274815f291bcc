"""The status page: what it shows, to whom, and what it leaves unanswered."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace

import httpx
import pytest

from metering.box.page import age, html, metrics
from metering.box.report import (
    ClockReport,
    InputReport,
    MeterReport,
    Report,
    ServerReport,
    SpoolReport,
)
from metering.box.status import StatusPage, StatusPageError

METER = MeterReport(
    "707057500000000016", "A-1 <b>", "eastron_sdm630", "cellar", 3, "ok", power_w=2_345,
    import_wh=12_345_678, export_wh=None, quality="measured", age_s=4,
)  # fmt: skip
REPORT = Report(
    gateway="cellar-5",
    district="lindenhof.example",
    at="2026-06-23 09:00:00 UTC",
    up_s=7_400,
    meters=(METER, replace(METER, point="707057500000000023", state="resting", failures=9,
                           error="unit 4 gave no reply", power_w=None, age_s=None)),
    spool=SpoolReport(12_345, 7_200, 2, 600_000_000, 2_000_000_000, "ample"),
    server=ServerReport("https://district.example", None, 7_200, "ConnectError: away"),
    clock=ClockReport("informative", "system", 1_200, "by +3.0 s to 2026-06-23 08:00:00Z"),
    alarms=("The server <is> away.",),
)  # fmt: skip


def asked(
    story: Callable[[httpx.AsyncClient], Coroutine[None, None, None]], password: str | None = None
) -> None:
    async def serve() -> None:
        page = StatusPage(lambda: REPORT, password)
        async with (
            page.serving("127.0.0.1", 0) as address,
            httpx.AsyncClient(base_url=address, trust_env=False) as client,
        ):
            await story(client)

    asyncio.run(serve())


def test_every_number_has_its_unit() -> None:
    text = html(REPORT)
    for part in ("2,345 W", "12,345.68 kWh", "4 s ago", "12,345 readings", "2 h", "1,200 ms",
                 "600.0 MB of 2,000.0 MB", "unit 4 gave no reply"):  # fmt: skip
        assert part in text, part


def test_what_comes_from_outside_is_text() -> None:
    text = html(REPORT)
    assert "A-1 &lt;b&gt;" in text
    assert "The server &lt;is&gt; away." in text
    assert "<script" not in text


def test_lines_that_tell_by_themselves_are_shown() -> None:
    lines = (
        InputReport("p1", "p1", "192.0.2.9:23", 3, "", 2, "ChecksumError: <lost>"),
        InputReport('a "b', "mqtt", "192.0.2.7:1883", None, "the broker is away", 0, ""),
    )
    text = html(replace(REPORT, inputs=lines))
    for part in ("192.0.2.9:23", "3 s ago", "ChecksumError: &lt;lost&gt;", "the broker is away",
                 "not connected", "never"):  # fmt: skip
        assert part in text, part
    told = metrics(replace(REPORT, inputs=lines)).splitlines()
    assert 'wattloom_line_connected{line="p1"} 1' in told
    assert 'wattloom_line_connected{line="a \\"b"} 0' in told
    assert "Lines that tell" not in html(REPORT)


def test_metrics_name_each_figure_once() -> None:
    lines = metrics(REPORT).splitlines()
    assert 'wattloom_meter_power_watts{point="707057500000000016"} 2345' in lines
    assert "wattloom_spool_pending_readings 12345" in lines
    types = [line for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    assert not [line for line in lines if "707057500000000023" in line and "power" in line]


def test_it_is_looked_at_and_nothing_else() -> None:
    async def story(client: httpx.AsyncClient) -> None:
        page = await client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert (await client.head("/")).content == b""
        assert json.loads((await client.get("/status.json")).text)["gateway"] == "cellar-5"
        assert "wattloom_alarms 1" in (await client.get("/metrics")).text
        statuses = [
            (await client.post("/")).status_code,
            (await client.get("/etc/passwd")).status_code,
            (await client.get("/", headers={"Host": "evil.example"})).status_code,
        ]
        assert statuses == [405, 404, 421]

    asked(story)


def test_beyond_this_machine_a_password_is_wanted() -> None:
    async def story(client: httpx.AsyncClient) -> None:
        for auth in (None, ("", "wrong"), ("admin", "")):
            refused = await client.get("/", auth=auth)
            assert refused.status_code == 401
            assert "cellar" not in refused.text
        headers = {"Host": "gateway.local", "Authorization": "Basic ???"}
        assert (await client.get("/", headers=headers)).status_code == 401
        known = await client.get("/", auth=("", "s3cret-enough"), headers={"Host": "gateway.local"})
        assert known.status_code == 200

    asked(story, "s3cret-enough")


@pytest.mark.parametrize("said", [b"GET /\r\n\r\n", b"\r\n\r\n", b"GET / HTTP/2\r\n\r\n"])
def test_who_asks_badly_is_told_so(said: bytes) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(said)
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()

    asked(story)


def test_a_head_without_end_is_cut_off() -> None:
    async def story(client: httpx.AsyncClient) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 4_000)
        assert await reader.read() == b""
        writer.close()

    asked(story)


def test_a_taken_port_is_named() -> None:
    async def story(client: httpx.AsyncClient) -> None:
        port = client.base_url.port
        with pytest.raises(StatusPageError, match=f"{port} cannot be served"):
            async with StatusPage(lambda: REPORT).serving("127.0.0.1", port):
                pass

    asked(story)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "never"),
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_200, "2 h"),
        (1_000_000, "11 d"),
    ],
)
def test_ages_are_told_as_people_do(seconds: int | None, words: str) -> None:
    assert age(seconds) == words
