import assert from "node:assert/strict";
import test from "node:test";
import { pieces } from "./web/views/executions/ansi.js";
import { FILLED, KEPT, appended, continued, followed, hasOlder, initial, lastSeq, missing, prepended, replaced, snapshot } from "./web/views/executions/log.js";

const lines = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => ({ seq: from + i, stream: "stdout", text: `${from + i}`, at: "" }));
const shot = (from, to, first = 1) => ({ lines: lines(from, to), execution: { first_seq: first, last_seq: to } });
const ends = (log) => [log.lines[0]?.seq ?? 0, lastSeq(log)];
const whole = (log) => log.lines.every((line, i) => line.seq === log.lines[0].seq + i);

test("a line is taken once, whatever is said twice", () => {
  let log = snapshot(initial(), shot(1, 500));
  log = appended(log, lines(490, 510));
  log = appended(log, lines(505, 506));
  assert.deepEqual([ends(log), whole(log)], [[1, 510], true]);
});

test("a million lines leave the last few thousand", () => {
  let log = initial();
  for (let from = 1; from < 1_000_000; from += 1000) log = appended(log, lines(from, from + 999));
  assert.deepEqual([ends(log), log.lines.length, whole(log)], [[1_000_001 - KEPT, 1_000_000], KEPT, true]);
  assert.ok(hasOlder(log));
});

test("who reads further up is not pushed on, and is told how much is missing", () => {
  let log = followed(appended(initial(), lines(1, KEPT)), false);
  log = appended(log, lines(KEPT + 1, KEPT + 100));
  assert.deepEqual([ends(log), missing(log)], [[1, KEPT], 100]);
  log = appended(log, lines(KEPT + 101, KEPT + 110));
  assert.deepEqual([ends(log), missing(log)], [[1, KEPT], 110]);
  log = continued(log, lines(KEPT + 1, KEPT + 110));
  assert.deepEqual([ends(log), missing(log), log.following], [[111, KEPT + 110], 0, false]);
});

test("older lines come before, and the last ones leave", () => {
  const log = followed(snapshot(initial(), shot(9001, 9500)), false);
  const more = prepended(log, lines(8501, 9000));
  assert.deepEqual([ends(more), whole(more)], [[8501, 9500], true]);
  let far = more;
  for (let to = 8500; to > 3000; to -= 500) far = prepended(far, lines(to - 499, to));
  assert.deepEqual([far.lines.length, far.lines[0].seq, whole(far), missing(far) > 0], [KEPT, 3001, true, true]);
  assert.equal(prepended(log, lines(1, 500)), log, "not the lines that come before");
});

test("a snapshot after a short absence leaves a hole to be filled, after a long one starts over", () => {
  const log = snapshot(initial(), shot(1, 500));
  const short = snapshot(log, shot(1001, 1500));
  assert.deepEqual([ends(short), missing(short)], [[1, 500], 1000]);
  const filled = appended(appended(short, lines(501, 1000)), lines(1001, 1500));
  assert.deepEqual([ends(filled), missing(filled)], [[1, 1500], 0]);
  const far = 1000 + FILLED + 1;
  assert.deepEqual(ends(snapshot(log, shot(far, far + 499))), [far, far + 499]);
  const reading = snapshot(followed(log, false), shot(far, far + 499));
  assert.deepEqual([ends(reading), missing(reading)], [[1, 500], far - 1]);
});

test("another log starts over, and an empty one is none", () => {
  assert.deepEqual(ends(snapshot(snapshot(initial(), shot(1, 500)), shot(1, 3))), [1, 3]);
  assert.deepEqual(ends(snapshot(initial(), { lines: [], execution: { first_seq: 1, last_seq: 0 } })), [0, 0]);
  assert.deepEqual(ends(replaced(snapshot(initial(), shot(1, 9)), lines(50, 60))), [50, 60]);
});

test("a terminal's colours are looks, its other sequences nothing", () => {
  const esc = "\u001b";
  assert.deepEqual(pieces("plain"), [{ text: "plain", look: "" }]);
  assert.deepEqual(pieces(`a${esc}[1;31mred${esc}[0mb${esc}[92mg`), [
    { text: "a", look: "" },
    { text: "red", look: "ansi-1 ansi-bold" },
    { text: "b", look: "" },
    { text: "g", look: "ansi-2" },
  ]);
  assert.deepEqual(pieces(`${esc}]0;title\u0007x${esc}[2K${esc}[?25ly${esc}(Bz`).map((one) => one.text).join(""), "xyz");
  assert.deepEqual(pieces(`${esc}[38;5;31mx${esc}[48;2;1;31;3my`), [{ text: "x", look: "" }, { text: "y", look: "" }]);
  assert.deepEqual(pieces(`10 %\r20 %\r`), [{ text: "20 %", look: "" }]);
  assert.deepEqual(pieces(`\u0000\u0008a\tb${esc}[`), [{ text: "a\tb", look: "" }]);
  assert.deepEqual(pieces(""), []);
});
