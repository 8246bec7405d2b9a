/** The HTTP API. The token is kept for this tab only, and never in an address of this page. */

const TOKEN = "cardume.token";
const WITHIN = 15_000;

export class Refused extends Error {
  /** @param {number} status 0: no answer @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
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
 * @param {string} path below /api/v1
 * @param {{method?: string, body?: BodyInit, token?: string|null}} [options] `token`: another one
 * @returns {Promise<any>} the answer; rejects with `Refused`
 */
export async function call(path, options = {}) {
  const { method = "GET", body, token: shown = token() } = options;
  /** @type {Record<string, string>} */
  const headers = shown === null ? {} : { Authorization: `Bearer ${shown}` };
  const signal = AbortSignal.timeout(WITHIN);
  const request = { method, body, headers, signal, cache: /** @type {const} */ ("no-store") };
  const response = await fetch(`api/v1/${path}`, request).catch(() => null);
  if (response === null) throw new Refused(0, "the server does not answer");
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    const why = answer?.detail ?? answer?.title ?? response.statusText;
    throw new Refused(response.status, typeof why === "string" ? why : `error ${response.status}`);
  }
  return answer;
}

/** @param {string} name @param {string} password @returns {Promise<string>} a token */
export async function logIn(name, password) {
  const body = new URLSearchParams({ grant_type: "password", username: name, password });
  return (await call("auth/token", { method: "POST", body, token: null })).access_token;
}

/** @returns {Promise<{id: number, name: string}[]>} the aquariums one may see */
export async function aquariums() {
  const all = [];
  let next = null;
  do {
    const page = await call(next === null ? "aquariums" : `aquariums?cursor=${encodeURIComponent(next)}`);
    all.push(...page.items);
    next = page.next;
  } while (next !== null);
  return all;
}

/**
 * A tile's line, from before this page was opened.
 * @param {number} aquariumId @param {import("./state.js").Tile} tile @param {number} span seconds
 * @param {number} now
 * @returns {Promise<import("./state.js").Point[]>}
 */
export async function history(aquariumId, tile, span, now) {
  const query = new URLSearchParams({
    metric: tile.metric,
    sensor_id: String(tile.sensorId),
    from: new Date(now - span * 1000).toISOString(),
    points: "120",
  });
  const found = await call(`aquariums/${aquariumId}/readings?${query}`);
  return found.items.map((/** @type {any} */ item) => ({
    t: Date.parse(item.measured_at) + found.resolution * 500,
    v: item.value ?? item.mean,
  }));
}
