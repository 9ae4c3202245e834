// Draws what the panels asked (kept by grafana_backend.py) with Grafana's own front end code, npm @grafana/data: its transformations,
// reducers, units and names. What a panel would show must be there, and be the number of the answer.
import { createRequire } from "node:module";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "../..");
const env = process.env.POLYMETER_TESTENV ?? join(root, "target/testenv");
const require = createRequire(join(env, "grafana/node_modules/x.js"));
const grafana = require("@grafana/data");
// What it asks of a browser: the language, and whether it runs in a newer kind of dashboard.
globalThis.window = globalThis;
globalThis.navigator ??= { language: "en-US", languages: ["en-US"] };
const { firstValueFrom, map } = require("rxjs");

let failed = 0;
const say = (ok, what, detail = "") => {
  console.log(`${ok ? "ok" : "FAILED"} grafana_panels: ${what}${detail === "" ? "" : ` (${detail})`}`);
  failed += ok ? 0 : 1;
};

const { standardTransformers, standardTransformersRegistry } = grafana;
const known = [...new Map(Object.values(standardTransformers).map((one) => [one.id, one])).values()];
// The package lacks this one: a series for each number and each set of texts, which is what its documentation says of `multi`.
const prepareTimeSeries = {
  id: "prepareTimeSeries",
  name: "Prepare time series",
  operator: () => (source) => source.pipe(map(prepareTimeSeries.transformer())),
  transformer: () => (frames) =>
    frames.flatMap((frame) => {
      const time = frame.fields.find((field) => field.type === "time");
      const texts = frame.fields.filter((field) => field.type === "string");
      const rows = new Map();
      for (let row = 0; row < frame.length; row++) {
        const key = JSON.stringify(texts.map((field) => field.values[row]));
        rows.set(key, [...(rows.get(key) ?? []), row]);
      }
      const numbers = frame.fields.filter((field) => field.type === "number");
      return [...rows].flatMap(([key, at]) =>
        numbers.map((number) => {
          const labels = Object.fromEntries(JSON.parse(key).map((text, i) => [texts[i].name, text]));
          const of = (field, more) => ({ ...field, ...more, config: { ...field.config }, state: undefined, values: at.map((row) => field.values[row]) });
          return { ...frame, fields: [of(time), of(number, { labels })], length: at.length };
        }),
      );
    }),
};
standardTransformersRegistry.setInit(() =>
  [...known, prepareTimeSeries].map((one) => ({ id: one.id, name: one.name, transformation: async () => one, aliasIds: one.aliasIds })),
);

// Settings of a field that the dashboards use.
const settings = ["unit", "decimals", "min", "max", "displayName", "noValue", "thresholds", "mappings", "color", "links"];
const processes = { displayName: grafana.displayNameOverrideProcessor };
const registry = new grafana.FieldConfigOptionsRegistry(() =>
  settings.map((path) => ({
    id: path, path, name: path, isCustom: false, settings: { expandTemplateVars: true }, process: processes[path] ?? ((value) => value),
    shouldApply: () => true, override: () => null, editor: () => null,
  })),
);
const theme = grafana.createTheme();
const replaceVariables = (text, scoped) =>
  text.replace(/\$\{__field\.(?:name|labels\.(\w+))\}/g, (_, label) => {
    const { field } = scoped.__dataContext.value;
    return (label ? field.labels?.[label] : field.name) ?? "";
  });

async function drawn(panel, json) {
  const interpolate = { interpolate: replaceVariables };
  const frames = await firstValueFrom(grafana.transformDataFrame(panel.transformations ?? [], [grafana.dataFrameFromJSON(json)], interpolate));
  return grafana.applyFieldOverrides({ data: frames, fieldConfig: panel.fieldConfig, replaceVariables, theme, timeZone: "utc", fieldConfigRegistry: registry });
}

