/** Agents and what they do together, live. */

import * as api from "../../api.js";
import { Rooms } from "../../connection/rooms.js";
import { attempt, byId, onSubmit, say } from "../../dom.js";
import * as page from "../../page.js";
import { showElection, showProposals } from "./coordination.js";
import { showAgents } from "./roster.js";
import * as model from "./state.js";
import { showTasks } from "./tasks.js";

const ROOMS = ["agents", "tasks", "coordination"];

/** Agents that are read; more are told of as they change. */
const MOST = 1000;

/** Milliseconds between two looks at what no event tells: heartbeats and single votes. */
const LOOK_EVERY = 10_000;

let state = model.initial();
/** @type {Rooms|null} */
let connection = null;
let lookedAt = 0;
let known = false;

export function open() {
  if (connection) return;
  state = model.initial();
  known = false;
  connection = page.watch(Rooms, "ws", { what: "the agents", rooms: ROOMS, onEvent: heard, onPhase: entered });
}

export function close() {
  connection = null;
}

/** @param {number} now */
export function draw(now) {
  // Also where nothing could be read yet.
  if (page.live() && !document.hidden && Date.now() - lookedAt > LOOK_EVERY) load();
  if (!known) return;
  showAgents(state, now, (agent) => change(model.withAgent(state, agent)));
  showTasks(state, now, (task) => change(model.withTask(state, task)));
  showElection(state);
  showProposals(state, now, (proposal) => change(model.withProposal(state, proposal)));
}

/** @param {model.State} next */
function change(next) {
  state = next;
  page.soon();
}

/** @param {import("../../connection/rooms.js").Frame} frame */
function heard(frame) {
  change(model.reduce(state, frame));
  if (frame.event_type === "leader_elected") page.announce(`${frame.data.leader_id} leads. `);
}

/** @param {import("../../connection/link.js").Phase} phase */
function entered(phase) {
  if (phase.phase !== "live" || phase.how === "resumed") return;
  if (phase.how === "restarted") state = model.forgotten(state);
  load();
}

/** What there is, by HTTP: in the rooms already, so that nothing falls between. */
async function load() {
  const mine = connection;
  const before = Object.keys(state.agents);
  lookedAt = Date.now();
  try {
    const [agents, tasks, proposals, election] = await Promise.all([
      api.list("agents?limit=500", MOST),
      api.list(`coordination/tasks?limit=${model.KEPT}`, model.KEPT),
      api.list("coordination/consensus?limit=20", 20),
      api.request("coordination/election"),
    ]);
    if (mine !== connection) return;
    known = true;
    change(model.loaded(state, { agents, tasks, proposals, election }, agents.length < MOST ? before : []));
  } catch (error) {
    console.debug(/** @type {Error} */ (error).message);
  }
}

/** @param {string} id @returns {string} */
const field = (id) => byId(id).value.trim();

async function addAgent() {
  const capabilities = field("agent-capabilities").split(",").map((word) => word.trim()).filter(Boolean);
  const agent = await api.post("agents", { agent_type: field("agent-type"), name: field("agent-name") || null, capabilities });
  change(model.withAgent(state, agent));
}

async function addTask() {
  const asked = { task_type: field("task-type"), priority: Number(field("task-priority")), required_capability: field("task-capability") || null };
  change(model.withTask(state, await api.post("coordination/tasks", asked)));
}

async function propose() {
  const asked = { topic: field("proposal-topic"), quorum: Number(field("proposal-quorum")) / 100, deadline_seconds: Number(field("proposal-deadline")) };
  change(model.withProposal(state, await api.post("coordination/consensus/propose", asked)));
}

onSubmit(byId("agent-form"), addAgent);
onSubmit(byId("task-form"), addTask);
onSubmit(byId("proposal-form"), propose);
byId("elect").addEventListener("click", () => {
  const elect = async () => change(model.withElection(state, await api.post("coordination/election/trigger")));
  attempt(byId("elect"), byId("elect-problem"), elect);
});
say(byId("agents-try"), `curl ${location.origin}/agents -H 'Content-Type: application/json' -d '{"agent_type":"neutrophil"}'`);
