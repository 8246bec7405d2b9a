/** Elements. Data becomes text or attributes, never markup. */

import { sentence } from "./words.js";

/** @param {string} id @returns {any} an element of index.html */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found;
}

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "rect", "path", "circle"]);

/**
 * @param {string} tag @param {Record<string, string>} attributes @param {...(Node|string)} children
 * @returns {any}
 */
export function element(tag, attributes = {}, ...children) {
  const made = DRAWN.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Set a text only where it differs: an unchanged node is neither repainted nor read aloud again. */
export function say(/** @type {Element} */ node, /** @type {string} */ text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Make the children of `list` show `items`, keeping the elements of those that stay, and with them
 * the focus.
 * @template T
 * @param {Element} list @param {T[]} items @param {(item: T) => string} keyOf
 * @param {(item: T) => HTMLElement} create @param {(node: any, item: T) => void} update
 */
export function show(list, items, keyOf, create, update) {
  const nodes = /** @type {HTMLElement[]} */ ([...list.children]);
  const known = new Map(nodes.map((node) => [node.dataset.key, node]));
  let place = list.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let node = known.get(key);
    known.delete(key);
    if (!node) {
      node = create(item);
      node.dataset.key = key;
    }
    if (node === place) place = place.nextElementSibling;
    else list.insertBefore(node, place);
    update(node, item);
  }
  for (const node of known.values()) node.remove();
}

/** @param {Element} node @param {string} selector @returns {any} what is in it */
export function find(node, selector) {
  return node.querySelector(selector);
}

/**
 * @param {string} text @param {() => void} press @param {Record<string, string>} [attributes]
 * @returns {HTMLButtonElement}
 */
export function button(text, press, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", press);
  return made;
}

/** @param {any} node @param {[string, string, string]} status a look, a sign that needs no colour, a word */
export function showBadge(node, [look, sign, word]) {
  node.dataset.look = look;
  node.dataset.sign = sign;
  say(node, word);
}

/** @param {any} list @param {string[]} words */
export function showTags(list, words) {
  show(list, words, (word) => word, (word) => element("li", {}, word), () => {});
}

/** Say what went wrong, or that nothing did. @param {any} node @param {string} [text] */
export function complain(node, text = "") {
  node.hidden = text === "";
  say(node, text);
}

/**
 * Do what was asked for by `pressed`, which waits; what goes wrong is said in `problem`.
 * @param {any} pressed a button @param {Element} problem @param {() => Promise<unknown>} job
 * @returns {Promise<boolean>} whether it went well
 */
export async function attempt(pressed, problem, job) {
  if (pressed.disabled) return false;
  const focused = document.activeElement === pressed;
  pressed.disabled = true;
  complain(problem);
  try {
    await job();
    return true;
  } catch (error) {
    complain(problem, sentence(/** @type {Error} */ (error).message));
    return false;
  } finally {
    pressed.disabled = false;
    // A disabled button loses the focus.
    if (focused && document.activeElement === document.body) pressed.focus();
  }
}

/**
 * Send a form by its button; it is emptied when that went well.
 * @param {HTMLFormElement} form @param {() => Promise<unknown>} job @param {{keep?: boolean}} [options]
 */
export function onSubmit(form, job, { keep = false } = {}) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const went = await attempt(find(form, "button:not([type=button])"), find(form, ".problem"), job);
    if (went && !keep) form.reset();
  });
}
