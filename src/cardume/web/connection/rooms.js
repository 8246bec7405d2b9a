/**
 * The dialect of many rooms: it joins what is wanted, and each room resumes where it was.
 *
 * @typedef {{event_type: string, timestamp: string, data: any, source: string, room: string|null,
 *   offset: number|null, id?: number, success?: boolean, message?: string}} Frame
 * @typedef {{epoch: string, offset: number}} Position
 */

import { Fault, Link } from "./link.js";

export class Rooms extends Link {
  /** @param {import("./link.js").Options & {rooms?: string[]}} options `rooms`: to be in from the start */
  constructor(options) {
    super(options);
    /** @type {Map<string, Position|null>} what we want to be in, and how far we have read */
    this.rooms = new Map((options.rooms ?? []).map((room) => [room, null]));
    /** @type {Set<string>} the filter; nothing in it: all types */
    this.types = new Set();
    this.been = false;
    this.replayed = 0;
    this.resuming = false;
    this.greeted = false;
  }

  pingMessage() {
    return { action: "ping" };
  }

  connect() {
    this.greeted = false;
    super.connect();
  }

  /** @param {string} room @returns {Promise<void>} */
  async join(room) {
    if (!this.rooms.has(room)) this.rooms.set(room, null);
    if (this.greeted) await this.#join(room);
  }

  /** @param {string} room @returns {Promise<void>} */
  async leave(room) {
    this.rooms.delete(room);
    if (this.greeted) await this.ask({ action: "leave", room });
  }

  /** @param {Iterable<string>} wanted none: all types @returns {Promise<void>} */
  async filter(wanted) {
    const types = new Set(wanted);
    const added = [...types].filter((type) => !this.types.has(type));
    const removed = [...this.types].filter((type) => !types.has(type));
    this.types = types;
    if (!this.greeted) return;
    // Adding first: a filter that is empty for a moment would let everything through.
    if (added.length > 0) await this.ask({ action: "subscribe", data: { event_types: added } });
    if (removed.length > 0) await this.ask({ action: "unsubscribe", data: { event_types: removed } });
  }

  /** @param {Frame} frame */
  receive(frame) {
    const { event_type: type, room, offset } = frame;
    if (type === "reply") return this.#replied(frame);
    if (type === "connected") return void this.#enterRooms(frame);
    if (type === "disconnected") return;
    const position = room === null ? null : this.rooms.get(room);
    if (position && offset !== null) {
      if (offset <= position.offset) return;
      position.offset = offset;
    }
    this.replayed += 1;
    this.onEvent(frame);
  }

  /** @param {Frame} frame */
  #replied({ id, success, message, data }) {
    // At once: what follows in the room is counted from here.
    if (message === "joined" && this.rooms.has(data.room) && data.recovered !== true && data.epoch) {
      this.rooms.set(data.room, { epoch: data.epoch, offset: data.offset });
    }
    if (success) this.answer(id, null, data);
    else this.answer(id, new Fault(message ?? "refused", data));
  }

  /** Live is who is in all rooms: only then nothing of theirs can be missed. @param {Frame} frame */
  async #enterRooms(frame) {
    const { socket } = this;
    this.greeted = true;
    this.replayed = 0;
    this.onEvent(frame);
    try {
      const types = [...this.types];
      if (types.length > 0) await this.ask({ action: "subscribe", data: { event_types: types } });
      const places = [...this.rooms.values()];
      const kept = await Promise.all([...this.rooms.keys()].map((room) => this.#join(room).catch(refused)));
      if (socket !== this.socket) return;
      this.resuming = this.been && places.every((place, i) => place === null || kept[i]);
      this.liveSince = this.clock.now();
      const how = this.been ? (this.resuming ? "resumed" : "restarted") : "fresh";
      this.been = true;
      this.enter({ phase: "live", how, missed: null });
      await this.ask({ action: "ping" });
      if (socket === this.socket && this.resuming) this.enter({ phase: "live", how: "resumed", missed: this.replayed });
      this.resuming = false;
    } catch (error) {
      if (socket === this.socket) this.lost(1006, /** @type {Error} */ (error).message);
    }
  }

  /** @param {string} room @returns {Promise<boolean>} whether nothing of it was missed */
  async #join(room) {
    const joined = await this.ask({ action: "join", room, data: this.rooms.get(room) ?? {} });
    return joined.recovered === true;
  }
}

/** A room that refuses us does not keep us from the others. @param {any} error @returns {boolean} */
function refused(error) {
  if (error.details?.code === undefined) throw error;
  return false;
}
