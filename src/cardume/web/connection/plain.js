/**
 * The dialect of one channel: it resumes where it was, or is told that it starts over.
 *
 * @typedef {{type: string, data: any, timestamp: string, offset?: number, id?: number}} Frame
 */

import { Fault, Link } from "./link.js";

export class Plain extends Link {
  /** @param {import("./link.js").Options} options */
  constructor(options) {
    super(options);
    /** @type {{epoch: string, offset: number}|null} */
    this.position = null;
    /** Events since the greeting, until a pong says that all that was missed has come. */
    this.replayed = 0;
    this.resuming = false;
  }

  address() {
    const { position } = this;
    return this.url + (position ? `?since=${position.epoch}:${position.offset}` : "");
  }

  pingMessage() {
    return { type: "ping" };
  }

  /**
   * Run an action of the server.
   * @param {string} name @param {object} body @returns {Promise<any>} rejects with `Fault`
   */
  act(name, body) {
    if (this.phase.phase !== "live") return Promise.reject(new Fault("not connected"));
    return this.ask({ type: "action", data: { name, ...body } });
  }

  /** @param {Frame} frame */
  receive(frame) {
    const { type, data } = frame;
    if (type === "connected") return this.#greeted(frame);
    if (type === "pong") return this.#caughtUp(data.offset);
    if (type === "result") return this.answer(frame.id, null, data);
    if (type === "error") return this.answer(frame.id, new Fault(data.message, data));
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
    this.enter({ phase: "live", how, missed: null });
    if (this.resuming) this.ping();
    else this.idle();
  }

  /** @param {number|undefined} offset the connection's cursor, events that were filtered out counted */
  #caughtUp(offset) {
    if (this.position && offset !== undefined) this.position.offset = Math.max(offset, this.position.offset);
    if (!this.resuming) return;
    this.resuming = false;
    this.enter({ phase: "live", how: "resumed", missed: this.replayed });
  }
}
