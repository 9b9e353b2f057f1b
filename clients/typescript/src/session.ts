// Staying connected: attempts, who the client is, and what follows when a connection ends.

import { type Backoff, delayOf, startTimer, type Timer } from "./backoff.js";
import { Connection, type Frame } from "./connection.js";
import { errorOf, QuorateError, wrapped } from "./errors.js";
import { listen } from "./hints.js";
import type { ClientState, StateDetail, TokenReason, WebSocketLike } from "./types.js";

export interface SessionOptions {
  open: () => WebSocketLike;
  token: ((reason: TokenReason) => string | Promise<string>) | undefined;
  backoff: Backoff;
  connectTimeout: number;
  pongTimeout: number;
}

/** What the server grants. */
export interface Grants {
  client: string | undefined;
  instance: string | undefined;
  maxRequests: number;
  maxFrameBytes: number;
}

export interface SessionListener {
  nextId(): number;
  state(state: ClientState, detail: StateDetail): void;
  /** It is about to be ready: whoever is told that may look at this. */
  granted(grants: Grants): void;
  ready(grants: Grants): void;
  /** A connection that was ready is none any more. */
  lost(why: string): void;
  /** The server sent the client away, or it was closed. */
  over(error: QuorateError): void;
  frame(frame: Frame): void;
  report(error: unknown): void;
}

/** After a connection that held so long, attempts count from the beginning again. */
const STEADY = 5_000;

/** The part of a token's life after which it is renewed. */
const RENEW_AT = 0.8;

export class Session {
  readonly #options: SessionOptions;
  readonly #listener: SessionListener;
  #state: ClientState = "idle";
  #connection: Connection | undefined;
  #attempt = 0;
  #steady: Timer | undefined;
  #retry: Timer | undefined;
  #renewal: Timer | undefined;
  /** When the server wants the client back, as said in its farewell. */
  #comeback: number | undefined;
  /** Whether the wait was asked for by the server: then hints do not shorten it. */
  #ordered = false;
  #tokenReason: TokenReason = "connecting";
  /** The id of the `authenticate` that is not answered yet. */
  #authenticating: number | undefined;
  #hello: Frame = {};
  #unlisten: (() => void) | undefined;

  constructor(options: SessionOptions, listener: SessionListener) {
    this.#options = options;
    this.#listener = listener;
  }

  get state(): ClientState {
    return this.#state;
  }

