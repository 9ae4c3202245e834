// Which provider has a problem: each model on each platform and in each region, failures over time, and what failover saved.

import { named } from "./api.js";
import { chart } from "./chart.js";
import { fill, h } from "./dom.js";
import { sum } from "./exact.js";
import { amount, compact, count, milliseconds, named as nameOf, percent, round, unknown } from "./format.js";
import { tone } from "./overview.js";
import { nothing, panel } from "./panel.js";
import { bucketStarts } from "./range.js";
import { choice } from "./spend.js";
import { href } from "./state.js";
import { table } from "./table.js";
import { time } from "./time.js";

/** Fewer calls than these say nothing about a rate: of a cell, of a point of a chart. */
const FEW = 20;
const FEW_OF_POINT = 5;

const METRICS = {
  error_rate: { title: "Failed", show: (row) => percent(row.error_rate), level: (row) => tone(row.error_rate), legend: "from 3 %, from 10 %" },
  throttle_rate: { title: "Throttled", show: (row) => percent(row.throttle_rate), level: (row) => tone(row.throttle_rate), legend: "from 3 %, from 10 %" },
  p95_ms: { title: "p95", show: (row) => milliseconds(row.p95_ms), level: slowness, legend: "1.5 times, 3 times the fastest place of the same model" },
  calls: { title: "Calls", show: (row) => compact(row.calls), level: () => "", legend: "no colours" },
};

function slowness(row, same) {
  const known = same.filter((other) => other.p95_ms !== null && other.calls >= FEW).map((other) => other.p95_ms);
  if (row.p95_ms === null || known.length === 0) return "";
  const factor = row.p95_ms / Math.min(...known);
  return factor >= 3 ? "bad" : factor >= 1.5 ? "watch" : "good";
}

const MARK = { good: "", watch: "▲", bad: "■" };

function matrix(rows, metric) {
  const places = [];
  for (const row of rows) if (!places.some((place) => place.platform === row.platform && place.region === row.region)) places.push(row);
  places.sort((a, b) => String(a.platform).localeCompare(String(b.platform)) || String(a.region ?? "").localeCompare(String(b.region ?? "")));
  const platforms = [...new Set(places.map((place) => place.platform))];
  const models = [...new Set(rows.map((row) => row.model))];
  const said = h("div", { class: "said", "aria-live": "polite" }, h("p", { class: "hint" }, "Choose a cell to see all of it."));
  const { show, level } = METRICS[metric];
  const cell = (model, place) => {
    const row = rows.find((row) => row.model === model && row.platform === place.platform && row.region === place.region);
    if (!row) return h("td", { class: "none", title: "not called there" });
    const few = row.calls < FEW && metric !== "calls";
    const found = few ? "few" : level(row, rows.filter((other) => other.model === model));
    const where = `${model ?? "no model"} on ${place.platform ?? "no platform"}, ${place.region ?? "no region"}`;
    const button = h("button", {
      type: "button", "data-cell": `${row.platform}/${row.region ?? ""}/${row.model}`, "data-calls": row.calls, onclick: () => fill(said, detail(row)),
    }, h("span", { class: "main" }, MARK[found] && h("span", { class: "mark", "aria-hidden": "true" }, MARK[found]), show(row)), " ",
    h("span", { class: "under" }, metric === "calls" ? [percent(row.error_rate), " failed"] : [compact(row.calls), few ? " calls, too few" : " calls"]));
    // What is seen, and then what the place in the table says.
    button.setAttribute("aria-label", `${button.textContent.replace(/^[▲■]/, "")}: ${where}${found === "bad" || found === "watch" ? `, ${found}` : ""}`);
    return h("td", { class: found }, button);
  };
  return [
    h("div", { class: "beside" }, h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Health of each model by platform and region" },
      h("table", { class: "matrix" },
        h("thead", {},
          h("tr", {}, h("th", { rowspan: "2", scope: "col" }, "Model"), platforms.map((platform) => h("th", { scope: "colgroup", colspan: String(places.filter((place) => place.platform === platform).length) }, nameOf(platform, "platform")))),
          h("tr", {}, places.map((place) => h("th", { scope: "col" }, nameOf(place.region, "region"))))),
        h("tbody", {}, models.map((model) => h("tr", {}, h("th", { scope: "row" }, nameOf(model, "model")), places.map((place) => cell(model, place))))))), said),
    h("p", { class: "key" }, h("span", { class: "chip good" }, "well"), h("span", { class: "chip watch" }, "▲ watch"), h("span", { class: "chip bad" }, "■ bad"), h("span", { class: "hint" }, `${METRICS[metric].title}: ${METRICS[metric].legend}. Fewer than ${FEW} calls have no colour.`)),
  ];
}

