/**
 * What the page knows of one aquarium: a pure function from what the server sent to what is shown.
 *
 * A snapshot holds everything up to its offset and may already hold later events, so an event that
 * is older than what is known changes nothing: readings go by `measured_at`, devices by
 * `state_version`, alerts by `version`.
 *
 * @typedef {import("./lines.js").Point} Point @typedef {import("./lines.js").Past} Past
 * @typedef {{key: string, metric: string, sensorId: number|null, deviceId: string|null,
 *   sensor: string|null, value: number|null, unit: string|null, at: number|null,
 *   origin: string|null, target: {low: number|null, high: number|null}|null,
 *   decimals: number, points: Point[], past: Past|null}} Tile
 * @typedef {{device_id: string, name: string|null, status: string, reason?: string,
 *   status_since?: string, last_seen_at: string|null, state_version?: number,
 *   expected_interval_seconds: number|null}} Device  its `status` is the last one known
 * @typedef {{id: number, kind: string, severity: string, state: string, title: string,
 *   message: string, started_at: string, version: number, cleared_at?: string|null,
 *   acked_at?: string|null, acked_by?: string|null, ack_note?: string|null,
 *   last_occurred_at?: string, shelved_until?: string|null}} Alert
 * @typedef {{aquarium: {id: number, name: string, created_at: string}|null, tiles: Record<string, Tile>,
 *   devices: Record<string, Device>, alerts: Record<number, Alert>,
 *   commands: import("./commandlog.js").Log, hub: Hub, span: number}} State
 * @typedef {{link: string, since: string|null}} Hub  whether it hears devices: up, resync, down
 * @typedef {{type: string, data: any}} Event
 */

import { withCommands } from "./commandlog.js";
import { extended } from "./lines.js";
import { time } from "../../words.js";

/** Cleared alerts and news that are kept to be looked at. */
const EARLIER = 8;

/** Digits after the point that anybody reads. */
const DECIMALS = 3;

/** @returns {State} Nothing known yet; lines reach back `span` seconds. */
export function initial(span = 600) {
  return { aquarium: null, tiles: {}, devices: {}, alerts: {}, commands: {}, hub: { link: "up", since: null }, span };
}

/** @param {State} state @param {Event} event @returns {State} the next one; types it does not know change nothing */
export function reduce(state, event) {
  const step = Object.hasOwn(STEPS, event.type) ? STEPS[event.type] : undefined;
  return step ? step(state, event.data) : state;
}

/** @type {Record<string, (state: State, data: any) => State>} */
const STEPS = {
  snapshot,
  reading,
  history,
  span: (state, span) => ({ ...state, span, tiles: mapValues(state.tiles, (tile) => ({ ...tile, points: tile.points.slice(-1), past: null })) }),
  device_status: deviceStatus,
  device_command: (state, command) => commanded(state, { deviceId: command.device_id, items: [command] }),
  commands: commanded,
  alert: (state, alert) => withAlert(state, alert),
  alert_ack: acked,
  hub_status: (state, hub) => ({ ...state, hub }),
};

/** @param {State} state @param {any} data @returns {State} */
function snapshot(state, data) {
  /** @type {Record<string, Tile>} */
  const tiles = {};
  for (const metric of data.metrics) {
    const key = tileKey(metric.metric, metric.sensor_id);
    const at = time(metric.measured_at);
    const known = state.tiles[key];
    const tile = {
      key,
      metric: metric.metric,
      sensorId: metric.sensor_id,
      deviceId: metric.device_id,
      sensor: metric.sensor,
      value: metric.value,
      unit: metric.unit,
      at,
      origin: metric.origin,
      target: metric.target,
      decimals: Math.max(known?.decimals ?? 0, decimalsOf(metric.value)),
      points: known?.points ?? [],
      past: known?.past ?? null,
    };
    tiles[key] = at === null ? tile : { ...tile, points: extended(tile.points, at, metric.value, state.span) };
  }
  const devices = Object.fromEntries(
    data.devices.map((/** @type {any} */ device) => [device.device_id, { ...device, status: device.last_known_status ?? device.status }]),
  );
  // What was open and is not in the snapshot was cleared while we were away. Another database may
  // use the same ids for other things.
  const same = state.aquarium?.created_at === data.aquarium.created_at;
  const over = Object.values(state.alerts).filter((alert) => same && alert.cleared_at);
  const alerts = Object.fromEntries([...over, ...data.alerts].map((alert) => [alert.id, alert]));
  const commands = same ? state.commands : {};
  return { ...state, aquarium: data.aquarium, tiles, devices, alerts: bounded(alerts), commands, hub: data.link };
}

/** @param {State} state @param {any} data @returns {State} */
function reading(state, data) {
  const key = tileKey(data.metric, data.sensor_id);
  const at = /** @type {number} */ (time(data.measured_at));
  const awaited = tileKey(data.metric, null);
  const known = state.tiles[key];
  const devices = seen(state.devices, data);
  if (known && known.at !== null && at < known.at) return { ...state, devices };
  const sibling = Object.values(state.tiles).find((tile) => tile.metric === data.metric);
  const tile = {
    key,
    metric: data.metric,
    sensorId: data.sensor_id,
    deviceId: data.device_id ?? null,
    sensor: known?.sensor ?? null,
    value: data.value,
    unit: data.unit,
    at,
    origin: data.origin,
    target: known?.target ?? sibling?.target ?? null,
    decimals: Math.max(known?.decimals ?? 0, decimalsOf(data.value)),
    points: extended(known?.points ?? [], at, data.value, state.span),
    past: known?.past ?? null,
  };
  const { [awaited]: _gone, ...others } = state.tiles;
  return { ...state, devices, tiles: { ...others, [key]: tile } };
}

