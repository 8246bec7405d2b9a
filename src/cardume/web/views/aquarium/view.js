/** One aquarium, live: its water, its devices, its alerts. */

import * as api from "../../api.js";
import { Plain } from "../../connection/plain.js";
import { byId, element, say } from "../../dom.js";
import * as page from "../../page.js";
import { hashOf } from "../../route.js";
import { showAlerts, showDevices } from "./lists.js";
import { initial, reduce } from "./state.js";
import { showTiles } from "./tiles.js";

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
  byId("aquarium").hidden = true;
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
  showTiles(state, now);
  showDevices(state, now, page.live());
  const waiting = showAlerts(state, now, acknowledge);
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
  if (frame.type === "snapshot") fill();
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

/** The past of the tiles, which a snapshot leaves out; without it the page is only poorer. */
function fill() {
  if (!state.aquarium) return;
  const { span, aquarium: { id } } = state;
  const mine = connection;
  for (const tile of Object.values(state.tiles).filter((tile) => tile.at !== null)) {
    const told = (/** @type {import("./state.js").Point[]} */ points) => {
      if (mine === connection && span === state.span) dispatch({ type: "history", data: { key: tile.key, points } });
    };
    history(id, tile, span).then(told, (error) => console.debug(error.message));
  }
}

/**
 * A tile's line, from before this page was opened.
 * @param {number} aquariumId @param {import("./state.js").Tile} tile @param {number} span seconds
 * @returns {Promise<import("./state.js").Point[]>}
 */
async function history(aquariumId, tile, span) {
  const query = new URLSearchParams({
    metric: tile.metric,
    sensor_id: String(tile.sensorId),
    from: new Date(page.now() - span * 1000).toISOString(),
    points: "120",
  });
  const found = await api.call(`aquariums/${aquariumId}/readings?${query}`);
  return found.items.map((/** @type {any} */ item) => ({
    t: Date.parse(item.measured_at) + found.resolution * 500,
    v: item.value ?? item.mean,
  }));
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
