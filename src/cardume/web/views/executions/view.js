/** Commands that run somewhere: all of them, or one. */

import { byId } from "../../dom.js";
import * as page from "../../page.js";
import * as list from "./list.js";
import * as one from "./one.js";

/** @type {string|null} the execution that is shown; null: all of them */
let shown = null;

/** @param {string|null} id */
export function open(id) {
  shown = id;
  byId("runs").hidden = id !== null;
  byId("run").hidden = id === null;
  one.close();
  if (id === null) list.open();
  else one.open(id);
  if (id === null) page.title("Executions");
}

export function close() {
  one.close();
  shown = null;
}

/** @param {number} now */
export function draw(now) {
  if (shown === null) list.draw(now);
  else one.draw(now);
}
