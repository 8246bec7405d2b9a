/** Columns and their cards. A card keeps its element wherever it goes, and with it the focus. */

import { attempt, button, byId, element, find, say, show, showTags } from "../../dom.js";
import { glide } from "./glide.js";
import { cardsIn, columnName } from "./state.js";

/**
 * @typedef {import("./state.js").State} State @typedef {import("./state.js").Card} Card
 * @typedef {{open: (id: string) => void, menu: (id: string, at: HTMLElement) => void,
 *   add: (column: string, title: string) => Promise<unknown>}} Doors
 * @typedef {Record<string, string>} News  by card: what somebody else did to it
 */

/** @type {Map<string, HTMLElement>} the elements of the cards */
const nodes = new Map();

/** @param {State} state @param {News} news @param {Doors} doors */
export function showBoard(state, news, doors) {
  const columns = state.board?.columns ?? [];
  const focused = /** @type {HTMLElement} */ (document.activeElement);
  const mine = focused?.closest(".card-item") !== null;
  glide(nodes.values(), () => {
    show(byId("columns"), columns, (column) => column, (column) => createColumn(column, doors), (node, column) => updateColumn(node, column, state, news, doors));
    for (const [id, node] of nodes) {
      if (state.cards[id]) continue;
      node.remove();
      nodes.delete(id);
    }
  });
  // An element that is put elsewhere loses the focus.
  if (mine && document.activeElement !== focused) (focused.isConnected ? focused : byId("columns")).focus();
}

/** @param {string} id @returns {HTMLElement|undefined} */
export const nodeOf = (id) => nodes.get(id);

/** @param {string} column @param {Doors} doors */
function createColumn(column, doors) {
  const title = columnName(column);
  const input = element("input", { placeholder: "Add a card", "aria-label": `Add a card to ${title}`, maxlength: "300", required: "" });
  const submit = element("button", { class: "unseen" }, "Add");
  const problem = element("p", { class: "problem", role: "alert", hidden: "" });
  const form = element("form", { class: "adder" }, input, submit, problem);
  form.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (input.value.trim() && (await attempt(submit, problem, () => doors.add(column, input.value.trim())))) input.value = "";
  });
  const name = element("h2", {}, title, element("span", { class: "count" }));
  return element("section", { class: "column", "aria-label": title }, name, element("ul", { "data-column": column }), form);
}

/** @param {any} node @param {string} column @param {State} state @param {News} news @param {Doors} doors */
function updateColumn(node, column, state, news, doors) {
  const cards = cardsIn(state, column);
  say(find(node, ".count"), String(cards.length));
  const list = find(node, "ul");
  let place = list.firstElementChild;
  for (const card of cards) {
    const item = nodes.get(card.id) ?? createCard(card, doors);
    nodes.set(card.id, item);
    if (item === place) place = place.nextElementSibling;
    else list.insertBefore(item, place);
    updateCard(item, card, news[card.id] ?? "");
  }
}

/** @param {Card} card @param {Doors} doors @returns {HTMLElement} */
function createCard({ id }, doors) {
  const open = button("", () => doors.open(id), { class: "open" });
  const more = button("", () => doors.menu(id, more), { class: "more", "aria-haspopup": "true" });
  return element(
    "li",
    { class: "card card-item", draggable: "true", "data-id": id },
    element("div", { class: "line" }, open, more),
    element("p", { class: "text" }),
    element("ul", { class: "tags", "aria-label": "Labels" }),
    element("p", { class: "news" }),
  );
}

/** @param {HTMLElement} node @param {Card} card @param {string} news */
function updateCard(node, card, news) {
  say(find(node, ".open"), card.title);
  find(node, ".more").setAttribute("aria-label", `Move or delete: ${card.title}`);
  say(find(node, ".text"), card.description ?? "");
  showTags(find(node, ".tags"), card.labels);
  say(find(node, ".news"), news);
  node.dataset.news = String(news !== "");
}
