// The filters: a list for each, filled with what occurs in the time range.

import { named } from "./api.js";
import { fill, h } from "./dom.js";
import { FILTERS, change, current } from "./state.js";

const ALL = { platform: "All platforms", model: "All models", team: "All teams", environment: "All environments" };

/** The lists. Returns what draws them for a state, and what loads their values for a range. */
export function filterBar(host) {
  let values = {};
  const lists = Object.fromEntries(FILTERS.map((name) => [name, h("select", {
    "aria-label": name, "data-filter": name, onchange: (event) => change({ [name]: event.target.value }),
  })]));
  const clear = h("button", {
    type: "button", class: "quiet",
    onclick: () => change(Object.fromEntries(FILTERS.map((name) => [name, ""]))),
  }, "Clear filters");
  fill(host, Object.values(lists), clear);

  const draw = () => {
    const state = current();
    for (const name of FILTERS) {
      // A filter of a link stays, even where nothing of the range has it.
      const known = new Set(values[name] ?? []);
      if (state[name]) known.add(state[name]);
      fill(lists[name], h("option", { value: "" }, ALL[name]), [...known].map((value) => h("option", { value }, value)));
      lists[name].value = state[name];
      lists[name].classList.toggle("active", state[name] !== "");
    }
    clear.hidden = FILTERS.every((name) => !state[name]);
  };
  let loaded = null;
  const load = async ({ from, to }, signal) => {
    // As time goes on the values hardly change: they are asked for once for a range.
    const { range, from: start, to: end } = current();
    const wanted = range || `${start} ${end}`;
    if (loaded === wanted) return;
    await Promise.all(FILTERS.map(async (column) => {
      const { rows } = await named("filter_values", { from, to, column }, signal);
      values = { ...values, [column]: rows.map((row) => row.value) };
    }));
    loaded = wanted;
    draw();
  };
  return { draw, load };
}
