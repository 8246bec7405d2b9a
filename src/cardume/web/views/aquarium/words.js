/** How what is measured, devices, their commands and alerts are said. */

import { ago, clock, duration, time } from "../../words.js";

/** @type {Record<string, string>} */
const NAMES = { ph: "pH", gh: "GH", kh: "KH", tds: "TDS", orp: "ORP", co2: "CO₂", oxygen: "Oxygen" };

/** @param {string} metric @returns {string} */
export function metricName(metric) {
  const words = metric.replace(/[_.-]+/g, " ").trim() || metric;
  return NAMES[metric] ?? words[0].toUpperCase() + words.slice(1);
}

/** @param {string|null} unit @param {string} metric @returns {string} nothing where the name says it */
export function unitName(unit, metric) {
  if (!unit || metricName(metric) === unit) return "";
  return unit === "C" || unit === "F" ? `°${unit}` : unit;
}

/** @param {{low: number|null, high: number|null}|null} target @param {string} unit */
export function targetText(target, unit) {
  const { low = null, high = null } = target ?? {};
  const range =
    low !== null && high !== null ? `${low}–${high}` : low !== null ? `≥ ${low}` : high !== null ? `≤ ${high}` : "";
  return range && `Target ${range} ${unit}`.trim();
}

/** @type {Record<string, [string, string]>} a sign that needs no colour, and a word */
export const CONDITIONS = {
  ok: ["✓", "In range"],
  low: ["▼", "Too low"],
  high: ["▲", "Too high"],
  stale: ["◷", "Stale"],
  none: ["?", "No reading yet"],
  free: ["–", "No target"],
};

/** @type {Record<string, string>} what a line is made of, where it is not readings */
export const SOURCES = { hourly: "hourly", mixed: "partly hourly" };

/** @type {Record<string, [string, string]>} */
export const STATUSES = {
  online: ["●", "Online"],
  offline: ["✕", "Offline"],
  sleeping: ["☾", "Sleeping"],
  never_seen: ["○", "Never seen"],
  unknown: ["?", "Unknown"],
};

/** @type {Record<string, string>} why a device is not online */
export const REASONS = {
  lwt: "its connection was lost",
  graceful: "it said goodbye",
  timeout: "silent for too long",
};

/** @type {Record<string, [string, string]>} while devices are not heard as usual: a look, and a word in place of Live */
export const DOUBTS = { down: ["bad", "No broker"], resync: ["wait", "Catching up"] };

/**
 * What is said where no alert is open.
 * @param {import("./state.js").Hub} hub @param {boolean} live whether we would hear of an alert
 */
export function quietText({ link }, live) {
  if (!live) return "Nothing was wrong when this page last heard of it.";
  if (link === "down") return "No device is heard: what is wrong is unknown.";
  return link === "up" ? "Nothing is wrong." : "Devices are being heard again: no alert yet.";
}

/**
 * What is to be known of the hub's own link.
 * @param {import("./state.js").Hub} hub @param {number} now @returns {string} nothing while all is well
 */
export function hubText({ link, since }, now) {
  const at = time(since);
  const when = at === null ? "" : ` since ${clock(at, now)}`;
  if (link === "down") return `The hub has not heard the MQTT broker${when}. Until it does, statuses of devices are unknown.`;
  if (link === "resync") return "The hub hears the MQTT broker again and is catching up. Statuses of devices follow in a moment.";
  return "";
}

/** @type {Record<string, [string, string, string]>} a look, a sign that needs no colour, a word */
const COMMANDS = {
  queued: ["wait", "…", "Queued"],
  sent: ["busy", "→", "Sent"],
  expired: ["", "◷", "Expired"],
  ok: ["ok", "✓", "Done"],
  failed: ["bad", "✕", "Failed"],
};

/** @typedef {import("./commandlog.js").Command} Command */

/** @param {Command} command @returns {[string, string, string]} */
export function commandWords({ status, result }) {
  const known = status === "acknowledged" ? (result ?? "") : status;
  return COMMANDS[known] ?? ["", "?", known || status];
}

/** @param {Command} command @param {number} now @returns {string[]} */
export function commandFacts({ status, created_at, created_by, expires_at, finished_at }, now) {
  const [from, to, until] = [Number(time(created_at)), time(finished_at), Number(time(expires_at))];
  const facts = [ago(from, now), `by ${created_by}`];
  if (status === "queued") facts.push(`waits until ${clock(until, now)}`);
  if (status === "sent") facts.push(`may answer until ${clock(until, now)}`);
  if (status === "expired") facts.push("no answer in time");
  if (status === "acknowledged" && to !== null) facts.push(`answered after ${duration(to - from)}`);
  return facts;
}

/** @type {Record<string, [string, string]>} */
export const SEVERITIES = {
  info: ["i", "Info"],
  warning: ["!", "Warning"],
  minor: ["!", "Minor"],
  major: ["!!", "Major"],
  critical: ["!!!", "Critical"],
};

/**
 * The message of an alert, without the title if it begins by saying that again, and with times as
 * people here write them.
 * @param {import("./state.js").Alert} alert @param {number} now @returns {string}
 */
export function newsOf({ title, message }, now) {
  const rest = message.startsWith(title) ? message.slice(title.length).replace(/^[:.\s]+/, "") : message;
  const news = rest && rest[0].toUpperCase() + rest.slice(1);
  return news.replace(/\b\d{4}-\d\d-\d\dT[\d:.]+Z/g, (stamp) => clock(Date.parse(stamp), now));
}
