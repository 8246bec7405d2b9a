/** One aquarium, live: its water, its devices, its alerts. */

import * as api from "../../api.js";
import { Plain } from "../../connection/plain.js";
import { byId, element, say } from "../../dom.js";
import * as page from "../../page.js";
import { hashOf } from "../../route.js";
import { MOST } from "./commandlog.js";
import { reloadCommands } from "./commands.js";
import { pastOf } from "./lines.js";
import { showAlerts, showDevices, showHub } from "./lists.js";
import { initial, reduce } from "./state.js";
import { inOrder, showTiles } from "./tiles.js";
import { DOUBTS } from "./words.js";

const SPAN = "cardume.span";

/** @type {Plain|null} */
let connection = null;
let state = initial(Number(sessionStorage.getItem(SPAN)) || 600);
/** @type {{id: number, name: string}[]} the aquariums one may see */
let choice = [];

/** Before the page is shown. */
export async function prepare() {
  choice = await api.list("api/v1/aquariums");
  const picker = byId("aquarium-picker");
  picker.replaceChildren(...choice.map(({ id, name }) => element("option", { value: String(id) }, name)));
}

/** @param {string|null} id the first one where there is none of it */
export function open(id) {
  connection?.close();
  state = initial(state.span);
  const chosen = choice.find((aquarium) => aquarium.id === Number(id)) ?? choice[0];
  byId("aquarium").hidden = byId("hub").hidden = true;
  byId("empty").hidden = Boolean(chosen);
  say(byId("empty"), "You have no aquarium yet. Make one with POST /api/v1/aquariums, or ask an owner to add you.");
  page.title(chosen?.name ?? "No aquarium");
  byId("aquarium-picker").hidden = choice.length < 2;
  byId("title").classList.toggle("unseen", choice.length > 1);
  if (!chosen) return page.unwatch();
  byId("aquarium-picker").value = String(chosen.id);
  const watched = { what: "this aquarium", onEvent: heard };
  connection = page.watch(Plain, `ws/aquarium/${chosen.id}`, watched);
}

export function close() {
  connection = null;
  byId("aquarium-picker").hidden = byId("empty").hidden = true;
  byId("title").classList.remove("unseen");
}

/** @param {number} now */
export function draw(now) {
  byId("aquarium").hidden = !state.aquarium;
  if (!state.aquarium) return;
  showHub(state, now);
  page.doubt(DOUBTS[state.hub.link]);
  showTiles(state, now);
  showDevices(state, now, page.live(), commands);
  const waiting = showAlerts(state, now, page.live(), acknowledge);
  page.title(state.aquarium.name, waiting ? `(${waiting}) ` : "");
}

/** @param {import("./state.js").Event} event */
function dispatch(event) {
  state = reduce(state, event);
  page.soon();
}

/** @param {import("../../connection/plain.js").Frame} frame */
function heard(frame) {
  dispatch(frame);
  if (frame.type === "snapshot") {
    fill();
    reloadCommands(commands);
  }
  if (frame.type === "alert" && frame.data.action !== "cleared") {
    page.announce(`${frame.data.severity}: ${frame.data.title}. `);
  }
}

/** @param {import("./state.js").Alert} alert */
async function acknowledge(alert) {
  const known = await (page.live() && connection
    ? connection.act("ack_alert", { alert_id: alert.id })
    : api.call(`alerts/${alert.id}/ack`, { method: "POST" }));
  dispatch({ type: "alert", data: known });
}

/** @type {import("./commands.js").Doors} */
const commands = {
  async load(deviceId) {
    const mine = connection;
    const { items } = await api.call(`devices/${encodeURIComponent(deviceId)}/commands?limit=${MOST}`);
    if (mine === connection) dispatch({ type: "commands", data: { deviceId, items } });
  },
  async send(deviceId, json) {
    const mine = connection;
    const sent = await api.call(`devices/${encodeURIComponent(deviceId)}/commands`, { method: "POST", json });
    if (mine === connection) dispatch({ type: "device_command", data: sent });
  },
};

/** Counts the times the past was asked for: only the last answer is of use. */
let asked = 0;

/**
 * The past of the tiles, which a snapshot leaves out; without it the page is only poorer. One tile
 * after the other: a year of many would keep the server busy.
 */
async function fill() {
  if (!state.aquarium) return;
  const { span, aquarium: { id } } = state;
  const [mine, time] = [connection, ++asked];
  for (const tile of Object.values(state.tiles).filter((tile) => tile.at !== null).sort(inOrder)) {
    if (mine !== connection || time !== asked) return;
    try {
      const data = { key: tile.key, ...(await history(id, tile, span)) };
      if (mine === connection && time === asked) dispatch({ type: "history", data });
    } catch (error) {
      console.debug(/** @type {Error} */ (error).message);
    }
  }
}

/**
 * A tile's line, from before this page was opened.
 * @param {number} aquariumId @param {import("./state.js").Tile} tile @param {number} span seconds
 * @returns {Promise<ReturnType<typeof pastOf>>}
 */
async function history(aquariumId, tile, span) {
  const query = new URLSearchParams({
    metric: tile.metric,
    sensor_id: String(tile.sensorId),
    from: new Date(page.now() - span * 1000).toISOString(),
    points: "120",
  });
  return pastOf(await api.call(`aquariums/${aquariumId}/readings?${query}`), page.now());
}

byId("aquarium-picker").addEventListener("change", (/** @type {any} */ event) => (location.hash = hashOf("aquarium", event.target.value)));
byId("spans").addEventListener("change", (/** @type {any} */ event) => {
  sessionStorage.setItem(SPAN, event.target.value);
  dispatch({ type: "span", data: Number(event.target.value) });
  fill();
});
for (const input of document.getElementsByName("span")) {
  /** @type {any} */ (input).checked = Number(/** @type {any} */ (input).value) === state.span;
}
