// The board in a real browser (Chromium), on demo data: what it shows is held against the API's own answers.
//
// POLYMETER_BIN starts its own servers; POLYMETER_BOARD_URL takes one that runs with demo data instead.
// POLYMETER_SHOTS=DIR keeps screenshots.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const ENV = process.env.POLYMETER_TESTENV;
const { chromium } = await import(pathToFileURL(join(ENV, "npm/node_modules/playwright-core/index.mjs")));
const PATHS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const CHROMIUM = PATHS.find((path) => path && existsSync(path));
if (!CHROMIUM) {
  console.log("skipped: Chromium not installed (set CHROMIUM to its path)");
  process.exit(0);
}

let failed = 0;
function check(what, right, detail = "") {
  if (!right) failed += 1;
  console.log(`${right ? "ok" : "FAILED"} board: ${what}${detail === "" ? "" : ` (${detail})`}`);
}
const equal = (what, found, wanted) => {
  const right = JSON.stringify(found) === JSON.stringify(wanted);
  check(what, right, right ? "" : `found ${JSON.stringify(found)}, wanted ${JSON.stringify(wanted)}`);
};

// Servers

const places = [];
const children = [];
const freePort = () => new Promise((resolve) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});
async function serve(...more) {
  const place = mkdtempSync(join(tmpdir(), "polymeter-board-"));
  places.push(place);
  const port = await freePort();
  const at = ["--data", join(place, "data"), "--http", `127.0.0.1:${port}`, "--pg", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"];
  children.push(spawn(process.env.POLYMETER_BIN, ["serve", ...at, ...more], { stdio: "ignore", cwd: place }));
  const url = `http://127.0.0.1:${port}`;
  await until("the server is ready", 120, () => fetch(`${url}/readyz`).then((answer) => answer.ok, () => false));
  return url;
}
async function until(what, seconds, look) {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end;) {
    if (await look()) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`not within ${seconds} s: ${what}`);
}
const sql = async (url, text) => {
  const answer = await fetch(`${url}/api/v1/sql`, { method: "POST", body: JSON.stringify({ sql: text }) });
  return (await answer.json()).rows;
};
/** A named query as CSV: lines of fields, where every number still has all its digits. */
const csv = async (url, name, params) => {
  const answer = await fetch(`${url}/api/v1/queries/${name}?${new URLSearchParams({ ...params, format: "csv" })}`);
  const [head, ...lines] = (await answer.text()).trim().split("\n").map((line) => line.split(","));
  return lines.map((line) => Object.fromEntries(head.map((column, at) => [column, line[at]])));
};
/** Decimal texts as whole numbers of the twelfth fraction digit, and their sum. */
const sum = (texts) => String(texts.reduce((total, text) => total + BigInt(units(text)), 0n));
const units = (text) => String(BigInt((text.split(".")[0] || "0") + (text.split(".")[1] ?? "").padEnd(12, "0")));

