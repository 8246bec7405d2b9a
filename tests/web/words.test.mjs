import assert from "node:assert/strict";
import test from "node:test";
import { commandFacts, commandWords, hubText, newsOf, quietText } from "./web/views/aquarium/words.js";
import { clock } from "./web/words.js";

const NOW = new Date(2026, 10, 20, 12, 0).getTime();
const ago = (seconds) => new Date(NOW - seconds * 1000).toISOString();

test("the hub's own link is spoken of while it is not up", () => {
  assert.equal(hubText({ link: "up", since: ago(5) }, NOW), "");
  const down = hubText({ link: "down", since: ago(300) }, NOW);
  assert.ok(down.includes(`since ${clock(NOW - 300_000, NOW)}.`), down);
  assert.match(down, /unknown/);
  assert.match(hubText({ link: "resync", since: ago(1) }, NOW), /catching up/);
  assert.doesNotMatch(hubText({ link: "down", since: null }, NOW), /since/);
});

test("nothing is called well that is not known to be", () => {
  assert.equal(quietText({ link: "up", since: null }, true), "Nothing is wrong.");
  for (const [link, live] of [["down", true], ["resync", true], ["up", false], ["down", false]]) {
    assert.doesNotMatch(quietText({ link, since: null }, live), /Nothing is wrong/);
  }
});

test("a time of another day is said with its date", () => {
  const [today, before] = [clock(NOW - 3_600_000, NOW), clock(NOW - 90_000_000, NOW)];
  assert.ok(before.length > today.length, `${today}, ${before}`);
});

test("an alert does not repeat its title, and says times as people here do", () => {
  const title = "The hub cannot hear any device";
  const message = `${title}: no link to the MQTT broker since ${ago(60)}.`;
  const news = `No link to the MQTT broker since ${clock(NOW - 60_000, NOW)}.`;
  assert.equal(newsOf({ title, message }, NOW), news);
  assert.equal(newsOf({ title, message: title }, NOW), "");
});

test("a command is said by what became of it", () => {
  const command = (more) => ({
    status: "queued", result: null, created_at: ago(60), created_by: "ann", expires_at: ago(-240), finished_at: null, ...more,
  });
  const said = (more) => [commandWords(command(more))[2], commandFacts(command(more), NOW).at(-1)];
  const until = clock(NOW + 240_000, NOW);
  assert.deepEqual(said({}), ["Queued", `waits until ${until}`]);
  assert.deepEqual(said({ status: "sent" }), ["Sent", `may answer until ${until}`]);
  assert.deepEqual(said({ status: "expired", finished_at: ago(0) }), ["Expired", "no answer in time"]);
  const answered = { status: "acknowledged", finished_at: ago(30) };
  assert.deepEqual(said({ ...answered, result: "ok" }), ["Done", "answered after 30 s"]);
  assert.equal(said({ ...answered, result: "failed" })[0], "Failed");
  assert.equal(said({ status: "of tomorrow" })[0], "of tomorrow");
});
