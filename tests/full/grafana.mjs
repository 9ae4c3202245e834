// Holds the Grafana dashboards against Grafana's published types (npm @grafana/schema): the dashboard itself, and of every
// panel the options and field settings of its kind. Types become JSON schemas that allow nothing unknown. Broken copies
// must be found, or this test would test nothing.
import { createRequire } from "node:module";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "../..");
const modules = join(process.env.POLYMETER_TESTENV ?? join(root, "target/testenv"), "grafana/node_modules");
const require = createRequire(join(modules, "x.js"));
const { createGenerator } = require("ts-json-schema-generator");
const Ajv = require("ajv").default;

let failed = 0;
const say = (ok, what) => {
  console.log(`${ok ? "ok" : "FAILED"} grafana: ${what}`);
  failed += ok ? 0 : 1;
};

const KINDS = { stat: "stat", timeseries: "timeseries", "state-timeline": "statetimeline", table: "table", barchart: "barchart" };
const types = join(modules, "@grafana/schema/dist/types/raw");

// Where the package's generator looks for its own imports.
const work = mkdtempSync(join(modules, "..", "schemas-"));
const config = join(work, "tsconfig.json");
const options = { module: "esnext", moduleResolution: "bundler", target: "esnext", skipLibCheck: true, strict: true };

function validator(name, source, change = (schema) => schema) {
  const file = join(work, `${name}.ts`);
  writeFileSync(file, source);
  writeFileSync(config, JSON.stringify({ compilerOptions: options, files: [file] }));
  const made = createGenerator({ path: file, tsconfig: config, type: "It", skipTypeCheck: true, additionalProperties: false });
  return new Ajv({ strict: false, allErrors: true }).compile(change(made.createSchema("It")));
}

// Targets are those of each data source, and `mappings` is declared elsewhere (@grafana/data, AnnotationQuery).
function withTargets(schema) {
  const annotation = schema.definitions.AnnotationQuery.properties;
  annotation.target = { type: "object" };
  annotation.mappings = { type: "object" };
  return schema;
}

const board = validator("dashboard", `import type { Dashboard } from "${types}/dashboard/x/types.gen";\nexport type It = Dashboard;\n`, withTargets);
// The options of a kind of panel, or what it knows of fields; some kinds know nothing of fields.
const panel = (kind, what) => {
  const folder = join(types, `composable/${KINDS[kind]}/panelcfg/x`);
  const file = readdirSync(folder).find((name) => name.endsWith(".d.ts"));
  if (!new RegExp(`export (interface|type) ${what}\\b`).test(readFileSync(join(folder, file), "utf8"))) return undefined;
  const source = `import type { ${what} } from "${folder}/${file.replace(".d.ts", "")}";\nexport type It = Partial<${what}>;\n`;
  return validator(`${KINDS[kind]}-${what}`, source);
};
const panels = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, { options: panel(kind, "Options"), custom: panel(kind, "FieldConfig") }]));

say(Object.values(panels).every((known) => known.options), "the package knows the options of every kind of panel");

function faults(dashboard) {
  const found = [];
  const hold = (where, validate, value) => {
    if (validate && !validate(value)) {
      found.push(...validate.errors.map((error) => `${where}${error.instancePath} ${error.message} ${JSON.stringify(error.params)}`));
    }
  };
  hold("dashboard", board, dashboard);
  for (const one of dashboard.panels.filter((one) => one.type !== "row")) {
    const known = panels[one.type];
    if (!known) {
      found.push(`${one.title}: no kind of panel: ${one.type}`);
      continue;
    }
    hold(`${one.title}: options`, known.options, one.options);
    hold(`${one.title}: custom`, known.custom, one.fieldConfig.defaults.custom);
  }
  return found;
}

const read = (form, file) => JSON.parse(readFileSync(join(root, "dashboards", form, file), "utf8"));
for (const form of ["postgres", "infinity"]) {
  for (const file of readdirSync(join(root, "dashboards", form)).sort()) {
    const found = faults(read(form, file));
    found.slice(0, 5).forEach((fault) => console.log(`  ${fault}`));
    say(found.length === 0, `${form}/${file} fits the schema (${read(form, file).panels.length} panels)`);
  }
}

const breaks = {
  "a panel without a width": (d) => delete d.panels[0].gridPos.w,
  "a misspelt key of a panel": (d) => (d.panels[0].tilte = "x"),
  "an option that is not there": (d) => (d.panels[0].options.colour = "red"),
  "a value that is no mode": (d) => (d.panels[0].options.colorMode = "loud"),
  "a color mode that is not there": (d) => (d.panels[0].fieldConfig.defaults.color.mode = "rainbow"),
  "a threshold without a color": (d) => delete d.panels[0].fieldConfig.defaults.thresholds.steps[0].color,
  "a variable of no type": (d) => (d.templating.list[1].type = "qurey"),
  "no version": (d) => delete d.schemaVersion,
};
for (const [what, change] of Object.entries(breaks)) {
  const copy = read("postgres", "overview.json");
  change(copy);
  say(faults(copy).length > 0, `${what} is found`);
}
rmSync(work, { recursive: true });
process.exit(failed ? 1 : 0);
