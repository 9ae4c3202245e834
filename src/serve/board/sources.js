// What the figures rest on: sources and how complete they are, what was set aside, who saw the calls, what has no price.

import { named, sources } from "./api.js";
import { h } from "./dom.js";
import { count, duration, named as nameOf, percent, unknown } from "./format.js";
import { nothing, panel } from "./panel.js";
import { table } from "./table.js";
import { ago, time } from "./time.js";

/** Where a source may be behind without a word. */
export const LATE_MS = 15 * 60_000;

/** Every source, by name. */
export const sourceList = () => panel({
  id: "sources", title: "Sources", note: "Complete to: everything up to then is in the figures.",
  load: async ({ signal }) => {
    const found = Object.entries(await sources(signal)).map(([name, source]) => ({ name, ...source }));
    if (found.length === 0) return nothing("No source is configured.");
    const state = (row) => {
      const bad = row.state !== "running" || row.last_error;
      return h("span", { class: `chip ${bad ? "bad" : "good"}` }, bad ? "■ " : "", row.state);
    };
    const lag = (row) => {
      if (row.lag_s === null) return unknown("it has not said yet");
      const late = row.lag_s * 1000 > LATE_MS;
      return h("span", { class: late ? "chip watch" : "" }, late ? "▲ " : "", ago(row.lag_s * 1000));
    };
    return table([
      { name: "name", title: "Source" }, { name: "kind", title: "Kind" }, { name: "state", title: "State", show: state },
      { name: "complete_to", title: "Complete to", show: (row) => time(row.complete_to, { seconds: true }) },
      { name: "lag_s", title: "Behind", show: lag },
      { name: "records", title: "Records", kind: "count" }, { name: "quarantined", title: "Set aside", kind: "count", note: "Records in quarantine" },
      { name: "failed_objects", title: "Failed objects", kind: "count" },
      { name: "location", title: "Where", show: (row) => h("span", { class: "long" }, row.location ?? "") },
      { name: "last_error", title: "Last error", show: (row) => h("span", { class: "long" }, row.last_error ?? row.live_tail?.last_error ?? "none") },
    ], found, { label: "Sources", most: 200 });
  },
});

/** How long records took to arrive. */
export const delays = () => panel({
  id: "delays", title: "Arrival", query: "sources_seen", wide: 6, note: "From the start of a call to when its record was read; it holds the call itself. Approximate percentiles.",
  load: async ({ params, signal }) => {
    const { rows } = await named("sources_seen", params, signal);
    if (rows.length === 0) return nothing();
    const seconds = (value) => (value === null ? unknown() : duration(value * 1000));
    return table([
      { name: "source", title: "Source" }, { name: "records", title: "Records", kind: "count" }, { name: "newest_call", title: "Newest call", kind: "time" },
      { name: "delay_p50_s", title: "Delay p50", kind: "number", show: (row) => seconds(row.delay_p50_s) }, { name: "delay_p95_s", title: "p95", kind: "number", show: (row) => seconds(row.delay_p95_s) },
    ], rows, { label: "Arrival of records", most: 20 });
  },
});

/** Records that could not be taken in. */
export const quarantine = () => panel({
  id: "quarantine", title: "Set aside", query: "quarantined_records",
  note: "Records that can't be read or can't be true. They are kept and in no figure.",
  load: async ({ params, signal }) => {
    const { rows } = await named("quarantined_records", params, signal);
    if (rows.length === 0) return nothing("No record of this time range was set aside.");
    return [
      table([
        { name: "source", title: "Source" }, { name: "reason", title: "Reason" }, { name: "records", title: "Records", kind: "count" },
        { name: "last_seen", title: "Last", kind: "time" }, { name: "example", title: "Example", show: (row) => h("span", { class: "long" }, row.example ?? unknown()) },
      ], rows, { label: "Records set aside", most: 20 }),
      h("p", { class: "hint" }, "polymeter quarantine list tells more; polymeter quarantine retry takes in what can be read by now."),
    ];
  },
});

/** Which sources saw the calls. */
export const seenBy = () => panel({
  id: "seen-by", title: "Seen by", query: "counted_once", wide: 6, note: "Each call is one row, however many sources tell about it.",
  load: async ({ params, signal }) => {
    const { rows } = await named("counted_once", params, signal);
    if (rows.length === 0) return nothing();
    return table([
      { name: "platform", title: "Platform", show: (row) => nameOf(row.platform, "platform") }, { name: "seen_by", title: "Sources" }, { name: "calls", title: "Calls", kind: "count" },
      { name: "conflicts", title: "Conflicts", kind: "count", note: "Calls whose witnesses disagree on tokens or status" },
    ], rows, { label: "Calls by the sources that saw them", most: 12 });
  },
});

/** Calls without a price, and why. */
export const unpriced = () => panel({
  id: "unpriced", title: "Without a price", query: "unpriced_calls", wide: 6, note: "What the price book or the catalog lacks. These calls are in no sum of money.",
  load: async ({ params, signal }) => {
    const { rows } = await named("unpriced_calls", params, signal);
    if (rows.length === 0) return nothing("Every call of this time range has a price.");
    return table([
      { name: "platform", title: "Platform", show: (row) => nameOf(row.platform, "platform") }, { name: "model_as_written", title: "Model as written", show: (row) => row.model_as_written ?? unknown() },
      { name: "reason", title: "Why" }, { name: "calls", title: "Calls", kind: "count" }, { name: "last_seen", title: "Last", kind: "time" },
    ], rows, { label: "Calls without a price", most: 12 });
  },
});

/** What was metered against the providers' own counters. */
export const coverage = () => panel({
  id: "coverage", title: "Against the providers' counters", query: "coverage", wide: 6,
  note: "Metered calls and tokens as a share of what the provider counted itself; the worst hours first.",
  load: async ({ params, signal }) => {
    const { rows } = await named("coverage", params, signal);
    if (rows.length === 0) return nothing("No counter of a provider was read for this time range.");
    return table([
      { name: "hour", title: "Hour", kind: "time" }, { name: "platform", title: "Platform" },
      { name: "model", title: "Model", show: (row) => (row.all_models ? "all" : nameOf(row.model, "model")) },
      { name: "metered_calls", title: "Metered", kind: "count" }, { name: "provider_calls", title: "Counted", kind: "count" },
      { name: "calls_share", title: "Calls", kind: "percent" }, { name: "tokens_share", title: "Tokens", kind: "percent" },
    ], rows, { label: "Coverage", most: 12 });
  },
});
