/**
 * What the page knows of agents, tasks, terms and proposals: a pure function from what was read and
 * heard to what is shown.
 *
 * Rooms are joined before the lists are read, so both may tell of the same change: an event or an
 * item with an older `version` than what is known changes nothing, and what was deleted stays away.
 *
 * @typedef {{agent_id: string, agent_type: string, name: string|null, status: string,
 *   capabilities: string[], lease_seconds: number, lease_expires_at: string|null,
 *   last_heartbeat_at: string|null, version: number, created_at: string}} Agent
 * @typedef {{task_id: string, task_type: string, priority: number, status: string,
 *   agent_id: string|null, attempts: number, max_attempts: number, required_capability: string|null,
 *   deadline: string|null, error: string|null, version: number, created_at: string}} Task
 * @typedef {{proposal_id: string, topic: string, value: any, quorum: number, voters: string[],
 *   votes: {agent_id: string, approve: boolean}[], decision: string|null, approval_rate: number|null,
 *   proposed_by: string, deadline: string, created_at: string}} Proposal
 * @typedef {{leader_id: string|null, term: number}} Election
 * @typedef {{agents: Record<string, Agent>, tasks: Record<string, Task>,
 *   proposals: Record<string, Proposal>, election: Election, gone: string[]}} State
 */

/** Tasks and proposals that are kept; the oldest that are over go first. */
export const KEPT = 100;

/** Ids of deleted agents that are remembered: as long as a list may still be on its way. */
const GONE = 200;

/** @type {Record<string, string[]>} the actions that an agent of this status takes */
const AGENT_ACTIONS = {
  active: ["pause", "stop", "restart", "heartbeat"],
  paused: ["resume", "stop", "restart", "heartbeat"],
  inactive: ["start", "stop", "restart", "heartbeat"],
  stopped: ["start", "restart"],
};

/** @type {Record<string, string[]>} the steps a task of this status may take */
const TASK_STEPS = {
  created: ["assign", "cancel"],
  assigned: ["start", "fail", "cancel"],
  started: ["complete", "fail", "cancel"],
};

/** @param {string} status @returns {string[]} */
export const agentActions = (status) => AGENT_ACTIONS[status] ?? [];

/** @param {string} status @returns {string[]} */
export const taskSteps = (status) => TASK_STEPS[status] ?? [];

/** @returns {State} */
export function initial() {
  return { agents: {}, tasks: {}, proposals: {}, election: { leader_id: null, term: 0 }, gone: [] };
}

/** @param {State} state @param {{event_type: string, data: any}} event @returns {State} */
export function reduce(state, { event_type: type, data }) {
  if (type.startsWith("task_")) return withTask(state, data);
  return Object.hasOwn(STEPS, type) ? STEPS[type](state, data) : state;
}

/** @type {Record<string, (state: State, data: any) => State>} */
const STEPS = {
  agent_created: withAgent,
  agent_updated: withAgent,
  agent_deleted: withoutAgent,
  agent_status_changed: statusChanged,
  leader_elected: (state, { leader_id, term }) => withElection(state, { leader_id, term }),
  consensus_proposed: withProposal,
  consensus_decided: decided,
};

/**
 * What was read by HTTP. Agents that were known when it was asked for and are not in it are gone.
 * @param {State} state @param {{agents: Agent[], tasks: Task[], proposals: Proposal[], election: Election}} lists
 * @param {string[]} [before] ids of the agents that were known then
 * @returns {State}
 */
export function loaded(state, { agents, tasks, proposals, election }, before = []) {
  const there = new Set(agents.map((agent) => agent.agent_id));
  const gone = new Set(before.filter((id) => !there.has(id)));
  const left = Object.entries(state.agents).filter(([id]) => !gone.has(id));
  let next = { ...state, agents: Object.fromEntries(left) };
  next = agents.reduce(withAgent, next);
  next = tasks.reduce(withTask, next);
  next = proposals.reduce(withProposal, next);
  return withElection(next, election);
}

/** Another server, or the same one after events were lost: what was known may be wrong. @param {State} state @returns {State} */
export function forgotten(state) {
  return { ...initial(), gone: state.gone };
}

