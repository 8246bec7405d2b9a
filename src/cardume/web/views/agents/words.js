/** How statuses of agents, tasks and proposals are shown: a look, a sign that needs no colour, a word. */

/** @type {Record<string, [string, string, string]>} */
const STATUSES = {
  active: ["ok", "●", "Active"],
  paused: ["wait", "‖", "Paused"],
  inactive: ["bad", "✕", "Inactive"],
  stopped: ["", "■", "Stopped"],
  created: ["", "○", "Created"],
  assigned: ["wait", "◔", "Assigned"],
  started: ["busy", "▶", "Started"],
  completed: ["ok", "✓", "Completed"],
  failed: ["bad", "✕", "Failed"],
  cancelled: ["", "–", "Cancelled"],
  open: ["busy", "?", "Open"],
  approved: ["ok", "✓", "Approved"],
  rejected: ["bad", "✕", "Rejected"],
};

/** @param {string} status @returns {[string, string, string]} */
export const statusWords = (status) => STATUSES[status] ?? ["", "?", status];

/** @type {Record<string, string>} what a button says */
export const BUTTONS = {
  start: "Start",
  pause: "Pause",
  resume: "Resume",
  stop: "Stop",
  restart: "Restart",
  heartbeat: "Heartbeat",
  assign: "Assign",
  complete: "Complete",
  fail: "Fail",
  cancel: "Cancel",
};
