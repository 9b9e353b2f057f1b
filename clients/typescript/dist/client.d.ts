// @quorate/client 0.1.0, MIT OR Apache-2.0. Made from clients/typescript/src: change it there.

/** What kind of failure it is. The same codes as the server's; see docs/protocol.md. */
export type ErrorCode = "INVALID_ARGUMENT" | "UNAUTHENTICATED" | "PERMISSION_DENIED" | "NOT_FOUND" | "ALREADY_EXISTS" | "ABORTED" | "FAILED_PRECONDITION" | "UNIMPLEMENTED" | "RESOURCE_EXHAUSTED" | "UNAVAILABLE" | "DEADLINE_EXCEEDED" | "CANCELLED" | "INTERNAL";
/** Whether what failed can have had an effect. */
export type Outcome = "not_applied" | "unknown";
/** What a {@link QuorateError} is made of. */
export interface ErrorParts {
  retryable?: boolean;
  retryAfter?: number;
  details?: unknown;
  outcome?: Outcome;
  cause?: unknown;
}
/** The one error of this library. */
export declare class QuorateError extends Error {
  readonly name = "QuorateError";
  /** What kind of failure it is. */
  readonly code: ErrorCode;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** Milliseconds to wait before that, where the server says so. */
  readonly retryAfter: number | undefined;
  /** What the server adds, in a form that depends on the request. */
  readonly details: unknown;
  /** `"unknown"`: what was asked for may have happened, so repeating it could do it twice. */
  readonly outcome: Outcome;
  constructor(code: ErrorCode, message: string, parts?: ErrorParts);
}

/** What JSON can say. */
export type Json = null | boolean | number | string | readonly Json[] | {
  readonly [name: string]: Json | undefined;
};
/**
 * JSON of which there is only one for each value: members sorted at every depth, no blanks, numbers
 * as JavaScript writes them. The same text as the server makes.
 */
export declare function canonicalJson(value: unknown): string;
/**
 * The full name of a topic: the event, and its parameters as the key. Text as it is, anything else as
 * canonical JSON; `null` and `undefined` are no key.
 */
export declare function topicName(event: string, params?: unknown): string;

/** How long to wait between attempts. */
export interface Backoff {
  /** Before the first repetition, in milliseconds. Default 300. */
  initial?: number;
  /** By how much each wait is longer than the one before. Default 2. */
  factor?: number;
  /** The longest wait, in milliseconds. Default 30 000. */
  max?: number;
}

