/** How numbers, times and codes are said. */

/** @param {number} milliseconds @returns {string} "now", "12 s", "5 min", "3 h", "2 d" */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** @param {number|null} at @param {number} now @returns {string} */
export function ago(at, now) {
  if (at === null) return "never";
  return now - at < 1500 ? "just now" : `${duration(now - at)} ago`;
}

/** @param {number|null} at @returns {string} date and time as people here write them */
export function moment(at) {
  return at === null ? "" : new Date(at).toLocaleString();
}

/** @param {number} at @param {number} now @returns {string} the time of day, and the date where that is another one */
export function clock(at, now) {
  const day = (/** @type {number} */ time) => new Date(time).toDateString();
  return day(at) === day(now) ? new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : moment(at);
}

/** @param {string|null|undefined} stamp @returns {number|null} milliseconds */
export function time(stamp) {
  return stamp ? Date.parse(stamp) : null;
}

/** @param {string} text @returns {string} with a capital at its start, where that is a word, and a full stop at its end */
export function sentence(text) {
  const whole = text.replace(/^\p{Ll}+(?=[\s,.:;!?]|$)/u, (word) => word[0].toUpperCase() + word.slice(1));
  return /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}
