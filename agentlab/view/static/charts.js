// Draws each chart from the JSON beside it. The same numbers stand in a table below it.
"use strict";
(() => {
  const DASHES = [[], [8, 4], [2, 3]];
  const drawn = new Map();

  const colour = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function faded(hex) {
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgba(${r}, ${g}, ${b}, 0.16)`;
  }

  function options(told, width) {
    const text = colour("--muted"), rule = colour("--rule");
    const axis = { stroke: text, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 },
      font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif" };
    const series = [{}], bands = [];
    const few = told.x.length <= 60;
    told.series.forEach((line, at) => {
      const stroke = colour(`--line-${at}`);
      const edge = { stroke: "transparent", width: 0, points: { show: false }, spanGaps: false };
      series.push(edge, edge, {
        stroke, width: 2, dash: DASHES[at % DASHES.length], spanGaps: false,
        points: { show: few, size: 7, stroke, fill: colour("--card") },
      });
      bands.push({ series: [3 * at + 1, 3 * at + 2], fill: faded(stroke) });
    });
    const low = told.x[0], high = told.x[told.x.length - 1];
    const side = Math.max(0.5, (high - low) * 0.03);
    return {
      width, height: 260, series, bands, legend: { show: false },
      cursor: { y: false, points: { show: false } },
      scales: {
        x: { time: false, range: () => [low - side, high + side] },
        y: told.share ? { range: () => [0, 1] } : { range: (u, min, max) => [0, Math.max(1, max)] },
      },
      axes: [
        { ...axis, label: told.x_label, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] },
        { ...axis, values: (u, values) =>
          values.map((v) => (told.share ? `${Math.round(100 * v)}%` : v)) },
      ],
      hooks: { setCursor: [(u) => tell(u, told)], draw: [(u) => whiskers(u, told)] },
    };
  }

  // A band needs two points: an interval that stands alone is drawn as a line through its point.
  function whiskers(plot, told) {
    const pen = plot.ctx;
    pen.save();
    told.series.forEach((line, at) => {
      pen.strokeStyle = colour(`--line-${at}`);
      pen.lineWidth = 1.5 * devicePixelRatio;
      const shift = 5 * devicePixelRatio * (at - (told.series.length - 1) / 2);
      line.values.forEach((value, i) => {
        if (value == null || line.values[i - 1] != null || line.values[i + 1] != null) return;
        const x = plot.valToPos(told.x[i], "x", true) + shift;
        const cap = 4 * devicePixelRatio;
        const ends = [line.low[i], line.high[i]].map((end) => plot.valToPos(end, "y", true));
        pen.beginPath();
        pen.moveTo(x, ends[0]);
        pen.lineTo(x, ends[1]);
        for (const y of ends) {
          pen.moveTo(x - cap, y);
          pen.lineTo(x + cap, y);
        }
        pen.stroke();
      });
    });
    pen.restore();
  }

  function tell(plot, told) {
    const at = plot.cursor.idx;
    let tip = plot.root.querySelector(".tip");
    if (!tip) {
      tip = document.createElement("div");
      tip.className = "tip";
      plot.root.append(tip);
    }
    const lines = at == null ? [] : told.series.filter((line) => line.told[at]);
    tip.hidden = lines.length === 0;
    if (tip.hidden) return;
    tip.textContent = [`${told.x_label} ${told.x[at]}`,
      ...lines.map((line) => `${line.label}: ${line.told[at]}`)].join("\n");
  }

  function draw(place) {
    const source = place.parentElement.querySelector(`script[data-for="${place.dataset.chart}"]`);
    const told = JSON.parse(source.textContent);
    const old = drawn.get(place);
    if (old) old.destroy();
    const data = [told.x];
    for (const line of told.series) data.push(line.high, line.low, line.values);
    if (!told.series.length) return;
    drawn.set(place, new uPlot(options(told, place.clientWidth || 600), data, place));
  }

  function drawAll() {
    for (const [place, plot] of drawn) {
      if (!place.isConnected) { plot.destroy(); drawn.delete(place); }
    }
    for (const place of document.querySelectorAll(".plot")) {
      if (place.clientWidth) draw(place);
    }
  }

  document.addEventListener("agentlab:theme", drawAll);
  document.addEventListener("agentlab:shown", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("hashchange", drawAll);
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(drawAll, 150); });
  drawAll();
})();