/** What the events of an application carry, by name: `{ room: { params: number; data: Said } }`. */
export type EventMap<E> = {
  [K in keyof E]: {
    params?: unknown;
    data: unknown;
  };
};
/** What the requests of an application take and answer: `{ "message.send": { data: Send; reply: Sent } }`. */
export type RequestMap<R> = {
  [K in keyof R]: {
    data: unknown;
    reply: unknown;
    progress?: unknown;
  };
};
/** Events of which nothing was declared. */
export interface AnyEvents {
  [event: string]: {
    params: unknown;
    data: unknown;
  };
}
/** Requests of which nothing was declared. */
export interface AnyRequests {
  [type: string]: {
    data: unknown;
    reply: unknown;
    progress: unknown;
  };
}
/** The declared names of a map; none where nothing was declared. */
export type Declared<M> = string extends keyof M ? never : keyof M & string;
/** Any name, where nothing was declared; else none. */
export type Undeclared<M> = string extends keyof M ? string : never;
/** The parameters of an event; `null` where it has none. */
export type ParamsOf<E> = E extends {
  params: infer P;
} ? P : null | undefined;
/** What the progress reports of a request carry. */
export type ProgressOf<R> = R extends {
  progress: infer P;
} ? P : unknown;
/** What is known of a message besides its data. */
export interface MessageMeta {
  /** The topic it was published on. */
  topic: string;
  /** What was subscribed to: the topic, or a pattern. */
  subscription: string;
  /** The message's type; the topic's name unless the publisher said otherwise. */
  type?: string;
  /** Unique over all messages. */
  id?: string;
  /** Who published it: a service, or the user (or client) it came from. */
  source?: string;
  /** The topic's key. */
  key?: string;
  /** When it was published, by the publisher's clock. */
  timestamp?: Date;
  /** Its place in the topic's history, where that is kept: give it as `after` to go on from here. */
  position?: string;
  /** Ties it to a request. */
  correlationId?: string;
  /** The media type of the data. */
  contentType?: string;
}
/** Handles one message. Data that is neither JSON nor text arrives as a `Uint8Array`. */
export type Handler<Data> = (data: Data, meta: MessageMeta) => void;
/** Messages are, or may be, missing at this place: ask for the present state where it matters. */
export interface Gap {
  /** What was subscribed to. */
  topic: string;
  /**
   * `history`: what was missed is no longer kept. `reconnected`: a connection was interrupted, and the
   * topic keeps no history. `lost`: a publisher's numbering has a hole. `buffer_full`: this client was
   * slower than the messages came.
   */
  reason: "history" | "reconnected" | "lost" | "buffer_full" | (string & {});
  /** How many, where that is known. */
  missed: number | null;
  /** Where a kept topic goes on. */
  position?: string;
}
/** A client that is on a topic. */
export interface Member {
  /** The id of its connection. */
  client: string;
  /** The user's id, if it has one. */
  user?: string;
  /** What the server shows of the user. */
  info?: unknown;
}
/** Who is on a topic. */
export interface Roster {
  /** The topic. */
  topic: string;
  /** How many are there. */
  count: number;
  /** Who they are; `null` where they are too many to name. */
  members: readonly Member[] | null;
}
/** How a roster differs from what was seen before. */
export interface RosterChange {
  joined: readonly Member[];
  left: readonly Member[];
}
/** What a subscription may ask for. */
export interface SubscribeOptions {
  /** Go on after this position: what was missed comes first, or {@link SubscribeOptions.onGap} is called. */
  after?: string;
  /** Begin with the last so many kept messages. Not together with `after`. */
  recent?: number;
  /** Called where messages are missing. */
  onGap?: (gap: Gap) => void;
  /** Called with who is there: at the beginning, and with every change. */
  onPresence?: (roster: Roster, change: RosterChange) => void;
  /** Called when the server refuses the subscription for good, or ends it. Default: the client's `onError`. */
  onEnd?: (error: QuorateError) => void;
}
/** One handler's share in a subscription. */
export interface Subscription {
  /** Settles when the server has acknowledged, and fails if it refuses. It need not be heeded. */
  readonly ready: Promise<void>;
  /** After which message the next one comes. Kept topics only; give it as `after` to go on from here. */
  readonly position: string | undefined;
  /** Who is there, as far as known; for subscriptions with `onPresence`. */
  readonly roster: Roster | undefined;
  /** Whether it has ended. */
  readonly closed: boolean;
  /** Ends it: the handler is not called again. */
  close(): void;
}
/** What every request may be given. */
export interface CallOptions {
  /** Gives up, and tells the server. */
  signal?: AbortSignal;
  /** Milliseconds until giving up, waiting for a connection included. Default: the client's `timeout`. */
  timeout?: number;
}
/** What a request may be given. */
export interface RequestOptions<Progress = unknown> extends CallOptions {
  /** Called with each report of progress. */
  onProgress?: (progress: Progress) => void;
}
/** What a publish may be given. */
export interface PublishOptions extends CallOptions {
  /** `false`: not to this client itself. Default `true`. */
  echo?: boolean;
  /** The message's type; default the event's name. */
  type?: string;
}
/** A message was published. */
export interface Published {
  /** The topic it went to. */
  topic: string;
  /** Its position, where the topic's history is kept. */
  position?: string;
}
/** What part of a history is wanted. */
export interface HistoryOptions extends CallOptions {
  /** The messages after this position. Without it: the latest. */
  after?: string;
  /** At most so many. */
  limit?: number;
}
/** A message of a history. */
export interface Message<Data> {
  data: Data;
  meta: MessageMeta;
}
/** A part of a history. */
export interface HistoryPage<Data> {
  topic: string;
  messages: Message<Data>[];
  /** After the last of the messages: where the next page begins. */
  position?: string;
  /** Whether there was nothing more. */
  complete: boolean;
  /** What was asked for is no longer kept; then there are no messages. */
  gap?: Gap;
}
/**
 * What the client is doing. `idle`: not connected yet. `waiting`: for the next attempt. `stopped`: sent
 * away by the server, until `connect()` is called. `closed`: by `close()`, for good.
 */
export type ClientState = "idle" | "connecting" | "ready" | "waiting" | "stopped" | "closed";
/** More about a change of state. */
export interface StateDetail {
  /** Why, for people. */
  reason: string;
  /** In `waiting`: milliseconds until the next attempt. */
  retryIn?: number;
  /** In `stopped`: what the server said. */
  error?: QuorateError;
}
/** Why a token is asked for. */
export type TokenReason = "connecting" | "refused" | "expiring";
/** The WebSocket of the platform, or one like it, such as that of the package `ws`. */
export interface WebSocketLike {
  readyState: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}
