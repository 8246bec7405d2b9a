/**
 * A WebSocket that comes back by itself; a dialect says what is spoken on it.
 *
 * It waits with full jitter, so that a restarted server is not met by everybody at once, and it
 * asks for a sign of life itself: a browser does not tell a page that pings have gone unanswered.
 *
 * @typedef {{phase: "connecting"} | {phase: "waiting", until: number, code: number, reason: string}
 *   | {phase: "live", how: "fresh"|"resumed"|"restarted", missed: number|null}
 *   | {phase: "closed", code: number, reason: string}} Phase
 * @typedef {{url: string, protocols?: string[], onEvent: (frame: any) => void,
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

/** What the server says when it does not do what it was asked; `details` is all it said of it. */
export class Fault extends Error {
  /** @param {string} message @param {any} [details] */
  constructor(message, details = {}) {
    super(message);
    this.details = details;
  }
}

/** A dialect extends this by `address`, `greeting` (a ping) and `receive`. */
export class Link {
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
    /** @type {WebSocket|null} */
    this.socket = null;
    /** @type {Map<number, {resolve: (data: any) => void, reject: (error: Error) => void}>} */
    this.asked = new Map();
    this.lastId = 0;
    this.attempt = 0;
    this.liveSince = 0;
    /** @type {number|undefined} */
    this.timer = undefined;
  }

  /** @returns {string} where to connect now */
  address() {
    return this.url;
  }

  /** @returns {object} what asks for a sign of life */
  pingMessage() {
    throw new Error("a dialect says how");
  }

  /** @param {any} _frame what the server said */
  receive(_frame) {}

  connect() {
    this.#forget();
    this.enter({ phase: "connecting" });
    const socket = (this.socket = this.open(this.address(), this.protocols));
    socket.onmessage = (message) => {
      if (this.phase.phase === "live") this.idle();
      this.receive(JSON.parse(message.data));
    };
    socket.onclose = (event) => this.lost(event.code, event.reason);
    this.alarm(CONNECT_WITHIN, () => this.lost(1006, "no answer"));
  }

  /** For good: nothing more is told. */
  close() {
    this.#forget();
  }

  /** Now, instead of later; a live connection has to prove that it is one. */
  hurry() {
    if (this.phase.phase === "waiting") this.connect();
    else if (this.phase.phase === "live") this.ping();
  }

  /**
   * Send a message with an id and wait for what answers it. Rejects with the server's own words,
   * or if nobody answers.
   * @param {object} message @returns {Promise<any>}
   */
  ask(message) {
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      const timer = this.clock.after(ANSWER_WITHIN, () => this.answer(id, new Fault("no answer in time")));
      const settle = (/** @type {(value: any) => void} */ tell) => (/** @type {any} */ value) => {
        this.clock.cancel(timer);
        tell(value);
      };
      this.asked.set(id, { resolve: settle(resolve), reject: settle(reject) });
      this.send({ ...message, id });
    });
  }

  /** @param {number|undefined} id @param {Error|null} error @param {any} [data] */
  answer(id, error, data) {
    const waiting = id === undefined ? undefined : this.asked.get(id);
    if (!waiting) return;
    this.asked.delete(/** @type {number} */ (id));
    if (error) waiting.reject(error);
    else waiting.resolve(data);
  }

  ping() {
    this.send(this.pingMessage());
    this.alarm(ANSWER_WITHIN, () => this.lost(1006, "no answer"));
  }

  /** Ask for a sign of life once there has been none for a while. */
  idle() {
    this.alarm(PING_AFTER, () => this.ping());
  }

  /** @param {object} message */
  send(message) {
    this.socket?.send(JSON.stringify(message));
  }

  /** @param {number} milliseconds @param {() => void} call the one thing we wait for */
  alarm(milliseconds, call) {
    this.clock.cancel(this.timer);
    this.timer = this.clock.after(milliseconds, call);
  }

  /** @param {Phase} phase */
  enter(phase) {
    this.phase = phase;
    this.onPhase(phase);
  }

  /** @param {number} code @param {string} reason */
  lost(code, reason) {
    if (this.phase.phase === "live" && this.clock.now() - this.liveSince > GOOD_AFTER) this.attempt = 0;
    this.#forget();
    if (!comesBack(code)) return this.enter({ phase: "closed", code, reason });
    this.attempt += 1;
    const wait = backoff(this.attempt, this.random());
    this.enter({ phase: "waiting", until: this.clock.now() + wait, code, reason });
    this.alarm(wait, () => this.connect());
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
    for (const id of this.asked.keys()) this.answer(id, new Fault("the connection was lost"));
  }
}
