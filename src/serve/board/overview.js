// The whole at a glance: the figures of the range, and tokens over time.

import { named } from "./api.js";
import { chart } from "./chart.js";
import { h } from "./dom.js";
import { sum } from "./exact.js";
import { amount, compact, count, milliseconds, percent, round, unknown } from "./format.js";
import { nothing, panel } from "./panel.js";
import { bucketStarts } from "./range.js";
import { href } from "./state.js";

const tile = (title, value, below, options = {}) => h("div", { class: `tile ${options.tone ?? ""}`, "data-tile": title },
  h("div", { class: "name", title: options.note }, options.link ? h("a", { href: options.link }, title) : title), h("div", { class: "big" }, value), h("div", { class: "below" }, below ?? ""));

const many = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

/** How bad a share of failures is. */
export const tone = (rate) => (rate === null || rate === undefined ? "" : rate >= 0.1 ? "bad" : rate >= 0.03 ? "watch" : "good");

/** The figures of the range. `onEmpty` is called when nothing is in it. */
export const figures = (onEmpty) => panel({
  id: "figures", title: "In this time range", query: "overview",
  load: async (context) => {
    const { rows: [row] } = await named("overview", context.params, context.signal);
    if (row.calls === 0) onEmpty(context);
    const saved = row.cost !== null && row.list_cost !== null && row.cost !== row.list_cost;
    const unpriced = row.unpriced_calls > 0 || row.partial_calls > 0;
    return h("div", { class: "tiles" },
      tile("Cost", row.cost === null && row.calls > 0 ? unknown("different currencies, or no call has a price") : amount(row.cost, row.currency), saved ? ["list price ", amount(row.list_cost, row.currency)] : "at the contract's price", { link: href({ tab: "spend" }) }),
      tile("Calls", count(row.calls), `${many(row.models, "model")}, ${many(row.platforms, "platform")}`),
      tile("Tokens in", compact(row.input_tokens), row.cache_read_tokens === null ? "" : [compact(row.cache_read_tokens), " from cache"]),
      tile("Tokens out", compact(row.output_tokens), ""),
      tile("Failed", percent(row.error_rate), [percent(row.throttle_rate), " throttled"], { tone: tone(row.error_rate), link: href({ tab: "health" }), note: "Of the calls whose outcome is known; what callers cancelled is no failure" }),
      tile("p95", milliseconds(row.p95_ms), "of successful calls", { link: href({ tab: "latency" }), note: "95 of 100 successful calls took less; approximate" }),
      tile("No price", count(row.unpriced_calls), row.partial_calls > 0 ? [count(row.partial_calls), " in part"] : "calls in no sum", { tone: unpriced ? "watch" : "", link: href({ tab: "sources" }) }));
  },
});

/** Tokens in and out over time. */
export const tokensOverTime = (wide = 12) => panel({
  id: "tokens", title: "Tokens over time", query: "tokens_per_hour", wide,
  note: "Input includes what came from a cache, output includes reasoning.",
  load: async ({ params, range, signal }) => {
    const { rows } = await named("tokens_per_hour", params, signal);
    if (rows.length === 0) return nothing();
    const starts = bucketStarts(range);
    const at = new Map(starts.map((start, index) => [start, index]));
    const series = [["Input", "input_tokens", true], ["Output", "output_tokens", true], ["Read from cache (part of input)", "cache_read_tokens", false]]
      .map(([name, column, drawn]) => {
        const exact = starts.map(() => null);
        for (const row of rows) {
          const index = at.get(Date.parse(row.bucket) / 1000);
          if (index !== undefined) exact[index] = sum([exact[index], row[column]]);
        }
        return { name, drawn, exact, values: exact.map((value) => (value === null ? null : Number(value))), show: (index) => (exact[index] === null ? unknown() : count(exact[index])), total: compact(sum(rows.map((row) => row[column]))) };
      });
    const total = sum(rows.flatMap((row) => [row.input_tokens, row.output_tokens]));
    return [
      h("p", { class: "figure" }, h("span", { class: "total" }, compact(total)), h("span", { class: "hint" }, "in and out")),
      chart({ label: "Tokens", starts, range, series: series.filter((one) => one.drawn), stacked: true, axis: round, extra: series.filter((one) => !one.drawn) }),
    ];
  },
});