/** Options of a client. */
export interface ClientOptions {
  /**
   * Gives the token that the server asks for; asked again for every connection, when it was refused, and
   * before it expires. May fail: it is asked again after a while.
   */
  token?: (reason: TokenReason) => string | Promise<string>;
  /** The WebSocket class. Default: the platform's. */
  WebSocket?: new (url: string, protocols: string[]) => WebSocketLike;
  /** How long to wait between attempts to connect. */
  backoff?: Backoff;
  /** Milliseconds for a connection to be ready. Default 10 000. */
  connectTimeout?: number;
  /** Milliseconds without any sign of life after a ping, until the connection is given up. Default 10 000. */
  pongTimeout?: number;
  /** Milliseconds for requests that name no `timeout` of their own. Default 30 000. */
  timeout?: number;
  /** Requests that wait for a connection; more fail with RESOURCE_EXHAUSTED. Default 100. */
  queueLimit?: number;
  /**
   * Told of what has nobody else to be told to: what handlers throw, tokens that cannot be had,
   * subscriptions that are refused, messages that cannot be read. Default: `console.error`.
   */
  onError?: (error: unknown) => void;
}

/**
 * A client of a Quorate hub, over one WebSocket that comes back by itself.
 *
 * `Events` and `Requests` describe what the application exchanges; without them names are not checked.
 */
export declare class QuorateClient<Events extends EventMap<Events> = AnyEvents, Requests extends RequestMap<Requests> = AnyRequests> {
  #private;
  /**
   * Connects with the first thing it is used for, or with `connect()`.
   *
   * @param url `wss://…` or `https://…`; in a browser also a path, such as `/ws`.
   */
  constructor(url: string | URL, options?: ClientOptions);
  /** What it is doing. */
  get state(): ClientState;
  /** The id of the present connection, by which others see it. */
  get id(): string | undefined;
  /** The name of the service instance it is connected to. */
  get instance(): string | undefined;
  /**
   * Connects now, also where it waits for its next attempt, unless the server named the time. Settles when
   * it is ready; fails when the server sends it away, or it is closed.
   */
  connect(): Promise<void>;
  /** Calls `listener` with every change of state, until the returned function is called. */
  onState(listener: (state: ClientState, detail: StateDetail) => void): () => void;
  /**
   * Subscribes to an event with these parameters (`null` for none), and goes on through every interruption.
   *
   * Handlers of the same event and parameters share one subscription at the server.
   */
  on<K extends Declared<Events>>(event: K, params: ParamsOf<Events[K]>, handler: Handler<Events[K]["data"]>, options?: SubscribeOptions): Subscription;
  on<Data = unknown>(event: Undeclared<Events>, params: unknown, handler: Handler<Data>, options?: SubscribeOptions): Subscription;
  /**
   * Sends a request and gives its answer. One that was under way when the connection broke fails with
   * `UNAVAILABLE` and the outcome `unknown`: it is never repeated silently.
   */
  request<K extends Declared<Requests>>(type: K, data: Requests[K]["data"], options?: RequestOptions<ProgressOf<Requests[K]>>): Promise<Requests[K]["reply"]>;
  request<Reply = unknown, Progress = unknown>(type: Undeclared<Requests>, data?: unknown, options?: RequestOptions<Progress>): Promise<Reply>;
  /** Publishes to everybody who is subscribed, where the server allows it. */
  publish<K extends Declared<Events>>(event: K, params: ParamsOf<Events[K]>, data: Events[K]["data"], options?: PublishOptions): Promise<Published>;
  publish(event: Undeclared<Events>, params: unknown, data: unknown, options?: PublishOptions): Promise<Published>;
  /** Who is on a topic. */
  presence<K extends Declared<Events>>(event: K, params: ParamsOf<Events[K]>, options?: CallOptions): Promise<Roster>;
  presence(event: Undeclared<Events>, params?: unknown, options?: CallOptions): Promise<Roster>;
  /** The latest messages of a topic whose history is kept, or those after a position. */
  history<K extends Declared<Events>>(event: K, params: ParamsOf<Events[K]>, options?: HistoryOptions): Promise<HistoryPage<Events[K]["data"]>>;
  history<Data = unknown>(event: Undeclared<Events>, params?: unknown, options?: HistoryOptions): Promise<HistoryPage<Data>>;
  /** Ends everything, for good: subscriptions, requests that wait, the connection, all timers. */
  close(): void;
}
