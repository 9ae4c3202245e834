// The time range: presets that end now, or two instants; and the length of the buckets that it is drawn in.

import { fill, h } from "./dom.js";
import { change, current } from "./state.js";
import { fromField, text, toField, zoneName } from "./time.js";

const HOUR = 3600;
const PRESETS = { "1h": 1, "6h": 6, "24h": 24, "2d": 48, "7d": 168, "30d": 720, "90d": 2160 };
/** Lengths of a bucket in seconds, and how the API reads them. */
const BUCKETS = [
  [60, "1 minute"], [300, "5 minutes"], [600, "10 minutes"], [900, "15 minutes"], [1800, "30 minutes"], [HOUR, "1 hour"],
  [2 * HOUR, "2 hours"], [3 * HOUR, "3 hours"], [6 * HOUR, "6 hours"], [12 * HOUR, "12 hours"], [24 * HOUR, "1 day"], [168 * HOUR, "7 days"],
];

/** From, to and bucket of a state, as of now. */
export function resolve(state) {
  let from = new Date(state.from);
  let to = new Date(state.to);
  if (!state.from || !state.to || Number.isNaN(from.valueOf()) || Number.isNaN(to.valueOf()) || from >= to) {
    to = new Date();
    from = new Date(to - (PRESETS[state.range] ?? PRESETS["24h"]) * HOUR * 1000);
  }
  const seconds = (to - from) / 1000;
  const most = innerWidth < 600 ? 48 : 96;
  const [step, bucket] = BUCKETS.find(([length]) => seconds / length <= most) ?? BUCKETS.at(-1);
  return { from: from.toISOString(), to: to.toISOString(), step, bucket };
}

/** The starts of all buckets of a range, in seconds. */
export function bucketStarts({ from, to, step }) {
  // Buckets of a week begin as the API's do: counted from 1970-01-01.
  const first = Math.floor(Date.parse(from) / 1000 / step) * step;
  const starts = [];
  for (let start = first; start * 1000 < Date.parse(to); start += step) starts.push(start);
  return starts;
}

/** The picker. Returns what draws it for a state. */
export function rangePicker(host) {
  const presets = h("div", { class: "segments", role: "group", "aria-label": "Time range" });
  const from = h("input", { type: "datetime-local", required: true, "aria-label": "From" });
  const to = h("input", { type: "datetime-local", required: true, "aria-label": "To" });
  const problem = h("p", { class: "problem", role: "alert" });
  const zone = h("p", { class: "hint" });
  const form = h("form", {
    class: "popover",
    onsubmit: (event) => {
      event.preventDefault();
      const [start, end] = [fromField(from.value), fromField(to.value)];
      if (!(start < end)) return fill(problem, "The end must be later than the start.");
      fill(problem);
      custom.open = false;
      return change({ range: "", from: start.toISOString(), to: end.toISOString() });
    },
  }, h("label", {}, "From", from), h("label", {}, "To", to), zone, problem, h("button", { class: "primary" }, "Show"));
  const shown = h("summary", { title: "Choose start and end" });
  const custom = h("details", { class: "menu custom" }, shown, form);
  document.addEventListener("click", (event) => { if (!custom.contains(event.target)) custom.open = false; });
  custom.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    custom.open = false;
    shown.focus();
  });
  fill(host, presets, custom);
  return () => {
    const state = current();
    const range = resolve(state);
    fill(presets, Object.keys(PRESETS).map((preset) => h("button", {
      type: "button", "aria-pressed": String(state.range === preset), onclick: () => change({ range: preset, from: "", to: "" }),
    }, preset)));
    fill(shown, `${text(range.from)} – ${text(range.to)}`);
    fill(zone, `Times in ${zoneName()}.`);
    from.value = toField(range.from);
    to.value = toField(range.to);
  };
}
