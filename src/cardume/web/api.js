/** The HTTP API. The token is kept for this tab only, and never in an address of this page. */

const TOKEN = "cardume.token";
const WITHIN = 15_000;

export class Refused extends Error {
  /** @param {number} status 0: no answer @param {string} message @param {any} [details] all that was said of it */
  constructor(status, message, details = {}) {
    super(message);
    this.status = status;
    this.details = details;
  }
}

/** @returns {string|null} */
export function token() {
  return sessionStorage.getItem(TOKEN);
}

/** @param {string|null} value */
export function keepToken(value) {
  if (value === null) sessionStorage.removeItem(TOKEN);
  else sessionStorage.setItem(TOKEN, value);
}

/**
 * @param {string} path from the root of the server
 * @param {{method?: string, body?: BodyInit, json?: object, token?: string|null}} [options]
 *   `json`: a body; `token`: another one than that of this tab
 * @returns {Promise<any>} the answer; rejects with `Refused`
 */
export async function request(path, options = {}) {
  const { method = "GET", json, token: shown = token() } = options;
  /** @type {Record<string, string>} */
  const headers = shown === null ? {} : { Authorization: `Bearer ${shown}` };
  if (json) headers["Content-Type"] = "application/json";
  const body = json ? JSON.stringify(json) : options.body;
  const signal = AbortSignal.timeout(WITHIN);
  const asked = { method, body, headers, signal, cache: /** @type {const} */ ("no-store") };
  const response = await fetch(path, asked).catch(() => null);
  if (response === null) throw new Refused(0, "the server does not answer");
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    const why = answer?.detail ?? answer?.title ?? response.statusText;
    throw new Refused(response.status, typeof why === "string" && why ? why : `error ${response.status}`, answer ?? {});
  }
  return answer;
}

/** @param {string} path below /api/v1 @param {Parameters<typeof request>[1]} [options] @returns {Promise<any>} */
export function call(path, options) {
  return request(`api/v1/${path}`, options);
}

/** @param {string} path @param {object} [json] @returns {Promise<any>} */
export function post(path, json = {}) {
  return request(path, { method: "POST", json });
}

/**
 * All items of a paged list, or the first `most` of them.
 * @param {string} path from the root of the server @param {number} [most]
 * @returns {Promise<any[]>}
 */
export async function list(path, most = Infinity) {
  const all = [];
  let next = null;
  do {
    const cursor = next === null ? "" : `${path.includes("?") ? "&" : "?"}cursor=${encodeURIComponent(next)}`;
    const page = await request(path + cursor);
    all.push(...page.items);
    next = page.next;
  } while (next !== null && all.length < most);
  return all.slice(0, most);
}

/** @param {string} name @param {string} password @returns {Promise<string>} a token */
export async function logIn(name, password) {
  const body = new URLSearchParams({ grant_type: "password", username: name, password });
  return (await call("auth/token", { method: "POST", body, token: null })).access_token;
}

/** @returns {Promise<string[]>} the apps that run here */
export async function apps() {
  return (await request("health")).apps ?? ["aquarium"];
}
