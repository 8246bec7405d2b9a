/** All executions, the newest first. They are looked at again and again: there may be many. */

import * as api from "../../api.js";
import { byId, complain, element, find, say, show, showBadge } from "../../dom.js";
import * as page from "../../page.js";
import { hashOf } from "../../route.js";
import { sentence } from "../../words.js";
import { factsOf, showProgress, statusWords } from "./words.js";

/** @typedef {import("./words.js").Execution} Execution */

/** Milliseconds between two looks. */
const LOOK_EVERY = 5000;

/** Executions on the first page, and on each more. */
const PAGE = 50;

/** @type {Execution[]|null} null: not read yet */
let known = null;
/** How many are wanted. */
let wanted = PAGE;
let more = false;
let lookedAt = 0;

export function open() {
  page.unwatch();
  lookedAt = 0;
  page.soon();
}

/** @param {number} now */
export function draw(now) {
  if (!document.hidden && Date.now() - lookedAt > LOOK_EVERY) look();
  if (known === null) return;
  show(byId("runs-list"), known, (run) => run.execution_id, create, (node, run) => update(node, run, now));
  byId("runs-empty").hidden = known.length > 0;
  byId("runs-more").hidden = !more;
}

async function look() {
  lookedAt = Date.now();
  try {
    const found = await api.list(`api/v1/executions?limit=${PAGE}`, wanted + 1);
    more = found.length > wanted;
    known = found.slice(0, wanted);
    complain(byId("runs-problem"));
  } catch (error) {
    complain(byId("runs-problem"), sentence(/** @type {Error} */ (error).message));
  }
  page.soon();
}

/** @param {Execution} run */
function create(run) {
  const link = element(
    "a",
    { class: "run", href: hashOf("executions", run.execution_id) },
    element("div", {}, element("h3", {}, run.name), element("code", {}, run.command && run.command !== run.name ? run.command : "")),
    element("span", { class: "badge" }),
    element("p", { class: "quiet" }),
    element("progress"),
  );
  return element("li", {}, link);
}

/** @param {HTMLElement} node @param {Execution} run @param {number} now */
function update(node, run, now) {
  showBadge(find(node, ".badge"), statusWords(run));
  say(find(node, ".quiet"), factsOf(run, now).join(" · "));
  const bar = find(node, "progress");
  bar.hidden = run.status !== "running" || run.progress === null;
  bar.setAttribute("aria-label", `Progress of ${run.name}`);
  showProgress(bar, run.progress);
}

byId("runs-more").addEventListener("click", () => {
  wanted += PAGE;
  lookedAt = 0;
  page.soon();
});
