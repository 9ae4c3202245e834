// How values are shown. What nobody reported is a dash that says so, never a 0.

import { h } from "./dom.js";
import { money } from "./exact.js";

const whole = new Intl.NumberFormat("en");
const SYMBOLS = { USD: "$", EUR: "€", GBP: "£", JPY: "¥" };

/** The dash for NULL. */
export function unknown(why = "not known: no record says; this is not 0") {
  return h("span", { class: "unknown", title: why, role: "img", "aria-label": why }, "–");
}

const missing = (value) => value === null || value === undefined || value === "";

export function count(value) {
  return missing(value) ? unknown() : whole.format(typeof value === "string" ? BigInt(value) : value);
}

/** 25572442 → 25.6 M, with the whole number in the tooltip. */
export function compact(value) {
  return missing(value) ? unknown() : h("span", { title: whole.format(BigInt(value)) }, short(Number(value)));
}

/** Three digits and a unit. */
export function short(value) {
  const size = Math.abs(value);
  const [by, unit] = size >= 1e9 ? [1e9, " G"] : size >= 1e6 ? [1e6, " M"] : size >= 1e4 ? [1e3, " k"] : [1, ""];
  if (by === 1 && Number.isInteger(value)) return whole.format(value);
  return digits3(value / by) + unit;
}

const digits3 = (value) => value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);

/** The same for axes: 2 M instead of 2.00 M. */
export const round = (value) => short(value).replace(/(\.\d*?)0+(?=\D*$)/, "$1").replace(/\.(?=\D*$)/, "");

export function percent(value) {
  if (missing(value)) return unknown("not known: no outcome is known");
  const share = Number(value) * 100;
  return `${share === 0 ? "0" : share < 0.01 ? "<0.01" : share.toFixed(share < 10 ? 2 : 1)} %`;
}

export function milliseconds(value) {
  if (missing(value)) return unknown("not known: nobody measured it");
  return duration(Number(value));
}

export function duration(value) {
  if (value >= 7_200_000) return `${digits3(value / 3_600_000)} h`;
  if (value >= 60_000) return `${digits3(value / 60_000)} min`;
  return value >= 1000 ? `${digits3(value / 1000)} s` : `${Math.round(value)} ms`;
}

/** All digits that the API gave; those behind the cents are fainter. */
export function amount(text, currency) {
  if (missing(text)) return unknown("no price is known for any of these calls; this is not 0");
  const { main, rest } = money(String(text));
  const symbol = SYMBOLS[currency];
  const before = symbol && main.startsWith("−") ? `−${symbol}${main.slice(1)}` : `${symbol ?? ""}${main}`;
  return h("span", { class: "money" }, before, rest && h("span", { class: "fraction" }, rest),
    symbol || !currency ? null : h("span", { class: "unit" }, ` ${currency}`));
}

/** The name of a group; NULL is a group of its own. */
export function named(value, column) {
  return missing(value) ? h("span", { class: "nobody", title: "no record and no rule names one" }, `no ${column}`) : value;
}
