/** The board: cards that everybody moves, and that move by themselves when somebody else does. */

import * as api from "../../api.js";
import { Plain } from "../../connection/plain.js";
import { attempt, button, byId, complain, element, find, say } from "../../dom.js";
import * as page from "../../page.js";
import { sentence } from "../../words.js";
import { nodeOf, showBoard } from "./columns.js";
import { listen } from "./drag.js";
import * as editor from "./editor.js";
import * as model from "./state.js";

/** @typedef {model.Card} Card */

/** Milliseconds for which a card says what somebody else did to it. */
const NEWS_FOR = 5000;

let state = model.initial();
/** @type {Plain|null} */
let connection = null;
/** @type {Record<string, string>} what somebody else did, by card */
let news = {};
/** @type {Map<string, number>} cards that we are changing ourselves */
const ours = new Map();

export function open() {
  if (connection) return;
  state = model.initial();
  connection = page.watch(Plain, "ws/cards", { what: "the board", onEvent: heard });
}

export function close() {
  connection = null;
  byId("card-dialog").close();
  byId("columns-dialog").close();
}

export function draw() {
  if (!state.board) return;
  showBoard(state, news, { open: openCard, menu, add: (column_id, title) => act("create_card", { column_id, title }) });
  byId("board-empty").hidden = Object.keys(state.cards).length > 0;
}

/** @param {{type: string, data: any}} event */
function dispatch(event) {
  state = model.reduce(state, event);
  page.soon();
}

/** @param {import("../../connection/plain.js").Frame} frame */
function heard(frame) {
  const card = frame.type.startsWith("card_") ? frame.data : null;
  // A card that we make has no id before it is made.
  const mine = card && ours.has(frame.type === "card_created" ? "" : card.id);
  const words = card && !mine ? newsOf(frame.type, state.cards[card.id], card) : "";
  dispatch(frame);
  if (frame.type === "snapshot" && state.partial) fill();
  if (words) tell(card, words);
}

/** @param {string} type @param {Card|undefined} was @param {Card} is @returns {string} */
function newsOf(type, was, is) {
  // Without a change of its version, only its place was written anew.
  if (type === "card_deleted" || (was && was.version >= is.version)) return "";
  if (!was) return `new, by ${is.updated_by}`;
  return `${type === "card_moved" ? "moved" : "changed"} by ${is.updated_by}`;
}

/** @param {Card} card @param {string} words */
function tell(card, words) {
  news = { ...news, [card.id]: words };
  page.announce(`${card.title}, in ${model.columnName(card.column_id)}: ${words}. `);
  setTimeout(() => {
    if (news[card.id] !== words) return;
    const { [card.id]: _told, ...others } = news;
    news = others;
    page.soon();
  }, NEWS_FOR);
}

/** A board too large for a snapshot: the rest by HTTP. */
async function fill() {
  const mine = connection;
  const cards = await api.list("api/v1/cards?limit=1000").catch(() => []);
  if (mine !== connection) return;
  // As a change: what was heard meanwhile is newer, and stays.
  for (const card of cards) state = model.reduce(state, { type: "card_updated", data: card });
  page.soon();
}

/**
 * Ask for a change, on the connection while it is live. What is stale brings what is current.
 * @param {string} name of the action @param {any} body @returns {Promise<any>}
 */
async function act(name, body) {
  const id = body.card_id ?? "";
  ours.set(id, (ours.get(id) ?? 0) + 1);
  try {
    const card = await (page.live() && connection ? connection.act(name, body) : byHttp(name, body));
    if (card?.id) dispatch({ type: "card_updated", data: card });
    return card;
  } catch (error) {
    const { details } = /** @type {any} */ (error);
    if (details?.card) dispatch({ type: "card_updated", data: details.card });
    throw error;
  } finally {
    const left = (ours.get(id) ?? 1) - 1;
    if (left > 0) ours.set(id, left);
    else ours.delete(id);
  }
}

/** @param {string} name @param {any} body @returns {Promise<any>} */
function byHttp(name, { card_id: id, ...json }) {
  const path = `cards/${encodeURIComponent(id)}`;
  switch (name) {
    case "create_card":
      return api.call("cards", { method: "POST", json });
    case "move_card":
      return api.call(`${path}/move`, { method: "POST", json });
    case "delete_card":
      return api.call(`${path}?version=${json.version}`, { method: "DELETE" });
    default:
      return api.call(path, { method: "PATCH", json });
  }
}

