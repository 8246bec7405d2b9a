/**
 * What every view shares: the title, the announcer, and the one connection whose health is shown.
 *
 * @typedef {{open: (id: string|null) => void, close: () => void, draw?: (now: number) => void}} View
 *   `open` is called again with another id while it is shown; `draw` each second, and when asked
 */

import { token } from "./api.js";
import { Banner } from "./banner.js";
import { byId, element, say } from "./dom.js";

const started = new URL(document.baseURI);

/** @type {import("./connection/link.js").Link|null} */
let connection = null;
/** Milliseconds by which the server's clock is ahead of ours: ages are told by its clock. */
let ahead = 0;
let drawing = false;
let login = () => {};
let redraw = () => {};

const banner = new Banner({ hurry: () => (connection?.phase.phase === "closed" ? connection.connect() : connection?.hurry()), login: () => login() });

/** @param {{login: () => void, draw: () => void}} doors */
export function begin(doors) {
  ({ login, draw: redraw } = doors);
  for (const sign of ["online", "offline"]) addEventListener(sign, hurry);
  document.addEventListener("visibilitychange", () => document.hidden || hurry());
  setInterval(tick, 1000);
}

/** Milliseconds of the server's clock. */
export const now = () => Date.now() + ahead;

export const hurry = () => connection?.hurry();

export const live = () => connection?.phase.phase === "live";

/** Draw once before the next frame, however often it is asked for. */
export function soon() {
  if (!drawing) requestAnimationFrame(tick);
  drawing = true;
}

function tick() {
  drawing = false;
  banner.tick(Date.now());
  redraw();
}

/**
 * Connect, and show how it goes. Only one view is shown, so there is one connection.
 * @template {import("./connection/link.js").Link} T
 * @param {new (options: any) => T} Dialect @param {string} path from the root of the server
 * @param {{what: string, rooms?: string[], onEvent: (frame: any) => void,
 *   onPhase?: (phase: import("./connection/link.js").Phase) => void}} options `what` one looks at
 * @returns {T}
 */
export function watch(Dialect, path, { what, onEvent, onPhase, rooms }) {
  unwatch();
  const url = new URL(path, started);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  // As a subprotocol, for addresses end up in logs.
  const shown = token();
  const protocols = shown === null ? [] : ["bearer", shown];
  banner.start(what);
  const made = new Dialect({
    url: url.href,
    protocols,
    rooms,
    onEvent: (/** @type {any} */ frame) => {
      if ((frame.type ?? frame.event_type) === "connected") ahead = Date.parse(frame.timestamp) - Date.now();
      onEvent(frame);
    },
    onPhase: (/** @type {import("./connection/link.js").Phase} */ phase) => {
      banner.show(phase, Date.now());
      byId("main").dataset.live = String(phase.phase === "live");
      onPhase?.(phase);
    },
  });
  connection = made;
  made.connect();
  return made;
}

/** While we are connected, but what we would hear of is not. @param {[string, string]|undefined} doubt a look, and a word in place of Live */
export const doubt = (doubt) => banner.doubt(doubt);

/** There is nothing live to be seen. */
export function unwatch() {
  connection?.close();
  connection = null;
  delete byId("main").dataset.live;
  banner.stop();
}

/** @param {string} name @param {string} [sign] before it in the tab's title @param {string} [tab] instead of it there */
export function title(name, sign = "", tab = name) {
  say(byId("title"), name);
  document.title = `${sign}${tab} · Cardume`;
}

/** Read aloud, where somebody listens. @param {string} text */
export function announce(text) {
  byId("announcer").append(element("span", {}, text));
  if (byId("announcer").childElementCount > 5) byId("announcer").firstElementChild.remove();
}
