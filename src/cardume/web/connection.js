/**
 * A WebSocket of the plain dialect that comes back by itself and resumes where it was.
 *
 * It waits with full jitter, so that a restarted server is not met by everybody at once, and it
 * asks for a sign of life itself: a browser does not tell a page that pings have gone unanswered.
 *
 * @typedef {{phase: "connecting"} | {phase: "waiting", until: number, code: number, reason: string}
 *   | {phase: "live", how: "fresh"|"resumed"|"restarted", missed: number|null}
 *   | {phase: "closed", code: number, reason: string}} Phase
 * @typedef {{type: string, data: any, timestamp: string, offset?: number, id?: number}} Frame
 * @typedef {{url: string, protocols?: string[], onEvent: (frame: Frame) => void,
 *   onPhase: (phase: Phase) => void, socket?: (url: string, protocols: string[]) => WebSocket,
 *   clock?: Clock, random?: () => number}} Options
 * @typedef {{now(): number, after(milliseconds: number, call: () => void): number, cancel(timer: number|undefined): void}} Clock
 */

const SHORTEST = 500;
const LONGEST = 20_000;

/** Milliseconds for a handshake, for an answer to a ping, and of silence before a ping. */
export const CONNECT_WITHIN = 10_000;
export const ANSWER_WITHIN = 8_000;
export const PING_AFTER = 15_000;

/** A connection that lived so long was a good one: the next wait is short again. */
const GOOD_AFTER = 10_000;

/** RFC 6455 codes that say that we speak wrongly: saying it again would not help. */
const OUR_FAULT = new Set([1002, 1003, 1007, 1008, 1009]);

/** @param {number} code of a close @returns {boolean} whether to come back, by the ranges of the server's table */
export function comesBack(code) {
  return !OUR_FAULT.has(code) && !(code >= 3500 && code < 4000) && !(code >= 4500 && code < 5000);
}

/** @param {number} attempt 1, 2, 3… @param {number} random in [0, 1) @returns {number} milliseconds */
export function backoff(attempt, random) {
  const most = Math.min(LONGEST, SHORTEST * 2 ** Math.min(attempt, 10));
  return SHORTEST + random * (most - SHORTEST);
}

/** @type {Clock} */
const browserClock = {
  now: () => Date.now(),
  after: (milliseconds, call) => Number(setTimeout(call, milliseconds)),
  cancel: (timer) => clearTimeout(timer),
};

export class Connection {
  /** @param {Options} options */
  constructor(options) {
    this.url = options.url;
    this.protocols = options.protocols ?? [];
    this.onEvent = options.onEvent;
    this.onPhase = options.onPhase;
    this.open = options.socket ?? ((url, protocols) => new WebSocket(url, protocols));
    this.clock = options.clock ?? browserClock;
    this.random = options.random ?? Math.random;
    /** @type {Phase} */
    this.phase = { phase: "connecting" };
    /** @type {{epoch: string, offset: number}|null} */
    this.position = null;
    /** @type {WebSocket|null} */
    this.socket = null;
    /** @type {Map<number, {resolve: (data: any) => void, reject: (error: Error) => void}>} */
    this.asked = new Map();
    this.lastId = 0;
    this.attempt = 0;
    this.liveSince = 0;
    /** Events since the greeting, until a pong says that all that was missed has come. */
    this.replayed = 0;
    this.resuming = false;
    /** @type {number|undefined} */
    this.timer = undefined;
  }

  connect() {
    this.#forget();
    this.#enter({ phase: "connecting" });
    const { position } = this;
    const since = position ? `?since=${position.epoch}:${position.offset}` : "";
    const socket = (this.socket = this.open(this.url + since, this.protocols));
    socket.onmessage = (message) => this.#receive(JSON.parse(message.data));
    socket.onclose = (event) => this.#lost(event.code, event.reason);
    this.#alarm(CONNECT_WITHIN, () => this.#lost(1006, "no answer"));
  }

  /** For good: nothing more is told. */
  close() {
    this.#forget();
  }

  /** Now, instead of later; a live connection has to prove that it is one. */
  hurry() {
    if (this.phase.phase === "waiting") this.connect();
    else if (this.phase.phase === "live") this.#ping();
  }

