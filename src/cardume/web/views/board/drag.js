/** Cards that are moved: dragged, or with Alt and an arrow key. */

import { byId } from "../../dom.js";

/** @typedef {{drop: (id: string, column: string, before: string|null) => void,
 *   step: (id: string, key: string) => void}} Doors */

/** @type {string|null} the card that is dragged */
let dragged = null;

/** @param {Doors} doors */
export function listen({ drop, step }) {
  const board = byId("columns");
  board.addEventListener("dragstart", (/** @type {DragEvent} */ event) => {
    const item = itemAt(event.target);
    if (!item || !event.dataTransfer) return;
    dragged = /** @type {string} */ (item.dataset.id);
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", dragged);
    item.dataset.dragged = "true";
  });
  board.addEventListener("dragover", (/** @type {DragEvent} */ event) => {
    const column = columnAt(event.target);
    clear();
    if (!dragged || !column) return;
    event.preventDefault();
    column.dataset.over = "true";
    const next = nextAt(column, event.clientY);
    if (next) next.dataset.before = "true";
  });
  board.addEventListener("drop", (/** @type {DragEvent} */ event) => {
    const column = columnAt(event.target);
    if (!dragged || !column) return;
    event.preventDefault();
    const list = /** @type {HTMLElement} */ (column.querySelector("ul[data-column]"));
    drop(dragged, /** @type {string} */ (list.dataset.column), nextAt(column, event.clientY)?.dataset.id ?? null);
  });
  board.addEventListener("dragend", () => {
    dragged = null;
    clear();
    for (const item of board.querySelectorAll("[data-dragged]")) delete item.dataset.dragged;
  });
  board.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const item = itemAt(event.target);
    if (!event.altKey || !event.key.startsWith("Arrow") || !item) return;
    event.preventDefault();
    step(/** @type {string} */ (item.dataset.id), event.key);
  });
}

function clear() {
  for (const node of byId("columns").querySelectorAll("[data-over], [data-before]")) {
    delete node.dataset.over;
    delete node.dataset.before;
  }
}

/** @param {EventTarget|null} target @returns {HTMLElement|null} */
const itemAt = (target) => /** @type {Element} */ (target).closest(".card-item");

/** @param {EventTarget|null} target @returns {HTMLElement|null} */
const columnAt = (target) => /** @type {Element} */ (target).closest(".column");

/** @param {Element} column @param {number} y @returns {HTMLElement|undefined} the card that what is dropped here comes before */
function nextAt(column, y) {
  const items = /** @type {HTMLElement[]} */ ([...column.querySelectorAll(".card-item:not([data-dragged])")]);
  return items.find((item) => {
    const { top, height } = item.getBoundingClientRect();
    return y < top + height / 2;
  });
}