/** @param {State} state @param {Agent} agent @returns {State} */
export function withAgent(state, agent) {
  const known = state.agents[agent.agent_id];
  if (state.gone.includes(agent.agent_id) || (known && known.version > agent.version)) return state;
  return { ...state, agents: { ...state.agents, [agent.agent_id]: { ...known, ...agent } } };
}

/** @param {State} state @param {{agent_id: string}} data @returns {State} */
function withoutAgent(state, { agent_id }) {
  const { [agent_id]: _gone, ...agents } = state.agents;
  return { ...state, agents, gone: [...state.gone, agent_id].slice(-GONE) };
}

/** @param {State} state @param {any} data @returns {State} */
function statusChanged(state, { agent_id, new_status, version }) {
  const known = state.agents[agent_id];
  if (!known) return state;
  return withAgent(state, { ...known, status: new_status, version: version ?? known.version });
}

/** @param {State} state @param {any} data @returns {State} */
export function withTask(state, { old_status: _old, new_status, ...task }) {
  const known = state.tasks[task.task_id];
  if (known && known.version > (task.version ?? known.version)) return state;
  // A broadcast by hand may tell of a task no more than its status.
  const whole = { ...known, ...task, status: new_status ?? task.status };
  if (whole.created_at === undefined) return state;
  const over = (/** @type {Task} */ one) => taskSteps(one.status).length === 0;
  return { ...state, tasks: bounded({ ...state.tasks, [task.task_id]: whole }, over, "task_id") };
}

/** @param {State} state @param {Proposal} proposal @returns {State} */
export function withProposal(state, proposal) {
  const known = state.proposals[proposal.proposal_id];
  if (known && (known.decision ?? proposal.decision) !== proposal.decision) return state;
  if (known && votesOf(known) > votesOf(proposal)) return state;
  const over = (/** @type {Proposal} */ one) => one.decision !== null;
  return { ...state, proposals: bounded({ ...state.proposals, [proposal.proposal_id]: proposal }, over, "proposal_id") };
}

/** @param {State} state @param {any} data @returns {State} */
function decided(state, { proposal_id, decision, approval_rate, ...more }) {
  const known = state.proposals[proposal_id];
  if (!known) return state;
  return withProposal(state, { ...known, ...more, decision, approval_rate });
}

/** @param {State} state @param {Election} election @returns {State} */
export function withElection(state, election) {
  return election.term < state.election.term ? state : { ...state, election };
}

/** @param {State} state @returns {string|null} who leads: only who is active does */
export function leaderOf({ agents, election }) {
  const leader = election.leader_id === null ? undefined : agents[election.leader_id];
  return leader?.status === "active" ? leader.agent_id : null;
}

/** @param {State} state @returns {Agent[]} the oldest first, as they would be elected */
export function agentsOf(state) {
  return Object.values(state.agents).sort((a, b) => compare(a.created_at, b.created_at) || compare(a.agent_id, b.agent_id));
}

/** @param {State} state @returns {Task[]} what is to be done first, the newest first */
export function tasksOf(state) {
  const over = (/** @type {Task} */ task) => (taskSteps(task.status).length === 0 ? 1 : 0);
  return Object.values(state.tasks).sort((a, b) => over(a) - over(b) || newest(a.task_id, b.task_id));
}

/** @param {State} state @returns {Proposal[]} the open ones first, the newest first */
export function proposalsOf(state) {
  const over = (/** @type {Proposal} */ proposal) => (proposal.decision === null ? 0 : 1);
  return Object.values(state.proposals).sort((a, b) => over(a) - over(b) || newest(a.proposal_id, b.proposal_id));
}

/** @param {Proposal} proposal @returns {number} */
function votesOf(proposal) {
  return proposal.votes?.length ?? 0;
}

/**
 * @template T @param {Record<string, T>} all @param {(item: T) => boolean} over
 * @param {keyof T} id @returns {Record<string, T>}
 */
function bounded(all, over, id) {
  const items = Object.values(all);
  if (items.length <= KEPT) return all;
  const oldest = items.sort((a, b) => newest(String(b[id]), String(a[id])));
  const gone = oldest.find(over) ?? oldest[0];
  return Object.fromEntries(items.filter((item) => item !== gone).map((item) => [item[id], item]));
}

/** Ids end in a number that grows. @param {string} a @param {string} b */
function newest(a, b) {
  return a.length === b.length ? compare(b, a) : b.length - a.length;
}

/** @param {string} a @param {string} b */
function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
