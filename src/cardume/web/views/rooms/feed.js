/**
 * What the page keeps of the events of rooms: a pure function from what was heard to what is shown.
 *
 * @typedef {{n: number, type: string, room: string|null, source: string, at: string, data: any}} Event
 * @typedef {{events: Event[], held: Event[], heard: number, paused: boolean, rooms: string[],
 *   types: string[]}} Feed  newest first; `held` came while it is paused
 */

/** Events that are kept, and as many while paused. */
export const KEPT = 500;

/** What people call the place of events that have no room. */
export const NOWHERE = "everywhere";

export const ROOMS = ["agents", "tasks", "coordination", "system", NOWHERE];

/** The 21 types, by the room they belong to. */
export const TYPES = {
  agents: ["agent_created", "agent_updated", "agent_deleted", "agent_status_changed", "agent_action"],
  tasks: ["task_created", "task_assigned", "task_started", "task_completed", "task_failed", "task_cancelled"],
  coordination: ["election_triggered", "leader_elected", "consensus_proposed", "consensus_decided"],
  system: ["health_changed", "metrics_updated", "alert_triggered"],
  connection: ["connected", "disconnected", "error"],
};

/** @returns {Feed} everything is shown, nothing was heard */
export function initial() {
  return { events: [], held: [], heard: 0, paused: false, rooms: [...ROOMS], types: [] };
}

/** @param {Feed} feed @param {import("../../connection/rooms.js").Frame} frame @returns {Feed} */
export function heard(feed, frame) {
  const event = {
    n: feed.heard + 1,
    type: frame.event_type,
    room: frame.room,
    source: frame.source,
    at: frame.timestamp,
    data: frame.data,
  };
  const where = feed.paused ? "held" : "events";
  return { ...feed, heard: event.n, [where]: [event, ...feed[where]].slice(0, KEPT) };
}

/** @param {Feed} feed @param {boolean} paused @returns {Feed} */
export function paused(feed, paused) {
  if (paused) return { ...feed, paused };
  return { ...feed, paused, held: [], events: [...feed.held, ...feed.events].slice(0, KEPT) };
}

/** @param {Feed} feed @returns {Feed} */
export function cleared(feed) {
  return { ...feed, events: [], held: [] };
}

/** Turn one of a list on or off. @param {Feed} feed @param {"rooms"|"types"} which @param {string} name @returns {Feed} */
export function toggled(feed, which, name) {
  const known = feed[which];
  return { ...feed, [which]: known.includes(name) ? known.filter((other) => other !== name) : [...known, name] };
}

/** @param {Feed} feed @returns {Event[]} what is to be seen: no type chosen is all types */
export function visible({ events, rooms, types }) {
  return events.filter(
    ({ type, room }) => rooms.includes(room ?? NOWHERE) && (types.length === 0 || types.includes(type)),
  );
}

/** @type {Record<string, (data: any) => string>} what an event says, in words */
const WORDS = {
  connected: (d) => `connection ${d.connection_id}`,
  error: (d) => `${d.code}: ${d.message}`,
  agent_created: (d) => `${d.agent_id} is ${d.status}`,
  agent_updated: (d) => `${d.agent_id} is ${d.status}`,
  agent_deleted: (d) => d.agent_id,
  agent_status_changed: (d) => `${d.agent_id}: ${d.old_status} → ${d.new_status}`,
  agent_action: (d) => `${d.agent_id}: ${d.action}`,
  election_triggered: (d) => [`term ${d.term}`, spaced(d.reason)].filter(Boolean).join(", "),
  leader_elected: (d) => `${d.leader_id} leads in term ${d.term}`,
  consensus_proposed: (d) => `${d.proposal_id}: ${d.topic}`,
  consensus_decided: (d) => `${d.proposal_id} ${d.decision}, ${Math.round(d.approval_rate * 100)} % in favour`,
  health_changed: (d) => [d.status, ...(d.details?.problems ?? [])].join(", "),
  metrics_updated: (d) => `${counted(d.active_connections, "connection")}, ${counted(d.messages_sent, "message")} sent`,
  alert_triggered: (d) => `${d.level}: ${d.message}`,
};

/** @param {Event} event @returns {string} one line of it */
export function summary({ type, data }) {
  const words = type.startsWith("task_") ? taskWords : WORDS[type];
  // Anybody may broadcast any data under any name.
  const said = words && attempt(() => words(data));
  return said && !said.includes("undefined") ? said : pairs(data);
}

/** @param {any} data */
function taskWords(data) {
  const owner = data.agent_id ? `, ${data.agent_id}` : "";
  const from = data.old_status && data.old_status !== data.new_status ? `${data.old_status} → ` : "";
  const why = data.reason ? ` (${spaced(data.reason)})` : "";
  return `${data.task_id} ${data.task_type ?? ""}: ${from}${data.new_status ?? data.status}${owner}${why}`.replace(" :", ":");
}

/** @param {any} data @returns {string} its plain members */
function pairs(data) {
  if (data === null || typeof data !== "object") return String(data);
  return Object.entries(data)
    .map(([name, value]) => `${name}: ${value !== null && typeof value === "object" ? "…" : value}`)
    .join(", ")
    .slice(0, 300);
}

/** @param {number} n @param {string} what */
function counted(n, what) {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}

/** @param {string|undefined} name */
function spaced(name) {
  return name?.replaceAll("_", " ");
}

/** @template T @param {() => T} call @returns {T|undefined} */
function attempt(call) {
  try {
    return call();
  } catch {
    return undefined;
  }
}
