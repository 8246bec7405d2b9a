/** Showing who one is: with a password, with a token, or where nobody asks, not at all. */

import * as api from "./api.js";
import { attempt, byId, complain, find } from "./dom.js";

/** @typedef {{sub: string}} Who */

/** @type {(who: Who) => void} */
let welcome = () => {};

/** @param {(who: Who) => void} enter @param {string} [problem] */
export function showLogin(enter, problem) {
  welcome = enter;
  byId("login").hidden = false;
  complain(byId("login-error"), problem);
  byId("username").focus();
  // The demo lets people of this machine in without a token.
  byId("visit").hidden = visitor === null;
}

/** @type {Who|null} who was let in without a token */
let visitor = null;

/** Start with the token of this tab, or without one. @param {(who: Who) => void} enter @param {(problem?: string) => void} login */
export async function askWho(enter, login) {
  const known = api.token();
  try {
    const who = await api.call("auth/me");
    if (known === null) visitor = who;
    enter(who);
  } catch (error) {
    const { status, message } = /** @type {api.Refused} */ (error);
    if (status !== 401) return login(message);
    if (known === null) return login();
    api.keepToken(null);
    visitor = await api.call("auth/me").catch(() => null);
    login("Your token is not valid any more.");
  }
}

/** @param {string} form @param {() => Promise<string>} getToken */
function onSubmit(form, getToken) {
  byId(form).addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    attempt(find(byId(form), "button"), byId("login-error"), async () => {
      const token = await getToken();
      const who = await api.call("auth/me", { token });
      api.keepToken(token);
      byId("password").value = byId("token").value = "";
      welcome(who);
    });
  });
}

onSubmit("password-form", () => api.logIn(byId("username").value, byId("password").value));
onSubmit("token-form", async () => {
  const token = byId("token").value.trim().replace(/^bearer\s+/i, "");
  if (!/^[\w.-]+$/.test(token)) throw new Error("that does not look like a token");
  return token;
});
byId("visit").addEventListener("click", () => visitor && welcome(visitor));
