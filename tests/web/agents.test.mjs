import assert from "node:assert/strict";
import test from "node:test";
import { KEPT, agentActions, agentsOf, forgotten, initial, leaderOf, loaded, proposalsOf, reduce, taskSteps, tasksOf } from "./web/views/agents/state.js";

const agent = (id, more = {}) => ({ agent_id: id, agent_type: "t", status: "active", version: 1, created_at: "2026-11-20T12:00:00.000Z", capabilities: [], ...more });
const task = (n, more = {}) => ({ task_id: `task_${String(n).padStart(6, "0")}`, task_type: "scan", status: "created", version: 1, created_at: "x", agent_id: null, ...more });
const proposal = (n, more = {}) => ({ proposal_id: `proposal_${String(n).padStart(6, "0")}`, topic: "t", votes: [], voters: [], decision: null, ...more });
const play = (state, ...events) => events.map(([event_type, data]) => ({ event_type, data })).reduce(reduce, state);
const lists = (more = {}) => ({ agents: [], tasks: [], proposals: [], election: { leader_id: null, term: 0 }, ...more });

test("what was read is merged with what was heard meanwhile", () => {
  const heard = play(initial(), ["agent_created", agent("a", { version: 3, status: "paused" })], ["agent_deleted", { agent_id: "b" }]);
  const state = loaded(heard, lists({ agents: [agent("a", { version: 2 }), agent("b"), agent("c")] }));
  assert.deepEqual(agentsOf(state).map((one) => [one.agent_id, one.status]), [["a", "paused"], ["c", "active"]]);
});

test("a list without an agent says that it is gone", () => {
  const two = loaded(initial(), lists({ agents: [agent("a"), agent("b")] }));
  const meanwhile = play(two, ["agent_created", agent("c")]);
  const state = loaded(meanwhile, lists({ agents: [agent("b")] }), ["a", "b"]);
  assert.deepEqual(agentsOf(state).map((one) => one.agent_id), ["b", "c"]);
});

test("a late event changes nothing", () => {
  const state = play(initial(), ["agent_updated", agent("a", { version: 5 })]);
  const late = play(state, ["agent_status_changed", { agent_id: "a", old_status: "active", new_status: "stopped", version: 4 }]);
  assert.equal(late.agents.a.status, "active");
  const next = play(state, ["agent_status_changed", { agent_id: "a", old_status: "active", new_status: "stopped", version: 6 }]);
  assert.deepEqual([next.agents.a.status, next.agents.a.version], ["stopped", 6]);
  assert.equal(play(initial(), ["agent_status_changed", { agent_id: "who", new_status: "active" }]).agents.who, undefined);
});

test("the leader is who was elected last, while it is active", () => {
  const two = loaded(initial(), lists({ agents: [agent("a"), agent("b")], election: { leader_id: "a", term: 4 } }));
  assert.equal(leaderOf(two), "a");
  const gone = play(two, ["agent_status_changed", { agent_id: "a", new_status: "inactive", version: 2 }]);
  assert.equal(leaderOf(gone), null);
  const next = play(gone, ["leader_elected", { leader_id: "b", term: 5 }]);
  assert.equal(leaderOf(next), "b");
  assert.equal(leaderOf(play(next, ["leader_elected", { leader_id: "a", term: 3 }])), "b");
});

test("tasks: what is to be done first, older versions change nothing", () => {
  const state = play(
    initial(),
    ["task_created", { ...task(1), old_status: null, new_status: "created" }],
    ["task_created", task(2)],
    ["task_assigned", { ...task(1, { version: 2, status: "assigned", agent_id: "a" }), new_status: "assigned" }],
    ["task_completed", task(2, { version: 4, status: "completed" })],
    ["task_created", task(1)],
  );
  assert.deepEqual(tasksOf(state).map((one) => [one.task_id, one.status, one.agent_id]), [["task_000001", "assigned", "a"], ["task_000002", "completed", null]]);
  assert.equal(play(state, ["task_failed", { task_id: "task_000099", new_status: "failed" }]), state);
});

test("tasks that are over leave first", () => {
  const over = Array.from({ length: KEPT }, (_, i) => ["task_completed", task(i + 2, { status: "completed" })]);
  const state = play(initial(), ["task_created", task(1)], ...over);
  assert.equal(Object.keys(state.tasks).length, KEPT);
  assert.equal(tasksOf(state)[0].task_id, "task_000001");
  assert.equal(state.tasks.task_000002, undefined);
});

test("a decision is final, and votes are not forgotten", () => {
  const voted = play(initial(), ["consensus_proposed", proposal(1, { votes: [{ agent_id: "a", approve: true }] })]);
  assert.equal(play(voted, ["consensus_proposed", proposal(1)]).proposals.proposal_000001.votes.length, 1);
  const over = play(voted, ["consensus_decided", { proposal_id: "proposal_000001", decision: "approved", approval_rate: 1 }]);
  assert.equal(proposalsOf(over)[0].decision, "approved");
  const late = play(over, ["consensus_proposed", proposal(1, { votes: [1, 2, 3] })]);
  assert.equal(proposalsOf(late)[0].decision, "approved");
});

test("only legal moves are offered", () => {
  assert.deepEqual(agentActions("stopped"), ["start", "restart"]);
  assert.deepEqual(agentActions("unheard of"), []);
  assert.deepEqual(taskSteps("completed"), []);
  assert.ok(agentActions("active").includes("pause"));
  assert.ok(!agentActions("paused").includes("pause"));
});

test("after events were lost, only who was deleted is remembered", () => {
  const state = play(initial(), ["agent_created", agent("a")], ["agent_deleted", { agent_id: "b" }]);
  const empty = forgotten(state);
  assert.deepEqual([Object.keys(empty.agents), empty.gone], [[], ["b"]]);
});
