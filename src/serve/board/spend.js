// Money: over time, and who spends it. Sums are added exactly from what the API says; only the height of bars is a float.

import { named } from "./api.js";
import { chart } from "./chart.js";
import { h } from "./dom.js";
import { sum } from "./exact.js";
import { amount, compact, count, named as nameOf, round, unknown } from "./format.js";
import { nothing, panel } from "./panel.js";
import { bucketStarts } from "./range.js";
import { change, FILTERS, href } from "./state.js";
import { table } from "./table.js";

/** Series that have a colour; the others are drawn as one. */
const MOST = 7;

/** A switch between columns, kept in the state as `key`. */
export function choice(key, options, label) {
  const group = h("div", { class: "segments small", role: "group", "aria-label": label });
  return {
    element: group,
    draw: (state) => group.replaceChildren(...Object.entries(options).map(([value, title]) =>
      h("button", { type: "button", "aria-pressed": String(state[key] === value), onclick: () => change({ [key]: value }) }, title))),
  };
}

/** Rows by a key, in the order of the first row of each. */
function grouped(rows, key) {
  const groups = new Map();
  for (const row of rows) {
    const name = key(row);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(row);
  }
  return groups;
}

/** One chart for each currency: amounts of different ones are never added. */
function spendChart(rows, currency, unpriced, { range, state }) {
  const starts = bucketStarts(range);
  const at = new Map(starts.map((start, index) => [start, index]));
  const all = [...grouped(rows, (row) => row.name)].map(([name, rows]) => ({ names: [name], rows, size: Number(sum(rows.map((row) => row.cost)) ?? 0) }));
  all.sort((a, b) => b.size - a.size);
  const rest = all.slice(MOST);
  const shown = rest.length > 1 ? [...all.slice(0, MOST), { names: rest.flatMap((one) => one.names), rows: rest.flatMap((one) => one.rows), rest: true }] : all;
  const series = shown.map((one) => {
    const exact = starts.map(() => null);
    for (const [start, rows] of grouped(one.rows, (row) => Date.parse(row.bucket) / 1000)) {
      if (at.has(start)) exact[at.get(start)] = sum(rows.map((row) => row.cost));
    }
    const value = one.names[0];
    return {
      name: one.rest ? `${one.names.length} others` : nameOf(value, state.by),
      values: exact.map((cost) => (cost === null ? null : Number(cost))),
      show: (index) => amount(exact[index], currency),
      total: amount(sum(one.rows.map((row) => row.cost)), currency),
      link: !one.rest && value && FILTERS.includes(state.by) ? href({ [state.by]: value }) : null,
    };
  });
  const total = sum(rows.map((row) => row.cost));
  return h("div", { class: "money-chart", "data-currency": currency ?? "" },
    h("p", { class: "figure" }, h("span", { class: "total", "data-exact": total ?? "" }, amount(total, currency)),
      Number(unpriced) > 0 && h("span", { class: "warn", "data-unpriced": unpriced }, count(unpriced), " calls have no price and are not in it")),
    chart({ label: `Spend by ${state.by}${currency ? ` in ${currency}` : ""}`, starts, range, series, stacked: true, axis: (value) => `${currency === "USD" ? "$" : ""}${round(value)}` }));
}

/** Spend over time, by platform, model or team. */
export function spendOverTime(wide = 12) {
  const by = choice("by", { platform: "Platform", model: "Model", team: "Team", environment: "Environment" }, "Spend by");
  const made = panel({
    id: "spend", title: "Spend over time", query: "spend_over_time_by", wide, more: (state) => ({ by: state.by }), tools: [by.element],
    note: "At the contract's price. Exact sums; the bars are drawn from rounded values.",
    load: async (context) => {
      const { rows, meta } = await named("spend_over_time_by", context.params, context.signal);
      if (rows.length === 0) return nothing();
      const currencies = grouped(rows, (row) => row.currency);
      // Calls without any price have no currency: they have a chart only where nothing else has one.
      if (currencies.size > 1) currencies.delete(null);
      const unpriced = sum(rows.map((row) => row.unpriced_calls));
      const charts = [...currencies].map(([currency, rows], at) => spendChart(rows, currency, at === 0 ? unpriced : null, context));
      return [cut(meta), ...charts];
    },
  });
  return { ...made, show: (context) => { by.draw(context.state); return made.show(context); } };
}

/** Told where an answer was cut. */
export const cut = (meta) => meta.truncated && h("p", { class: "warn" }, "There were too many rows: this shows the first 100,000. Choose a shorter time range or a filter.");

const share = (cost, most) => {
  const part = Number(cost ?? 0) / most;
  // The width is a class of 5 % each, because the page has no inline styles.
  return h("span", { class: `bar w-${most > 0 ? Math.round(part * 20) : 0}`, "aria-hidden": "true" });
};

