import assert from "node:assert/strict";
import test from "node:test";
import { commandsOf } from "./web/views/aquarium/commandlog.js";
import { condition, earlierAlerts, initial, openAlerts, reduce, tileKey } from "./web/views/aquarium/state.js";

const NOON = Date.parse("2026-11-20T12:00:00.000Z");
const at = (seconds) => new Date(NOON + seconds * 1000).toISOString();

const metric = (more = {}) => ({
  metric: "temperature", sensor_id: 1, device_id: "probe", sensor: null, value: 25.6, unit: "C",
  measured_at: at(0), origin: "sensor", target: { low: 24, high: 26.5 }, ...more,
});
const awaited = { metric: "nitrate", sensor_id: null, device_id: null, sensor: null, value: null,
  unit: "mg/L", measured_at: null, origin: null, target: { low: 2, high: 15 } };
const alert = (more = {}) => ({
  id: 1, kind: "threshold", severity: "warning", state: "active_unack", title: "too warm",
  message: "", started_at: at(0), cleared_at: null, version: 1, ...more,
});
const snapshot = (more = {}) => ({
  type: "snapshot",
  data: {
    aquarium: { id: 1, name: "Reef", created_at: at(-100) },
    metrics: [metric(), awaited],
    devices: [{ device_id: "probe", name: "Probe", status: "online", last_seen_at: at(0), expected_interval_seconds: 2 }],
    alerts: [], link: { link: "up", since: null }, ...more,
  },
});
const reading = (seconds, value, more = {}) => ({
  type: "reading",
  data: { metric: "temperature", sensor_id: 1, device_id: "probe", value, unit: "C",
    measured_at: at(seconds), received_at: at(seconds), origin: "sensor", ...more },
});
const play = (...events) => events.reduce(reduce, initial());
const tile = (state, name = "temperature", sensor = 1) => state.tiles[tileKey(name, sensor)];

test("a snapshot is the whole state", () => {
  const state = play(snapshot());
  assert.equal(state.aquarium.name, "Reef");
  assert.equal(tile(state).value, 25.6);
  assert.equal(tile(state, "nitrate", null).value, null);
});

test("a reading moves its tile and is a sign of life of its device", () => {
  const state = play(snapshot(), reading(2, 25.75));
  assert.equal(tile(state).value, 25.75);
  assert.equal(tile(state).decimals, 2);
  assert.deepEqual(tile(state).points.map((point) => point.v), [25.6, 25.75]);
  assert.equal(state.devices.probe.last_seen_at, at(2));
});

test("an older reading changes no tile, for a snapshot may hold later ones", () => {
  const state = play(snapshot(), reading(-5, 20));
  assert.equal(tile(state).value, 25.6);
  assert.equal(state.devices.probe.last_seen_at, at(0));
});

test("a reading by hand is no sign of life", () => {
  const state = play(snapshot(), reading(9, 25, { origin: "manual" }));
  assert.equal(state.devices.probe.last_seen_at, at(0));
});

test("the first reading of an awaited metric takes the place of its empty tile", () => {
  const state = play(snapshot(), reading(1, 5, { metric: "nitrate", sensor_id: 9, device_id: undefined }));
  assert.equal(tile(state, "nitrate", null), undefined);
  assert.deepEqual(tile(state, "nitrate", 9).target, { low: 2, high: 15 });
});

test("a second sensor of a metric gets a tile with the same target", () => {
  const state = play(snapshot(), reading(1, 25, { sensor_id: 2, device_id: "other" }));
  assert.deepEqual(tile(state, "temperature", 2).target, { low: 24, high: 26.5 });
  assert.equal(tile(state).value, 25.6);
});

test("lines are bounded and keep the newest point", () => {
  const events = Array.from({ length: 5000 }, (_, i) => reading(1 + i * 0.5, i));
  const { points } = tile(play(snapshot(), ...events));
  assert.ok(points.length <= 602, `${points.length} points`);
  assert.equal(points.at(-1).v, 4999);
  assert.ok(points[0].t >= points.at(-1).t - 600_000);
});

test("history goes before what came since, and unknown tiles have none", () => {
  const points = [{ t: NOON - 20_000, v: 24 }, { t: NOON - 10_000, v: 25 }];
  const state = play(snapshot(), reading(2, 26), { type: "history", data: { key: tileKey("temperature", 1), points } });
  assert.deepEqual(tile(state).points.map((point) => point.v), [24, 25, 25.6, 26]);
  const none = { type: "history", data: { key: "gone/1", points } };
  assert.equal(reduce(state, none), state);
});

test("a device goes offline once, whatever comes late", () => {
  const status = (name, version, seen) => ({
    type: "device_status",
    data: { device_id: "probe", status: name, reason: "lwt", status_since: at(3), last_seen_at: at(seen), state_version: version },
  });
  const state = play(snapshot(), status("offline", 4, 0), status("online", 3, 9));
  assert.equal(state.devices.probe.status, "offline");
  assert.equal(state.devices.probe.name, "Probe");
  assert.equal(play(snapshot(), status("offline", 4, -60)).devices.probe.last_seen_at, at(0));
  assert.equal(reduce(state, status("online", 5, 9)).devices.probe.status, "online");
});

