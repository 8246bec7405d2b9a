/**
 * What devices were told to do: the last few commands of each, the newest first.
 *
 * @typedef {{id: string, device_id: string, command: string, params: Record<string, any>,
 *   status: string, result: string|null, answer: any, created_at: string, created_by: string,
 *   expires_at: string, sent_at: string|null, finished_at: string|null, version: number}} Command
 * @typedef {Record<string, Command[]>} Log
 */

/** Commands of a device that are kept to be looked at. */
export const MOST = 5;

/** @param {Log} log @param {string} deviceId @returns {Command[]} */
export function commandsOf(log, deviceId) {
  return Object.hasOwn(log, deviceId) ? log[deviceId] : [];
}

/**
 * `log` with these, which may be older than what is known of them.
 * @param {Log} log @param {string} deviceId @param {Command[]} commands @returns {Log}
 */
export function withCommands(log, deviceId, commands) {
  const known = new Map(commandsOf(log, deviceId).map((command) => [command.id, command]));
  for (const command of commands) {
    if (!((known.get(command.id)?.version ?? 0) > command.version)) known.set(command.id, command);
  }
  return { ...log, [deviceId]: [...known.values()].sort(newestFirst).slice(0, MOST) };
}

/** @param {Command} command @returns {boolean} whether it may still be answered */
export function isOpen({ status }) {
  return status === "queued" || status === "sent";
}

/** @param {Command} a @param {Command} b */
function newestFirst(a, b) {
  return a.created_at === b.created_at ? (a.id < b.id ? 1 : -1) : a.created_at < b.created_at ? 1 : -1;
}
