/** Who leads, and what is voted on. */

import * as api from "../../api.js";
import { attempt, byId, button, element, find, say, show, showBadge } from "../../dom.js";
import { duration, time } from "../../words.js";
import { crown } from "./parts.js";
import { leaderOf, proposalsOf } from "./state.js";
import { statusWords } from "./words.js";

/** @typedef {import("./state.js").State} State @typedef {import("./state.js").Proposal} Proposal */

/** @param {State} state */
export function showElection(state) {
  const leader = leaderOf(state);
  const text = leader ?? "Nobody leads";
  if (byId("leader").textContent !== text) byId("leader").replaceChildren(...(leader ? [crown()] : []), text);
  say(byId("term"), state.election.term > 0 ? `Term ${state.election.term}` : "No term yet");
}

/** @param {State} state @param {number} now @param {(proposal: Proposal) => void} learn what a vote answers */
export function showProposals(state, now, learn) {
  const proposals = proposalsOf(state);
  const update = (/** @type {any} */ node, /** @type {Proposal} */ proposal) => updateProposal(node, proposal, now, learn);
  show(byId("proposals"), proposals, (proposal) => proposal.proposal_id, create, update);
  byId("proposals-empty").hidden = proposals.length > 0;
}

function create() {
  return element(
    "li",
    { class: "card proposal" },
    element("div", { class: "line" }, element("h3"), element("span", { class: "badge" })),
    element("p", { class: "quiet" }),
    element("ul", { class: "votes", "aria-label": "Voters" }),
    element("p", { class: "problem", role: "alert", hidden: "" }),
  );
}

/** @param {any} node @param {Proposal} proposal @param {number} now @param {(proposal: Proposal) => void} learn */
function updateProposal(node, proposal, now, learn) {
  say(find(node, "h3"), proposal.topic);
  showBadge(find(node, ".badge"), statusWords(proposal.decision ?? "open"));
  const approvals = proposal.votes.filter((vote) => vote.approve).length;
  const facts = [proposal.proposal_id, `${approvals} of ${proposal.voters.length} in favour`];
  const left = Number(time(proposal.deadline)) - now;
  if (proposal.decision === null) {
    facts.push(`needs more than ${Math.round(proposal.quorum * 100)} %`);
    facts.push(left > 0 ? `${duration(left)} left` : "time is up");
  }
  say(find(node, ".quiet"), facts.join(" · "));
  const votes = new Map(proposal.votes.map((vote) => [vote.agent_id, vote.approve]));
  // Another row once one has voted: its buttons are gone.
  const keyOf = (/** @type {string} */ voter) => `${voter}/${votes.get(voter) ?? proposal.decision ?? "open"}`;
  const row = (/** @type {string} */ voter) => {
    const open = proposal.decision === null && !votes.has(voter);
    return element("li", {}, element("span", {}, voter), open ? ballot(node, proposal, voter, learn) : said(votes.get(voter)));
  };
  show(find(node, ".votes"), proposal.voters, keyOf, row, () => {});
}

/** @param {boolean|undefined} approve */
function said(approve) {
  return element("span", { class: "quiet" }, approve === undefined ? "did not vote" : approve ? "✓ in favour" : "✕ against");
}

/** @param {any} node @param {Proposal} proposal @param {string} voter @param {(proposal: Proposal) => void} learn */
function ballot(node, proposal, voter, learn) {
  const choice = (/** @type {string} */ word, /** @type {boolean} */ approve) => {
    const vote = async () => {
      learn(await api.post(`coordination/consensus/${encodeURIComponent(proposal.proposal_id)}/votes`, { agent_id: voter, approve }));
    };
    const made = button(word, () => attempt(made, find(node, ".problem"), vote), { class: "small", "aria-label": `${word} as ${voter}` });
    return made;
  };
  return element("span", { class: "buttons" }, choice("Approve", true), choice("Reject", false));
}
