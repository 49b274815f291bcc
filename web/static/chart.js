// Draws the chart of the last quarter-hours from the table that stands beside it: the table is the
// truth (and works without scripts); this file only turns its data attributes into lines.
(() => {
  "use strict";

  const QUARTER_S = 900;
  let drawn = null;
  let size = { rows: "", width: 0 };

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function readTable(table) {
    const rows = [...table.querySelectorAll("tr[data-start]")]
      .filter((row) => !row.querySelector("td[colspan]"))
      .reverse();
    const number = (row, key) => (row.dataset[key] === undefined ? null : Number(row.dataset[key]));
    const column = (key) => rows.map((row) => number(row, key));
    const starts = rows.map((row) => Date.parse(row.dataset.start) / 1000);
    return {
      starts,
      columns: ["shared", "export", "import", "price"].map(column),
      estimated: starts.filter((_, i) => Number(rows[i].dataset.estimated) > 0),
      priced: rows.some((row) => row.dataset.price !== undefined),
    };
  }

  // A step line ends where its last quarter-hour ends, so every column repeats its last value.
  function closeSteps({ starts, columns }) {
    const last = starts.length - 1;
    return [[...starts, starts[last] + QUARTER_S], ...columns.map((c) => [...c, c[last]])];
  }

  function hatch(u, starts) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.strokeStyle = colour("--hatch");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    for (const start of starts) {
      const left = u.valToPos(start, "x", true);
      const right = u.valToPos(start + QUARTER_S, "x", true);
      ctx.save();
      ctx.beginPath();
      ctx.rect(left, bbox.top, right - left, bbox.height);
      ctx.clip();
      ctx.beginPath();
      for (let x = left - bbox.height; x < right; x += 8 * devicePixelRatio) {
        ctx.moveTo(x, bbox.top + bbox.height);
        ctx.lineTo(x + bbox.height, bbox.top);
      }
      ctx.stroke();
      ctx.restore();
    }
    ctx.restore();
  }

  function series(priced) {
    const stepped = uPlot.paths.stepped({ align: 1 });
    const line = (label, name, more) => ({
      label, stroke: colour(name), width: 2.5, paths: stepped, scale: "kWh",
      points: { show: false }, ...more,
    });
    return [
      {},
      line("Shared locally", "--shared", { fill: `${colour("--shared")}33` }),
      line("Exported", "--solar"),
      line("Imported", "--grid", { dash: [8, 4] }),
      ...(priced
        ? [line("Local price", "--text", { scale: "ct", dash: [2, 4], width: 2 })]
        : []),
    ];
  }

  function axes(priced) {
    const look = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "13px system-ui" };
    return [
      { ...look, grid: { show: false }, space: 60, incrs: [1, 2, 4, 8, 16, 24, 48].map((n) => n * QUARTER_S), values: (u, splits) => splits.map((s) => clock(u, s)) },
      { ...look, scale: "kWh", label: "kWh", labelSize: 20, labelFont: "13px system-ui", size: 44 },
      ...(priced ? [{ ...look, scale: "ct", side: 1, label: "ct/kWh", labelSize: 20, labelFont: "13px system-ui", size: 44, grid: { show: false } }] : []),
    ];
  }

  function clock(u, seconds) {
    return new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: u.zone }).format(seconds * 1000);
  }

  // Beside each name of the legend stands the value under the pointer.
  function tell(u, legend) {
    const { idx } = u.cursor;
    for (const place of legend.querySelectorAll("[data-column]")) {
      const column = Number(place.dataset.column);
      const value = idx == null ? null : u.data[column]?.[idx];
      const text = column === 0 ? (at) => `from ${clock(u, at)}` : (n) => `${n.toFixed(2)}\u00a0${column === 4 ? "ct/kWh" : "kWh"}`;
      place.textContent = value == null ? "" : text(value);
    }
  }

  function draw() {
    const box = document.getElementById("chart");
    const table = box && document.querySelector(box.dataset.table)?.querySelector("table");
    if (!table) return;
    const width = Math.floor(box.clientWidth);
    if (drawn && drawn.root.isConnected && size.rows === table.textContent && size.width === width) return;
    const read = readTable(table);
    if (!read.starts.length || width < 50) return;
    size = { rows: table.textContent, width };
    drawn?.destroy();
    const data = closeSteps(read);
    if (!read.priced) data.pop();
    const upTo = (u, low, high) => [0, (high || 1) * 1.1];
    drawn = new uPlot({
      width,
      height: width < 500 ? 260 : 320,
      cursor: { drag: { x: false, y: false } },
      legend: { show: false },
      scales: { x: { time: true }, kWh: { range: upTo }, ct: { range: upTo } },
      series: series(read.priced),
      axes: axes(read.priced),
      hooks: {
        init: [(u) => { u.zone = table.dataset.zone; }],
        setCursor: [(u) => tell(u, document.querySelector(box.dataset.legend))],
        drawClear: [(u) => hatch(u, read.estimated)],
      },
    }, data, box);
  }

  const redraw = () => { size = { rows: "", width: 0 }; draw(); };
  document.addEventListener("DOMContentLoaded", draw);
  document.addEventListener("htmx:after:swap", draw);
  window.addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
})();
