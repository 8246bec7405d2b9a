import assert from "node:assert/strict";
import test from "node:test";
import { FakeClock, FakeSocket } from "./sockets.mjs";
import { ANSWER_WITHIN, CONNECT_WITHIN, PING_AFTER, backoff, comesBack } from "./web/connection/link.js";
import { Plain } from "./web/connection/plain.js";

function set(random = 0.5) {
  const clock = new FakeClock();
  const sockets = [];
  const events = [];
  const phases = [];
  const connection = new Plain({
    url: "ws://here/ws/aquarium/1",
    protocols: ["bearer", "abc"],
    onEvent: (frame) => events.push(frame),
    onPhase: (phase) => phases.push(phase),
    socket: (url, protocols) => (sockets.push(new FakeSocket(url, protocols)), sockets.at(-1)),
    clock,
    random: () => random,
  });
  connection.connect();
  const greet = (epoch, offset, recovered = false) =>
    sockets.at(-1).says({ type: "connected", timestamp: "2026-11-20T12:00:00.000Z", data: { epoch, offset, recovered } });
  const event = (offset, type = "reading") => sockets.at(-1).says({ type, offset, data: {} });
  return { clock, sockets, events, phases, connection, greet, event };
}

const names = (phases) => phases.map((phase) => phase.phase);

test("which closes are for good", () => {
  for (const code of [1000, 1001, 1006, 1011, 1012, 1013, 3000, 3001, 3008, 3012, 3499, 4000, 4499]) {
    assert.equal(comesBack(code), true, String(code));
  }
  for (const code of [1002, 1003, 1007, 1009, 3500, 3503, 3507, 3999, 4500, 4999]) {
    assert.equal(comesBack(code), false, String(code));
  }
});

test("full jitter between half a second and twenty", () => {
  for (let attempt = 1; attempt < 100; attempt++) {
    assert.equal(backoff(attempt, 0), 500);
    assert.ok(backoff(attempt, 0.999) <= 20_000);
  }
  assert.equal(backoff(1, 1), 1000);
  assert.equal(backoff(50, 1), 20_000);
});

test("the token is in no address", () => {
  const { sockets } = set();
  assert.equal(sockets[0].url, "ws://here/ws/aquarium/1");
  assert.deepEqual(sockets[0].protocols, ["bearer", "abc"]);
});

test("it comes back where it was, and says how much it had missed", () => {
  const { clock, sockets, phases, events, greet, event } = set();
  greet("E1", 4);
  event(4, "snapshot");
  event(5);
  event(6);
  sockets[0].drops(1006);
  assert.equal(phases.at(-1).phase, "waiting");
  clock.advance(phases.at(-1).until - clock.time);
  assert.equal(sockets[1].url, "ws://here/ws/aquarium/1?since=E1:6");
  greet("E1", 6, true);
  event(7);
  event(8);
  sockets[1].says({ type: "pong", data: { offset: 8 } });
  assert.deepEqual(phases.at(-1), { phase: "live", how: "resumed", missed: 2 });
  assert.deepEqual(names(phases), ["connecting", "live", "waiting", "connecting", "live", "live"]);
  assert.deepEqual(events.filter((frame) => frame.type === "reading").map((frame) => frame.offset), [5, 6, 7, 8]);
});

test("a new epoch starts over", () => {
  const { clock, sockets, phases, greet, event } = set();
  greet("E1", 900);
  sockets[0].drops(3001, "shutdown");
  clock.advance(1000);
  greet("E2", 3);
  event(3, "snapshot");
  event(4);
  assert.equal(phases.at(-1).how, "restarted");
  sockets[1].drops(1012);
  clock.advance(2000);
  assert.match(sockets[2].url, /since=E2:4$/);
});

test("an event that came already is not told again", () => {
  const { events, greet, event } = set();
  greet("E1", 4);
  event(5);
  event(5);
  event(3);
  assert.equal(events.filter((frame) => frame.type === "reading").length, 1);
});

test("closed for good stays closed", () => {
  const { clock, sockets, phases, greet } = set();
  greet("E1", 0);
  sockets[0].drops(3507, "permission denied");
  assert.deepEqual(phases.at(-1), { phase: "closed", code: 3507, reason: "permission denied" });
  clock.advance(3_600_000);
  assert.equal(sockets.length, 1);
});

