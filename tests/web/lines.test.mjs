import assert from "node:assert/strict";
import test from "node:test";
import { pastOf, runs } from "./web/views/aquarium/lines.js";
import { initial, reduce, tileKey } from "./web/views/aquarium/state.js";

const NOON = Date.parse("2026-11-20T12:00:00.000Z");
const HOUR = 3_600_000;
const at = (hours) => new Date(NOON + hours * HOUR).toISOString();
const bucket = (hours, mean, more = {}) => ({ measured_at: at(hours), min: mean - 1, mean, max: mean + 1, count: 9, ...more });

test("readings one by one are points where they were measured", () => {
  const items = [{ measured_at: at(-1), value: 7 }];
  const answer = { items, resolution: 0, source: "raw" };
  assert.deepEqual(pastOf(answer, NOON), { points: [{ t: NOON - HOUR, v: 7 }], past: { source: "raw", width: 0 } });
});

test("hours stand in their middle with their lowest and highest; one that has just begun does not lie ahead", () => {
  const items = [bucket(-3, 7), bucket(-0.25, 8)];
  const { points, past } = pastOf({ items, resolution: 3600, source: "mixed" }, NOON);
  assert.deepEqual(points[0], { t: NOON - 2.5 * HOUR, v: 7, low: 6, high: 8 });
  assert.deepEqual(points[1], { t: NOON - 0.125 * HOUR, v: 8, low: 7, high: 9 });
  assert.deepEqual(past, { source: "mixed", width: HOUR });
});

test("a clock behind the server's turns no stretch of time around", () => {
  const { points } = pastOf({ items: [bucket(2, 7)], resolution: 3600, source: "hourly" }, NOON);
  assert.equal(points[0].t, NOON + 2 * HOUR);
});

test("a line is not drawn over a time without values", () => {
  const line = [0, 1, 2, 9, 10].map((t) => ({ t, v: t }));
  assert.deepEqual(runs(line, 0).map((run) => run.map(({ t }) => t)), [[0, 1, 2], [9, 10]]);
  assert.deepEqual(runs([], 0), []);
});

test("many live points do not tear the hours before them apart", () => {
  const hours = [-5, -4, -3, -2, -1].map((hour) => ({ t: NOON + hour * HOUR, v: 1 }));
  const since = Array.from({ length: 50 }, (_, i) => ({ t: NOON + i * 60_000, v: 1 }));
  assert.equal(runs([...hours, ...since], HOUR).length, 1);
  assert.equal(runs([...hours.slice(0, 2), ...since], HOUR).length, 2);
});

test("a tile knows what its line is made of, until another span is asked for", () => {
  const metric = { metric: "ph", sensor_id: 1, device_id: "probe", sensor: null, value: 8, unit: "pH",
    measured_at: at(0), origin: "sensor", target: null };
  const data = { aquarium: { id: 1, name: "Reef", created_at: at(-9) }, metrics: [metric], devices: [], alerts: [],
    link: { link: "up", since: null } };
  const key = tileKey("ph", 1);
  const past = pastOf({ items: [bucket(-3, 7), bucket(-2, 8)], resolution: 3600, source: "hourly" }, NOON);
  const live = { type: "reading", data: { ...metric, value: 8.1, measured_at: at(0.01), received_at: at(0.01) } };
  const state = [{ type: "snapshot", data }, { type: "history", data: { key, ...past } }, live].reduce(reduce, initial(86_400));
  assert.equal(state.tiles[key].past.source, "hourly");
  assert.deepEqual(state.tiles[key].points.map(({ low = null }) => low), [6, 7, null, null]);
  assert.equal(reduce(state, { type: "span", data: 600 }).tiles[key].past, null);
});