function detail(row) {
  const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  return h("div", { class: "detail" },
    h("h3", {}, nameOf(row.model, "model"), " on ", nameOf(row.platform, "platform"), ", ", nameOf(row.region, "region")),
    h("dl", {}, fact("Calls", count(row.calls)), fact("Failed", [percent(row.error_rate), ` (${row.errors})`]), fact("Throttled", [percent(row.throttle_rate), ` (${row.throttled})`]),
      fact("Server errors, timeouts", count(row.provider_failures)), fact("p50", milliseconds(row.p50_ms)), fact("p95", milliseconds(row.p95_ms)), fact("First token p95", milliseconds(row.ttft_p95_ms)), fact("Latest call", time(row.latest_call))),
    h("p", {}, row.model && row.platform && h("a", { href: href({ platform: row.platform, model: row.model }) }, "Show only this model and platform")));
}

/** Platform × model × region. */
export function healthMatrix() {
  const metric = choice("metric", Object.fromEntries(Object.entries(METRICS).map(([name, { title }]) => [name, title])), "Figure of the cells");
  const made = panel({
    id: "health", title: "Provider health", query: "provider_health", tools: [metric.element],
    note: "Rates are of the calls whose outcome is known; what callers cancelled is no failure.",
    load: async ({ params, state, signal }) => {
      const { rows } = await named("provider_health", params, signal);
      return rows.length === 0 ? nothing() : matrix(rows, METRICS[state.metric] ? state.metric : "error_rate");
    },
  });
  return { ...made, show: (context) => { metric.draw(context.state); return made.show(context); } };
}

/** Bursts of failures: since when, where, and whose they are. */
export const incidents = () => panel({
  id: "incidents", title: "Incidents", query: "incidents",
  // In steps of its own, whatever the charts are drawn in.
  more: () => ({ bucket: undefined }),
  note: "Bursts of failures. Them: the same model elsewhere and other platforms were well. Us: refused requests, or other platforms fail too. Quota: throttled.",
  load: async ({ params, signal }) => {
    const { rows } = await named("incidents", params, signal);
    if (rows.length === 0) return nothing("No burst of failures in this time range.");
    return table([
      { name: "started", title: "From", kind: "time" },
      { name: "ended", title: "To", show: (row) => (row.goes_on ? h("span", { class: "chip bad" }, "■ goes on") : time(row.ended)) },
      { name: "verdict", title: "Whose", show: (row) => h("span", { class: `chip ${row.verdict === "them" ? "bad" : "watch"}` }, row.verdict) },
      { name: "platform", title: "Platform", show: (row) => nameOf(row.platform, "platform") }, { name: "region", title: "Region", show: (row) => nameOf(row.region, "region") },
      { name: "model", title: "Model", show: (row) => nameOf(row.model, "model") },
      { name: "errors", title: "Failed", kind: "number", show: (row) => [count(row.errors), " of ", count(row.calls)] },
      { name: "error_rate", title: "Share", kind: "percent" },
      { name: "elsewhere_error_rate", title: "Same model elsewhere", kind: "percent", note: "Failed at other places in the same time" },
      { name: "here_error_rate", title: "Other models here", kind: "percent", note: "Failed at the same place in the same time" },
      { name: "rescued", title: "Saved", kind: "count", note: "Requests that another attempt saved" },
    ], rows, { label: "Incidents", most: 8 });
  },
});

