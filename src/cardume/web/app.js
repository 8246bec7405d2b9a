/** The page: who looks, and at what. */

import * as agents from "./views/agents/view.js";
import * as api from "./api.js";
import * as aquarium from "./views/aquarium/view.js";
import * as board from "./views/board/view.js";
import { byId, element, say } from "./dom.js";
import * as executions from "./views/executions/view.js";
import { askWho, showLogin } from "./login.js";
import * as page from "./page.js";
import * as rooms from "./views/rooms/view.js";
import { hashOf, routeOf, viewsOf } from "./route.js";

/** @type {Record<string, import("./page.js").View>} */
const VIEWS = { aquarium, rooms, agents, board, executions };

let views = viewsOf([]);
/** @type {string|null} */
let shown = null;

function go() {
  if (byId("page").hidden) return;
  const { view, id } = routeOf(location.hash, views);
  if (view !== shown) {
    leave();
    shown = view;
    byId(`view-${view}`).hidden = false;
    page.title(views.find((known) => known.view === view)?.name ?? "");
    for (const link of byId("nav").children) {
      if (link.dataset.view === view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }
  VIEWS[view].open(id);
}

function leave() {
  if (shown === null) return;
  VIEWS[shown].close();
  page.unwatch();
  byId(`view-${shown}`).hidden = true;
  shown = null;
}

/** @param {string} [problem] */
function login(problem) {
  leave();
  byId("page").hidden = true;
  document.title = "Cardume";
  showLogin(enter, problem);
}

/** @param {{sub: string}} who */
async function enter(who) {
  try {
    const running = await api.apps();
    if (running.includes("aquarium")) await aquarium.prepare();
    views = viewsOf(running);
  } catch (error) {
    return login(/** @type {Error} */ (error).message);
  }
  say(byId("user"), who.sub);
  say(byId("leave"), api.token() === null ? "Log in" : "Log out");
  const links = views.map(({ view, name }) => element("a", { href: hashOf(view), "data-view": view }, name));
  byId("nav").replaceChildren(...links);
  byId("login").hidden = true;
  byId("page").hidden = false;
  go();
}

byId("leave").addEventListener("click", () => {
  api.keepToken(null);
  login();
});
addEventListener("hashchange", go);
page.begin({ login, draw: () => shown !== null && VIEWS[shown].draw?.(page.now()) });
askWho(enter, login);
