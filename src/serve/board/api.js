// Questions to the HTTP API. Credentials live in this tab's session storage only and are sent as a header, never as a cookie.

import { parseExact } from "./exact.js";

const KEY = "polymeter.authorization";
/** Questions under way at once; the server answers eight, and others ask too. */
const AT_ONCE = 3;
const AGAIN_MS = 2000;

/** An answer that is none. `code` is the API's word, or `unreachable`. */
export class Refusal extends Error {
  constructor(status, { code, message, hint }, { retryAfter = null, request = null } = {}) {
    super(message);
    Object.assign(this, { status, code, hint, retryAfter, request });
  }
}

const onAnswer = new Set();
const onRefused = new Set();

/** Calls `listener` with the meta of each answer: how complete the sources are. */
export const watchAnswers = (listener) => onAnswer.add(listener);
/** Calls `listener` when credentials are missing or wrong. */
export const watchRefusals = (listener) => onRefused.add(listener);

export const isLoggedIn = () => sessionStorage.getItem(KEY) !== null;
export const logOut = () => keep(null);
export const logInWithToken = (token) => keep(`Bearer ${token}`);
export function logInWithPassword(name, password) {
  const bytes = new TextEncoder().encode(`${name}:${password}`);
  keep(`Basic ${btoa(String.fromCharCode(...bytes))}`);
}
function keep(authorization) {
  if (authorization === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, authorization);
  catalogue = null;
}

/** The named queries, once they were asked for with the present credentials. */
let catalogue = null;

let underWay = 0;
const waiting = [];

async function turn(signal) {
  if (underWay >= AT_ONCE) {
    await new Promise((resolve, reject) => {
      waiting.push(resolve);
      signal?.addEventListener("abort", () => {
        const at = waiting.indexOf(resolve);
        if (at >= 0) waiting.splice(at, 1);
        reject(signal.reason);
      });
    });
  } else {
    underWay += 1;
  }
}

function done() {
  const next = waiting.shift();
  if (next) next();
  else underWay -= 1;
}

/** One request; the answer as it came. Throws a `Refusal`. */
export async function request(path, { signal, body } = {}) {
  signal?.throwIfAborted();
  await turn(signal);
  try {
    const headers = {};
    const authorization = sessionStorage.getItem(KEY);
    if (authorization) headers.authorization = authorization;
    if (body) headers["content-type"] = "application/json";
    const options = { method: body ? "POST" : "GET", headers, signal, credentials: "omit" };
    if (body) options.body = JSON.stringify(body);
    let answer;
    try {
      answer = await fetch(path, options);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Refusal(0, {
        code: "unreachable", message: "polymeter does not answer",
        hint: "is it running, and is this network still the one it listens on?",
      });
    }
    // Who has logged in meanwhile is not asked again for what was asked before.
    if (!answer.ok) throw await refusal(answer, authorization === sessionStorage.getItem(KEY));
    return answer;
  } finally {
    done();
  }
}

async function refusal(answer, present) {
  const told = await answer.json().then((body) => body.error, () => null);
  const error = told ?? { code: "unreadable", message: `the answer was ${answer.status} ${answer.statusText}`, hint: null };
  const found = new Refusal(answer.status, error, {
    retryAfter: answer.headers.get("retry-after"), request: answer.headers.get("x-request-id"),
  });
  if (answer.status === 401 && present) for (const listener of onRefused) listener(found);
  return found;
}

/** What an answer holds. One that fails after its first rows ends before its end: it is none. */
async function whole(answer, signal, read) {
  try {
    return await read(answer);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal(answer.status, {
      code: "broken_off", message: "the answer broke off before its end", hint: "choose a shorter time range or a filter; the log of polymeter says why",
    }, { request: answer.headers.get("x-request-id") });
  }
}

/** An answer with columns, rows and meta: floats are numbers, decimals and large counts stay text. */
async function table(path, options) {
  const answer = await whole(await request(path, options), options.signal, async (answer) => parseExact(await answer.text()));
  for (const { name, type } of answer.columns) {
    if (!type.startsWith("Float")) continue;
    for (const row of answer.rows) if (typeof row[name] === "string") row[name] = Number(row[name]);
  }
  answer.meta.elapsed_ms = Number(answer.meta.elapsed_ms);
  for (const listener of onAnswer) listener(answer.meta);
  return answer;
}

const address = (name, params) => `/api/v1/queries/${name}?${new URLSearchParams(params)}`;

/** The answer of a named query. What had no room in memory beside other questions is asked once more when they are through. */
export async function named(name, params, signal) {
  try {
    return await table(address(name, params), { signal });
  } catch (error) {
    if (error.code !== "too_large") throw error;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    return table(address(name, params), { signal });
  }
}
/** The answer of a named query as CSV. */
export const namedCsv = async (name, params) => whole(await request(address(name, { ...params, format: "csv" })), null, (answer) => answer.blob());
/** The answer of a statement. */
export const sql = (text, params, signal) => table("/api/v1/sql", { signal, body: { sql: text, params } });
/** The answer of a statement as CSV. */
export const sqlCsv = async (text, params, signal) =>
  whole(await request("/api/v1/sql", { signal, body: { sql: text, params, format: "csv" } }), signal, (answer) => answer.blob());
/** State of the sources. */
export const sources = async (signal) => (await (await request("/api/v1/sources", { signal })).json()).sources;

/** The named queries by name: what they answer, their parameters, their statements. Asked for once, for all who want it. */
export function queries() {
  catalogue ??= request("/api/v1/queries")
    .then((answer) => answer.json())
    .then((answer) => new Map(answer.queries.map((query) => [query.name, query])));
  const asked = catalogue;
  asked.catch(() => { if (catalogue === asked) catalogue = null; });
  return asked;
}
