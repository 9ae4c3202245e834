// Puts the page together: header, the panels of each tab, and what is loaded when the state changes.

import { redraw } from "./chart.js";
import { sqlConsole } from "./console.js";
import { fill, h } from "./dom.js";
import { emptiness } from "./empty.js";
import { filterBar } from "./filters.js";
import { freshness } from "./fresh.js";
import { failover, failuresOverTime, healthMatrix, incidents } from "./health.js";
import { firstToken, latencyTable, wholeCalls } from "./latency.js";
import { login } from "./login.js";
import { figures, tokensOverTime } from "./overview.js";
import { rangePicker, resolve } from "./range.js";
import { coverage, delays, quarantine, seenBy, sourceList, unpriced } from "./sources.js";
import { sameModel, spendOverTime, topCallers, topSpenders } from "./spend.js";
import { current, href, onChange } from "./state.js";
import { isUtc, setZone, zoneName } from "./time.js";

const REFRESH_MS = 60_000;
const $ = (id) => document.getElementById(id);

const TABS = {
  overview: { title: "Overview", panels: () => [figures(noteEmpty), spendOverTime(6), tokensOverTime(6), topSpenders()] },
  spend: { title: "Spend", panels: () => [spendOverTime(), topSpenders(), topCallers(), sameModel()] },
  health: { title: "Health", panels: () => [healthMatrix(), incidents(), failuresOverTime(), failover()] },
  latency: { title: "Latency", panels: () => [wholeCalls(), firstToken(), latencyTable()] },
  sources: { title: "Sources", panels: () => [sourceList(), seenBy(), delays(), coverage(), unpriced(), quarantine()] },
  sql: { title: "SQL", panels: () => [sqlConsole()] },
};

const built = {};
let underWay = new AbortController();
let tabShown = null;

async function noteEmpty(context) {
  try {
    const notice = await emptiness(context);
    if (context.signal.aborted) return;
    // An empty store has nothing to draw.
    if (notice.id === "first") fill($("panels"), notice);
    else $("panels").prepend(notice);
  } catch { /* The panels tell it themselves. */ }
}

const picker = rangePicker($("range"));
const filters = filterBar($("filters"));
const drawFreshness = freshness($("freshness"));

function drawHeader(tab) {
  fill($("tabs"), Object.entries(TABS).map(([name, { title }]) => h("a", { href: href({ tab: name }), "aria-current": name === tab ? "page" : null }, title)));
  $("zone").title = `Times are shown in ${zoneName()}; the tooltip of a time has the other one`;
  fill($("zone"), isUtc() ? "UTC" : "Local");
  document.title = `${TABS[tab].title} – polymeter`;
  picker();
  filters.draw();
  drawFreshness();
}

/** Draws the present state, and asks for all of it. */
async function draw() {
  underWay.abort();
  underWay = new AbortController();
  const state = current();
  const tab = TABS[state.tab] ? state.tab : "overview";
  const context = { state, range: resolve(state), signal: underWay.signal };
  drawHeader(tab);
  built[tab] ??= TABS[tab].panels();
  const elements = built[tab].map((panel) => panel.element);
  if (tab !== tabShown || $("panels").querySelector(".notice")) fill($("panels"), elements);
  tabShown = tab;
  const ignore = () => {};
  filters.load(context.range, underWay.signal).catch(ignore);
  await Promise.all(built[tab].map((panel) => panel.show(context)));
}

onChange(draw);
// Links within the page are states: they are moved to, not loaded.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.('a[href^="#"]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (link.classList.contains("skip")) return void $("panels").focus();
  history.pushState(null, "", link.getAttribute("href"));
  draw();
});
$("refresh").addEventListener("click", draw);
$("theme").addEventListener("click", () => {
  document.dispatchEvent(new Event("polymeter:theme"));
  redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
$("zone").addEventListener("click", () => {
  setZone(isUtc() ? "local" : "utc");
  draw();
});
// A range that ends now goes on by itself, as long as somebody looks.
setInterval(() => {
  const { range, tab } = current();
  // Not under the eyes of who reads a part that would be made anew.
  const reading = document.querySelector(".numbers[open], .detail, .canvas:hover, .custom[open], dialog[open]");
  if ($("live").checked && range && tab !== "sql" && !reading && document.visibilityState === "visible") draw();
}, REFRESH_MS);

login($("logout"), draw);
draw();