test("the hub's own link comes with the snapshot and by its events", () => {
  const down = { link: "down", since: at(5) };
  const state = play(snapshot(), { type: "hub_status", data: down });
  assert.deepEqual(state.hub, down);
  assert.deepEqual(play(snapshot({ link: down })).hub, down);
  assert.equal(reduce(state, snapshot()).hub.link, "up");
});

test("a status that is unknown for a while is known again as it was", () => {
  const probe = { device_id: "probe", name: "Probe", status: "unknown", last_known_status: "offline", last_seen_at: at(0) };
  const blind = play(snapshot({ devices: [probe], link: { link: "down", since: at(1) } }));
  assert.equal(blind.devices.probe.status, "offline");
  const back = reduce(blind, { type: "hub_status", data: { link: "up", since: at(9) } });
  assert.equal(back.devices.probe.status, "offline");
});

test("commands of a device: the newest first, bounded, and never back to an older version", () => {
  const command = (id, seconds, version, more = {}) => ({
    id, device_id: "probe", command: "feed", status: "queued", created_at: at(seconds), version, ...more,
  });
  const event = (...parts) => ({ type: "device_command", data: command(...parts) });
  const state = play(snapshot(), event("b", 2, 1), event("b", 2, 3, { status: "acknowledged" }), event("b", 2, 2));
  assert.deepEqual(state.commands.probe.map(({ id, status }) => [id, status]), [["b", "acknowledged"]]);
  const items = Array.from({ length: 9 }, (_, i) => command(`c${i}`, i, 1));
  const more = reduce(state, { type: "commands", data: { deviceId: "probe", items } });
  assert.deepEqual(more.commands.probe.map(({ id }) => id), ["c8", "c7", "c6", "c5", "c4"]);
  assert.deepEqual(commandsOf(more.commands, "toString"), []);
  assert.deepEqual(commandsOf(reduce(more, snapshot()).commands, "probe").length, 5);
  const elsewhere = snapshot({ aquarium: { id: 1, name: "Reef", created_at: at(50) } });
  assert.deepEqual(reduce(more, elsewhere).commands, {});
});

test("alerts are raised, acknowledged, cleared; older versions change nothing", () => {
  const raised = { type: "alert", data: alert() };
  const ack = { type: "alert_ack", data: { id: 1, acked_by: "ann", acked_at: at(1), version: 2 } };
  const acked = play(snapshot(), raised, ack, raised);
  assert.equal(acked.alerts[1].state, "active_ack");
  assert.equal(acked.alerts[1].acked_by, "ann");
  const over = reduce(acked, { type: "alert", data: alert({ version: 3, state: "cleared_ack", cleared_at: at(2) }) });
  assert.deepEqual([openAlerts(over).length, earlierAlerts(over).length], [0, 1]);
  assert.equal(reduce(over, { type: "alert_ack", data: { id: 77, version: 1 } }), over);
});

test("a snapshot closes what it does not name and keeps what was over", () => {
  const over = { type: "alert", data: alert({ id: 2, cleared_at: at(1) }) };
  const state = play(snapshot({ alerts: [alert()] }), over, snapshot());
  assert.deepEqual(Object.keys(state.alerts), ["2"]);
  const elsewhere = snapshot({ aquarium: { id: 1, name: "Reef", created_at: at(50) } });
  assert.deepEqual(reduce(state, elsewhere).alerts, {});
});

test("alerts that are over are bounded, open ones are not forgotten", () => {
  const many = Array.from({ length: 50 }, (_, i) => ({ type: "alert", data: alert({ id: i + 10, cleared_at: at(i) }) }));
  const state = play(snapshot({ alerts: [alert()] }), ...many);
  assert.equal(openAlerts(state).length, 1);
  assert.deepEqual(earlierAlerts(state).map((one) => one.id), [59, 58, 57, 56, 55, 54, 53, 52]);
});

test("unacknowledged alerts come first, then the newest", () => {
  const alerts = [alert({ id: 1, state: "active_ack", started_at: at(9) }), alert({ id: 2 }), alert({ id: 3, started_at: at(5) })];
  assert.deepEqual(openAlerts(play(snapshot({ alerts }))).map((one) => one.id), [3, 2, 1]);
});

test("conditions: in range, out of it, stale, unknown, without a target", () => {
  const how = (metrics, after = 1, ...events) => {
    const state = play(snapshot({ metrics: [metrics] }), ...events);
    return condition(state, Object.values(state.tiles)[0], NOON + after * 1000);
  };
  assert.equal(how(metric()), "ok");
  assert.equal(how(metric({ value: 26.5 })), "ok");
  assert.equal(how(metric({ value: 26.51 })), "high");
  assert.equal(how(metric({ value: 23.9 })), "low");
  assert.equal(how(metric({ target: null })), "free");
  assert.equal(how(metric({ target: { low: null, high: null } })), "free");
  assert.equal(how(awaited), "none");
  assert.equal(how(metric(), 21), "stale");
  assert.equal(how(metric({ origin: "manual", device_id: null }), 86_400), "ok");
  const offline = { type: "device_status", data: { device_id: "probe", status: "offline", last_seen_at: null, state_version: 1 } };
  assert.equal(how(metric({ value: 40 }), 1, offline), "stale");
});

test("what it does not know changes nothing", () => {
  const state = play(snapshot());
  for (const type of ["connected", "update", "toString", "__proto__"]) {
    assert.equal(reduce(state, { type, data: {} }), state);
  }
});
