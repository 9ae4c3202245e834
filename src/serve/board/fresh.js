// How complete the figures are: every answer says up to when each source is complete.

import { watchAnswers } from "./api.js";
import { fill, h } from "./dom.js";
import { LATE_MS } from "./sources.js";
import { href } from "./state.js";
import { ago, brief, text } from "./time.js";

/** Keeps `host` up to date. Returns what draws it again. */
export function freshness(host) {
  let complete = null;
  let shown = null;
  const draw = () => {
    if (complete === null) return fill(host);
    const sources = Object.entries(complete);
    const known = sources.filter(([, to]) => to !== null);
    const late = known.filter(([, to]) => Date.now() - Date.parse(to) > LATE_MS);
    const silent = sources.length - known.length;
    const oldest = known.map(([, to]) => Date.parse(to)).sort((a, b) => a - b)[0];
    const words = [
      oldest === undefined ? "no source has said anything yet" : `complete to ${brief(oldest)}`,
      late.length > 0 && `${late.length} ${late.length === 1 ? "source" : "sources"} late`,
      silent > 0 && oldest !== undefined && `${silent} silent`,
    ].filter(Boolean);
    const each = sources.map(([name, to]) => `${name}: ${to === null ? "nothing yet" : `${text(to, { utc: true, seconds: true })} UTC, ${ago(Date.now() - Date.parse(to))} ago`}`);
    // Told only when it changes: it is read aloud.
    if (shown === words.join() + each.join()) return host;
    shown = words.join() + each.join();
    return fill(host, h("a", { class: `chip ${late.length > 0 || silent > 0 ? "watch" : "good"}`, href: href({ tab: "sources" }), title: each.join("\n") },
      late.length > 0 || silent > 0 ? "▲ " : "", words.join(", ")));
  };
  watchAnswers((meta) => {
    complete = meta.complete_to;
    draw();
  });
  return draw;
}
