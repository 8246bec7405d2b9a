/** One execution, live: how it does, and its log as it is written. */

import * as api from "../../api.js";
import { Plain } from "../../connection/plain.js";
import { attempt, byId, complain, say, showBadge } from "../../dom.js";
import * as page from "../../page.js";
import { sentence } from "../../words.js";
import * as model from "./log.js";
import { showLog, whereabouts } from "./pane.js";
import { factsOf, progressText, showProgress, statusWords } from "./words.js";

/** @typedef {import("./words.js").Execution} Execution */

/** Lines that are asked for at once. */
const PAGE = 500;
const LARGE_PAGE = 2000;

/** @type {Plain|null} */
let connection = null;
/** @type {Execution|null} */
let run = null;
let log = model.initial();
let shown = log;
let loading = false;

/** @param {string} id */
export function open(id) {
  run = null;
  log = model.initial();
  shown = { ...log };
  loading = false;
  byId("log").replaceChildren();
  delete byId("run").dataset.known;
  for (const part of ["run-name", "run-command", "run-facts"]) say(byId(part), "");
  complain(byId("run-problem"));
  connection = page.watch(Plain, `ws/execution/${encodeURIComponent(id)}`, { what: "this execution", onEvent: heard });
}

export function close() {
  connection = null;
}

/** @param {number} now */
export function draw(now) {
  if (!run) return;
  byId("run").dataset.known = "true";
  page.title("Executions", "", run.name);
  say(byId("run-name"), run.name);
  say(byId("run-command"), run.command ?? "");
  showBadge(byId("run-status"), statusWords(run));
  say(byId("run-facts"), factsOf(run, now).join(" · "));
  byId("run-progress").hidden = run.progress === null;
  showProgress(byId("run-bar"), run.progress);
  say(byId("run-done"), progressText(run.progress));
  byId("run-cancel").hidden = run.status !== "running";
  if (log !== shown || log.lines.length === 0) showLog(log, run.status === "running" ? "Nothing written yet." : "It wrote nothing.");
  shown = log;
  showFollow();
  // Again, where that failed.
  if (page.live() && log.following && model.missing(log) > 0) catchUp();
}

function showFollow() {
  const below = model.missing(log);
  byId("follow").hidden = log.following;
  say(byId("follow"), below > 0 ? `Follow (${below.toLocaleString()} more below)` : "Follow");
}

/** @param {model.Log} next */
function change(next) {
  log = next;
  page.soon();
}

/** @param {import("../../connection/plain.js").Frame} frame */
function heard({ type, data }) {
  if (type === "snapshot") {
    run = data.execution;
    change(model.snapshot(log, data));
  } else if (type === "log") {
    change(model.appended(log, data.lines));
  } else if (type === "progress" || type.startsWith("execution_")) {
    learn(data);
  }
  if (log.following && model.missing(log) > 0) catchUp();
}

/** @param {Execution} known what is older than what we know changes nothing */
function learn(known) {
  if (run && run.version > known.version) return;
  if (run && run.status === "running" && known.status !== "running") page.announce(`${known.name}: ${known.status}. `);
  run = { ...run, ...known };
  page.soon();
}

/** @param {string} where `after=SEQ` or `before=SEQ` @param {number} limit @returns {Promise<{lines: model.Line[], previous: number|null}>} */
function lines(where, limit) {
  return api.call(`executions/${encodeURIComponent(/** @type {Execution} */ (run).execution_id)}/log?${where}&limit=${limit}`);
}

/**
 * One request for lines at a time, and nothing of it for another execution.
 * @param {() => Promise<void>} job
 */
async function fetching(job) {
  if (loading || !run) return;
  const mine = connection;
  loading = true;
  try {
    await job();
    if (mine === connection) complain(byId("run-problem"));
  } catch (error) {
    if (mine === connection) complain(byId("run-problem"), sentence(/** @type {Error} */ (error).message));
  } finally {
    if (mine === connection) loading = false;
  }
}

/** Fill the hole below the window; a long one is skipped, and read when somebody scrolls up. */
function catchUp() {
  const mine = connection;
  return fetching(async () => {
    while (log.following && model.missing(log) > 0) {
      const far = model.missing(log) > model.FILLED;
      const found = await lines(far ? `before=${log.newest + 1}` : `after=${model.lastSeq(log)}`, far ? PAGE : LARGE_PAGE);
      if (mine !== connection || found.lines.length === 0) return;
      change(far ? model.replaced(log, found.lines) : model.appended(log, found.lines));
    }
  });
}

function older() {
  const mine = connection;
  return fetching(async () => {
    const found = await lines(`before=${model.firstSeq(log)}`, PAGE);
    if (mine !== connection) return;
    const next = model.prepended(log, found.lines);
    change(found.previous === null ? { ...next, first: model.firstSeq(next) } : next);
  });
}

function newer() {
  const mine = connection;
  return fetching(async () => {
    const found = await lines(`after=${model.lastSeq(log)}`, PAGE);
    if (mine === connection) change(model.continued(log, found.lines));
  });
}

function scrolled() {
  const where = whereabouts();
  if (where === "ours" || !run) return;
  if (where === "bottom" && model.missing(log) > 0) newer();
  else change(model.followed(log, where === "bottom"));
  if (where === "top" && model.hasOlder(log)) older();
}

byId("log").addEventListener("scroll", scrolled);
byId("follow").addEventListener("click", () => {
  change(model.followed(log, true));
  // At the end of the window even where nothing is missing.
  shown = { ...log };
  catchUp();
  byId("log").focus();
});
byId("run-cancel").addEventListener("click", () => {
  const cancel = async () => {
    const { execution_id } = /** @type {Execution} */ (run);
    learn(
      await (page.live() && connection
        ? connection.act("cancel_execution", { execution_id })
        : api.call(`executions/${encodeURIComponent(execution_id)}/cancel`, { method: "POST" })),
    );
  };
  attempt(byId("run-cancel"), byId("run-problem"), cancel);
});