  /**
   * Run an action of the server. Rejects with the server's own words, or if nobody answers.
   * @param {string} name @param {object} body @returns {Promise<any>}
   */
  act(name, body) {
    if (this.phase.phase !== "live") return Promise.reject(new Error("not connected"));
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      const timer = this.clock.after(ANSWER_WITHIN, () => this.#answer(id, new Error("no answer in time")));
      const settle = (/** @type {(value: any) => void} */ tell) => (/** @type {any} */ value) => {
        this.clock.cancel(timer);
        tell(value);
      };
      this.asked.set(id, { resolve: settle(resolve), reject: settle(reject) });
      this.#send({ type: "action", id, data: { name, ...body } });
    });
  }

  /** @param {Frame} frame */
  #receive(frame) {
    if (this.phase.phase === "live") this.#alarm(PING_AFTER, () => this.#ping());
    const { type, data } = frame;
    if (type === "connected") return this.#greeted(frame);
    if (type === "pong") return this.#caughtUp(data.offset);
    if (type === "result") return this.#answer(frame.id, null, data);
    if (type === "error") return this.#answer(frame.id, new Error(data.message));
    if (this.position && frame.offset !== undefined) {
      if (type !== "snapshot" && frame.offset <= this.position.offset) return;
      this.position.offset = frame.offset;
    }
    this.replayed += 1;
    this.onEvent(frame);
  }

  /** @param {Frame} frame */
  #greeted(frame) {
    const { epoch, offset, recovered } = frame.data;
    const had = this.position !== null;
    this.position = epoch === undefined ? null : { epoch, offset };
    this.liveSince = this.clock.now();
    this.replayed = 0;
    this.resuming = had && recovered;
    this.onEvent(frame);
    const how = had ? (recovered ? "resumed" : "restarted") : "fresh";
    this.#enter({ phase: "live", how, missed: null });
    if (this.resuming) this.#ping();
    else this.#alarm(PING_AFTER, () => this.#ping());
  }

  /** @param {number|undefined} offset the connection's cursor, events that were filtered out counted */
  #caughtUp(offset) {
    if (this.position && offset !== undefined) this.position.offset = Math.max(offset, this.position.offset);
    if (!this.resuming) return;
    this.resuming = false;
    this.#enter({ phase: "live", how: "resumed", missed: this.replayed });
  }

  #ping() {
    this.#send({ type: "ping" });
    this.#alarm(ANSWER_WITHIN, () => this.#lost(1006, "no answer"));
  }

  /** @param {number} code @param {string} reason */
  #lost(code, reason) {
    if (this.phase.phase === "live" && this.clock.now() - this.liveSince > GOOD_AFTER) this.attempt = 0;
    this.#forget();
    if (!comesBack(code)) return this.#enter({ phase: "closed", code, reason });
    this.attempt += 1;
    const wait = backoff(this.attempt, this.random());
    this.#enter({ phase: "waiting", until: this.clock.now() + wait, code, reason });
    this.#alarm(wait, () => this.connect());
  }

  /** Let go of the socket: what it still says is not ours to hear. */
  #forget() {
    this.clock.cancel(this.timer);
    const { socket } = this;
    this.socket = null;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
    for (const id of this.asked.keys()) this.#answer(id, new Error("the connection was lost"));
  }

  /** @param {number|undefined} id @param {Error|null} error @param {any} [data] */
  #answer(id, error, data) {
    const waiting = id === undefined ? undefined : this.asked.get(id);
    if (!waiting) return;
    this.asked.delete(/** @type {number} */ (id));
    if (error) waiting.reject(error);
    else waiting.resolve(data);
  }

  /** @param {object} message */
  #send(message) {
    this.socket?.send(JSON.stringify(message));
  }

  /** @param {number} milliseconds @param {() => void} call the one thing we wait for */
  #alarm(milliseconds, call) {
    this.clock.cancel(this.timer);
    this.timer = this.clock.after(milliseconds, call);
  }

  /** @param {Phase} phase */
  #enter(phase) {
    this.phase = phase;
    this.onPhase(phase);
  }
}
