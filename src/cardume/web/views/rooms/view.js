/** What happens in the rooms of the hub, as it happens. */

import * as api from "../../api.js";
import { Rooms } from "../../connection/rooms.js";
import { byId, button, complain, element, find, onSubmit, say } from "../../dom.js";
import * as page from "../../page.js";
import { sentence } from "../../words.js";
import * as model from "./feed.js";
import { showFeed } from "./list.js";

/** Milliseconds between two looks at the numbers. */
const STATS_EVERY = 5000;

/** @type {Record<string, string>} what is shown of `GET /ws/stats` */
const NUMBERS = {
  active_connections: "Connections now",
  total_connections: "Connections ever",
  messages_sent: "Messages sent",
  messages_received: "Messages received",
};

let feed = model.initial();
/** @type {Rooms|null} */
let connection = null;
let askedAt = 0;

export function open() {
  if (connection) return;
  const rooms = feed.rooms.filter((room) => room !== model.NOWHERE);
  connection = page.watch(Rooms, "ws", { what: "the rooms", rooms, onEvent: heard, onPhase: entered });
  connection.filter(feed.types).catch(complained);
  page.soon();
}

export function close() {
  connection = null;
}

export function draw() {
  showFeed(feed);
  if (document.hidden || Date.now() - askedAt < STATS_EVERY) return;
  askedAt = Date.now();
  api.request("ws/stats").then(showStats, (error) => console.debug(error.message));
}

/** Who is in which room has changed by us. */
function entered() {
  askedAt = 0;
  page.soon();
}

/** @param {import("../../connection/rooms.js").Frame} frame */
function heard(frame) {
  feed = model.heard(feed, frame);
  if (frame.event_type === "metrics_updated") showStats(frame.data);
  page.soon();
}

/** @param {any} stats */
function showStats(stats) {
  // Anybody may broadcast a `metrics_updated` of their own.
  if (!Number.isFinite(stats?.active_connections)) return;
  const known = Object.entries(NUMBERS).map(([name, words]) => [words, stats[name]]);
  const rooms = Object.entries(stats.rooms ?? {}).map(([room, members]) => [`In ${room}`, members]);
  const rows = [...known, ...rooms].filter(([, value]) => Number.isFinite(value));
  const shown = rows.flatMap(([words, value]) => [element("dt", {}, words), element("dd", {}, value.toLocaleString())]);
  byId("stats").replaceChildren(...shown);
}

/** @param {string} room @param {HTMLElement} chip */
function toggleRoom(room, chip) {
  feed = model.toggled(feed, "rooms", room);
  const on = feed.rooms.includes(room);
  chip.setAttribute("aria-pressed", String(on));
  complain(byId("feed-problem"));
  if (room !== model.NOWHERE) connection?.[on ? "join" : "leave"](room).catch(complained);
  page.soon();
}

/** @param {string} type @param {HTMLElement} chip */
function toggleType(type, chip) {
  feed = model.toggled(feed, "types", type);
  chip.setAttribute("aria-pressed", String(feed.types.includes(type)));
  say(byId("type-count"), String(feed.types.length));
  byId("type-count").hidden = feed.types.length === 0;
  complain(byId("feed-problem"));
  connection?.filter(feed.types).catch(complained);
  page.soon();
}

/** @param {Error} error */
function complained(error) {
  complain(byId("feed-problem"), sentence(error.message));
}

/** @param {string[]} names @param {(name: string, chip: HTMLElement) => void} toggle @param {(name: string) => boolean} on */
function chips(names, toggle, on) {
  return names.map((name) => {
    const chip = button(name, () => toggle(name, chip), { "aria-pressed": String(on(name)) });
    return chip;
  });
}

async function broadcast() {
  const data = parsed(byId("broadcast-data").value);
  const room = byId("broadcast-room").value;
  const event = { event_type: byId("broadcast-type").value, data, ...(room && { room }) };
  const status = find(byId("broadcast-form"), "[role=status]");
  say(status, "");
  const { delivered_to: count } = await api.post("ws/broadcast", event);
  say(status, `Sent to ${count} ${count === 1 ? "connection" : "connections"}.`);
}

/** @param {string} text @returns {object} */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("the data is not valid JSON");
  }
}

function build() {
  byId("feed-rooms").append(...chips(model.ROOMS, toggleRoom, (room) => feed.rooms.includes(room)));
  for (const [room, types] of Object.entries(model.TYPES)) {
    const group = element("div", { class: "chips", role: "group", "aria-label": room });
    group.append(...chips(types, toggleType, () => false));
    byId("feed-types").append(element("h3", {}, room), group);
    byId("event-types").append(...types.map((type) => element("option", { value: type })));
  }
  const rooms = ["system", ...model.ROOMS.filter((room) => !["system", model.NOWHERE].includes(room))];
  byId("broadcast-room").append(
    ...rooms.map((room) => element("option", { value: room }, room)),
    element("option", { value: "" }, "everybody"),
  );
  const body = JSON.stringify({ event_type: "alert_triggered", room: "system", data: { level: "warning", message: "cpu" } });
  say(byId("feed-try"), `curl ${location.origin}/ws/broadcast -H 'Content-Type: application/json' -d '${body}'`);
  onSubmit(byId("broadcast-form"), broadcast, { keep: true });
  byId("feed-pause").addEventListener("click", () => {
    feed = model.paused(feed, !feed.paused);
    page.soon();
  });
  byId("feed-clear").addEventListener("click", () => {
    feed = model.cleared(feed);
    page.soon();
  });
}

build();