test("waits grow while nobody answers, and are short again after a good connection", () => {
  const { clock, sockets, phases, greet } = set(1);
  const waits = [];
  for (let i = 0; i < 7; i++) {
    sockets.at(-1).drops(1006);
    waits.push(phases.at(-1).until - clock.time);
    clock.advance(waits.at(-1));
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
  greet("E1", 0);
  sockets.at(-1).drops(3013);
  assert.equal(phases.at(-1).until - clock.time, 20_000, "greeted and thrown out at once is not good");
  clock.advance(20_000);
  greet("E1", 0, true);
  sockets.at(-1).says({ type: "pong", data: { offset: 0 } });
  clock.advance(11_000);
  sockets.at(-1).drops(1006);
  assert.equal(phases.at(-1).until - clock.time, 1000);
});

test("silence is asked about, and no answer is a loss", () => {
  const { clock, sockets, phases, greet } = set();
  greet("E1", 0);
  clock.advance(PING_AFTER);
  assert.deepEqual(sockets[0].sent, [{ type: "ping" }]);
  sockets[0].says({ type: "pong", data: { offset: 0 } });
  clock.advance(PING_AFTER);
  assert.equal(sockets[0].sent.length, 2);
  clock.advance(ANSWER_WITHIN);
  assert.equal(phases.at(-1).phase, "waiting");
  assert.equal(sockets[0].closed, true);
});

test("a handshake that nobody answers is given up", () => {
  const { clock, sockets, phases } = set();
  clock.advance(CONNECT_WITHIN);
  assert.equal(phases.at(-1).phase, "waiting");
  sockets[0].drops(1006);
  assert.equal(names(phases).filter((name) => name === "waiting").length, 1, "a dead socket says no more");
});

test("try now does not wait, and does not dial twice", () => {
  const { clock, sockets, connection } = set();
  sockets[0].drops(1006);
  connection.hurry();
  assert.equal(sockets.length, 2);
  clock.advance(5000);
  assert.equal(sockets.length, 2);
});

test("an action gets its own answer", async () => {
  const { sockets, connection, greet } = set();
  greet("E1", 0);
  const [first, second] = [connection.act("ack_alert", { alert_id: 5 }), connection.act("ack_alert", { alert_id: 6 })];
  assert.deepEqual(sockets[0].sent[0], { type: "action", id: 1, data: { name: "ack_alert", alert_id: 5 } });
  sockets[0].says({ type: "error", id: 2, data: { code: "not_found", message: "no alert 6" } });
  sockets[0].says({ type: "result", id: 1, data: { id: 5 } });
  assert.deepEqual(await first, { id: 5 });
  await assert.rejects(second, /no alert 6/);
});

test("a refused action says all that the server said", async () => {
  const { sockets, connection, greet } = set();
  greet("E1", 0);
  const stale = connection.act("move_card", { card_id: "card-1", version: 1 });
  sockets[0].says({ type: "error", id: 1, data: { code: "conflict", message: "stale", card: { id: "card-1", version: 2 } } });
  await assert.rejects(stale, (error) => error.details.card.version === 2);
});

test("an action without an answer fails, as does one whose connection is lost", async () => {
  const { clock, sockets, connection, greet } = set();
  await assert.rejects(connection.act("ack_alert", {}), /not connected/);
  greet("E1", 0);
  const late = connection.act("ack_alert", {});
  clock.advance(ANSWER_WITHIN);
  await assert.rejects(late, /no answer in time/);
  const lost = connection.act("ack_alert", {});
  sockets[0].drops(1006);
  await assert.rejects(lost, /connection was lost/);
});

test("closed by us, nothing is told and nothing dials", () => {
  const { clock, sockets, phases, connection, greet } = set();
  greet("E1", 0);
  connection.close();
  sockets[0].drops(1005);
  clock.advance(60_000);
  assert.deepEqual([sockets.length, names(phases)], [1, ["connecting", "live"]]);
  assert.equal(clock.calls.size, 0);
});
