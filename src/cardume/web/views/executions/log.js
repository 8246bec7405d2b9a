/**
 * The window of a log that the page holds: a run of lines without a gap, at most `KEPT` of them.
 *
 * While it follows, new lines come in at the bottom and old ones leave at the top. While somebody
 * reads further up it stands still, and only counts what it has not taken in.
 *
 * @typedef {{seq: number, stream: "stdout"|"stderr", text: string, at: string, truncated?: boolean}} Line
 * @typedef {{lines: Line[], first: number, newest: number, following: boolean}} Log
 *   `first`: the oldest line the server keeps; `newest`: the last one we know there is
 */

export const KEPT = 5000;

/** A hole up to this is filled; for a longer one the window starts over at the end of the log. */
export const FILLED = 2000;

/** @returns {Log} */
export function initial() {
  return { lines: [], first: 1, newest: 0, following: true };
}

/** @param {Log} log @returns {number} the last line in the window, 0: none */
export const lastSeq = ({ lines }) => lines.at(-1)?.seq ?? 0;

/** @param {Log} log @returns {number} the first line in the window, 0: none */
export const firstSeq = ({ lines }) => lines[0]?.seq ?? 0;

/** @param {Log} log @returns {boolean} whether older lines can be had */
export const hasOlder = (log) => log.lines.length > 0 && firstSeq(log) > log.first;

/** @param {Log} log @returns {number} lines below the window */
export const missing = (log) => Math.max(0, log.newest - lastSeq(log));

/**
 * Lines at the end of the log, by an event or a page. What is known already is dropped; after a
 * hole nothing is taken, and `missing` says so.
 * @param {Log} log @param {Line[]} lines @returns {Log}
 */
export function appended(log, lines) {
  const last = lastSeq(log);
  const fresh = lines.filter((line) => line.seq > last);
  if (fresh.length === 0) return log;
  const newest = Math.max(log.newest, /** @type {Line} */ (fresh.at(-1)).seq);
  const hole = log.lines.length > 0 && fresh[0].seq > last + 1;
  const full = !log.following && log.lines.length + fresh.length > KEPT;
  if (hole || full) return { ...log, newest };
  return { ...log, newest, lines: [...log.lines, ...fresh].slice(-KEPT) };
}

/**
 * Lines that are asked for further down, while nobody follows: those at the top leave.
 * @param {Log} log @param {Line[]} lines @returns {Log}
 */
export function continued(log, lines) {
  return { ...appended({ ...log, following: true }, lines), following: log.following };
}

/** Lines before the window; those at its end leave. @param {Log} log @param {Line[]} lines @returns {Log} */
export function prepended(log, lines) {
  const first = firstSeq(log);
  const older = lines.filter((line) => line.seq < first);
  if (older.length === 0 || /** @type {Line} */ (older.at(-1)).seq !== first - 1) return log;
  return { ...log, lines: [...older, ...log.lines].slice(0, KEPT) };
}

/**
 * The last lines, as a fresh viewer is given them.
 * @param {Log} log @param {{lines: Line[], execution: {first_seq: number, last_seq: number}}} data
 * @returns {Log}
 */
export function snapshot(log, { lines, execution }) {
  const { first_seq: first, last_seq: newest } = execution;
  const fresh = { ...log, first, newest };
  // The numbers of a log only grow: this one is another log.
  const other = newest < lastSeq(log);
  const hole = (lines[0]?.seq ?? newest + 1) - 1 - lastSeq(log);
  if (log.lines.length === 0 || other || (hole > FILLED && log.following)) return { ...fresh, lines };
  return appended(fresh, lines);
}

/** @param {Log} log @param {boolean} following @returns {Log} */
export function followed(log, following) {
  return log.following === following ? log : { ...log, following };
}

/** Start over with other lines. @param {Log} log @param {Line[]} lines @returns {Log} */
export function replaced(log, lines) {
  return { ...log, lines, newest: Math.max(log.newest, lines.at(-1)?.seq ?? 0) };
}
