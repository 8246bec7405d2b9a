/** What is said of the connection: always in the header, and in a banner while it matters. */

import { byId, say } from "./dom.js";

/** @typedef {import("./connection/link.js").Phase} Phase */

/** Milliseconds a good word stays. */
const GOOD_WORD = 6000;

/** @type {Record<string, (what: string) => string>} codes of the server whose reason deserves more words */
const REASONS = {
  3001: () => "the server is restarting",
  3005: () => "the session has expired",
  3008: () => "this page read too slowly",
  3500: () => "your token is not valid any more",
  3507: (what) => `you may not see ${what} any more`,
  3508: (what) => `${what} is gone`,
};

/** @type {Record<string, [string, string]>} */
const LOOKS = {
  connecting: ["wait", "Connecting"],
  waiting: ["wait", "Reconnecting"],
  live: ["ok", "Live"],
  closed: ["bad", "Disconnected"],
};

export class Banner {
  /** @param {{hurry: () => void, login: () => void}} doors */
  constructor(doors) {
    this.doors = doors;
    /** @type {Phase} */
    this.phase = { phase: "connecting" };
    /** What one looks at. */
    this.what = "";
    this.hideAt = 0;
    /** @type {[string, string]|undefined} a look, and a word in place of Live */
    this.doubted = undefined;
    /** Whether the connection was there before: only then it can come back. */
    this.lost = false;
    /** Whether there is anything on the page that may have aged. */
    this.filled = false;
    byId("banner-button").addEventListener("click", () => this.#press());
  }

  /** Something else is looked at. @param {string} what */
  start(what) {
    this.stop();
    this.what = what;
    byId("phase").hidden = false;
  }

  /** Nothing live is looked at. */
  stop() {
    this.phase = { phase: "connecting" };
    this.lost = this.filled = false;
    this.doubted = undefined;
    byId("phase").hidden = byId("banner").hidden = true;
  }

  /** @param {Phase} phase @param {number} now */
  show(phase, now) {
    this.phase = phase;
    if (phase.phase !== "connecting") this.lost = phase.phase !== "live" || this.lost;
    this.filled ||= phase.phase === "live";
    this.hideAt = phase.phase === "live" && phase.how !== "fresh" ? now + GOOD_WORD : 0;
    byId("banner").dataset.look = LOOKS[phase.phase][0];
    this.#pill();
    say(byId("banner-text"), this.#words());
    const button = this.#button();
    byId("banner-button").hidden = button === "";
    say(byId("banner-button"), button);
    this.tick(now);
  }

  /** Our connection is well, what it would tell us of is not. @param {[string, string]|undefined} doubt */
  doubt(doubt) {
    this.doubted = doubt;
    this.#pill();
  }

  #pill() {
    const [look, word] = (this.phase.phase === "live" && this.doubted) || LOOKS[this.phase.phase];
    byId("phase").dataset.look = look;
    say(byId("phase"), word);
  }

  /** @param {number} now */
  tick(now) {
    const { phase } = this;
    const seconds = phase.phase === "waiting" ? Math.max(0, Math.ceil((phase.until - now) / 1000)) : 0;
    say(byId("banner-count"), phase.phase === "waiting" ? `Trying again in ${seconds} s.` : "");
    const hidden = phase.phase === "live" ? now >= this.hideAt : phase.phase === "connecting" && !this.lost;
    byId("banner").hidden = hidden;
  }

  /** @param {number} code @param {string} reason @returns {string} */
  #because(code, reason) {
    const why = REASONS[code]?.(this.what) ?? reason;
    return why ? ` (${why})` : "";
  }

  #words() {
    const { phase } = this;
    const old = this.filled ? " What you see is from before." : "";
    switch (phase.phase) {
      case "connecting":
        return this.lost ? "Connecting again…" : "Connecting…";
      case "waiting":
        return `${this.filled ? "Connection lost" : "No connection"}${this.#because(phase.code, phase.reason)}.${old}`;
      case "closed":
        return `Disconnected${this.#because(phase.code, phase.reason)}, code ${phase.code}.${old}`;
      default:
        if (phase.how === "restarted") return "Live again. What was missed could not be replayed: started over from a snapshot.";
        if (phase.how === "fresh") return "";
        if (phase.missed === null) return "Live again. Catching up…";
        return `Live again. ${phase.missed} missed ${phase.missed === 1 ? "event" : "events"} replayed.`;
    }
  }

  #button() {
    if (this.phase.phase === "waiting") return "Try now";
    if (this.phase.phase !== "closed") return "";
    return this.phase.code === 3500 ? "Log in" : "Try again";
  }

  #press() {
    if (this.phase.phase === "closed" && this.phase.code === 3500) this.doors.login();
    else this.doors.hurry();
  }
}
