/**
 * Where one is on the page, in the hash of its address: `#/board`, `#/executions/ab12`.
 *
 * @typedef {{view: string, id: string|null}} Route
 */

/** The views in the order of the navigation, and the app each needs; rooms need none. */
export const VIEWS = [
  { view: "aquarium", name: "Aquarium", app: "aquarium" },
  { view: "rooms", name: "Rooms", app: null },
  { view: "agents", name: "Agents", app: "agents" },
  { view: "board", name: "Board", app: "cards" },
  { view: "executions", name: "Executions", app: "executions" },
];

/** @param {string[]} apps that run @returns {typeof VIEWS} */
export function viewsOf(apps) {
  return VIEWS.filter(({ app }) => app === null || apps.includes(app));
}

/**
 * @param {string} hash with its `#` @param {{view: string}[]} views there are
 * @returns {Route} the first view where the hash names none of them
 */
export function routeOf(hash, views) {
  const old = /^#(\d+)$/.exec(hash);
  const [view, id] = old ? ["aquarium", old[1]] : hash.replace(/^#\/?/, "").split("/");
  if (!views.some((known) => known.view === view)) return { view: views[0].view, id: null };
  return { view, id: decoded(id) };
}

/** @param {string} view @param {string|number|null} [id] @returns {string} */
export function hashOf(view, id = null) {
  return id === null ? `#/${view}` : `#/${view}/${encodeURIComponent(id)}`;
}

/** @param {string|undefined} text */
function decoded(text) {
  try {
    return text ? decodeURIComponent(text) : null;
  } catch {
    return null;
  }
}
