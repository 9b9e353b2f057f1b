// One WebSocket, from its opening to its end.

import { startTimer, type Timer } from "./backoff.js";
import type { WebSocketLike } from "./types.js";

/** A frame of the server's: whatever JSON object it sent. */
export type Frame = Record<string, unknown>;

/** Who is told what happens on a connection. Nothing is told after `ended`. */
export interface ConnectionListener {
  frame(frame: Frame): void;
  /** The one end of it. `code` is the WebSocket's; 1006 if there was no farewell. */
  ended(code: number, reason: string): void;
  /** Something arrived that is no frame. */
  unreadable(text: string): void;
}

/** How long the other side may take to say goodbye before the socket is torn down. */
const FAREWELL = 2_000;

export class Connection {
  #socket: WebSocketLike;
  #listener: ConnectionListener | undefined;
  #opening: Timer | undefined;
  #beat: Timer | undefined;
  #pong: Timer | undefined;
  #pongWithin: number;

  /** Starts to connect. It ends by itself unless `established` is called in time. */
  constructor(socket: WebSocketLike, openWithin: number, pongWithin: number, listener: ConnectionListener) {
    this.#socket = socket;
    this.#listener = listener;
    this.#pongWithin = pongWithin;
    this.#opening = startTimer(openWithin, () => this.drop(`not ready within ${openWithin} ms`));
    socket.onmessage = (event: { data: unknown }) => this.#received(event.data);
    socket.onclose = (event: { code: number; reason: string }) => this.#end(event.code, event.reason);
    // The close event that follows says what there is to know.
    socket.onerror = () => {};
  }

  /** It is of use now: the time limit for opening is over, and signs of life are asked for. */
  established(heartbeat: number): void {
    clearTimeout(this.#opening);
    if (heartbeat > 0) this.#scheduleBeat(heartbeat);
  }

  /** Sends a text. What is sent into a connection that is ending is lost with it. */
  send(text: string): void {
    try {
      this.#socket.send(text);
    } catch (thrown) {
      // Only a socket that is not open refuses: it is over, and whoever waits is told so.
      this.drop(thrown instanceof Error ? thrown.message : String(thrown));
    }
  }

  /** Asks for a sign of life; without one in time the connection is given up. */
  probe(): void {
    if (this.#pong !== undefined || this.#listener === undefined) return;
    this.#pong = startTimer(this.#pongWithin, () => this.drop(`no sign of life within ${this.#pongWithin} ms`));
    this.send('{"ping":true}');
  }

  /** Gives it up at once, without waiting for the other side, which may be gone. */
  drop(why: string): void {
    const socket = this.#socket;
    const listener = this.#release();
    this.#shut(4000);
    listener?.ended(1006, why);
    // A socket whose other side is gone would linger.
    (socket as { terminate?: () => void }).terminate?.();
  }

  /** Says goodbye. The listener is not told. */
  close(): void {
    if (this.#release() === undefined) return;
    const socket = this.#socket as WebSocketLike & { terminate?: () => void };
    const farewell = startTimer(FAREWELL, () => socket.terminate?.());
    socket.onclose = () => clearTimeout(farewell);
    this.#shut(1000);
  }

  #shut(code: number): void {
    try {
      this.#socket.close(code);
    } catch {
      // Some implementations refuse while they connect. Nothing of it is heeded any more.
    }
  }

  #received(data: unknown): void {
    const listener = this.#listener;
    if (listener === undefined) return;
    clearTimeout(this.#pong);
    this.#pong = undefined;
    if (typeof data !== "string") return;
    let frame: unknown;
    try {
      frame = JSON.parse(data);
    } catch {
      listener.unreadable(data);
      return;
    }
    if (typeof frame === "object" && frame !== null && !Array.isArray(frame)) listener.frame(frame as Frame);
    else listener.unreadable(data);
  }

  #end(code: number, reason: string): void {
    this.#release()?.ended(code, reason);
  }

  #scheduleBeat(interval: number): void {
    this.#beat = startTimer(interval, () => {
      this.#scheduleBeat(interval);
      this.probe();
    });
  }

  /** From here on nothing of this socket reaches anybody. */
  #release(): ConnectionListener | undefined {
    const listener = this.#listener;
    this.#listener = undefined;
    for (const timer of [this.#opening, this.#beat, this.#pong]) clearTimeout(timer);
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    return listener;
  }
}
