// Tables with typed columns.

import { h } from "./dom.js";
import { compact, count, milliseconds, percent, unknown } from "./format.js";
import { time } from "./time.js";

const SHOW = {
  count, compact, percent, ms: milliseconds, time: (value) => time(value), text: (value) => value ?? unknown(),
};
const NUMBERS = new Set(["count", "compact", "percent", "ms", "number"]);

/**
 * `columns` are `{ name, title, kind, show(row), note }`; `kind` is text, count, compact, percent, ms, time or number.
 */
export function table(columns, rows, { label, total = null, most = 500 } = {}) {
  const kind = (column) => (NUMBERS.has(column.kind) ? "number" : "text");
  const cell = (column, row) => (column.show ? column.show(row) : SHOW[column.kind ?? "text"](row[column.name]));
  const line = (row) => h("tr", {}, columns.map((column, at) =>
    h(at === 0 ? "th" : "td", { class: kind(column), scope: at === 0 ? "row" : null, "data-column": column.name }, cell(column, row))));
  const body = h("tbody", {}, rows.slice(0, most).map(line));
  const more = rows.length > most && h("button", {
    type: "button", class: "quiet", onclick: () => { body.append(...rows.slice(most).map(line)); more.remove(); },
  }, `Show all ${rows.length} rows`);
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": label },
    h("table", {},
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", { class: kind(column), scope: "col", title: column.note }, column.title ?? column.name)))),
      body,
      total && h("tfoot", {}, h("tr", {}, total.map((value, at) => h(at === 0 ? "th" : "td", { class: kind(columns[at]), scope: at === 0 ? "row" : null }, value ?? ""))))),
    more);
}
