// What is looked at: tab, time range, filters, statement. All of it is in the address behind `#`, so that a link keeps it
// and "back" works; nothing of it is sent to a server by loading the page.

export const FILTERS = ["platform", "model", "team", "environment"];
const DEFAULTS = {
  tab: "overview", range: "24h", from: "", to: "", by: "platform", who: "team", metric: "error_rate", sql: "",
  platform: "", model: "", team: "", environment: "",
};

const listeners = new Set();

export function current() {
  const given = new URLSearchParams(location.hash.slice(1));
  const state = { ...DEFAULTS };
  for (const key of Object.keys(DEFAULTS)) if (given.has(key)) state[key] = given.get(key);
  if (state.from && state.to) state.range = "";
  return state;
}

/** The address of the present state with `patch` applied. */
export function href(patch) {
  const next = { ...current(), ...patch };
  const entries = Object.entries(next).filter(([key, value]) => value && value !== DEFAULTS[key]);
  return `#${new URLSearchParams(entries)}`;
}

/** Moves to another state. `replace` leaves no step for "back". */
export function change(patch, { replace = false } = {}) {
  const next = href(patch);
  if (next !== (location.hash || "#")) history[replace ? "replaceState" : "pushState"](null, "", next);
  for (const listener of listeners) listener(current());
}

/** Calls `listener` with each new state. */
export function onChange(listener) {
  listeners.add(listener);
}

addEventListener("popstate", () => {
  for (const listener of listeners) listener(current());
});
