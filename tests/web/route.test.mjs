import assert from "node:assert/strict";
import test from "node:test";
import { VIEWS, hashOf, routeOf, viewsOf } from "./web/route.js";

test("only the views of apps that run, and rooms", () => {
  assert.deepEqual(viewsOf([]).map((one) => one.view), ["rooms"]);
  assert.deepEqual(viewsOf(["cards", "aquarium"]).map((one) => one.view), ["aquarium", "rooms", "board"]);
});

test("the hash says where one is, the old form too", () => {
  assert.deepEqual(routeOf("#/aquarium/7", VIEWS), { view: "aquarium", id: "7" });
  assert.deepEqual(routeOf("#7", VIEWS), { view: "aquarium", id: "7" });
  assert.deepEqual(routeOf("#/executions/ab12", VIEWS), { view: "executions", id: "ab12" });
  assert.deepEqual(routeOf("#/board", VIEWS), { view: "board", id: null });
  assert.deepEqual(routeOf("#/executions/%E0%A4", VIEWS), { view: "executions", id: null });
});

test("what is nowhere leads to the first view", () => {
  assert.deepEqual(routeOf("", VIEWS), { view: "aquarium", id: null });
  assert.deepEqual(routeOf("#/nowhere/7", viewsOf(["cards"])), { view: "rooms", id: null });
  assert.deepEqual(routeOf("#7", viewsOf([])), { view: "rooms", id: null });
});

test("there and back", () => {
  assert.deepEqual(routeOf(hashOf("executions", "a/b c"), VIEWS), { view: "executions", id: "a/b c" });
  assert.equal(hashOf("rooms"), "#/rooms");
});
