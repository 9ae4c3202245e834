// What is shown when there is nothing to show: how to send the first record, or where the newest call is.

import { sources, sql } from "./api.js";
import { h } from "./dom.js";
import { change, FILTERS } from "./state.js";
import { time } from "./time.js";

const code = (text) => h("pre", { tabindex: "0" }, h("code", {}, text));

/** The port that takes OTLP over HTTP. */
async function port(signal) {
  const { otlp } = await sources(signal).catch(() => ({}));
  const found = /:(\d+) \(HTTP\)/.exec(otlp?.location ?? "");
  return found && found[1] !== "0" ? found[1] : "4318";
}

/** What to do about an empty range. */
export async function emptiness({ state, signal }) {
  const { rows: [row] } = await sql("SELECT max(ts) AS latest FROM calls", {}, signal);
  if (row.latest) {
    const end = new Date(Date.parse(row.latest) + 60_000);
    return h("section", { class: "panel span-12 notice", id: "outside" }, h("h2", {}, "No call in this time range with these filters"),
      h("p", {}, "The newest call of the store is of ", time(row.latest), "."),
      h("p", { class: "buttons" },
        h("button", { type: "button", class: "primary", onclick: () => change({ range: "", from: new Date(end - 86_400_000).toISOString(), to: end.toISOString() }) }, "Show the day before it"),
        FILTERS.some((filter) => state[filter]) && h("button", { type: "button", onclick: () => change(Object.fromEntries(FILTERS.map((filter) => [filter, ""]))) }, "Clear filters")));
  }
  const receiver = await port(signal);
  return h("section", { class: "panel span-12 notice", id: "first" },
    h("h2", {}, "Nothing has arrived yet"),
    h("p", {}, "Send the first record in one of these ways; this page shows it a moment later."),
    h("h3", {}, "From an application or a gateway that speaks OpenTelemetry"),
    code(`export OTEL_EXPORTER_OTLP_ENDPOINT=http://${location.hostname}:${receiver}`),
    h("h3", {}, "From logs that you have"),
    code("polymeter import bedrock s3://my-bucket/prefix/AWSLogs/\npolymeter import azure ./insights-logs-requestresponse"),
    h("h3", {}, "From buckets, queues and log groups, for good"),
    code("polymeter serve --config polymeter.toml"),
    h("h3", {}, "Only to look around"),
    code("polymeter serve --demo"));
}
