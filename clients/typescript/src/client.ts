// The client: what users see of all this.

import { Calls } from "./calls.js";
import type { Frame } from "./connection.js";
import { rosterOf } from "./decode.js";
import { pageOf } from "./entry.js";
import { QuorateError } from "./errors.js";
import { Session } from "./session.js";
import { checkEvent, topicName } from "./topic.js";
import { Topics } from "./topics.js";
import type {
  AnyEvents,
  AnyRequests,
  CallOptions,
  ClientOptions,
  ClientState,
  Declared,
  EventMap,
  Handler,
  HistoryOptions,
  HistoryPage,
  ParamsOf,
  ProgressOf,
  Published,
  PublishOptions,
  RequestMap,
  RequestOptions,
  Roster,
  StateDetail,
  SubscribeOptions,
  Subscription,
  Undeclared,
  WebSocketLike,
} from "./types.js";

const SUBPROTOCOL = "quorate.v1";

/**
 * A client of a Quorate hub, over one WebSocket that comes back by itself.
 *
 * `Events` and `Requests` describe what the application exchanges; without them names are not checked.
 */
export class QuorateClient<Events extends EventMap<Events> = AnyEvents, Requests extends RequestMap<Requests> = AnyRequests> {
  readonly #session: Session;
  readonly #calls: Calls;
  readonly #topics: Topics;
  readonly #listeners = new Set<(state: ClientState, detail: StateDetail) => void>();
  readonly #onError: (error: unknown) => void;
  #over: QuorateError | undefined;
  #id: string | undefined;
  #instance: string | undefined;

  /**
   * Connects with the first thing it is used for, or with `connect()`.
   *
   * @param url `wss://…` or `https://…`; in a browser also a path, such as `/ws`.
   */
  constructor(url: string | URL, options: ClientOptions = {}) {
    const address = addressOf(url);
    this.#onError = options.onError ?? ((error) => console.error("quorate:", error));
    this.#calls = new Calls(options.queueLimit ?? 100, options.timeout ?? 30_000, (error) => this.#report(error));
    this.#topics = new Topics({
      nextId: () => this.#calls.nextId(),
      send: (text) => this.#session.send(text),
      call: (frame, given, traits) => this.#calls.start(frame, given, traits),
      report: (error) => this.#report(error),
    });
    const sessionOptions = {
      open: () => socketOf(options.WebSocket, address),
      token: options.token,
      backoff: options.backoff ?? {},
      connectTimeout: options.connectTimeout ?? 10_000,
      pongTimeout: options.pongTimeout ?? 10_000,
    };
    this.#session = new Session(sessionOptions, {
      nextId: () => this.#calls.nextId(),
      state: (state, detail) => this.#announce(state, detail),
      granted: ({ client, instance }) => {
        this.#id = client;
        this.#instance = instance;
      },
      ready: (grants) => {
        this.#topics.connected();
        this.#calls.connected((text) => this.#session.send(text), grants.maxRequests, grants.maxFrameBytes);
      },
      lost: (why) => {
        this.#id = undefined;
        this.#instance = undefined;
        this.#topics.disconnected();
        this.#calls.disconnected(why);
      },
      over: (error) => {
        this.#over = error;
        this.#calls.stop(error);
      },
      frame: (frame) => this.#received(frame),
      report: (error) => this.#report(error),
    });
  }

  /** What it is doing. */
  get state(): ClientState {
    return this.#session.state;
  }

  /** The id of the present connection, by which others see it. */
  get id(): string | undefined {
    return this.#id;
  }

  /** The name of the service instance it is connected to. */
  get instance(): string | undefined {
    return this.#instance;
  }

  /**
   * Connects now, also where it waits for its next attempt, unless the server named the time. Settles when
   * it is ready; fails when the server sends it away, or it is closed.
   */
  connect(): Promise<void> {
    if (this.state === "closed") return Promise.reject(closedError());
    if (this.state === "ready") return Promise.resolve();
    const ready = new Promise<void>((resolve, reject) => {
      const end = this.onState((state, detail) => {
        if (state === "ready") resolve();
        else if (state === "stopped" || state === "closed") reject(detail.error ?? closedError());
        else return;
        end();
      });
    });
    // Whoever does not look at it hears of it through the state.
    ready.catch(() => {});
    this.#over = undefined;
    this.#session.start();
    return ready;
  }

  /** Calls `listener` with every change of state, until the returned function is called. */
  onState(listener: (state: ClientState, detail: StateDetail) => void): () => void {
    // Of its own, so that the same function may listen twice.
    const own = (state: ClientState, detail: StateDetail) => listener(state, detail);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /**
   * Subscribes to an event with these parameters (`null` for none), and goes on through every interruption.
   *
   * Handlers of the same event and parameters share one subscription at the server.
   */
  on<K extends Declared<Events>>(
    event: K,
    params: ParamsOf<Events[K]>,
    handler: Handler<Events[K]["data"]>,
    options?: SubscribeOptions,
  ): Subscription;
  on<Data = unknown>(event: Undeclared<Events>, params: unknown, handler: Handler<Data>, options?: SubscribeOptions): Subscription;
  on(event: string, params: unknown, handler: Handler<any>, options: SubscribeOptions = {}): Subscription {
    checkEvent(event, params);
    this.#wake();
    return this.#topics.add(event, params, handler, options);
  }

  /**
   * Sends a request and gives its answer. One that was under way when the connection broke fails with
   * `UNAVAILABLE` and the outcome `unknown`: it is never repeated silently.
   */
  request<K extends Declared<Requests>>(
    type: K,
    data: Requests[K]["data"],
    options?: RequestOptions<ProgressOf<Requests[K]>>,
  ): Promise<Requests[K]["reply"]>;
  request<Reply = unknown, Progress = unknown>(
    type: Undeclared<Requests>,
    data?: unknown,
    options?: RequestOptions<Progress>,
  ): Promise<Reply>;
  async request(type: string, data?: unknown, options: RequestOptions<any> = {}): Promise<unknown> {
    this.#wake();
    const traits = { onProgress: options.onProgress };
    return (await this.#calls.start({ type, data: data ?? null }, options, traits))["data"] ?? null;
  }

  /** Publishes to everybody who is subscribed, where the server allows it. */
  publish<K extends Declared<Events>>(
    event: K,
    params: ParamsOf<Events[K]>,
    data: Events[K]["data"],
    options?: PublishOptions,
  ): Promise<Published>;
  publish(event: Undeclared<Events>, params: unknown, data: unknown, options?: PublishOptions): Promise<Published>;
  async publish(event: string, params: unknown, data: unknown, options: PublishOptions = {}): Promise<Published> {
    checkEvent(event, params);
    this.#wake();
    const frame: Frame = { publish: event, ...paramsMember(params), data: data ?? null };
    if (options.type !== undefined) frame["event_type"] = options.type;
    if (options.echo !== undefined) frame["echo"] = options.echo;
    const answer = await this.#calls.start(frame, options);
    const published: Published = { topic: nameIn(answer, event, params) };
    if (typeof answer["position"] === "string") published.position = answer["position"];
    return published;
  }

  /** Who is on a topic. */
  presence<K extends Declared<Events>>(event: K, params: ParamsOf<Events[K]>, options?: CallOptions): Promise<Roster>;
  presence(event: Undeclared<Events>, params?: unknown, options?: CallOptions): Promise<Roster>;
  async presence(event: string, params?: unknown, options: CallOptions = {}): Promise<Roster> {
    checkEvent(event, params);
    this.#wake();
    const frame = { presence: event, ...paramsMember(params) };
    return rosterOf(await this.#calls.start(frame, options, { repeatable: true }), topicName(event, params));
  }

  /** The latest messages of a topic whose history is kept, or those after a position. */
  history<K extends Declared<Events>>(
    event: K,
    params: ParamsOf<Events[K]>,
    options?: HistoryOptions,
  ): Promise<HistoryPage<Events[K]["data"]>>;
  history<Data = unknown>(event: Undeclared<Events>, params?: unknown, options?: HistoryOptions): Promise<HistoryPage<Data>>;
  async history(event: string, params?: unknown, options: HistoryOptions = {}): Promise<HistoryPage<any>> {
    checkEvent(event, params);
    this.#wake();
    const frame: Frame = { history: event, ...paramsMember(params) };
    if (options.after !== undefined) frame["after"] = options.after;
    if (options.limit !== undefined) frame["limit"] = options.limit;
    return pageOf(await this.#calls.start(frame, options, { repeatable: true }), topicName(event, params));
  }

  /** Ends everything, for good: subscriptions, requests that wait, the connection, all timers. */
  close(): void {
    if (this.state === "closed") return;
    const error = closedError();
    this.#over = error;
    this.#topics.close(error);
    this.#calls.disconnected("the client was closed");
    this.#calls.stop(error);
    this.#session.close();
    this.#listeners.clear();
  }

  /** Connects, if nobody asked for it yet. Refuses where it is over. */
  #wake(): void {
    if (this.#over !== undefined) throw this.#over;
    if (this.state === "idle") this.#session.start();
    // Where connecting is hopeless it says so at once.
    if (this.#over !== undefined) throw this.#over;
  }

  #received(frame: Frame): void {
    // Messages have an `id` too: their own.
    if ("event" in frame) this.#topics.event(frame);
    // The answer to what was given up meanwhile is nobody's.
    else if (!this.#calls.answered(frame)) this.#topics.answered(frame);
  }

  #announce(state: ClientState, detail: StateDetail): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(state, detail);
      } catch (thrown) {
        this.#report(thrown);
      }
    }
  }

  #report(error: unknown): void {
    try {
      this.#onError(error);
    } catch (thrown) {
      console.error("quorate: onError itself failed:", thrown);
    }
  }
}

