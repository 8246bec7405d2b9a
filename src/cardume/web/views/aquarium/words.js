/** How what is measured, devices and alerts are said. */

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

/** @type {Record<string, [string, string]>} */
export const SEVERITIES = {
  info: ["i", "Info"],
  warning: ["!", "Warning"],
  minor: ["!", "Minor"],
  major: ["!!", "Major"],
  critical: ["!!!", "Critical"],
};
