/** Elements. Data becomes text or attributes, never markup. */

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