/** @param {string} id @param {{column_id: string, after_id: string|null}|null} place */
async function move(id, place) {
  const card = state.cards[id];
  if (!place || !card) return;
  complain(byId("board-problem"));
  try {
    await act("move_card", { card_id: id, version: card.version, ...place });
    page.announce(`${card.title}, in ${model.columnName(place.column_id)}. `);
  } catch (error) {
    const { message, details } = /** @type {any} */ (error);
    const words = details?.card ? `“${details.card.title}” was changed by ${details.card.updated_by} in the same moment; it was not moved` : message;
    complain(byId("board-problem"), sentence(words));
  }
}

/** @param {string} id @param {string} key an arrow */
function step(id, key) {
  if (key === "ArrowUp" || key === "ArrowDown") return move(id, model.placeBeside(state, id, key === "ArrowUp" ? -1 : 1));
  const columns = state.board?.columns ?? [];
  const column = columns[columns.indexOf(state.cards[id].column_id) + (key === "ArrowLeft" ? -1 : 1)];
  if (column) move(id, model.placeBefore(state, id, column, null));
}

/** @param {string} id @param {HTMLElement} at */
function menu(id, at) {
  const card = state.cards[id];
  const pop = byId("card-menu");
  const item = (/** @type {string} */ words, /** @type {() => void} */ run) =>
    button(words, () => {
      pop.hidePopover();
      nodeOf(id)?.querySelector("button")?.focus();
      run();
    });
  const others = (state.board?.columns ?? []).filter((column) => column !== card.column_id);
  pop.replaceChildren(
    item("Edit", () => openCard(id)),
    ...(model.placeBeside(state, id, -1) ? [item("Up", () => step(id, "ArrowUp"))] : []),
    ...(model.placeBeside(state, id, 1) ? [item("Down", () => step(id, "ArrowDown"))] : []),
    element("p", {}, "Move to"),
    ...others.map((column) => item(model.columnName(column), () => move(id, model.placeBefore(state, id, column, null)))),
  );
  pop.showPopover();
  const [anchor, size] = [at.getBoundingClientRect(), pop.getBoundingClientRect()];
  pop.style.left = `${Math.max(8, Math.min(anchor.right - size.width, innerWidth - size.width - 8))}px`;
  pop.style.top = `${Math.max(8, Math.min(anchor.bottom + 4, innerHeight - size.height - 8))}px`;
  pop.querySelector("button").focus();
}

/** @param {string} id */
async function openCard(id) {
  complain(byId("board-problem"));
  try {
    // A large snapshot leaves descriptions out.
    const card = state.cards[id].description === undefined ? await api.call(`cards/${encodeURIComponent(id)}`) : state.cards[id];
    editor.edit(card, page.now());
  } catch (error) {
    complain(byId("board-problem"), sentence(/** @type {Error} */ (error).message));
  }
}

async function saveColumns() {
  const columns = byId("columns-text").value.split("\n").map((/** @type {string} */ line) => line.trim()).filter(Boolean);
  const version = state.board?.version;
  dispatch({ type: "board_updated", data: await api.call("board", { method: "PUT", json: { columns, version } }) });
}

function build() {
  listen({ drop: (id, column, before) => void move(id, model.placeBefore(state, id, column, before)), step });
  editor.prepare({
    save: (card_id, body) => act("update_card", { card_id, ...body }),
    remove: async (card_id, version) => {
      await act("delete_card", { card_id, version });
      dispatch({ type: "card_deleted", data: { id: card_id } });
    },
    learn: (card) => dispatch({ type: "card_updated", data: card }),
  });
  byId("edit-columns").addEventListener("click", () => {
    byId("columns-text").value = (state.board?.columns ?? []).join("\n");
    complain(find(byId("columns-form"), ".problem"));
    byId("columns-dialog").showModal();
  });
  byId("columns-cancel").addEventListener("click", () => byId("columns-dialog").close());
  byId("columns-form").addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    const form = byId("columns-form");
    if (await attempt(find(form, ".primary"), find(form, ".problem"), saveColumns)) byId("columns-dialog").close();
  });
  say(byId("board-try"), `curl ${location.origin}/api/v1/cards -H 'Content-Type: application/json' -d '{"title":"Feed the fish"}'`);
}

build();
