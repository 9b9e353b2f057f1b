// A WebSocket server that says what a test tells it to.

import { once } from "node:events";
import { WebSocketServer } from "ws";

export const HELLO = {
  event: "hello", protocol: 1, client: "c-1", instance: "test", authentication: "none",
  heartbeat_ms: 15_000, max_subscriptions: 64, max_frame_bytes: 16_384, max_requests: 32,
};

/** Waits until `condition` holds; what it throws is not true yet. Fails after ten seconds. */
export async function until(condition, what = condition.toString()) {
  const end = Date.now() + 10_000;
  for (;;) {
    try {
      if (await condition()) return;
    } catch (error) {
      if (Date.now() > end) throw error;
    }
    if (Date.now() > end) throw new Error(`still not true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Lets everything happen that is on its way over a connection: a ping, and its answer. */
export class Peer {
  #frames = [];
  #waiting = [];
  constructor(socket, request) {
    this.socket = socket;
    this.url = request.url;
    this.protocol = socket.protocol;
    this.closed = once(socket, "close").then(([code]) => code);
    this.answersPings = true;
    /** Every frame that ever came. */
    this.all = [];
    socket.on("error", () => {});
    socket.on("message", (data) => {
      const frame = JSON.parse(data);
      this.all.push(frame);
      if (frame.ping && this.answersPings) return this.send({ pong: true });
      const waiting = this.#waiting.shift();
      if (waiting) waiting(frame);
      else this.#frames.push(frame);
    });
  }

  send(...frames) {
    for (const frame of frames) this.socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  /** The next frame that was not looked at. */
  async next() {
    if (this.#frames.length > 0) return this.#frames.shift();
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("no frame came")), 10_000);
      this.#waiting.push((frame) => {
        clearTimeout(timer);
        resolve(frame);
      });
    });
  }

  /** Answers the next frame positively. */
  async accept(members = {}) {
    const frame = await this.next();
    this.send({ id: frame.id, ok: true, ...members });
    return frame;
  }

  /** Frames that came and were not looked at. */
  get unread() {
    return this.#frames.length;
  }

  /** Breaks the connection without a farewell. */
  cut() {
    this.socket.terminate();
  }

  close(code, reason) {
    this.socket.close(code, reason);
  }
}

export class Server {
  #peers = [];
  #waiting = [];
  #server;

  static async start(options = {}) {
    const server = new Server();
    server.hello = "hello" in options ? options.hello : HELLO;
    server.#server = new WebSocketServer({ host: "127.0.0.1", port: options.port ?? 0, handleProtocols: (offered) => [...offered][0] });
    await once(server.#server, "listening");
    server.port = server.#server.address().port;
    server.url = `ws://127.0.0.1:${server.port}/ws`;
    server.#server.on("connection", (socket, request) => {
      const peer = new Peer(socket, request);
      server.connections += 1;
      if (server.hello) peer.send(server.hello);
      const waiting = server.#waiting.shift();
      if (waiting) waiting(peer);
      else server.#peers.push(peer);
    });
    return server;
  }

  connections = 0;

  /** The next connection that was not looked at. */
  async next() {
    if (this.#peers.length > 0) return this.#peers.shift();
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("nobody connected")), 10_000);
      this.#waiting.push((peer) => {
        clearTimeout(timer);
        resolve(peer);
      });
    });
  }

  async stop() {
    for (const socket of this.#server.clients) socket.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
