/**
 * The lines of the window, as elements: only what came and what went is touched.
 *
 * A scroll box of its own, whose place is kept by hand: what is put in above must not push down
 * what somebody reads.
 */

import { byId, element } from "../../dom.js";
import { moment, time } from "../../words.js";
import { pieces } from "./ansi.js";
import { firstSeq, lastSeq } from "./log.js";

/** @typedef {import("./log.js").Log} Log @typedef {import("./log.js").Line} Line */

/** Pixels from an edge that count as being there. */
const NEAR = 40;

/** Pixels from the top at which older lines are asked for. */
const EARLY = 600;

const box = byId("log");

/** The place that we have put it at ourselves. */
let ourPlace = -1;

/** @param {Log} log @param {string} nothing what is said where there are no lines */
export function showLog(log, nothing) {
  const { lines } = log;
  const [from, to] = [seqOf(box.firstElementChild), seqOf(box.lastElementChild)];
  const apart = lines.length === 0 || from === 0 || firstSeq(log) > to || lastSeq(log) < from;
  if (apart) box.replaceChildren(...(lines.length > 0 ? lines.map(row) : [element("p", { class: "nothing", "data-seq": "" }, nothing)]));
  else renew(lines, from, to);
  if (log.following) place(box.scrollHeight);
}

/** @param {Line[]} lines @param {number} from @param {number} to what is shown now */
function renew(lines, from, to) {
  const base = lines[0].seq;
  const before = lines.slice(0, Math.max(0, from - base));
  const after = lines.slice(to - base + 1);
  const height = box.scrollHeight;
  let above = false;
  while (seqOf(box.firstElementChild) < base) above = drop(box.firstElementChild);
  if (before.length > 0) box.prepend(...before.map(row));
  const grown = box.scrollHeight - height;
  if (above || before.length > 0) place(box.scrollTop + grown);
  const last = base + lines.length - 1;
  while (seqOf(box.lastElementChild) > last) drop(box.lastElementChild);
  if (after.length > 0) box.append(...after.map(row));
}

/** @param {Element} node */
function drop(node) {
  node.remove();
  return true;
}

/** @param {number} top */
function place(top) {
  box.scrollTop = top;
  ourPlace = box.scrollTop;
}

/** @returns {"bottom"|"top"|"within"|"ours"} where one has scrolled to; `ours`: we have */
export function whereabouts() {
  if (Math.abs(box.scrollTop - ourPlace) < 2) return "ours";
  ourPlace = -1;
  if (box.scrollHeight - box.scrollTop - box.clientHeight < NEAR) return "bottom";
  return box.scrollTop < EARLY ? "top" : "within";
}

/** @param {Element|null} node @returns {number} */
function seqOf(node) {
  return Number(/** @type {HTMLElement|null} */ (node)?.dataset.seq ?? 0);
}

/** @param {Line} line */
function row({ seq, stream, text, at, truncated }) {
  const node = element("p", { "data-seq": String(seq), "data-stream": stream, title: moment(time(at)) });
  if (truncated) node.className = "cut";
  for (const { text: part, look } of pieces(text)) node.append(look ? element("span", { class: look }, part) : part);
  return node;
}