/**
 * What the server has kept, and what came since.
 * @param {State} state @param {{key: string, points: Point[], past?: Past|null}} data @returns {State}
 */
function history(state, { key, points, past = null }) {
  const tile = state.tiles[key];
  const last = points.at(-1);
  if (!tile || !last) return state;
  const newer = tile.points.filter((point) => point.t > last.t);
  return { ...state, tiles: { ...state.tiles, [key]: { ...tile, past, points: [...points, ...newer] } } };
}

/** @param {State} state @param {{deviceId: string, items: import("./commandlog.js").Command[]}} data @returns {State} */
function commanded(state, { deviceId, items }) {
  return { ...state, commands: withCommands(state.commands, deviceId, items) };
}

/** @param {State} state @param {any} data @returns {State} */
function deviceStatus(state, data) {
  const known = /** @type {Device|undefined} */ (state.devices[data.device_id]);
  if (known && (known.state_version ?? -1) > data.state_version) return state;
  const { device_id, status, reason, status_since, last_seen_at, state_version } = data;
  const device = {
    name: null,
    expected_interval_seconds: null,
    ...known,
    ...{ device_id, status, reason, status_since, state_version },
    last_seen_at: later(known?.last_seen_at ?? null, last_seen_at),
  };
  return { ...state, devices: { ...state.devices, [device_id]: device } };
}

/** @param {State} state @param {any} data @returns {State} */
function acked(state, { id, acked_by, acked_at, note, version }) {
  const known = state.alerts[id];
  if (!known) return state;
  const after = known.state.replace("_unack", "_ack");
  return withAlert(state, { ...known, state: after, acked_by, acked_at, ack_note: note ?? null, version });
}

/** @param {State} state @param {Alert} alert @returns {State} */
function withAlert(state, alert) {
  const known = state.alerts[alert.id];
  if (known && known.version > alert.version) return state;
  return { ...state, alerts: bounded({ ...state.alerts, [alert.id]: alert }) };
}

/** @param {Record<number, Alert>} alerts @returns {Record<number, Alert>} all open ones, the last few that are over */
function bounded(alerts) {
  const all = Object.values(alerts);
  const over = all.filter((alert) => alert.cleared_at).sort(newestFirst);
  return over.length <= EARLIER
    ? alerts
    : Object.fromEntries([...all.filter((alert) => !alert.cleared_at), ...over.slice(0, EARLIER)].map((a) => [a.id, a]));
}

/** @param {Record<string, Device>} devices @param {any} data @returns {Record<string, Device>} */
function seen(devices, data) {
  const device = devices[data.device_id];
  if (!device || data.origin !== "sensor") return devices;
  const last_seen_at = later(device.last_seen_at, data.received_at);
  return { ...devices, [device.device_id]: { ...device, last_seen_at } };
}

/** @param {Alert} a @param {Alert} b */
export function newestFirst(a, b) {
  const [left, right] = [a, b].map((alert) => alert.cleared_at ?? alert.started_at);
  return left === right ? b.id - a.id : left < right ? 1 : -1;
}

/** @param {State} state @returns {Alert[]} what is wrong now: unacknowledged first, then the newest */
export function openAlerts(state) {
  const waiting = (/** @type {Alert} */ alert) => (alert.state === "active_unack" ? 0 : 1);
  return Object.values(state.alerts)
    .filter((alert) => !alert.cleared_at)
    .sort((a, b) => waiting(a) - waiting(b) || newestFirst(a, b));
}

/** @param {State} state @returns {Alert[]} */
export function earlierAlerts(state) {
  return Object.values(state.alerts).filter((alert) => alert.cleared_at).sort(newestFirst);
}

/**
 * How a tile is doing. Stale and unknown are not bad: we just do not know.
 * @param {State} state @param {Tile} tile @param {number} now milliseconds of the server's clock
 * @returns {"none"|"stale"|"low"|"high"|"ok"|"free"}
 */
export function condition(state, tile, now) {
  if (tile.value === null || tile.at === null) return "none";
  const device = tile.deviceId === null ? undefined : state.devices[tile.deviceId];
  if (device?.status === "offline" || now - tile.at > patience(tile, device)) return "stale";
  const { low = null, high = null } = tile.target ?? {};
  if (low !== null && tile.value < low) return "low";
  if (high !== null && tile.value > high) return "high";
  return low === null && high === null ? "free" : "ok";
}

/** @param {Tile} tile @param {Device|undefined} device @returns {number} milliseconds after which a value is an old one */
function patience(tile, device) {
  if (tile.origin === "manual") return 7 * 86_400_000;
  const interval = device?.expected_interval_seconds;
  return interval ? Math.max(20_000, interval * 3000) : 300_000;
}

/** @param {string} metric @param {number|null} sensorId */
export function tileKey(metric, sensorId) {
  return `${metric}/${sensorId ?? "-"}`;
}

/** @param {string|null} a @param {string|null} b two RFC 3339 stamps of one form; the later one */
function later(a, b) {
  return a === null || (b !== null && b > a) ? b : a;
}

/** @param {number|null} value */
function decimalsOf(value) {
  const digits = String(value ?? "").split(".")[1] ?? "";
  return Math.min(digits.length, DECIMALS);
}

/** @template A, B @param {Record<string, A>} object @param {(value: A) => B} change @returns {Record<string, B>} */
function mapValues(object, change) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));
}
