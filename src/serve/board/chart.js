// Charts over time by uPlot: stacked bars for amounts, lines for levels. The legend shows sums, or the values under the
// pointer; the numbers are there as a table too. Dragging chooses a time range.

import { fill, h } from "./dom.js";
import { unknown } from "./format.js";
import { change } from "./state.js";
import { table } from "./table.js";
import { isUtc, text, time } from "./time.js";
import uPlot from "./vendor/uplot.js";

const DAY = 86_400;
const drawn = new Set();

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** Colours of the series; what comes after them is grey. */
export const colour = (at) => (at < 8 ? `var(--series-${at + 1})` : "var(--series-rest)");
const painted = (value) => css(value.slice(4, -1));

/** Draws all charts again, after another theme or zone. */
export function redraw() {
  for (const chart of drawn) chart.draw();
}

/** Points only where no line can be drawn: with nothing on either side. */
const alone = (values) => values.flatMap((value, at) => (value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null ? [at] : []));

const HOURS = [
  [3600 * 24 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [DAY, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
];

/**
 * A chart. `series` are `{ name, values, show(at), total, dashed, link }`: `values` for drawing, `show` and `total` as text or
 * elements with every digit. `extra` is told and not drawn. `starts` are the buckets in seconds.
 */
export function chart({ label, starts, range, series, stacked = false, axis, height = 220, extra = [] }) {
  const canvas = h("div", { class: "canvas", role: "img", "aria-label": `${label}; the numbers are in the table below it` });
  const told = [...series, ...extra];
  const values = told.map((one) => h("span", { class: "value" }, one.total ?? ""));
  const when = h("span", { class: "when" });
  const legend = h("ul", { class: "legend" }, told.map((one, at) => h("li", {},
    at < series.length && h("span", { class: one.dashed ? "swatch dashed" : "swatch", "data-colour": at < 8 ? at + 1 : "rest" }),
    one.link ? h("a", { href: one.link, title: "Show only this" }, one.name) : h("span", {}, one.name), values[at])));
  const numbers = h("details", { class: "numbers", ontoggle: () => { if (numbers.open && !numbers.children[1]) numbers.append(asTable()); } }, h("summary", {}, "Numbers"));
  const element = h("div", { class: "chart", "data-series": series.length, "data-buckets": starts.length }, legend, canvas, h("div", { class: "foot" }, numbers, when));

  const dayOnly = range.step >= DAY;
  const utc = () => isUtc() || dayOnly;
  const asTable = () => table(
    [{ name: "start", title: dayOnly ? "Day (UTC)" : "From", show: (row) => (dayOnly ? text(row.start, { utc: true, dayOnly }) : time(row.start)) },
      ...told.map((one, at) => ({ name: String(at), title: one.name.cloneNode ? one.name.cloneNode(true) : one.name, kind: "number", show: (row) => one.show(row.at) }))],
    starts.map((start, at) => ({ start: start * 1000, at })).reverse(), { label: `${label}: numbers` });

  let plot = null;
  let shownAt = null;
  const point = (at) => {
    if (at === shownAt) return;
    shownAt = at;
    values.forEach((value, of) => fill(value, at === null ? told[of].total ?? "" : told[of].show(at) ?? unknown("no call in this time")));
    const start = at === null ? null : starts[at] * 1000;
    fill(when, at === null ? "" : dayOnly ? `${text(start, { utc: true, dayOnly })} (UTC)` : `${text(start)} – ${text(start + range.step * 1000).split(" ").at(-1)}`);
  };

  const self = {
    draw() {
      if (!canvas.isConnected) return void (plot?.destroy(), drawn.delete(self));
      plot?.destroy();
      plot = new uPlot(options(), data(), canvas);
    },
  };
  function data() {
    if (!stacked) return [starts, ...series.map((one) => one.values)];
    let below = starts.map(() => 0);
    const tops = series.map((one) => (below = below.map((sum, at) => sum + (one.values[at] ?? 0))));
    return [starts, ...tops.reverse()];
  }
  function options() {
    const [ink, line] = [css("--muted"), css("--line")];
    const order = series.map((_, at) => at);
    if (stacked) order.reverse();
    const bars = uPlot.paths.bars({ size: [0.82, 48], align: 1 });
    const font = "12px system-ui, sans-serif";
    const common = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    return {
      width: canvas.clientWidth, height, padding: [8, 22, 0, 0], legend: { show: false },
      tzDate: (seconds) => (utc() ? uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC") : new Date(seconds * 1000)),
      cursor: { y: false, drag: { x: true, y: false, setScale: false }, points: { show: !stacked }, sync: { key: "board" } },
      scales: {
        x: { range: () => [starts[0], starts.at(-1) + range.step] },
        y: { range: (_, __, most) => [0, most > 0 ? most * 1.06 : 1] },
      },
      axes: [{ ...common, grid: { show: false }, values: HOURS, space: 64 }, { ...common, size: 62, values: (_, splits) => splits.map(axis), space: 36 }],
      series: [{}, ...order.map((at) => {
        const paint = painted(colour(at));
        return stacked
          ? { stroke: paint, fill: paint, width: 0, paths: bars, points: { show: false } }
          : { stroke: paint, width: 1.75, dash: series[at].dashed ? [5, 4] : undefined, points: { show: true, filter: () => alone(series[at].values), size: 5, fill: paint } };
      })],
      hooks: {
        setCursor: [(plot) => point(plot.cursor.idx ?? null)],
        setSelect: [(plot) => {
          const { left, width } = plot.select;
          if (width < 8) return;
          const at = (x) => new Date(plot.posToVal(x, "x") * 1000).toISOString();
          change({ range: "", from: at(left), to: at(left + width) });
        }],
      },
    };
  }
  let width = 0;
  new ResizeObserver(() => {
    if (canvas.clientWidth === width) return;
    width = canvas.clientWidth;
    drawn.add(self);
    self.draw();
  }).observe(canvas);
  return element;
}
