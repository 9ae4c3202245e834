// How long calls take: over time, and by platform and model.

import { named } from "./api.js";
import { chart } from "./chart.js";
import { count, duration, milliseconds, named as nameOf } from "./format.js";
import { nothing, panel } from "./panel.js";
import { bucketStarts } from "./range.js";
import { table } from "./table.js";

function over({ id, title, note, columns, wide }) {
  return panel({
    id, title, note, wide, query: "latency_percentiles_over_time",
    load: async ({ params, range, signal }) => {
      const { rows } = await named("latency_percentiles_over_time", params, signal);
      if (rows.every((row) => columns.every(([, column]) => row[column] === null))) return nothing("Nobody measured this in this time range.");
      const starts = bucketStarts(range);
      const found = new Map(rows.map((row) => [Date.parse(row.bucket) / 1000, row]));
      const series = columns.map(([name, column]) => {
        const values = starts.map((start) => found.get(start)?.[column] ?? null);
        return { name, values, show: (at) => milliseconds(values[at]), total: "" };
      });
      return chart({ label: title, starts, range, series, axis: (value) => duration(value).replace(/\.0+ /, " ") });
    },
  });
}

/** To the last token. */
export const wholeCalls = () => over({
  id: "latency", title: "Whole calls", wide: 6, note: "Successful calls as the caller saw them, else as the provider logged them; approximate percentiles.",
  columns: [["p50", "p50_ms"], ["p95", "p95_ms"], ["p99", "p99_ms"]],
});

/** To the first token. */
export const firstToken = () => over({
  id: "ttft", title: "Time to first token", wide: 6, note: "Of successful streamed calls; approximate percentiles.",
  columns: [["p50", "ttft_p50_ms"], ["p95", "ttft_p95_ms"], ["p99", "ttft_p99_ms"]],
});

/** By platform and model, as the caller and as the provider saw it. */
export const latencyTable = () => panel({
  id: "latency-by", title: "By platform and model", query: "latency_by_platform_model",
  note: "Successful calls. Caller: as the application or gateway measured it. Provider: as its own log says.",
  load: async ({ params, signal }) => {
    const { rows } = await named("latency_by_platform_model", params, signal);
    if (rows.length === 0) return nothing();
    return table([
      { name: "platform", title: "Platform", show: (row) => nameOf(row.platform, "platform") }, { name: "model", title: "Model", show: (row) => nameOf(row.model, "model") },
      { name: "calls", title: "Calls", kind: "number", show: (row) => count(row.calls) },
      { name: "p50_ms", title: "p50", kind: "ms", note: "Caller" }, { name: "p95_ms", title: "p95", kind: "ms", note: "Caller" }, { name: "p99_ms", title: "p99", kind: "ms", note: "Caller" },
      { name: "provider_p50_ms", title: "Provider p50", kind: "ms" }, { name: "provider_p95_ms", title: "Provider p95", kind: "ms" },
      { name: "ttft_p50_ms", title: "First token p50", kind: "ms" }, { name: "ttft_p95_ms", title: "First token p95", kind: "ms" },
    ], rows, { label: "Latency by platform and model", most: 30 });
  },
});
