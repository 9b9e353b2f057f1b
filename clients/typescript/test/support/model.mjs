// A hub in miniature: one kept topic, bounded, that any number of clients resume. It answers as the real
// one does, and can be as unreliable as a network.

import { Server } from "./server.mjs";
import { at, message } from "./setup.mjs";

export class ModelHub {
  /** Every message there ever was, by offset from 1. */
  count = 0;
  #kept;
  #peers = new Map();

  constructor(server, kept) {
    this.server = server;
    this.#kept = kept;
  }

  static async start(kept) {
    const server = await Server.start();
    const hub = new ModelHub(server, kept);
    hub.#accept();
    return hub;
  }

  publish() {
    this.count += 1;
    for (const [peer, live] of this.#peers) if (live) peer.send(this.#message(this.count));
  }

  /** Breaks all connections at once. */
  cut() {
    for (const peer of this.#peers.keys()) peer.cut();
    this.#peers.clear();
  }

  #message(offset) {
    return message("room:1", offset, { position: at(offset) });
  }

  /** What is kept after an offset; `undefined` if some of it no longer is. */
  #after(offset, limit = Infinity) {
    if (offset < this.count - this.#kept) return undefined;
    const end = Math.min(this.count, offset + limit);
    return Array.from({ length: Math.max(0, end - offset) }, (_, n) => this.#message(offset + n + 1));
  }

  async #accept() {
    for (;;) {
      const peer = await this.server.next().catch(() => undefined);
      if (peer === undefined) return;
      this.#peers.set(peer, false);
      peer.closed.then(() => this.#peers.delete(peer));
      peer.socket.on("message", (data) => this.#answer(peer, JSON.parse(data)));
    }
  }

  #answer(peer, frame) {
    const { id } = frame;
    const offset = frame.after === undefined ? undefined : Number(frame.after.split("-")[1]);
    if (frame.subscribe) {
      const from = offset ?? Math.max(0, this.count - Math.min(frame.recent ?? 0, this.#kept));
      const missed = this.#after(from);
      const answer = { id, ok: true, topic: "room:1", position: at(missed === undefined ? this.count : from) };
      if (offset !== undefined) answer.recovered = missed !== undefined;
      peer.send(answer);
      if (missed === undefined) {
        peer.send({ event: "gap", topic: "room:1", reason: "history", missed: this.count - from, position: at(this.count) });
      } else if (missed.length > 0) {
        peer.send(...missed);
      }
      this.#peers.set(peer, true);
    } else if (frame.unsubscribe) {
      this.#peers.set(peer, false);
      peer.send({ id, ok: true, topic: "room:1" });
    } else if (frame.history) {
      const from = offset ?? Math.max(0, this.count - Math.min(frame.limit, this.#kept));
      const messages = this.#after(from, Math.min(frame.limit, 3));
      const gap = { missed: this.count - from, position: at(this.count) };
      if (messages === undefined) return peer.send({ id, ok: true, topic: "room:1", messages: [], gap, complete: true });
      // Without `after` the latest are asked for, which are all there is.
      const page = offset === undefined ? this.#after(from) : messages;
      const end = from + page.length;
      peer.send({ id, ok: true, topic: "room:1", messages: page, position: at(end), complete: end === this.count });
    }
  }
}

