/** The page: who looks, at which aquarium, over which connection. */

import * as api from "./api.js";
import { Banner } from "./banner.js";
import { Connection } from "./connection.js";
import { byId, element, say } from "./dom.js";
import { showAlerts, showDevices } from "./lists.js";
import { askWho, showLogin } from "./login.js";
import { initial, reduce } from "./state.js";
import { showTiles } from "./tiles.js";

const SPAN = "cardume.span";

const started = new URL(document.baseURI);
const banner = new Banner({ hurry: () => (connection?.phase.phase === "closed" ? open() : connection?.hurry()), login });

/** @type {Connection|null} */
let connection = null;
let state = initial(Number(sessionStorage.getItem(SPAN)) || 600);
/** @type {{id: number, name: string}[]} */
let choice = [];
/** Milliseconds by which the server's clock is ahead of ours: ages are told by its clock. */
let ahead = 0;
let drawing = false;

const now = () => Date.now() + ahead;

/** @param {import("./state.js").Event} event */
function dispatch(event) {
  state = reduce(state, event);
  if (!drawing) requestAnimationFrame(draw);
  drawing = true;
}

function draw() {
  drawing = false;
  banner.tick(Date.now());
  byId("main").hidden = !state.aquarium;
  if (!state.aquarium) return;
  showTiles(state, now());
  showDevices(state, now(), connection?.phase.phase === "live");
  const waiting = showAlerts(state, now(), acknowledge);
  document.title = `${waiting ? `(${waiting}) ` : ""}${state.aquarium.name} · Cardume`;
}

/** @param {import("./connection.js").Frame} frame */
function heard(frame) {
  if (frame.type === "connected") ahead = Date.parse(frame.timestamp) - Date.now();
  dispatch(frame);
  if (frame.type === "snapshot") fill();
  if (frame.type === "alert" && frame.data.action !== "cleared") {
    byId("announcer").append(element("span", {}, `${frame.data.severity}: ${frame.data.title}. `));
    if (byId("announcer").childElementCount > 5) byId("announcer").firstElementChild.remove();
  }
}

/** @param {import("./state.js").Alert} alert */
async function acknowledge(alert) {
  const live = connection?.phase.phase === "live";
  const known = await (live
    ? /** @type {Connection} */ (connection).act("ack_alert", { alert_id: alert.id })
    : api.call(`alerts/${alert.id}/ack`, { method: "POST" }));
  dispatch({ type: "alert", data: known });
}

/** The past of the tiles, which a snapshot leaves out; without it the page is only poorer. */
function fill() {
  if (!state.aquarium) return;
  const { span, aquarium: { id } } = state;
  const mine = connection;
  for (const tile of Object.values(state.tiles).filter((tile) => tile.at !== null)) {
    const told = (/** @type {import("./state.js").Point[]} */ points) => {
      if (mine === connection && span === state.span) dispatch({ type: "history", data: { key: tile.key, points } });
    };
    api.history(id, tile, span, now()).then(told, (error) => console.debug(error.message));
  }
}

/** @param {import("./connection.js").Phase} phase */
function entered(phase) {
  banner.show(phase, Date.now());
  byId("main").dataset.live = String(phase.phase === "live");
}

/** Watch the chosen aquarium. */
function open() {
  connection?.close();
  state = initial(state.span);
  const asked = Number(location.hash.slice(1));
  const chosen = choice.find((aquarium) => aquarium.id === asked) ?? choice[0];
  byId("main").hidden = true;
  byId("phase").hidden = !chosen;
  byId("empty").hidden = Boolean(chosen);
  say(byId("empty"), "You have no aquarium yet. Make one with POST /api/v1/aquariums, or ask an owner to add you.");
  say(byId("aquarium-name"), chosen?.name ?? "No aquarium");
  if (!chosen) return;
  byId("aquarium-picker").value = String(chosen.id);
  const url = new URL(`ws/aquarium/${chosen.id}`, started);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  const token = api.token();
  // As a subprotocol, for addresses end up in logs.
  const protocols = token === null ? [] : ["bearer", token];
  connection = new Connection({ url: url.href, protocols, onEvent: heard, onPhase: entered });
  connection.connect();
}

/** @param {string} [problem] */
function login(problem) {
  connection?.close();
  connection = null;
  byId("page").hidden = true;
  document.title = "Cardume";
  showLogin(enter, problem);
}

/** @param {{sub: string}} who */
async function enter(who) {
  try {
    choice = await api.aquariums();
  } catch (error) {
    return login(/** @type {Error} */ (error).message);
  }
  say(byId("user"), who.sub);
  say(byId("leave"), api.token() === null ? "Log in" : "Log out");
  const picker = byId("aquarium-picker");
  picker.replaceChildren(...choice.map(({ id, name }) => element("option", { value: String(id) }, name)));
  picker.hidden = choice.length < 2;
  byId("aquarium-name").classList.toggle("unseen", choice.length > 1);
  byId("login").hidden = true;
  byId("page").hidden = false;
  open();
}

function listen() {
  byId("leave").addEventListener("click", () => {
    api.keepToken(null);
    login();
  });
  byId("aquarium-picker").addEventListener("change", (/** @type {any} */ event) => (location.hash = event.target.value));
  byId("spans").addEventListener("change", (/** @type {any} */ event) => {
    sessionStorage.setItem(SPAN, event.target.value);
    dispatch({ type: "span", data: Number(event.target.value) });
    fill();
  });
  for (const input of document.getElementsByName("span")) {
    /** @type {any} */ (input).checked = Number(/** @type {any} */ (input).value) === state.span;
  }
  addEventListener("hashchange", () => byId("page").hidden || open());
  addEventListener("online", () => connection?.hurry());
  addEventListener("offline", () => connection?.hurry());
  document.addEventListener("visibilitychange", () => document.hidden || connection?.hurry());
  setInterval(draw, 1000);
}

listen();
askWho(enter, login);
