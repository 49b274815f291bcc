"""The status page's forms: HTML without scripts, and the text format of metrics."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from metering.box.report import InputReport, MeterReport, Report, readings

REFRESH_S: Final = 5
_STYLE: Final = """
:root { color-scheme: light dark; --bg: #f6f7f5; --card: #fff; --text: #1b211d; --soft: #5a655e;
  --line: #d9ded9; --good: #1c6b3c; --warn: #8a5200; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --bg: #131714; --card: #1c211e; --text: #e8ede9;
  --soft: #a3aea7; --line: #343b36; --good: #7fd6a0; --warn: #f0bd6a; --bad: #ff9d94; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--text);
  font: 16px/1.45 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.35rem; margin: .25rem 0 0; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; }
p { margin: .25rem 0; }
.soft, dt, th { color: var(--soft); font-size: .875rem; font-weight: 400; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.alarms { list-style: none; margin: 1rem 0; padding: 0; }
.alarms li { background: var(--card); border: 1px solid var(--bad); border-left-width: 6px;
  border-radius: .4rem; padding: .6rem .8rem; margin-bottom: .5rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .75rem;
  margin: 1rem 0; }
dl div { background: var(--card); border: 1px solid var(--line); border-radius: .4rem;
  padding: .7rem .9rem; }
dd { margin: 0; overflow-wrap: anywhere; } dd.main { font-size: 1.2rem; font-weight: 600; }
table { width: 100%; border-collapse: collapse; background: var(--card);
  border: 1px solid var(--line); border-radius: .4rem; }
th, td { text-align: left; padding: .5rem .75rem; border-bottom: 1px solid var(--line);
  vertical-align: top; }
tr:last-child td { border-bottom: 0; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.state { font-weight: 600; white-space: nowrap; }
.sub { display: block; color: var(--soft); font-size: .8125rem; overflow-wrap: anywhere; }
footer { margin: 1.5rem 0; }
@media (max-width: 44rem) { main { padding: .75rem; } thead { display: none; }
  table, tbody { display: block; } tr { display: block; padding: .6rem .75rem;
    border-bottom: 1px solid var(--line); } tr:last-child { border-bottom: 0; }
  td { display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .15rem 0; }
  td::before { content: attr(data-is); color: var(--soft); font-size: .875rem; }
  td:first-child { display: block; } td:first-child::before { content: none; } }
"""
_WORDS: Final = {
    "ok": ("good", "answers"),
    "silent": ("warn", "does not answer"),
    "resting": ("bad", "silent, asked less often"),
    "waiting": ("warn", "not read yet"),
    "stopped": ("bad", "nothing is signed"),
}
_CLOCKS: Final = {"synchronised": "good", "informative": "warn", "unknown": "bad"}
_ROOMS: Final = {
    "ample": ("good", "every reading is signed"),
    "tight": ("warn", "old receipts are deleted early"),
    "borders": ("bad", "only border readings are signed"),
    "full": ("bad", "nothing is signed"),
}


def html(report: Report) -> str:
    """Return the page; it renews itself every few seconds."""
    rows = "".join(map(_row, report.meters)) or (
        '<tr><td colspan="6">No meter yet: add one with <code>wattloom meter add</code>.</td></tr>'
    )
    alarms = "".join(f"<li>{escape(one)}</li>" for one in report.alarms)
    heads = ("Meter", "State", "Power", "Import", "Export", "Last answer")
    head = "".join(
        f'<th scope="col"{"" if at in (0, 1) else " class=n"}>{one}</th>'
        for at, one in enumerate(heads)
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(report.gateway)} - gateway</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{REFRESH_S}"><style>{_STYLE}</style></head>
<body><main><p class="soft">Gateway of {escape(report.district)}</p>
<h1>{escape(report.gateway)}</h1>
{f'<ul class="alarms" role="alert">{alarms}</ul>' if alarms else '<p class="good">All is well.</p>'}
<dl>{"".join(_cards(report))}</dl>
<h2>Meters</h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>
{_inputs(report)}
<footer class="soft"><p>As of {escape(report.at)}; running for {age(report.up_s)}. Live values are
unsigned.</p><p><a href="status.json">JSON</a> · <a href="metrics">metrics</a></p></footer>
</main></body></html>
"""


def metrics(report: Report) -> str:
    """Return the figures in the text format that Prometheus reads (version 0.0.4)."""
    spool, server = report.spool, report.server
    figures: list[tuple[str, str, int | None]] = [
        ("wattloom_gateway_up_seconds", "", report.up_s),
        ("wattloom_spool_pending_readings", "", spool.pending),
        ("wattloom_spool_oldest_seconds", "", spool.oldest_s or 0),
        ("wattloom_spool_dead_letters", "", spool.dead),
        ("wattloom_spool_used_bytes", "", spool.used_bytes),
        ("wattloom_server_reachable", "", int(server.failing_s is None)),
        ("wattloom_clock_off_by_milliseconds", "", report.clock.off_by_ms),
        ("wattloom_alarms", "", len(report.alarms)),
    ]
    for meter in report.meters:
        label = f'{{point="{meter.point}"}}'
        figures += [
            ("wattloom_meter_answers", label, int(meter.state == "ok")),
            ("wattloom_meter_power_watts", label, meter.power_w),
            ("wattloom_meter_age_seconds", label, meter.age_s),
        ]
    for line in report.inputs:
        figures.append((
            "wattloom_line_connected", f'{{line="{_label(line.name)}"}}', int(not line.error),
        ))  # fmt: skip
    lines, named = [], set[str]()
    for name, label, value in sorted(figures, key=lambda one: one[0]):
        if value is None:
            continue
        if name not in named:
            lines.append(f"# TYPE {name} gauge")
            named.add(name)
        lines.append(f"{name}{label} {value}")
    return "\n".join([*lines, ""])


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def age(seconds: int | None) -> str:
    """Return a span as people say it, with its unit."""
    if seconds is None:
        return "never"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def size(count: int) -> str:
    """Return bytes in MB."""
    return f"{count / 1e6:,.1f} MB"


def _cards(report: Report) -> Iterable[str]:
    spool, server, clock = report.spool, report.server, report.clock
    if server.failing_s is not None:
        yield _card("Server", "bad", "does not take readings", f"for {age(server.failing_s)}")
    elif server.answered_s is None:
        yield _card("Server", "warn", "not asked yet", server.url)
    else:
        yield _card("Server", "good", "takes readings", f"{age(server.answered_s)} ago")
    oldest = (
        f"the oldest {age(spool.oldest_s)} old" if spool.pending else "everything has its receipt"
    )
    kind = "good" if spool.pending < 1_000 else "warn"
    yield _card("Waiting to be sent", kind, readings(spool.pending), oldest)
    kind, words = _ROOMS[spool.room]
    share = f"{size(spool.used_bytes)} of {size(spool.max_bytes)}"
    yield _card("Spool", kind, share, words)
    off = f"nothing heard by {clock.source}"
    if clock.off_by_ms is not None:
        off = f"wrong by {clock.off_by_ms:,} ms at most, by {clock.source}"
    jump = f"; jumped {clock.last_jump}" if clock.last_jump else ""
    yield _card("Clock", _CLOCKS[clock.status], clock.status, off + jump)
    kind = "bad" if spool.dead else "good"
    yield _card("Refused for good", kind, readings(spool.dead), "kept for 90 days")


def _card(name: str, kind: str, value: str, words: str) -> str:
    return (
        f'<div><dt>{name}</dt><dd class="main {kind}">{escape(value)}</dd>'
        f'<dd class="soft">{escape(words)}</dd></div>'
    )


def _row(meter: MeterReport) -> str:
    kind, words = _WORDS[meter.state]
    where = f"{meter.serial} · {meter.profile} · {meter.line}, unit {meter.unit}"
    error = f'<span class="sub">{escape(meter.error)}</span>' if meter.error else ""
    quality = f'<span class="sub">{escape(meter.quality)}</span>' if meter.quality else ""
    cells = (
        ("Power", _unit(meter.power_w, "W")),
        ("Import", _kwh(meter.import_wh)),
        ("Export", _kwh(meter.export_wh)),
    )
    values = "".join(f'<td class="n" data-is="{name}">{value}</td>' for name, value in cells)
    ago = "never" if meter.age_s is None else f"{age(meter.age_s)} ago"
    return (
        f'<tr><td><strong>{escape(meter.point)}</strong><span class="sub">{escape(where)}</span>'
        f'{error}</td><td data-is="State"><span class="state {kind}">{words}</span></td>{values}'
        f'<td class="n" data-is="Last answer"><span>{ago}{quality}</span></td></tr>'
    )


def _inputs(report: Report) -> str:
    """Return the table of the lines that tell by themselves; nothing where there are none."""
    if not report.inputs:
        return ""
    rows = "".join(map(_input, report.inputs))
    return f"""<h2>Lines that tell by themselves</h2><table><thead><tr><th scope="col">Line</th>
<th scope="col">State</th><th scope="col" class=n>Last heard</th>
<th scope="col" class=n>Not taken</th></tr></thead><tbody>{rows}</tbody></table>"""


def _input(line: InputReport) -> str:
    kind, words = ("bad", "not connected") if line.error else ("good", "connected")
    notes = "".join(
        f'<span class="sub">{escape(note)}</span>'
        for note in (line.error, f"last not taken: {line.refused}" if line.refused else "")
        if note
    )
    ago = "never" if line.heard_s is None else f"{age(line.heard_s)} ago"
    return (
        f'<tr><td><strong>{escape(line.name)}</strong><span class="sub">{line.kind} · '
        f"{escape(line.where)}</span>{notes}</td>"
        f'<td data-is="State"><span class="state {kind}">{words}</span></td>'
        f'<td class="n" data-is="Last heard">{ago}</td>'
        f'<td class="n" data-is="Not taken">{line.refusals:,}</td></tr>'
    )


def _unit(value: int | None, unit: str) -> str:
    return "-" if value is None else f"{value:,} {unit}"


def _kwh(wh: int | None) -> str:
    return "-" if wh is None else f"{wh / 1000:,.2f} kWh"