function closedError(): QuorateError {
  return new QuorateError("CANCELLED", "the client was closed", { outcome: "not_applied" });
}

function paramsMember(params: unknown): { params?: unknown } {
  return params === null || params === undefined ? {} : { params };
}

function nameIn(answer: Frame, event: string, params: unknown): string {
  return typeof answer["topic"] === "string" ? answer["topic"] : topicName(event, params);
}

/** The address of a WebSocket; `http` and paths are understood as they are meant. */
function addressOf(url: string | URL): string {
  const page = (globalThis as { location?: { href?: string } }).location?.href;
  let address: URL;
  try {
    address = new URL(url, page);
  } catch (thrown) {
    throw new QuorateError("INVALID_ARGUMENT", "url must be an address, or in a browser a path", { cause: thrown });
  }
  address.protocol = address.protocol.replace(/^http/, "ws");
  address.hash = "";
  if (address.protocol !== "ws:" && address.protocol !== "wss:") {
    throw new QuorateError("INVALID_ARGUMENT", `url must begin with wss, ws, https or http, not ${address.protocol}`);
  }
  return address.href;
}

function socketOf(given: ClientOptions["WebSocket"], address: string): WebSocketLike {
  const Socket = given ?? (globalThis as { WebSocket?: NonNullable<ClientOptions["WebSocket"]> }).WebSocket;
  if (Socket === undefined) {
    throw new QuorateError("FAILED_PRECONDITION", "this platform has no WebSocket: pass one as the option `WebSocket`");
  }
  return new Socket(address, [SUBPROTOCOL]);
}
