import assert from "node:assert/strict";
import test from "node:test";
import { KEPT, ROOMS, TYPES, cleared, heard, initial, paused, summary, toggled, visible } from "./web/views/rooms/feed.js";

const frame = (type, data = {}, room = "agents") => ({ event_type: type, room, source: "hub", timestamp: "2026-11-20T12:00:00.000Z", data, offset: 1 });
const types = (events) => events.map((event) => event.type);

test("there are 21 types", () => {
  assert.equal(new Set(Object.values(TYPES).flat()).size, 21);
});

test("the newest is first, and no more are kept than can be read", () => {
  let feed = initial();
  for (let i = 0; i < KEPT + 20; i++) feed = heard(feed, frame(`e${i}`));
  assert.equal(feed.events.length, KEPT);
  assert.equal(feed.events[0].type, `e${KEPT + 19}`);
  assert.equal(feed.heard, KEPT + 20);
});

test("paused, nothing moves; then all of it comes", () => {
  let feed = paused(heard(initial(), frame("a")), true);
  feed = heard(heard(feed, frame("b")), frame("c"));
  assert.deepEqual(types(visible(feed)), ["a"]);
  assert.equal(feed.held.length, 2);
  feed = paused(feed, false);
  assert.deepEqual(types(visible(feed)), ["c", "b", "a"]);
  assert.equal(feed.held.length, 0);
  assert.deepEqual(cleared(feed).events, []);
});

test("rooms are shown or not, events without a room by a switch of their own", () => {
  let feed = [frame("a"), frame("b", {}, null), frame("c", {}, "tasks")].reduce(heard, initial());
  assert.deepEqual(feed.rooms, ROOMS);
  feed = toggled(feed, "rooms", "agents");
  assert.deepEqual(types(visible(feed)), ["c", "b"]);
  feed = toggled(feed, "rooms", "everywhere");
  assert.deepEqual(types(visible(feed)), ["c"]);
  assert.deepEqual(types(visible(toggled(feed, "rooms", "agents"))), ["c", "a"]);
});

test("no type chosen is all types", () => {
  const feed = [frame("agent_created"), frame("agent_deleted")].reduce(heard, initial());
  assert.equal(visible(feed).length, 2);
  assert.deepEqual(types(visible(toggled(feed, "types", "agent_deleted"))), ["agent_deleted"]);
});

test("every event says something, whatever somebody put into it", () => {
  assert.equal(summary(frame2("agent_status_changed", { agent_id: "a", old_status: "active", new_status: "paused" })), "a: active → paused");
  assert.equal(summary(frame2("task_assigned", { task_id: "task_000001", task_type: "scan", old_status: "created", new_status: "assigned", agent_id: "a" })), "task_000001 scan: created → assigned, a");
  assert.equal(summary(frame2("consensus_decided", { proposal_id: "p", decision: "approved", approval_rate: 0.667 })), "p approved, 67 % in favour");
  assert.equal(summary(frame2("alert_triggered", { cpu: 95, more: {} })), "cpu: 95, more: …");
  for (const type of Object.values(TYPES).flat()) {
    for (const data of [{}, null, [], "text", 3, { agent_id: null }]) assert.equal(typeof summary(frame2(type, data)), "string", type);
  }
});

function frame2(type, data) {
  return { type, data, n: 1, room: null, source: "", at: "" };
}
