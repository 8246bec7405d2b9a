/** The feed as a list: a line for each event, which opens to all of it. */

import { byId, element, find, say, show } from "../../dom.js";
import { moment } from "../../words.js";
import { NOWHERE, summary, visible } from "./feed.js";

/** @typedef {import("./feed.js").Feed} Feed @typedef {import("./feed.js").Event} Event */

/** @param {Feed} feed */
export function showFeed(feed) {
  const events = visible(feed);
  show(byId("feed"), events, (event) => String(event.n), create, () => {});
  byId("feed-empty").hidden = events.some((event) => event.type !== "connected");
  const button = byId("feed-pause");
  button.setAttribute("aria-pressed", String(feed.paused));
  const more = feed.held.length > 0 ? ` (${feed.held.length} new)` : "";
  say(button, feed.paused ? `Go on${more}` : "Pause");
}

/** @param {Event} event */
function create(event) {
  const at = new Date(event.at);
  const details = element(
    "details",
    {},
    element(
      "summary",
      {},
      element("time", { title: moment(at.getTime()), datetime: event.at }, at.toLocaleTimeString([], { hourCycle: "h23" })),
      element("span", { class: "type" }, event.type),
      element("span", { class: "words" }, summary(event)),
    ),
    element("p", { class: "quiet from" }),
    element("pre"),
  );
  details.addEventListener("toggle", () => fill(details, event), { once: true });
  return element("li", { class: "event", "data-room": event.room ?? NOWHERE }, details);
}

/** Only what is opened is written out. @param {Element} details @param {Event} event */
function fill(details, event) {
  const where = event.room === null ? "to everybody" : `in ${event.room}`;
  say(find(details, ".from"), `by ${event.source}, ${where}`);
  say(find(details, "pre"), JSON.stringify(event.data, null, 2));
}