// What is wrong with a panel as it would be drawn.
function faults(panel, data, answer) {
  const names = answer.schema.fields.map((field) => field.name);
  const column = (name) => answer.data.values[names.indexOf(name)];
  const shown = panel.transformations[0].options.include.names;
  const wrong = [];
  if (panel.type === "stat") {
    const values = grafana.getFieldDisplayValues({
      fieldConfig: panel.fieldConfig, reduceOptions: panel.options.reduceOptions, data, theme, replaceVariables, timeZone: "utc",
    });
    const wanted = shown.filter((name) => panel.options.reduceOptions.fields === "/.*/" || typeof column(name)[0] === "number");
    if (values.length === 0) wrong.push("shows nothing");
    for (const value of values) {
      if (value.display.text === "" || /NaN|undefined/.test(value.display.text)) wrong.push(`shows '${value.display.text}'`);
    }
    for (const name of wanted) {
      const real = column(name).findLast((one) => one !== null) ?? null;
      if (!values.some((value) => value.display.numeric === real || value.display.text === String(real) || (real === null && value.display.text === "unknown"))) {
        wrong.push(`${name} is ${real}, shows ${values.map((value) => value.display.text)}`);
      }
    }
    return wrong;
  }
  if (["timeseries", "state-timeline"].includes(panel.type)) {
    const series = new Set();
    let points = 0;
    for (const frame of data) {
      const [time, number] = frame.fields;
      const name = grafana.getFieldDisplayName(number, frame, data);
      if (series.has(name)) wrong.push(`two series are called '${name}'`);
      series.add(name);
      points += number.values.filter((value) => value !== null).length;
      if (time.values.some((value, i) => i > 0 && value <= time.values[i - 1])) wrong.push(`'${name}': times are not in order, or one comes twice`);
    }
    const numbers = shown.filter((name) => answer.schema.fields[names.indexOf(name)].type === "number");
    const real = numbers.reduce((sum, name) => sum + column(name).filter((value) => value !== null).length, 0);
    if (points !== real || points === 0) wrong.push(`draws ${points} points of ${real}`);
    return wrong;
  }
  const [frame] = data;
  if (data.length !== 1 || frame.length !== column(shown[0]).length) wrong.push(`${data.length} tables, ${frame?.length} rows of ${column(shown[0]).length}`);
  for (const field of frame.fields) {
    if (!shown.includes(field.name)) wrong.push(`shows ${field.name}`);
    const text = field.display(field.values.find((value) => value !== null));
    if (/NaN|undefined|Invalid/.test(text.text)) wrong.push(`${field.name} shows '${text.text}'`);
  }
  if (frame.fields.length !== shown.length) wrong.push(`shows ${frame.fields.map((field) => field.name)}, wanted ${shown}`);
  const order = panel.transformations.find((one) => one.id === "organize")?.options.indexByName;
  if (order && frame.fields.some((field, i) => order[field.name] !== i)) wrong.push(`columns stand as ${frame.fields.map((field) => field.name)}`);
  return wrong;
}

const boards = { postgres: [], infinity: [] };
for (const form of Object.keys(boards)) {
  const folder = join(root, "dashboards", form);
  boards[form] = readdirSync(folder).map((file) => JSON.parse(readFileSync(join(folder, file), "utf8")));
}
const counts = {};
let breaks = 0;
let wrong = 0;
for (const line of readFileSync(join(env, "grafana-answers.jsonl"), "utf8").trim().split("\n")) {
  const one = JSON.parse(line);
  const panel = boards[one.form].find((board) => board.title === one.board).panels.find((panel) => panel.id === one.panel);
  let found;
  try {
    found = faults(panel, await drawn(panel, one.frame), one.frame);
    // A number that is not that of the answer must be noticed, or this would test nothing.
    if (panel.type === "stat") {
      const broken = structuredClone(one.frame);
      broken.data.values = broken.data.values.map((values) => values.map((value) => (typeof value === "number" ? value + 1.5 : value)));
      breaks += faults(panel, await drawn(panel, broken), one.frame).length > 0 ? 1 : 0;
    }
  } catch (error) {
    found = [error.stack];
  }
  found.slice(0, 3).forEach((fault) => console.log(`  ${one.form}: ${one.board} / ${panel.title}: ${fault}`));
  wrong += found.length;
  counts[`${one.form} ${panel.type}`] = (counts[`${one.form} ${panel.type}`] ?? 0) + 1;
}
say(wrong === 0, "every panel draws its answer", Object.entries(counts).map(([kind, count]) => `${count} ${kind}`).join(", "));
say(breaks > 5, "a wrong number on a panel is found", breaks);
process.exit(failed ? 1 : 0);
