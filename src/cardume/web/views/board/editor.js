/** A card in a dialog. What others change meanwhile is told, and never takes away what one writes. */

import { attempt, byId, complain, element, find, say } from "../../dom.js";
import { ago, time } from "../../words.js";
import { changes, labelsOf } from "./state.js";

/**
 * @typedef {import("./state.js").Card} Card
 * @typedef {{title: string, description: string, labels: string[]}} Text
 * @typedef {{save: (id: string, body: object) => Promise<Card>, remove: (id: string, version: number) => Promise<unknown>,
 *   learn: (card: Card) => void}} Doors
 */

/** @type {Card|null} the card as it was when what is written was compared to it last */
let base = null;

/** @type {Doors} */
let doors;

/** @param {Doors} given */
export function prepare(given) {
  doors = given;
  byId("card-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    run(byId("card-save"), save);
  });
  byId("card-cancel").addEventListener("click", () => byId("card-dialog").close());
  byId("card-take").addEventListener("click", () => base && fill(base));
  byId("card-delete").addEventListener("click", () => run(byId("card-delete"), remove));
}

/** @param {Card} card whole, with its description @param {number} now */
export function edit(card, now) {
  base = card;
  fill(card);
  say(byId("card-dialog-title"), card.id);
  say(byId("card-facts"), `Changed ${ago(time(card.updated_at), now)} by ${card.updated_by}.`);
  byId("card-dialog").showModal();
}

/** @param {Card} card */
function fill(card) {
  byId("card-title").value = card.title;
  byId("card-description").value = card.description ?? "";
  byId("card-labels").value = card.labels.join(", ");
  byId("card-stale").hidden = true;
  complain(find(byId("card-form"), ".problem"));
}

/** @returns {Text} */
function written() {
  return { title: byId("card-title").value, description: byId("card-description").value, labels: labelsOf(byId("card-labels").value) };
}

/** @param {HTMLElement} button @param {() => Promise<unknown>} job */
async function run(button, job) {
  const done = await attempt(button, find(byId("card-form"), ".problem"), job);
  if (done && byId("card-stale").hidden) byId("card-dialog").close();
}

async function save() {
  const known = /** @type {Card} */ (base);
  const text = Object.entries(written()).filter(([name, value]) => differ(value, known[/** @type {keyof Card} */ (name)] ?? ""));
  byId("card-stale").hidden = true;
  if (text.length > 0) await unlessStale(() => doors.save(known.id, { version: known.version, ...Object.fromEntries(text) }));
}

async function remove() {
  const { id, version } = /** @type {Card} */ (base);
  byId("card-stale").hidden = true;
  await unlessStale(() => doors.remove(id, version));
}

/** @param {() => Promise<unknown>} job */
async function unlessStale(job) {
  try {
    await job();
  } catch (error) {
    const theirs = /** @type {any} */ (error).details?.card;
    if (!theirs || !base) throw error;
    meet(base, theirs);
  }
}

/**
 * Somebody else was first. What one has not touched becomes theirs, what one has stays.
 * @param {Card} was @param {Card} theirs
 */
function meet(was, theirs) {
  const mine = written();
  const kept = (/** @type {keyof Text} */ name) => (differ(mine[name], was[name] ?? "") ? mine[name] : theirs[name] ?? "");
  const text = /** @type {any} */ ({ title: kept("title"), description: kept("description"), labels: kept("labels") });
  const changed = changes(was, theirs);
  base = theirs;
  doors.learn(theirs);
  fill({ ...theirs, ...text });
  const what = changed.length > 0 ? `the ${changed.join(", the ")}` : "its place";
  say(byId("card-stale-text"), `Meanwhile ${theirs.updated_by} changed ${what}. What you wrote is kept: do it again to have it your way.`);
  const told = changed.map((name) => [element("dt", {}, name), element("dd", {}, textOf(theirs, name))]);
  byId("card-theirs").replaceChildren(...told.flat());
  byId("card-stale").hidden = false;
}

/** @param {Card} card @param {string} name */
function textOf(card, name) {
  if (name === "column") return card.column_id;
  if (name === "labels") return card.labels.join(", ") || "none";
  return (name === "title" ? card.title : card.description) || "empty";
}

/** @param {unknown} a @param {unknown} b */
function differ(a, b) {
  return JSON.stringify(a) !== JSON.stringify(b);
}
