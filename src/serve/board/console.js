// The SQL console: one statement, its answer with types, as CSV, and what went wrong with what to do about it.

import { queries, sql, sqlCsv } from "./api.js";
import { fill, h, save } from "./dom.js";
import { count, unknown } from "./format.js";
import { statement, trouble } from "./panel.js";
import { change, current, FILTERS } from "./state.js";
import { table } from "./table.js";
import { time } from "./time.js";

const FIRST = `SELECT platform, model, count(*) AS calls, sum(cost) AS cost
FROM calls
WHERE ts >= $from AND ts < $to
GROUP BY platform, model
ORDER BY cost DESC NULLS LAST`;

/** Rows that are shown at first; a browser does not like many more. */
const SHOWN = 500;

/** What `$from`, `$to` and the filters of the page stand for in a statement. */
function params(text, { state, range }) {
  const values = { from: range.from, to: range.to };
  for (const filter of FILTERS) values[filter] = state[filter] || "*";
  // Only what it names: others would be refused.
  return Object.fromEntries(Object.entries(values).filter(([name]) => new RegExp(`\\$${name}(?!\\w)`).test(text)));
}

function value(value, type) {
  if (value === null || value === undefined) return unknown("NULL");
  if (type.startsWith("Timestamp")) return time(value, { seconds: true });
  return typeof value === "object" ? h("span", { class: "json", title: JSON.stringify(value) }, JSON.stringify(value)) : String(value);
}

function shown({ columns, rows, meta }) {
  const numeric = (type) => /^(U?Int|Float|Decimal)/.test(type);
  const simple = (type) => type.replace(/\(µs.*|\(ns.*/, "").replace("Utf8View", "Utf8").replace(/^(List|Map|Struct)\(.*/, "$1");
  return [
    h("p", { class: "figure small", "data-rows": rows.length }, `${rows.length === 1 ? "1 row" : `${new Intl.NumberFormat("en").format(rows.length)} rows`} in ${meta.elapsed_ms} ms`,
      meta.truncated && h("span", { class: "warn" }, "Cut: there are more rows than may be answered. Add LIMIT, group, or filter; a CSV is cut as well.")),
    rows.length === 0
      ? h("p", { class: "nothing" }, "No rows. ", columns.map(({ name }) => name).join(", "))
      : table(columns.map(({ name, type }) => ({
        name, title: h("span", {}, name, h("span", { class: "type" }, simple(type))), kind: numeric(type) ? "number" : "text", show: (row) => value(row[name], type),
      })), rows, { label: "Answer", most: SHOWN }),
  ];
}

/** The console. */
export function sqlConsole() {
  let context = null;
  let editor = null;
  let running = null;
  const place = h("div", { class: "editor" });
  const answer = h("div", { class: "answer", "aria-live": "polite" });
  const run = h("button", { type: "button", class: "primary", onclick: () => start(), title: "Ctrl-Enter or ⌘-Enter" }, "Run");
  const cancel = h("button", { type: "button", disabled: true, onclick: () => running?.abort() }, "Cancel");
  const csv = h("button", { type: "button", onclick: () => start({ asCsv: true }) }, "Download CSV");
  const examples = h("select", { "aria-label": "Statements of the named queries", onchange: () => example() }, h("option", { value: "" }, "Named queries …"));
  const status = h("span", { class: "hint", role: "status" });
  const element = h("section", { class: "panel span-12", id: "console", "aria-labelledby": "console-title" },
    h("header", {}, h("h2", { id: "console-title" }, "SQL"), h("div", { class: "tools" }, examples)),
    h("div", { class: "body" }, place,
      h("div", { class: "buttons" }, run, cancel, csv, status),
      h("p", { class: "hint" }, "$from and $to stand for the time range above, $platform, $model, $team and $environment for the filters ('*' if not set). Read only."),
      answer));

  async function example() {
    const query = (await queries()).get(examples.value);
    examples.value = "";
    if (query) editor.text = statement(query, { bucket: context.range.bucket, by: context.state.by });
  }

  async function start({ asCsv = false } = {}) {
    const text = editor.text.trim();
    if (!text) return;
    running?.abort();
    const mine = running = new AbortController();
    if (current().sql !== text) change({ sql: text });
    cancel.disabled = false;
    element.setAttribute("aria-busy", "true");
    const began = performance.now();
    const tick = setInterval(() => fill(status, `${Math.round((performance.now() - began) / 100) / 10} s`), 200);
    try {
      const given = params(text, context);
      if (asCsv) save(await sqlCsv(text, given, mine.signal), "polymeter.csv");
      else fill(answer, shown(await sql(text, given, mine.signal)));
    } catch (error) {
      if (running === mine) fill(answer, mine.signal.aborted ? h("p", { class: "nothing" }, "Cancelled.") : trouble(error));
    } finally {
      clearInterval(tick);
      fill(status);
      if (running === mine) {
        cancel.disabled = true;
        element.removeAttribute("aria-busy");
      }
    }
  }

  async function open() {
    const { editor: make } = await import("./editor.js");
    editor ??= make(place, { label: "SQL statement", hint: "SELECT …", onRun: () => start() });
    // Without it (somebody with a row scope may not ask) the editor completes keywords only.
    schema().then((found) => {
      editor.schema(found);
      if (!answer.firstChild) fill(answer, reference(found));
    }, () => {});
    const all = await queries();
    if (examples.options.length === 1) examples.append(...[...all.values()].map(({ name, description }) => h("option", { value: name, title: description }, name)));
  }

  async function show(next) {
    context = next;
    const first = editor === null;
    if (first) await open().catch((error) => fill(answer, trouble(error, () => show(next))));
    if (!editor) return;
    const wanted = next.state.sql || FIRST;
    if (first || (next.state.sql && next.state.sql !== editor.text.trim())) {
      editor.text = wanted;
      if (next.state.sql) await start();
    }
  }
  return { element, show };
}

/** The tables to look at before anything was asked. */
function reference({ tables }) {
  return [h("h3", {}, "Tables"), h("div", { class: "schema" }, Object.entries(tables).map(([name, columns]) =>
    h("details", {}, h("summary", {}, name), h("ul", {}, columns.map((column) => h("li", {}, column.name, h("span", {}, column.type)))))))];
}

/** Tables with their columns, and functions, for completion. */
async function schema() {
  const columns = await sql("SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position", {});
  const tables = {};
  for (const row of columns.rows) (tables[row.table_name] ??= []).push({ name: row.column_name, type: row.data_type.replace(/\(.*/, "") });
  const routines = await sql("SELECT routine_name, count(*) AS forms FROM information_schema.routines GROUP BY routine_name ORDER BY routine_name", {});
  return { tables, functions: routines.rows.map((row) => ({ name: row.routine_name })) };
}