let browser = null;
try {
  const url = process.env.POLYMETER_BOARD_URL ?? await serve("--demo");
  // A range in the past, and everything of it taken in: its numbers stay.
  let before = -1;
  await until("the demo data is taken in", 300, async () => {
    // About 50,000 in all; the newest come one a second.
    const [{ all, calls }] = await sql(url, "SELECT count(*) AS all, count(*) FILTER (WHERE ts < now() - interval '3 hours') AS calls FROM calls");
    const same = all > 45_000 && calls === before;
    before = calls;
    await new Promise((resolve) => setTimeout(resolve, 3000));
    return same;
  });
  const hour = Math.floor(Date.now() / 3_600_000) * 3_600_000;
  const [from, to] = [new Date(hour - 30 * 3_600_000).toISOString(), new Date(hour - 6 * 3_600_000).toISOString()];
  const past = { range: "", from, to };
  const link = (state) => `${url}/#${new URLSearchParams({ ...past, ...state })}`;

  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
  const problems = [];
  const elsewhere = [];
  /** A page that notes what must not happen. `expected` are texts of errors that a check brings about. */
  async function open(options = {}, expected = []) {
    const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, acceptDownloads: true, ...options });
    const page = await context.newPage();
    const note = (text) => { if (!expected.some((known) => text.includes(known))) problems.push(text); };
    // The console does not say which answer was none; the response does. What has no room in memory beside other questions (422) the
    // page asks once more; a panel that has none then is in trouble, and that is looked at.
    page.on("response", (response) => { if (response.status() >= 400 && response.status() !== 422) note(`${response.status()} ${response.url()} ${response.request().postData() ?? ""}`); });
    page.on("console", (message) => { if (["error", "warning"].includes(message.type()) && !message.text().startsWith("Failed to load resource")) note(`${message.type()}: ${message.text()}`); });
    page.on("pageerror", (error) => note(`uncaught: ${error.message}`));
    page.on("request", (request) => { if (!/^(blob:|data:)/.test(request.url()) && !request.url().startsWith(`${url}/`)) elsewhere.push(request.url()); });
    await page.addInitScript(() => document.addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}:${event.columnNumber}`)));
    return page;
  }
  const settled = (page) => page.waitForFunction(() => document.querySelector(".panel") && !document.querySelector("[aria-busy]"), null, { timeout: 60_000 });
  const shot = (page, name) => process.env.POLYMETER_SHOTS && page.screenshot({ path: join(process.env.POLYMETER_SHOTS, `${name}.png`), fullPage: true, caret: "initial" });
  const exact = (page) => page.getAttribute("#spend .total", "data-exact");
  const hash = (page) => new URLSearchParams(new URL(page.url()).hash.slice(1));

  // What is shown, against the API
  const page = await open({ colorScheme: "light" });
  const answer = await page.goto(link({}));
  check("the page has a strict policy", /^default-src 'none'/.test(answer.headers()["content-security-policy"] ?? "") && !/unsafe/.test(answer.headers()["content-security-policy"]));
  await settled(page);
  await shot(page, "overview");
  const [overview] = await csv(url, "overview", { from, to });
  const tile = (name) => page.locator(`[data-tile="${name}"] .big`).innerText();
  equal("calls are those of the API", (await tile("Calls")).replaceAll(",", ""), overview.calls);
  equal("money is the API's to the last digit", units((await tile("Cost")).replace("$", "").replaceAll(",", "")), units(overview.cost));
  equal("the sum over the buckets is the same money", units(await exact(page)), units(overview.cost));
  // By model, those without a price have no row of money: they are told all the same.
  await page.locator("#spend .segments button", { hasText: "Model" }).click();
  await settled(page);
  equal("calls without a price are told however it is cut", [await page.getAttribute("#spend .warn", "data-unpriced"), units(await exact(page))], [overview.unpriced_calls, units(overview.cost)]);
  await page.locator("#spend .segments button", { hasText: "Platform" }).click();
  await settled(page);
  check("completeness is told", /complete to/.test(await page.locator("#freshness").innerText()), await page.locator("#freshness").innerText());

  // The chart
  const platforms = await csv(url, "spend_by", { from, to, by: "platform" });
  equal("the chart has a series for each platform", Number(await page.getAttribute("#spend .chart", "data-series")), platforms.length);
  const legend = await page.locator("#spend .legend li").allInnerTexts();
  equal("its legend has their exact sums", legend.map((text) => units(text.split("$")[1].replaceAll(",", ""))), platforms.map((row) => units(row.cost)));
  const colours = await page.evaluate(() => {
    const canvas = document.querySelector("#spend canvas");
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const found = {};
    for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3] === 255) {
      const key = `${pixels[at]},${pixels[at + 1]},${pixels[at + 2]}`;
      found[key] = (found[key] ?? 0) + 1;
    }
    const style = getComputedStyle(document.documentElement);
    return [1, 2, 3, 4].map((one) => {
      const [, r, g, b] = /#(..)(..)(..)/.exec(style.getPropertyValue(`--series-${one}`).trim());
      return found[[r, g, b].map((part) => parseInt(part, 16)).join()] ?? 0;
    });
  });
  check("bars of every platform are drawn", colours.every((pixels) => pixels > 200), colours.join(" "));
  // How much of each colour there is follows the money: the picture is of these numbers.
  const shares = (values) => values.map((value) => value / values.reduce((a, b) => a + b, 0));
  const wanted = shares(platforms.slice(0, 4).map((row) => Number(row.cost)));
  const off = Math.max(...shares(colours).map((share, at) => Math.abs(share - wanted[at])));
  check("and as large as the money is", off < 0.02, `off by ${(100 * off).toFixed(1)} % of the area at most`);
  await page.locator("#spend .numbers summary").click();
  await page.locator("#spend .numbers tbody tr").first().waitFor();
  const cells = await page.locator("#spend .numbers tbody td[data-column='0']").allInnerTexts();
  equal("its numbers add up to the sum", sum(cells.filter((text) => text !== "–").map((text) => text.replace(/[$,]/g, ""))), units(platforms[0].cost));
  await page.mouse.move(0, 0);
  await page.hover("#spend .canvas", { position: { x: 400, y: 100 } });
  check("the pointer shows a bucket", /\d\d:\d\d – \d\d:\d\d/.test(await page.locator("#spend .when").innerText()), await page.locator("#spend .when").innerText());

  // Filters, tabs, range, back
  await page.selectOption("[data-filter=platform]", "aws.bedrock");
  await settled(page);
  const [bedrock] = await csv(url, "overview", { from, to, platform: "aws.bedrock" });
  equal("a filter narrows the money exactly", units(await exact(page)), units(bedrock.cost));
  check("and is another number", bedrock.cost !== overview.cost);
  equal("the filter is in the address", hash(page).get("platform"), "aws.bedrock");
  for (const tab of ["Spend", "Health", "Latency", "Sources", "SQL", "Overview"]) {
    await page.locator("#tabs a", { hasText: tab }).click();
    await settled(page);
    await shot(page, tab.toLowerCase());
    equal(`${tab} has no trouble`, await page.locator(".trouble").allInnerTexts(), []);
    equal(`${tab} keeps the filter`, hash(page).get("platform"), "aws.bedrock");
  }
  await page.locator("#tabs a", { hasText: "Health" }).click();
  await settled(page);
  const health = await csv(url, "provider_health", { from, to, platform: "aws.bedrock" });
  const found = await page.locator("#health [data-cell]").evaluateAll((cells) => cells.map((cell) => `${cell.dataset.cell} ${cell.dataset.calls}`));
  equal("the matrix has each place with its calls", found.sort(), health.map((row) => `${row.platform}/${row.region}/${row.model} ${row.calls}`).sort());
  const [worst] = [...health].sort((a, b) => b.calls - a.calls);
  await page.locator(`[data-cell="${worst.platform}/${worst.region}/${worst.model}"]`).click();
  check("a cell tells all of its place", (await page.locator("#health .said").innerText()).includes(`(${worst.errors})`));
  await page.locator("#range .segments button", { hasText: /^6h$/ }).click();
  await settled(page);
  equal("the range is in the address", [hash(page).get("range"), hash(page).get("from")], ["6h", null]);
  await page.goBack();
  await settled(page);
  equal("back goes to the range before", [hash(page).get("from"), await page.locator("#tabs [aria-current]").innerText()], [from, "Health"]);
  await page.reload();
  await settled(page);
  equal("a link keeps tab, range and filter", [await page.locator("#tabs [aria-current]").innerText(), hash(page).get("from"), await page.inputValue("[data-filter=platform]")], ["Health", from, "aws.bedrock"]);

  // What nobody said is a dash
  await page.goto(link({ tab: "spend" }));
  await settled(page);
  const models = await csv(url, "same_model_across_platforms", { from, to });
  const unpriced = models.find((row) => row.cost === "");
  const row = page.locator("#same-model tr", { hasText: unpriced?.model ?? "?" }).first();
  equal("no price is a dash, not 0", await row.locator("td[data-column=cost]").innerText(), "–");
  check("that says why", ((await row.locator("td[data-column=cost] .unknown").getAttribute("title")) ?? "").includes("not 0"));
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Same model, other cloud as CSV" }).click()]);
  const whole = await fetch(`${url}/api/v1/queries/same_model_across_platforms?${new URLSearchParams({ from, to, format: "csv" })}`);
  // Approximate percentiles differ from one run to the next: what is exact is compared.
  const firsts = (text) => text.trim().split("\n").map((line) => line.split(",").slice(0, 7).join());
  equal("a panel's CSV is the API's", firsts(readFileSync(await download.path(), "utf8")), firsts(await whole.text()));

  // The console
  await page.goto(link({ tab: "sql" }));
  await settled(page);
  const content = page.locator(".cm-content");
  await until("the editor knows the columns", 30, async () => (await page.locator(".schema details").count()) > 3);
  await content.click();
  await page.keyboard.press("Control+A");
  await page.keyboard.type("SELECT plat");
  const options = page.locator(".cm-tooltip-autocomplete li");
  await options.first().waitFor();
  equal("a column is offered", await options.first().locator(".cm-completionLabel").innerText(), "platform");
  await shot(page, "completion");
  // The editor takes no key for a choice in the moment in which the list appears.
  await page.waitForTimeout(200);
  await page.keyboard.press("Tab");
  await page.keyboard.type(", count(*) AS n, sum(cost) AS c FROM cal");
  await options.filter({ hasText: "calls" }).first().waitFor();
  equal("behind FROM a table", await options.first().locator(".cm-completionLabel").innerText(), "calls");
  await page.waitForTimeout(200);
  await page.keyboard.press("Tab");
  await page.keyboard.type(" WHERE ts >= $from AND ts < $to GROUP BY 1 ORDER BY 1 ");
  await page.keyboard.press("Control+Enter");
  await page.locator("[data-rows]").waitFor();
  await settled(page);
  const statement = "SELECT platform, count(*) AS n, sum(cost) AS c FROM calls WHERE ts >= $from AND ts < $to GROUP BY 1 ORDER BY 1";
  equal("the statement is in the address", hash(page).get("sql"), statement);
  const asked = await fetch(`${url}/api/v1/sql`, { method: "POST", body: JSON.stringify({ sql: statement, params: { from, to }, format: "csv" }) });
  const truth = (await asked.text()).trim().split("\n").slice(1);
  const shown = await page.locator(".answer tbody tr").evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.innerText).join()));
  equal("its answer is the API's, decimals whole", shown, truth);
  check("with types", /Decimal128/.test(await page.locator(".answer thead").innerText()));
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download CSV" }).click()]);
  equal("its CSV too", readFileSync(await file.path(), "utf8").trim().split("\n").slice(1), truth);
  await page.reload();
  await page.locator("[data-rows]").waitFor();
  equal("a link to a statement runs it", await page.locator(".answer tbody tr").count(), truth.length);

  const refused = await open({}, ["400", "403"]);
  await refused.goto(`${url}/#${new URLSearchParams({ tab: "sql", sql: "SELECT colour FROM calls" })}`);
  await refused.locator(".trouble").waitFor();
  check("an error comes with what to do", /Hint: /.test(await refused.locator(".trouble").innerText()), (await refused.locator(".trouble").innerText()).split("\n")[0]);
  await refused.goto(`${url}/#${new URLSearchParams({ tab: "sql", sql: "SELECT 1" })}`);
  await refused.locator("[data-rows]").waitFor();
  await settled(refused);
  // It hangs until the client leaves.
  await refused.route("**/api/v1/sql", () => {});
  await refused.getByRole("button", { name: "Run" }).click();
  await refused.getByRole("button", { name: "Cancel" }).click();
  await refused.getByText("Cancelled.").waitFor({ timeout: 5000 });
  check("a statement can be cancelled", true);
  for (const [status, code, advice] of [[429, "too_many", "Try again in 9 s"], [408, "timeout", "shorter time range"], [503, "unavailable", "Try again in a moment"]]) {
    const busy = await open({}, [String(status)]);
    await busy.route("**/api/v1/queries/overview?*", (route) => route.fulfill({
      status, headers: { "retry-after": "9" }, contentType: "application/json", body: JSON.stringify({ error: { code, message: "not now", hint: null } }),
    }));
    await busy.goto(link({}));
    await busy.locator("#figures .trouble").waitFor();
    check(`${status} says what to do`, (await busy.locator("#figures .trouble").innerText()).includes(advice));
    await busy.context().close();
  }

  const broken = await open();
  await broken.route("**/api/v1/queries/overview?*", (route) => route.fulfill({ status: 200, contentType: "application/json", body: '{"columns":[],"rows":[{"calls":1' }));
  await broken.goto(link({}));
  await broken.locator("#figures .trouble").waitFor();
  check("half an answer is none", (await broken.locator("#figures .trouble").innerText()).includes("broke off"));
  await broken.context().close();

  // Who is there
  const stranger = await open({}, ["401"]);
  await stranger.route("**/api/**", (route) => (route.request().headers().authorization === "Bearer right" ? route.continue() : route.fulfill({
    status: 401, headers: { "www-authenticate": 'Basic realm="polymeter"' }, contentType: "application/json",
    body: JSON.stringify({ error: { code: "unauthenticated", message: "log in first", hint: null } }),
  })));
  await stranger.goto(link({}));
  await stranger.locator("dialog[open]").waitFor();
  check("a 401 asks who is there", true);
  await stranger.fill("input[name=token]", "wrong");
  await stranger.keyboard.press("Enter");
  await stranger.locator("dialog[open] .problem", { hasText: "log in first" }).waitFor();
  await stranger.fill("input[name=token]", "right");
  await stranger.keyboard.press("Enter");
  await stranger.locator('[data-tile="Calls"]').waitFor();
  const kept = await stranger.evaluate(() => [JSON.stringify(localStorage), document.cookie, Object.values(sessionStorage).join()]);
  check("the token stays in this tab's session", !kept[0].includes("right") && kept[1] === "" && kept[2] === "Bearer right", kept.join(" | "));
  await stranger.getByRole("button", { name: "Log out" }).click();
  await stranger.locator("dialog[open]").waitFor();
  equal("and is forgotten", await stranger.evaluate(() => Object.keys(sessionStorage)), []);

  // Dark, phone, keyboard
  const background = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const night = await open({ colorScheme: "dark" });
  await night.goto(link({ tab: "health" }));
  await settled(night);
  await shot(night, "dark");
  const dark = await background(night);
  check("it is dark where the system is", Math.max(...dark.match(/\d+/g).map(Number)) < 60, dark);
  await night.click("#theme");
  check("and can be switched", Math.min(...(await background(night)).match(/\d+/g).map(Number)) > 200);
  await night.reload();
  check("for good", Math.min(...(await background(night)).match(/\d+/g).map(Number)) > 200);

  const phone = await open({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  for (const tab of ["overview", "spend", "health", "latency", "sources", "sql"]) {
    await phone.goto(link({ tab, ...(tab === "sql" ? { sql: "SELECT * FROM calls LIMIT 5" } : {}) }));
    await settled(phone);
    if (tab === "sql") await phone.locator("[data-rows]").waitFor();
    await shot(phone, `phone-${tab}`);
    const [width, sees] = await phone.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
    check(`${tab} fits a phone`, width <= sees && sees === 360, `${width} of ${sees}`);
  }
  await page.goto(link({}));
  await settled(page);
  const reached = new Set();
  for (let presses = 0; presses < 60; presses += 1) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement?.id || document.activeElement?.getAttribute("aria-label") || document.activeElement?.innerText));
  }
  check("the keyboard reaches tabs, filters and panels", ["Health", "platform", "theme", "Spend over time as CSV"].every((name) => reached.has(name)), [...reached].slice(0, 12).join(", "));
  const nameless = await page.evaluate(() => [...document.querySelectorAll("button, select, input, a, [role=img]")]
    .filter((one) => !one.closest("dialog") && !(one.getAttribute("aria-label") || one.textContent.trim() || one.closest("label") || one.title)).map((one) => one.outerHTML.slice(0, 80)));
  equal("every control has a name", nameless, []);

  // Nothing yet
  if (!process.env.POLYMETER_BOARD_URL || process.env.POLYMETER_EMPTY_URL) {
    const empty = process.env.POLYMETER_EMPTY_URL ?? await serve();
    const first = await browser.newPage();
    await first.goto(`${empty}/`);
    await first.locator("#first").waitFor({ timeout: 30_000 });
    if (process.env.POLYMETER_SHOTS) await first.screenshot({ path: join(process.env.POLYMETER_SHOTS, "empty.png") });
    check("an empty store says how to send the first record", /OTEL_EXPORTER_OTLP_ENDPOINT/.test(await first.locator("#first").innerText()));
  }

  equal("no error in the console, no violation of the policy", problems, []);
  equal("nothing is asked of another host", elsewhere, []);
} catch (error) {
  check("ran to its end", false, error.stack.split("\n").slice(0, 4).join(" | "));
} finally {
  await browser?.close();
  for (const child of children) child.kill("SIGKILL");
  for (const place of places) rmSync(place, { recursive: true, force: true });
}
process.exit(failed === 0 ? 0 : 1);
