import assert from "node:assert/strict";
import test from "node:test";
import { FakeClock, FakeSocket, settled } from "./sockets.mjs";
import { Rooms } from "./web/connection/rooms.js";

function set(rooms = ["agents"]) {
  const clock = new FakeClock();
  const sockets = [];
  const events = [];
  const phases = [];
  const connection = new Rooms({
    url: "ws://here/ws",
    rooms,
    onEvent: (frame) => events.push(frame),
    onPhase: (phase) => phases.push(phase),
    socket: (url, protocols) => (sockets.push(new FakeSocket(url, protocols)), sockets.at(-1)),
    clock,
    random: () => 0.5,
  });
  connection.connect();
  const socket = () => sockets.at(-1);
  const greet = () => socket().says({ event_type: "connected", timestamp: "2026-11-20T12:00:00.000Z", data: {}, room: null, offset: null });
  const reply = async (message, data = {}, success = true) => {
    const { id } = socket().sent.at(-1);
    socket().says({ event_type: "reply", success, message, data, id });
    await settled();
  };
  const joined = (epoch, offset, recovered) => reply("joined", { room: "agents", members: 1, epoch, offset, recovered });
  const event = (offset, type = "agent_created", room = "agents") => socket().says({ event_type: type, room, offset, data: {} });
  return { clock, sockets, events, phases, connection, socket, greet, reply, joined, event };
}

const last = (phases) => phases.at(-1);
const offsets = (events) => events.filter((frame) => frame.event_type !== "connected").map((frame) => frame.offset);

test("it is live once it is in its rooms", async () => {
  const { socket, phases, greet, joined } = set();
  greet();
  assert.deepEqual(socket().sent, [{ action: "join", room: "agents", data: {}, id: 1 }]);
  assert.equal(last(phases).phase, "connecting");
  await joined("E1", 4);
  assert.deepEqual(last(phases), { phase: "live", how: "fresh", missed: null });
});

test("each room resumes where it was, and what it had missed is counted", async () => {
  const { clock, socket, phases, events, greet, joined, reply, event } = set();
  greet();
  await joined("E1", 4);
  event(5);
  event(6);
  socket().drops(1006);
  clock.advance(20_000);
  greet();
  assert.deepEqual(socket().sent[0], { action: "join", room: "agents", data: { epoch: "E1", offset: 6 }, id: 3 });
  await joined("E1", 8, true);
  event(7);
  event(8);
  await reply("pong");
  assert.deepEqual(last(phases), { phase: "live", how: "resumed", missed: 2 });
  assert.deepEqual(offsets(events), [5, 6, 7, 8]);
});

test("events that follow a join in the same breath are counted from its place", async () => {
  const { socket, events, greet } = set();
  greet();
  socket().says({ event_type: "reply", success: true, message: "joined", id: 1, data: { room: "agents", epoch: "E1", offset: 4 } });
  socket().says({ event_type: "agent_created", room: "agents", offset: 5, data: {} });
  socket().says({ event_type: "agent_created", room: "agents", offset: 5, data: {} });
  await settled();
  assert.deepEqual(offsets(events), [5]);
});

test("a room that could not be replayed starts over", async () => {
  const { clock, socket, phases, events, greet, joined, event } = set();
  greet();
  await joined("E1", 900);
  socket().drops(3001);
  clock.advance(20_000);
  greet();
  await joined("E2", 3, false);
  assert.equal(last(phases).how, "restarted");
  event(4);
  assert.deepEqual(offsets(events), [4]);
});

test("the filter is the server's, adds before it removes, and comes back with the connection", async () => {
  const { clock, connection, socket, greet, joined, reply } = set();
  greet();
  await joined("E1", 0);
  await reply("pong");
  const changed = connection.filter(["agent_created"]);
  assert.deepEqual(socket().sent.at(-1), { action: "subscribe", data: { event_types: ["agent_created"] }, id: 3 });
  await reply("subscribed");
  await changed;
  const again = connection.filter(["agent_deleted"]);
  assert.deepEqual(socket().sent.at(-1).data, { event_types: ["agent_deleted"] });
  await reply("subscribed");
  assert.deepEqual(socket().sent.at(-1).action, "unsubscribe");
  await reply("unsubscribed");
  await again;
  socket().drops(1006);
  clock.advance(20_000);
  greet();
  assert.deepEqual(socket().sent.map(({ action, data }) => [action, data]), [["subscribe", { event_types: ["agent_deleted"] }]]);
  await reply("subscribed");
  assert.equal(socket().sent.at(-1).action, "join");
});

test("a room that refuses us keeps us from no other", async () => {
  const { phases, connection, greet, reply, joined } = set();
  greet();
  await reply("no room agents", { code: "unknown_channel" }, false);
  assert.equal(last(phases).phase, "live");
  await reply("pong");
  const late = assert.rejects(connection.join("tasks"), /no room tasks/);
  await reply("no room tasks", { code: "unknown_channel" }, false);
  await late;
  connection.rooms.set("agents", null);
  const again = connection.join("agents");
  await joined("E1", 4);
  await again;
  assert.deepEqual(connection.rooms.get("agents"), { epoch: "E1", offset: 4 });
});

test("who does not answer a join is lost", async () => {
  const { clock, phases, greet } = set();
  greet();
  clock.advance(8_000);
  await settled();
  assert.equal(last(phases).phase, "waiting");
});

test("a room that was left is not joined again", async () => {
  const { clock, connection, socket, greet, joined, reply } = set();
  greet();
  await joined("E1", 0);
  await reply("pong");
  const gone = connection.leave("agents");
  await reply("left");
  await gone;
  socket().drops(1006);
  clock.advance(20_000);
  greet();
  await settled();
  assert.deepEqual(socket().sent.map((message) => message.action), ["ping"]);
});
