/** Whether the hub hears its devices, devices, and alerts. */

import { byId, element, say, show } from "../../dom.js";
import { ago, duration, moment, time } from "../../words.js";
import { createCommands, showCommands } from "./commands.js";
import { earlierAlerts, openAlerts } from "./state.js";
import { hubText, newsOf, quietText, REASONS, SEVERITIES, STATUSES } from "./words.js";

/**
 * @typedef {import("./state.js").State} State @typedef {import("./state.js").Alert} Alert
 * @typedef {import("./state.js").Device} Device
 */

/** @param {State} state @param {number} now */
export function showHub(state, now) {
  const text = hubText(state.hub, now);
  byId("hub").hidden = text === "";
  byId("hub").dataset.look = state.hub.link === "down" ? "bad" : "wait";
  say(byId("hub-text"), text);
}

/**
 * @param {State} state @param {number} now @param {boolean} live whether we would hear of a change
 * @param {import("./commands.js").Doors} doors
 */
export function showDevices(state, now, live, doors) {
  const devices = Object.values(state.devices).sort((a, b) => titleOf(a).localeCompare(titleOf(b)));
  const update = (/** @type {any} */ node, /** @type {Device} */ device) => updateDevice(node, device, state, now, live);
  const create = (/** @type {Device} */ device) => createDevice(device, doors);
  show(byId("devices"), devices, (device) => device.device_id, create, update);
}

/** @param {Device} device */
function titleOf(device) {
  return device.name ?? device.device_id;
}

/** @param {Device} device @param {import("./commands.js").Doors} doors */
function createDevice(device, doors) {
  return element(
    "li",
    { class: "device" },
    element("span", { class: "sign", "aria-hidden": "true" }),
    element("div", {}, element("h3"), element("p", { class: "quiet" })),
    element("p", { class: "status" }, element("strong"), element("span", { class: "quiet" })),
    createCommands(device.device_id, titleOf(device), doors),
  );
}

/** @param {HTMLElement} node @param {Device} device @param {State} state @param {number} now @param {boolean} live */
function updateDevice(node, device, state, now, live) {
  // While the hub hears nobody, it knows of nobody.
  const status = state.hub.link === "up" ? device.status : "unknown";
  const [sign, word] = STATUSES[status] ?? STATUSES.unknown;
  const [mark, text, right, commands] = /** @type {any[]} */ ([...node.children]);
  node.dataset.look = status;
  say(mark, sign);
  say(text.firstChild, titleOf(device));
  const seen = time(device.last_seen_at);
  const why = status === "online" ? "" : (REASONS[device.reason ?? ""] ?? "");
  const heard = seen === null ? `waiting for ${device.device_id}` : `last seen ${ago(seen, now)}`;
  say(text.lastChild, why ? `${heard} · ${why}` : heard);
  text.lastChild.title = moment(seen);
  const blind = status === "unknown";
  say(right.firstChild, live || seen === null || blind ? word : `Was ${word.toLowerCase()}`);
  const since = time(device.status_since);
  const held = !live || since === null || status === "never_seen" ? "" : `for ${duration(now - since)}`;
  say(right.lastChild, blind ? lastKnown(device) : held);
  right.lastChild.title = moment(since);
  showCommands(commands, state, device.device_id, now);
}

/** @param {Device} device @returns {string} its status before we heard nobody any more */
function lastKnown({ status }) {
  const word = STATUSES[status]?.[1].toLowerCase();
  return word && status !== "unknown" ? (status === "never_seen" ? word : `was ${word}`) : "";
}

/**
 * @param {State} state @param {number} now @param {boolean} live whether we would hear of a change
 * @param {(alert: Alert) => Promise<void>} acknowledge rejects with what went wrong
 */
export function showAlerts(state, now, live, acknowledge) {
  const [open, earlier] = [openAlerts(state), earlierAlerts(state)];
  const waiting = open.filter((alert) => alert.state === "active_unack").length;
  const keyOf = (/** @type {Alert} */ alert) => String(alert.id);
  const create = (/** @type {Alert} */ alert) => createAlert(alert, acknowledge);
  const update = (/** @type {any} */ node, /** @type {Alert} */ alert) => updateAlert(node, alert, now);
  show(byId("alerts"), open, keyOf, create, update);
  show(byId("earlier-alerts"), earlier, keyOf, create, update);
  byId("quiet").hidden = open.length > 0;
  say(byId("quiet"), quietText(state.hub, live));
  byId("earlier").hidden = earlier.length === 0;
  byId("alert-count").hidden = waiting === 0;
  say(byId("alert-count"), `${waiting} new`);
  return waiting;
}

/** @param {Alert} alert @param {(alert: Alert) => Promise<void>} acknowledge */
function createAlert(alert, acknowledge) {
  const button = element("button", { type: "button", class: "ack" }, "Acknowledge");
  const problem = element("p", { class: "problem", role: "alert", hidden: "" });
  button.addEventListener("click", async () => {
    button.disabled = problem.hidden = true;
    try {
      await acknowledge(alert);
    } catch (error) {
      say(problem, `Not acknowledged: ${/** @type {Error} */ (error).message}`);
      problem.hidden = false;
    }
    button.disabled = false;
  });
  return element(
    "li",
    { class: "card alert" },
    element("p", { class: "severity" }, element("span", { "aria-hidden": "true" }), element("span")),
    element("h3"),
    element("p", { class: "message" }),
    element("p", { class: "quiet facts" }),
    button,
    problem,
  );
}

/** @param {HTMLElement} node @param {Alert} alert @param {number} now */
function updateAlert(node, alert, now) {
  const find = (/** @type {string} */ selector) => /** @type {any} */ (node.querySelector(selector));
  const [sign, word] = SEVERITIES[alert.severity] ?? SEVERITIES.warning;
  node.dataset.look = alert.severity;
  node.dataset.state = alert.state;
  say(find(".severity").firstChild, sign);
  say(find(".severity").lastChild, word);
  say(find("h3"), alert.title);
  say(find(".message"), newsOf(alert, now));
  say(find(".facts"), factsOf(alert, now).join(" · "));
  find(".facts").title = moment(time(alert.started_at));
  const wanted = alert.state === "active_unack";
  if (!wanted && document.activeElement === find(".ack")) byId("alerts-title").focus();
  find(".ack").hidden = !wanted;
  find(".ack").setAttribute("aria-label", `Acknowledge: ${alert.title}`);
}

/** @param {Alert} alert @param {number} now @returns {string[]} */
function factsOf(alert, now) {
  const facts = [ago(time(alert.started_at), now)];
  if (alert.acked_at) {
    const note = alert.ack_note ? `: “${alert.ack_note}”` : "";
    facts.push(`acknowledged by ${alert.acked_by ?? "somebody"}${note}`);
  }
  if (alert.cleared_at && alert.kind !== "device_online") facts.push(`over ${ago(time(alert.cleared_at), now)}`);
  const shelved = time(alert.shelved_until);
  if (shelved !== null && shelved > now) facts.push(`shelved until ${moment(shelved)}`);
  return facts;
}