const link = (value, column) => (value && FILTERS.includes(column) ? h("a", { href: href({ [column]: value }), title: "Show only this" }, value) : nameOf(value, column));

/** A table of who costs most. */
function top({ id, title, query, limit, column, more, note, wide, tools, columns = (column) => [{ name: "name", title: column[0].toUpperCase() + column.slice(1), show: (row) => link(row.name, column) }] }) {
  return panel({
    id, title, query, note, wide, more, tools,
    load: async (context) => {
      const { rows, meta } = await named(query, context.params, context.signal);
      if (rows.length === 0) return nothing();
      const what = column(context.state);
      const currencies = new Set(rows.map((row) => row.currency).filter(Boolean));
      const most = rows.reduce((most, row) => Math.max(most, Number(row.cost ?? 0)), 0);
      const shown = [
        ...columns(what),
        { name: "cost", title: "Cost", kind: "number", show: (row) => [amount(row.cost, row.currency), currencies.size < 2 ? share(row.cost, most) : null] },
        { name: "calls", title: "Calls", kind: "count" },
        { name: "input_tokens", title: "Tokens in", kind: "compact" },
        { name: "output_tokens", title: "Tokens out", kind: "compact" },
        "error_rate" in rows[0]
          ? { name: "error_rate", title: "Failed", kind: "percent" }
          : { name: "errors", title: "Failed", kind: "count" },
        { name: "unpriced_calls", title: "No price", kind: "count", note: "Calls without a price: they are in no sum" },
      ];
      const one = currencies.size === 1 ? [...currencies][0] : null;
      const total = [...columns(what).map((_, at) => (at === 0 ? (rows.length === limit ? `First ${count(limit)}` : "All") : null)), currencies.size > 1 ? unknown("different currencies are not added") : amount(sum(rows.map((row) => row.cost)), one),
        count(sum(rows.map((row) => row.calls))), compact(sum(rows.map((row) => row.input_tokens))), compact(sum(rows.map((row) => row.output_tokens))),
        null, count(sum(rows.map((row) => row.unpriced_calls)))];
      return [cut(meta), table(shown, rows, { label: title, total, most: 15 })];
    },
  });
}

/** Top teams, features, services …; the column is chosen. */
export function topSpenders() {
  const who = choice("who", { team: "Team", feature: "Feature", service: "Service", model: "Model", cost_center: "Cost center" }, "Top by");
  const made = top({
    id: "top", title: "Who spends it", query: "spend_by", limit: 1000, column: (state) => state.who.replace("_", " "), more: (state) => ({ by: state.who }),
    tools: [who.element], note: "Everybody by cost, exact.", wide: 12,
  });
  return { ...made, show: (context) => { who.draw(context.state); return made.show(context); } };
}

/** Top callers. */
export const topCallers = () => top({
  id: "callers", title: "Top callers", query: "top_callers", limit: 100, column: () => "caller", wide: 12,
  note: "Principals: IAM ARN, Entra object id, key alias. The first 100 by cost.",
  columns: () => [
    { name: "principal", title: "Caller", show: (row) => h("span", { class: "long" }, nameOf(row.principal, "caller")) },
    { name: "team", title: "Team", show: (row) => nameOf(row.team, "team") },
  ],
});

/** The same model on every platform that serves it. */
export const sameModel = () => panel({
  id: "same-model", title: "Same model, other cloud", query: "same_model_across_platforms",
  note: "What a model costs, how fast it is and how often it fails, on each platform that serves it.",
  load: async ({ params, signal }) => {
    const { rows } = await named("same_model_across_platforms", params, signal);
    if (rows.length === 0) return nothing();
    const several = new Map();
    for (const { model } of rows) several.set(model, (several.get(model) ?? 0) + 1);
    const ordered = [...rows].sort((a, b) => (several.get(b.model) > 1) - (several.get(a.model) > 1) || a.model.localeCompare(b.model) || b.calls - a.calls);
    return table([
      { name: "model", title: "Model" }, { name: "platform", title: "Platform" },
      { name: "calls", title: "Calls", kind: "count" },
      { name: "price_per_mtok", title: "Per M tokens", kind: "number", note: "Effective price of a million tokens, input and output together; a rounded ratio", show: (row) => (row.price_per_mtok === null ? unknown("no call of it has a price") : `${row.price_per_mtok.toFixed(row.price_per_mtok < 1 ? 4 : 2)} ${row.currency ?? ""}`) },
      { name: "cost", title: "Cost", kind: "number", show: (row) => amount(row.cost, row.currency) },
      { name: "p50_ms", title: "p50", kind: "ms" }, { name: "p95_ms", title: "p95", kind: "ms" },
      { name: "ttft_p50_ms", title: "First token", kind: "ms", note: "Median time to the first token of streamed calls" },
      { name: "error_rate", title: "Failed", kind: "percent" },
    ], ordered, { label: "Models by platform", most: 30 });
  },
});
