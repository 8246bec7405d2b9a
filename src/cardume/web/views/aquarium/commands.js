/** What a device was told to do and what became of it, and a form to tell it more. */

import { byId, complain, element, find, onSubmit, say, show, showBadge } from "../../dom.js";
import { moment, sentence, time } from "../../words.js";
import { commandsOf, isOpen } from "./commandlog.js";
import { commandFacts, commandWords } from "./words.js";

/**
 * @typedef {import("./commandlog.js").Command} Command
 * @typedef {{load: (deviceId: string) => Promise<void>,
 *   send: (deviceId: string, command: object) => Promise<void>}} Doors  both reject with what went wrong
 */

/** @param {string} deviceId @param {string} title of the device @param {Doors} doors */
export function createCommands(deviceId, title, doors) {
  const form = createForm(deviceId, title, doors);
  const problem = element("p", { class: "problem", role: "alert", hidden: "" });
  const made = element(
    "details",
    { class: "commands" },
    element("summary", {}, "Commands ", element("span", { class: "count", hidden: "" })),
    form,
    problem,
    element("ol", { "aria-label": "Commands, the newest first" }),
  );
  made.addEventListener("toggle", () => made.open && load(made, deviceId, doors));
  return made;
}

/** Ask again for what is looked at: it may have changed unheard. @param {Doors} doors */
export function reloadCommands(doors) {
  for (const details of byId("devices").querySelectorAll(".commands[open]")) {
    load(details, details.closest(".device").dataset.key, doors);
  }
}

/** @param {HTMLElement} details @param {string} deviceId @param {Doors} doors */
async function load(details, deviceId, doors) {
  const problem = find(details, "details > .problem");
  complain(problem);
  await doors.load(deviceId).catch((error) => complain(problem, sentence(error.message)));
}

/** @param {string} deviceId @param {string} title @param {Doors} doors */
function createForm(deviceId, title, doors) {
  const name = element("input", { maxlength: "64", placeholder: "feed", autocapitalize: "none", autocomplete: "off", spellcheck: "false", required: "" });
  const params = element("textarea", { rows: "2", placeholder: '{"grams": 2}', spellcheck: "false" });
  const form = element(
    "form",
    { class: "form", "aria-label": `A command for ${title}` },
    element("label", {}, "Command", name),
    element("label", {}, "Parameters, as a JSON object", params),
    element("button", { class: "small" }, "Send"),
    element("p", { class: "problem", role: "alert", hidden: "" }),
  );
  // The same id until something else is asked for: who presses twice after a lost answer feeds once.
  let id = newId();
  const another = () => (id = newId());
  form.addEventListener("input", another);
  onSubmit(form, async () => {
    await doors.send(deviceId, { id, command: name.value.trim(), params: paramsOf(params.value) });
    another();
  });
  return form;
}

/** @returns {string} of an alphabet that devices can keep */
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} text @returns {object} */
function paramsOf(text) {
  if (text.trim() === "") return {};
  const problem = new Error('parameters are a JSON object, like {"grams": 2}');
  try {
    const value = JSON.parse(text);
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw problem;
    return value;
  } catch {
    throw problem;
  }
}

/** @param {HTMLElement} details @param {import("./state.js").State} state @param {string} deviceId @param {number} now */
export function showCommands(details, state, deviceId, now) {
  const commands = commandsOf(state.commands, deviceId);
  const open = commands.filter(isOpen).length;
  find(details, ".count").hidden = open === 0;
  say(find(details, ".count"), `${open} open`);
  const update = (/** @type {any} */ node, /** @type {Command} */ command) => updateCommand(node, command, now);
  show(find(details, "ol"), commands, (command) => command.id, createCommand, update);
}

function createCommand() {
  return element(
    "li",
    {},
    element("p", { class: "order" }, element("strong"), element("code")),
    element("span", { class: "badge" }),
    element("p", { class: "quiet" }),
    element("code", { class: "answer" }),
  );
}

/** @param {HTMLElement} node @param {Command} command @param {number} now */
function updateCommand(node, command, now) {
  say(find(node, "strong"), command.command);
  say(find(node, ".order code"), Object.keys(command.params).length > 0 ? JSON.stringify(command.params) : "");
  showBadge(find(node, ".badge"), commandWords(command));
  say(find(node, ".quiet"), commandFacts(command, now).join(" · "));
  find(node, ".quiet").title = moment(time(command.created_at));
  const { answer = null } = command;
  say(find(node, ".answer"), answer === null ? "" : typeof answer === "string" ? answer : JSON.stringify(answer));
}