  /** Connects, unless it is connected. A wait of its own making is cut short, one the server asked for is not. */
  start(): void {
    if (this.#state === "waiting" && !this.#ordered) this.#open("asked for");
    if (this.#state !== "idle" && this.#state !== "stopped") return;
    this.#unlisten ??= listen((what) => this.#hinted(what));
    this.#attempt = 0;
    this.#open("asked for");
  }

  /** Ends for good. */
  close(): void {
    if (this.#state === "closed") return;
    const connection = this.#connection;
    this.#clear();
    connection?.close();
    this.#to("closed", { reason: "closed by this side" });
  }

  /** `false`: not connected, so nothing was sent. */
  send(text: string): boolean {
    if (this.#state !== "ready" || this.#connection === undefined) return false;
    this.#connection.send(text);
    return true;
  }

  #open(why: string): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#ordered = false;
    this.#comeback = undefined;
    this.#to("connecting", { reason: why });
    // A listener may have closed it.
    if (this.#state !== "connecting") return;
    let socket: WebSocketLike;
    try {
      socket = this.#options.open();
    } catch (thrown) {
      // An address that can never work, or no WebSocket to be had: waiting cures neither.
      this.#stop(wrapped(thrown, "INVALID_ARGUMENT", "the WebSocket could not be made", "not_applied"));
      return;
    }
    const connection: Connection = new Connection(socket, this.#options.connectTimeout, this.#options.pongTimeout, {
      frame: (frame) => this.#received(connection, frame),
      ended: (code, reason) => this.#ended(code, reason),
      unreadable: () => this.#listener.report(new QuorateError("INTERNAL", "the server sent what is not a frame")),
    });
    this.#connection = connection;
  }

  #received(connection: Connection, frame: Frame): void {
    if (frame["event"] === "hello" && this.#state === "connecting") {
      this.#hello = frame;
      if (frame["authentication"] === "required") void this.#authenticate(connection);
      else this.#ready(connection);
    } else if (this.#authenticating !== undefined && frame["id"] === this.#authenticating) {
      this.#authenticated(connection, frame);
    } else if (frame["event"] === "closing") {
      const wait = frame["retry_after_ms"];
      this.#comeback = typeof wait === "number" && wait >= 0 ? wait : undefined;
    } else if (this.#state === "ready") {
      this.#listener.frame(frame);
    }
  }

  async #authenticate(connection: Connection): Promise<void> {
    const { token } = this.#options;
    if (token === undefined) {
      connection.close();
      this.#stop(new QuorateError("UNAUTHENTICATED", "the server asks for a token, and the client has none: set `token`"));
      return;
    }
    const reason = this.#tokenReason;
    let secret: string;
    try {
      secret = await token(reason);
    } catch (thrown) {
      this.#listener.report(wrapped(thrown, "UNAUTHENTICATED", "no token was to be had", "not_applied"));
      if (this.#connection !== connection) return;
      // A renewal is tried again while the old token lasts; without one there is nothing to wait for.
      if (this.#state === "ready") this.#renewal = startTimer(delayOf(this.#attempt++, this.#options.backoff), () => void this.#authenticate(connection));
      else connection.drop("no token was to be had");
      return;
    }
    // Meanwhile the connection may have ended, and another one have asked for a token of its own.
    if (this.#connection !== connection) return;
    this.#authenticating = this.#listener.nextId();
    connection.send(JSON.stringify({ id: this.#authenticating, authenticate: secret }));
  }

  #authenticated(connection: Connection, frame: Frame): void {
    this.#authenticating = undefined;
    if ("error" in frame) {
      const error = errorOf(frame["error"]);
      if (error.code === "UNAUTHENTICATED") this.#tokenReason = "refused";
      if (error.code === "PERMISSION_DENIED") {
        connection.close();
        this.#stop(error);
      } else {
        this.#listener.report(error);
        connection.drop(error.message);
      }
      return;
    }
    const lifetime = frame["expires_in_ms"];
    if (typeof lifetime === "number") {
      this.#renewal = startTimer(lifetime * RENEW_AT, () => {
        this.#tokenReason = "expiring";
        void this.#authenticate(connection);
      });
    }
    this.#tokenReason = "connecting";
    if (typeof frame["client"] === "string") this.#hello["client"] = frame["client"];
    if (this.#state === "connecting") this.#ready(connection);
  }

  #ready(connection: Connection): void {
    const hello = this.#hello;
    const number = (name: string, otherwise: number) => (typeof hello[name] === "number" ? hello[name] : otherwise);
    const text = (name: string) => (typeof hello[name] === "string" ? hello[name] : undefined);
    connection.established(number("heartbeat_ms", 15_000));
    this.#steady = startTimer(STEADY, () => (this.#attempt = 0));
    const grants: Grants = {
      client: text("client"),
      instance: text("instance"),
      maxRequests: Math.max(1, number("max_requests", 32)),
      maxFrameBytes: number("max_frame_bytes", Infinity),
    };
    this.#listener.granted(grants);
    this.#to("ready", { reason: text("instance") === undefined ? "connected" : `connected to ${text("instance")}` });
    // A listener may have closed it.
    if (this.#connection !== connection) return;
    this.#listener.ready(grants);
  }

  #ended(code: number, reason: string): void {
    const was = this.#state;
    const comeback = this.#comeback;
    this.#clear();
    const why = `${reason === "" ? "the connection ended" : reason} (${code})`;
    // Before anybody is told: what is started from here on waits for the next connection.
    this.#state = "waiting";
    if (was === "ready") this.#listener.lost(why);
    if (this.#state !== "waiting") return;
    if (code === 4403) {
      this.#stop(new QuorateError("PERMISSION_DENIED", `sent away by the server: ${why}`));
      return;
    }
    if (code === 4401) {
      if (this.#options.token === undefined) {
        this.#stop(new QuorateError("UNAUTHENTICATED", `the server wants to know who this is: ${why}`));
        return;
      }
      this.#tokenReason = "refused";
    }
    this.#ordered = comeback !== undefined;
    const retryIn = comeback ?? delayOf(this.#attempt++, this.#options.backoff);
    this.#retry = startTimer(retryIn, () => this.#open(why));
    this.#to("waiting", { reason: why, retryIn });
  }

  #stop(error: QuorateError): void {
    this.#clear();
    this.#to("stopped", { reason: error.message, error });
    this.#listener.over(error);
  }

  #hinted(what: "back" | "gone"): void {
    if (this.#state === "ready") this.#connection?.probe();
    else if (this.#state === "waiting" && what === "back" && !this.#ordered) this.#open("the network is back");
  }

  #clear(): void {
    for (const timer of [this.#steady, this.#retry, this.#renewal]) clearTimeout(timer);
    this.#retry = undefined;
    this.#connection = undefined;
    this.#authenticating = undefined;
    if (this.#state === "closed" || this.#state === "stopped") this.#silence();
  }

  #silence(): void {
    this.#unlisten?.();
    this.#unlisten = undefined;
  }

  #to(state: ClientState, detail: StateDetail): void {
    this.#state = state;
    if (state === "closed" || state === "stopped") this.#silence();
    this.#listener.state(state, detail);
  }
}
