/** The agents, and who of them leads. */

import * as api from "../../api.js";
import { byId, element, find, say, show, showBadge, showTags } from "../../dom.js";
import { ago, duration, moment, time } from "../../words.js";
import { crown, showButtons } from "./parts.js";
import { agentActions, agentsOf, leaderOf } from "./state.js";
import { statusWords } from "./words.js";

/** @typedef {import("./state.js").State} State @typedef {import("./state.js").Agent} Agent */

/** @param {State} state @param {number} now @param {(agent: Agent) => void} learn what an action answers */
export function showAgents(state, now, learn) {
  const agents = agentsOf(state);
  const leader = leaderOf(state);
  const run = (/** @type {Agent} */ agent) => async (/** @type {string} */ action) => {
    learn(await api.post(`agents/${encodeURIComponent(agent.agent_id)}/actions`, { action }));
  };
  const update = (/** @type {any} */ node, /** @type {Agent} */ agent) => {
    updateAgent(node, agent, agent.agent_id === leader, now);
    showButtons(node, agentActions(agent.status), agent.agent_id, run(agent));
  };
  show(byId("agents"), agents, (agent) => agent.agent_id, create, update);
  byId("agents-empty").hidden = agents.length > 0;
}

function create() {
  return element(
    "li",
    { class: "card agent" },
    element("div", { class: "line" }, element("h3"), element("span", { class: "badge" })),
    element("p", { class: "quiet id" }),
    element("ul", { class: "tags", "aria-label": "Capabilities" }),
    element("p", { class: "quiet lease" }),
    element("p", { class: "buttons" }),
    element("p", { class: "problem", role: "alert", hidden: "" }),
  );
}

/** @param {HTMLElement} node @param {Agent} agent @param {boolean} leads @param {number} now */
function updateAgent(node, agent, leads, now) {
  const title = find(node, "h3");
  if (node.dataset.leader !== String(leads) || title.lastChild?.textContent !== nameOf(agent)) {
    title.replaceChildren(...(leads ? [crown()] : []), nameOf(agent));
    node.dataset.leader = String(leads);
  }
  showBadge(find(node, ".badge"), statusWords(agent.status));
  say(find(node, ".id"), agent.name ? `${agent.agent_id}, ${agent.agent_type}` : agent.agent_type);
  showTags(find(node, ".tags"), agent.capabilities);
  const beat = time(agent.last_heartbeat_at);
  const lease = find(node, ".lease");
  say(lease, beat === null ? "Never sent a heartbeat, so it cannot lapse" : `Heartbeat ${ago(beat, now)}${leaseText(agent, now)}`);
  lease.title = moment(beat);
}

/** @param {Agent} agent */
function nameOf(agent) {
  return agent.name ?? agent.agent_id;
}

/** @param {Agent} agent @param {number} now */
function leaseText(agent, now) {
  const until = time(agent.lease_expires_at);
  if (until === null || (agent.status !== "active" && agent.status !== "paused")) return "";
  return until > now ? `, lease for ${duration(until - now)}` : ", lease is over";
}
