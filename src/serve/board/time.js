// Instants in the viewer's zone or in UTC, whichever is switched on; the other one is in the tooltip.

import { h } from "./dom.js";
import { unknown } from "./format.js";

const KEY = "polymeter.zone";
let zone = localStorage.getItem(KEY) === "utc" ? "utc" : "local";

export const isUtc = () => zone === "utc";
export const zoneName = () => (isUtc() ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone || "local time");

export function setZone(next) {
  zone = next;
  localStorage.setItem(KEY, next);
}

const pad = (number) => String(number).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function parts(date, utc) {
  return utc
    ? [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate(), date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()]
    : [date.getFullYear(), date.getMonth(), date.getDate(), date.getHours(), date.getMinutes(), date.getSeconds()];
}

/** `21 Nov 14:32`, with seconds or only the day if asked; the year where it is another one. */
export function text(instant, { utc = isUtc(), seconds = false, dayOnly = false } = {}) {
  const date = new Date(instant);
  const [year, month, day, hours, minutes, secs] = parts(date, utc);
  const thisYear = parts(new Date(), utc)[0];
  const start = `${day} ${MONTHS[month]}${year === thisYear ? "" : ` ${year}`}`;
  if (dayOnly) return start;
  return `${start} ${pad(hours)}:${pad(minutes)}${seconds ? `:${pad(secs)}` : ""}`;
}

/** `14:32` today, else with the day. */
export function brief(instant) {
  const [now, then] = [parts(new Date(), isUtc()), parts(new Date(instant), isUtc())];
  const today = now.slice(0, 3).join() === then.slice(0, 3).join();
  return today ? `${pad(then[3])}:${pad(then[4])}` : text(instant);
}

/** An element for an instant. */
export function time(instant, options = {}) {
  if (!instant) return unknown("never");
  const other = `${text(instant, { utc: !isUtc(), seconds: true })} ${isUtc() ? "here" : "UTC"}`;
  return h("time", { datetime: new Date(instant).toISOString(), title: other }, text(instant, options));
}

/** The value of a datetime-local field, and back. */
export function toField(instant) {
  const [year, month, day, hours, minutes] = parts(new Date(instant), isUtc());
  return `${year}-${pad(month + 1)}-${pad(day)}T${pad(hours)}:${pad(minutes)}`;
}
export const fromField = (value) => new Date(isUtc() ? `${value}Z` : value);

/** `3 min`, `2 h`, `5 days`. */
export function ago(milliseconds) {
  const minutes = Math.round(milliseconds / 60_000);
  if (minutes < 1) return "under a minute";
  if (minutes < 120) return `${minutes} min`;
  return minutes < 48 * 60 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} days`;
}
