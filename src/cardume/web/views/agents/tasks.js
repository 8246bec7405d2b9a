/** The tasks: who does what, and what may follow. */

import * as api from "../../api.js";
import { byId, element, find, say, show, showBadge } from "../../dom.js";
import { ago, duration, time } from "../../words.js";
import { showButtons } from "./parts.js";
import { taskSteps, tasksOf } from "./state.js";
import { statusWords } from "./words.js";

/** @typedef {import("./state.js").State} State @typedef {import("./state.js").Task} Task */

/** @param {State} state @param {number} now @param {(task: Task) => void} learn what a step answers */
export function showTasks(state, now, learn) {
  const tasks = tasksOf(state);
  const run = (/** @type {Task} */ task) => async (/** @type {string} */ step) => {
    learn(await api.post(`coordination/tasks/${encodeURIComponent(task.task_id)}/${step}`));
  };
  const update = (/** @type {any} */ node, /** @type {Task} */ task) => {
    updateTask(node, task, now);
    showButtons(node, taskSteps(task.status), task.task_id, run(task));
  };
  show(byId("tasks"), tasks, (task) => task.task_id, create, update);
  byId("tasks-empty").hidden = tasks.length > 0;
}

function create() {
  return element(
    "li",
    { class: "task" },
    element("div", {}, element("h3"), element("p", { class: "quiet" })),
    element("span", { class: "badge" }),
    element("p", { class: "buttons" }),
    element("p", { class: "problem", role: "alert", hidden: "" }),
  );
}

/** @param {HTMLElement} node @param {Task} task @param {number} now */
function updateTask(node, task, now) {
  say(find(node, "h3"), task.task_type);
  say(find(node, ".quiet"), factsOf(task, now).join(" · "));
  showBadge(find(node, ".badge"), statusWords(task.status));
}

/** @param {Task} task @param {number} now @returns {string[]} */
function factsOf(task, now) {
  const facts = [task.task_id, `priority ${task.priority}`];
  // The last owner stays known after a task was given back.
  if (task.agent_id && task.status !== "created") facts.push(task.agent_id);
  else if (task.required_capability) facts.push(`needs ${task.required_capability}`);
  if (task.attempts > 1 || task.status === "failed") facts.push(`attempt ${task.attempts} of ${task.max_attempts}`);
  const deadline = time(task.deadline);
  if (deadline !== null && deadline > now) facts.push(`${duration(deadline - now)} left`);
  if (task.error) facts.push(task.error.replaceAll("_", " "));
  facts.push(ago(time(task.created_at), now));
  return facts;
}