/** The share that failed over time, for the busiest places. */
export const failuresOverTime = () => panel({
  id: "failures", title: "Failed calls over time", query: "errors_by_platform_5m",
  note: "The share of calls that failed on each platform and in each region; the eight with most calls. Buckets with fewer than five calls are in the numbers only.",
  load: async ({ params, range, signal }) => {
    const { rows } = await named("errors_by_platform_5m", params, signal);
    if (rows.length === 0) return nothing();
    const starts = bucketStarts(range);
    const at = new Map(starts.map((start, index) => [start, index]));
    const places = new Map();
    for (const row of rows) {
      const key = `${row.platform}\n${row.region}`;
      if (!places.has(key)) places.set(key, []);
      places.get(key).push(row);
    }
    const calls = (rows) => rows.reduce((total, row) => total + row.calls, 0);
    const busiest = [...places.values()].sort((a, b) => calls(b) - calls(a)).slice(0, 8);
    const series = busiest.map((rows) => {
      const found = starts.map(() => null);
      for (const row of rows) if (at.has(Date.parse(row.bucket) / 1000)) found[at.get(Date.parse(row.bucket) / 1000)] = row;
      const errors = sum(rows.map((row) => row.errors));
      return {
        name: `${rows[0].platform ?? "no platform"}${rows[0].region ? ` ${rows[0].region}` : ""}`,
        values: found.map((row) => (row === null || row.error_rate === null || row.calls < FEW_OF_POINT ? null : row.error_rate * 100)),
        show: (index) => (found[index] ? [percent(found[index].error_rate), ` of ${found[index].calls}`] : null),
        total: [count(errors), " of ", count(calls(rows))],
      };
    });
    return chart({ label: "Failed calls", starts, range, series, axis: (value) => `${round(value)} %` });
  },
});

/** What second attempts saved. */
export const failover = () => panel({
  id: "failover", title: "Failover", query: "failover",
  note: "Requests whose first attempt failed and that were tried again: who stepped in, and whether that saved the request.",
  more: () => ({ bucket: "3650 days" }),
  load: async ({ params, signal }) => {
    const { rows } = await named("failover", params, signal);
    if (rows.length === 0) return nothing("No request of this time range was tried again after a failure.");
    const merged = new Map();
    for (const row of rows) {
      const key = JSON.stringify([row.first_platform, row.first_region, row.rescuing_platform, row.currency]);
      merged.set(key, [...(merged.get(key) ?? []), row]);
    }
    const lines = [...merged.values()].map((rows) => ({
      ...rows[0], ...Object.fromEntries(["chains", "attempts", "saved", "not_saved", "first_throttled", "first_failed", "extra_cost"].map((name) => [name, sum(rows.map((row) => row[name]))])),
    })).sort((a, b) => Number(b.chains) - Number(a.chains));
    const all = (name) => sum(lines.map((line) => line[name]));
    const share = Number(all("saved")) / Number(all("chains"));
    return [
      h("p", { class: "figure" }, h("span", { class: "total" }, percent(share)), h("span", { class: "hint" }, `of ${all("chains")} requests whose first attempt failed were saved by another one`)),
      table([
        { name: "first_platform", title: "First attempt", show: (row) => [nameOf(row.first_platform, "platform"), row.first_region ? ` ${row.first_region}` : ""] },
        { name: "rescuing_platform", title: "Stepped in", show: (row) => nameOf(row.rescuing_platform, "platform") },
        { name: "chains", title: "Requests", kind: "count" }, { name: "saved", title: "Saved", kind: "count" }, { name: "not_saved", title: "Not saved", kind: "count" },
        { name: "first_throttled", title: "Throttled first", kind: "count" }, { name: "first_failed", title: "Failed first", kind: "count", note: "Server errors and timeouts" },
        { name: "extra_cost", title: "Extra cost", kind: "number", show: (row) => (row.extra_cost === null ? unknown("no price, or different currencies") : amount(row.extra_cost, row.currency)) },
      ], lines, { label: "Failover", most: 12 }),
    ];
  },
});
