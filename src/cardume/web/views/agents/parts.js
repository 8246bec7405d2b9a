/** Pieces that agents, tasks and proposals are shown with. */

import { attempt, button, element, find, show } from "../../dom.js";
import { BUTTONS } from "./words.js";

/**
 * The buttons of what may be done now; those that stay keep the focus.
 * @param {any} node with `.buttons` and `.problem` in it @param {string[]} actions @param {string} what
 * @param {(action: string) => Promise<unknown>} run
 */
export function showButtons(node, actions, what, run) {
  const place = find(node, ".buttons");
  const inside = place.contains(document.activeElement);
  const create = (/** @type {string} */ action) => {
    const looks = action === "stop" || action === "cancel" || action === "fail" ? "small danger" : "small";
    const made = button(BUTTONS[action], () => attempt(made, find(node, ".problem"), () => run(action)), {
      class: looks,
      "aria-label": `${BUTTONS[action]} ${what}`,
    });
    return made;
  };
  show(place, actions, (action) => action, create, () => {});
  if (inside && !place.contains(document.activeElement)) place.querySelector("button")?.focus();
}

/** @returns {SVGElement} the mark of who leads */
export function crown() {
  const svg = element("svg", { class: "crown", viewBox: "0 0 24 24", role: "img", "aria-label": "Leader" });
  svg.append(element("path", { d: "M3 7l4.5 4L12 4l4.5 7L21 7l-2 12H5z" }));
  return svg;
}
