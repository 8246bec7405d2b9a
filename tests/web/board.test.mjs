import assert from "node:assert/strict";
import test from "node:test";
import { cardsIn, changes, columnName, initial, labelsOf, placeBefore, placeBeside, reduce } from "./web/views/board/state.js";

const card = (id, position, more = {}) => ({ id, board_id: "main", column_id: "plan", title: id, labels: [], position, version: 1, ...more });
const board = { board_id: "main", columns: ["plan", "done"], version: 1 };
const start = (...cards) => reduce(initial(), { type: "snapshot", data: { board, cards } });
const play = (state, ...events) => events.map(([type, data]) => ({ type, data })).reduce(reduce, state);
const order = (state, column = "plan") => cardsIn(state, column).map((one) => one.id);

test("a column is ordered by the bytes of its positions", () => {
  assert.deepEqual(order(start(card("x", "b"), card("y", "a"), card("z", "Z"), card("w", "aV"))), ["z", "y", "w", "x"]);
});

test("an older card changes nothing; the same version in a new place does", () => {
  const state = start(card("x", "a", { version: 3 }), card("y", "b"));
  assert.equal(play(state, ["card_moved", card("x", "z", { version: 2 })]), state);
  assert.deepEqual(order(play(state, ["card_moved", card("x", "z", { version: 3 })])), ["y", "x"]);
  assert.deepEqual(order(play(state, ["card_moved", card("x", "a", { version: 4, column_id: "done" })]), "done"), ["x"]);
});

test("a deleted card does not come back by an older word of it", () => {
  const state = play(start(card("x", "a")), ["card_deleted", card("x", "a")], ["card_updated", card("x", "a", { version: 9 })]);
  assert.deepEqual(order(state), []);
});

test("a snapshot is the whole board", () => {
  const state = play(start(card("x", "a")), ["card_deleted", card("x", "a")], ["snapshot", { board, cards: [card("y", "a")], truncated: true }]);
  assert.deepEqual([order(state), state.partial, state.gone], [["y"], true, []]);
});

test("columns by version", () => {
  const later = { ...board, columns: ["done"], version: 2 };
  const state = play(start(), ["board_updated", later], ["board_updated", board]);
  assert.deepEqual(state.board.columns, ["done"]);
});

test("put before another card, at the end, or where it is already", () => {
  const state = start(card("a", "1"), card("b", "2"), card("c", "3"));
  assert.deepEqual(placeBefore(state, "c", "plan", "a"), { column_id: "plan", after_id: null });
  assert.deepEqual(placeBefore(state, "a", "plan", "c"), { column_id: "plan", after_id: "b" });
  assert.deepEqual(placeBefore(state, "a", "plan", null), { column_id: "plan", after_id: "c" });
  assert.deepEqual(placeBefore(state, "a", "done", null), { column_id: "done", after_id: null });
  assert.equal(placeBefore(state, "a", "plan", "b"), null);
  assert.equal(placeBefore(state, "c", "plan", null), null);
});

test("one up, one down, and no further", () => {
  const state = start(card("a", "1"), card("b", "2"), card("c", "3"));
  assert.deepEqual(placeBeside(state, "c", -1), { column_id: "plan", after_id: "a" });
  assert.deepEqual(placeBeside(state, "b", -1), { column_id: "plan", after_id: null });
  assert.deepEqual(placeBeside(state, "a", 1), { column_id: "plan", after_id: "b" });
  assert.equal(placeBeside(state, "a", -1), null);
  assert.equal(placeBeside(state, "c", 1), null);
});

test("what others changed is named", () => {
  assert.deepEqual(changes(card("a", "1"), card("a", "9", { title: "b", labels: ["x"], version: 2 })), ["title", "labels"]);
  assert.deepEqual(changes(card("a", "1"), card("a", "1", { column_id: "done" })), ["column"]);
});

test("labels and columns as people write them", () => {
  assert.deepEqual(labelsOf(" fish, tank ,, fish"), ["fish", "tank"]);
  assert.equal(columnName("in_review"), "In review");
});
