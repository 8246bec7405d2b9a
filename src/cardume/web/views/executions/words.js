/** How an execution is said: its status, how far it is, how long it took. */

import { ago, duration, time } from "../../words.js";

/**
 * @typedef {{execution_id: string, name: string, command: string|null, card_id: string|null,
 *   status: string, reason: string|null, message: string|null, exit_code: number|null,
 *   progress: {done: number, total: number, message?: string|null}|null, first_seq: number,
 *   last_seq: number, version: number, created_by: string, started_at: string,
 *   finished_at: string|null}} Execution
 */

/** @type {Record<string, [string, string, string]>} a look, a sign that needs no colour, a word */
const STATUSES = {
  running: ["busy", "▶", "Running"],
  completed: ["ok", "✓", "Completed"],
  failed: ["bad", "✕", "Failed"],
  cancelled: ["", "–", "Cancelled"],
};

/** @param {Execution} execution @returns {[string, string, string]} */
export function statusWords({ status, reason }) {
  if (status === "failed" && reason === "lost") return ["bad", "✕", "Lost"];
  return STATUSES[status] ?? ["", "?", status];
}

/** @param {Execution} execution @param {number} now @returns {string[]} */
export function factsOf(execution, now) {
  const { created_by, started_at, finished_at, exit_code, message, reason, card_id } = execution;
  const [from, to] = [Number(time(started_at)), time(finished_at)];
  const facts = [`by ${created_by}`, ago(from, now), to === null ? `running for ${duration(now - from)}` : `took ${duration(to - from)}`];
  if (exit_code !== null) facts.push(`exit code ${exit_code}`);
  if (card_id) facts.push(card_id);
  if (message) facts.push(message);
  else if (reason === "lost") facts.push("its runner fell silent");
  return facts;
}

/** @param {Execution["progress"]} progress @returns {string} */
export function progressText(progress) {
  if (!progress) return "";
  const { done, total, message } = progress;
  const part = total > 0 ? ` (${Math.min(100, Math.floor((done / total) * 100))} %)` : "";
  return `${done.toLocaleString()} of ${total.toLocaleString()}${part}${message ? `, ${message}` : ""}`;
}

/** @param {any} bar a progress element @param {Execution["progress"]} progress */
export function showProgress(bar, progress) {
  bar.max = progress && progress.total > 0 ? progress.total : 1;
  bar.value = progress ? Math.min(progress.done, bar.max) : 0;
}
