// A panel: title, what it says, its answer as CSV, its statement in the console, and what to do when there is no answer.

import { namedCsv, queries } from "./api.js";
import { fill, h, save } from "./dom.js";
import { change, FILTERS } from "./state.js";

/** What the parts of a page need to ask: range, state, and a signal that ends what is no longer wanted. */
export async function parameters(name, { state, range }, more = {}) {
  const query = (await queries()).get(name);
  const given = { from: range.from, to: range.to, bucket: range.bucket, ...more };
  for (const filter of FILTERS) if (state[filter]) given[filter] = state[filter];
  const known = new Set((query?.params ?? []).map((param) => param.name));
  const params = Object.fromEntries(Object.entries(given).filter(([key, value]) => known.has(key) && value !== undefined));
  // A filter that the question does not have is told, not passed over.
  const ignored = FILTERS.filter((filter) => state[filter] && !known.has(filter));
  return { params, ignored };
}

/**
 * A panel of the named query `query`. `load(context)` asks and returns what to show. With `always` it is loaded in any state.
 */
export function panel({ id, title, note, query, more = () => ({}), tools = [], wide = 12, load }) {
  const body = h("div", { class: "body" });
  const ignoredNote = h("p", { class: "hint", hidden: true });
  let last = null;
  const actions = query && [
    h("button", { type: "button", class: "quiet", title: "The answer of this panel as a file", "aria-label": `${title} as CSV`, onclick: () => csv() }, "CSV"),
    h("button", { type: "button", class: "quiet", title: "Open its statement in the SQL console", "aria-label": `${title} in the SQL console`, onclick: () => open() }, "SQL"),
  ];
  const element = h("section", { class: `panel span-${wide}`, id, "aria-labelledby": `${id}-title` },
    h("header", {}, h("h2", { id: `${id}-title`, title: note }, title), h("div", { class: "tools" }, tools, actions && h("span", { class: "actions" }, actions))),
    ignoredNote, body);

  async function csv() {
    try {
      const { params } = await parameters(query, last, more(last.state));
      save(await namedCsv(query, params), `${query}.csv`);
    } catch (error) {
      fill(body, trouble(error, () => show(last)));
    }
  }

  async function open() {
    const { params } = await parameters(query, last, more(last.state));
    change({ tab: "sql", sql: statement((await queries()).get(query), params) });
  }

  async function show(context) {
    last = context;
    element.setAttribute("aria-busy", "true");
    if (!body.firstChild) fill(body, h("p", { class: "loading" }, "Asking …"));
    try {
      const asked = query ? await parameters(query, context, more(context.state)) : { params: {}, ignored: [] };
      const found = await load({ ...context, params: asked.params });
      if (context.signal.aborted) return;
      ignoredNote.hidden = asked.ignored.length === 0;
      fill(ignoredNote, `Not filtered by ${asked.ignored.join(" or ")}.`);
      fill(body, found);
    } catch (error) {
      if (context.signal.aborted) return;
      fill(body, trouble(error, () => show(context)));
    } finally {
      if (!context.signal.aborted) element.removeAttribute("aria-busy");
    }
  }
  return { element, show };
}

/** The statement of a named query with what the console does not set by itself put in. */
export function statement(query, given) {
  const text = query.sql.split("\n").filter((line) => !/^-- (unit|param|note|filter)/.test(line)).join("\n").trim();
  const declared = new Map(query.params.map((param) => [param.name, param]));
  return text.replace(/\$(\w+)/g, (whole, name) => {
    if (["from", "to", ...FILTERS].includes(name) || !declared.has(name)) return whole;
    const { type, default: otherwise } = declared.get(name);
    if (given[name] === undefined) return otherwise;
    const literal = `'${String(given[name]).replaceAll("'", "''")}'`;
    return type === "interval" ? `interval ${literal}` : literal;
  });
}

/** A text of any length as one that can be shown. */
const brief = (text) => (text.length > 400 ? `${text.slice(0, 400)} …` : text);

/** What went wrong, and what to do. */
export function trouble(error, again) {
  const advice = {
    0: "Check that polymeter runs and that you can reach it.",
    401: "Log in to see this.",
    403: "Somebody with another role, or without a row scope, may ask this.",
    408: "Choose a shorter time range or a filter.",
    422: "Choose a shorter time range or a filter.",
    429: error.retryAfter ? `Too much is asked at once. Try again in ${error.retryAfter} s.` : "Too much is asked at once. Try again in a moment.",
    500: "The log of polymeter says why.",
    503: "polymeter is busy or starting. Try again in a moment.",
  }[error.status];
  // Not a fault: it is for others.
  if (error.status === 403) again = null;
  return h("div", { class: error.status === 403 ? "trouble calm" : "trouble", role: "alert" },
    h("p", {}, h("strong", {}, brief(error.message || "Something went wrong.")), error.status ? ` (${error.status} ${error.code})` : ""),
    advice && h("p", {}, advice), error.hint && h("p", { class: "hint" }, `Hint: ${error.hint}`),
    error.request && h("p", { class: "hint" }, `Request ${error.request}`),
    again && h("button", { type: "button", onclick: again }, "Try again"));
}

/** For an answer without rows. */
export const nothing = (text = "Nothing in this time range with these filters.") => h("p", { class: "nothing" }, text);
