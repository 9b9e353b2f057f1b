// @quorate/client 0.1.0, MIT OR Apache-2.0. Made from clients/typescript/src: change it there.

// What can go wrong, as one type.
/** The codes with which a server says that it did nothing. */
const NOT_APPLIED = new Set([
  "INVALID_ARGUMENT",
  "UNAUTHENTICATED",
  "PERMISSION_DENIED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "ABORTED",
  "FAILED_PRECONDITION",
  "UNIMPLEMENTED",
  "RESOURCE_EXHAUSTED",
]);
const RETRYABLE = new Set([
  "ABORTED",
  "RESOURCE_EXHAUSTED",
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
]);
/** The one error of this library. */
class QuorateError extends Error {
  name = "QuorateError";
  /** What kind of failure it is. */
  code;
  /** Whether the same request may succeed later. */
  retryable;
  /** Milliseconds to wait before that, where the server says so. */
  retryAfter;
  /** What the server adds, in a form that depends on the request. */
  details;
  /** `"unknown"`: what was asked for may have happened, so repeating it could do it twice. */
  outcome;
  constructor(code, message, parts = {}) {
    super(message, parts.cause === undefined ? undefined : { cause: parts.cause });
    this.code = code;
    this.retryable = parts.retryable ?? RETRYABLE.has(code);
    this.retryAfter = parts.retryAfter;
    this.details = parts.details;
    this.outcome = parts.outcome ?? (NOT_APPLIED.has(code) ? "not_applied" : "unknown");
  }
}
/** Reads the `error` of a frame. What is missing or strange in it makes an INTERNAL error, never none. @internal */
function errorOf(value) {
  const error = (typeof value === "object" && value !== null ? value : {});
  const code = typeof error["code"] === "string" ? error["code"] : "INTERNAL";
  const message = typeof error["message"] === "string" ? error["message"] : "the server gave no reason";
  const parts = { details: error["details"] };
  if (typeof error["retryable"] === "boolean")
    parts.retryable = error["retryable"];
  if (typeof error["retry_after_ms"] === "number")
    parts.retryAfter = error["retry_after_ms"];
  if (error["outcome"] === "unknown" || error["outcome"] === "not_applied")
    parts.outcome = error["outcome"];
  return new QuorateError(code, message, parts);
}
/** Whatever was thrown, as an error of this library. @internal */
function wrapped(thrown, code, doing, outcome) {
  if (thrown instanceof QuorateError)
    return thrown;
  const said = thrown instanceof Error ? thrown.message : String(thrown);
  return new QuorateError(code, `${doing}: ${said}`, { cause: thrown, outcome });
}

// Topics by event and parameters, as the server names them. All of it pure functions.
/**
 * JSON of which there is only one for each value: members sorted at every depth, no blanks, numbers
 * as JavaScript writes them. The same text as the server makes.
 */
function canonicalJson(value) {
  // First as JSON sees it: `undefined` members left out, dates as text, `toJSON` heeded.
  const text = JSON.stringify(value);
  return text === undefined ? "null" : write(JSON.parse(text));
}
function write(value) {
  if (Array.isArray(value))
    return `[${value.map(write).join(",")}]`;
  if (typeof value !== "object" || value === null)
    return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => compareCodePoints(a, b));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${write(member)}`).join(",")}}`;
}
/** JavaScript sorts by UTF-16 units, which is another order beyond the basic plane. */
function compareCodePoints(a, b) {
  const [left, right] = [Array.from(a), Array.from(b)];
  const shared = Math.min(left.length, right.length);
  for (let at = 0; at < shared; at += 1) {
    const difference = left[at].codePointAt(0) - right[at].codePointAt(0);
    if (difference !== 0)
      return difference;
  }
  return left.length - right.length;
}
/**
 * The full name of a topic: the event, and its parameters as the key. Text as it is, anything else as
 * canonical JSON; `null` and `undefined` are no key.
 */
function topicName(event, params) {
  if (params === null || params === undefined)
    return event;
  return `${event}:${typeof params === "string" ? params : canonicalJson(params)}`;
}
/** What makes two subscriptions the same. A pattern is never the same as a topic that looks like it. @internal */
function subscriptionKey(event, params) {
  const pattern = (params === null || params === undefined) && /[*?[\\]/.test(event);
  return `${pattern ? "pattern" : "topic"} ${topicName(event, params)}`;
}
/** Refuses what can never be a topic, before anything is sent. @internal */
function checkEvent(event, params) {
  if (typeof event !== "string" || event === "") {
    throw new QuorateError("INVALID_ARGUMENT", "event must be text, and not empty");
  }
  if (typeof params === "function" || typeof params === "symbol" || typeof params === "bigint") {
    throw new QuorateError("INVALID_ARGUMENT", `params must be JSON, not a ${typeof params}`);
  }
}
/**
 * Whether position `a` comes after position `b` in the same topic. A position is
 * `<epoch, hex>-<offset>-<mark>`; a later history has a later epoch. `true` where it cannot be told: what
 * is in doubt is delivered.
 *
 * @internal
 */
function isLater(a, b) {
  const left = readPosition(a);
  const right = readPosition(b);
  if (left === undefined || right === undefined)
    return true;
  return left.epoch === right.epoch ? left.offset > right.offset : left.epoch > right.epoch;
}
function readPosition(text) {
  const parts = text === undefined ? null : /^([0-9a-f]{1,32})-([0-9]{1,20})-/.exec(text);
  return parts === null ? undefined : { epoch: BigInt(`0x${parts[1]}`), offset: BigInt(parts[2]) };
}

// When to try again. Pure functions, but for drawing a number.
/**
 * How long to wait before attempt number `attempt` (from 0), in milliseconds: uniform in [d/2, d], where d
 * grows by `factor` from `initial` to `max`.
 *
 * @internal
 */
function delayOf(attempt, backoff = {}, random = Math.random) {
  const { initial = 300, factor = 2, max = 30_000 } = backoff;
  const longest = Math.min(max, initial * factor ** Math.min(attempt, 64));
  return longest / 2 + (random() * longest) / 2;
}
/** Timers take no more than this; longer ones would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;
/** A timer for any time; what is too long for a timer never fires, which is some 25 days away. @internal */
function startTimer(milliseconds, then) {
  return milliseconds > LONGEST_TIMER ? undefined : setTimeout(then, Math.max(0, milliseconds));
}

// Frames of the server's as what users get. All of it pure functions.
const text = (value) => (typeof value === "string" ? value : undefined);
/** Reads a message event. */
function messageOf(frame) {
  const topic = text(frame["topic"]) ?? "";
  const meta = { topic, subscription: text(frame["subscription"]) ?? topic };
  const known = {
    type: text(frame["type"]),
    id: text(frame["id"]),
    source: text(frame["source"]),
    key: text(frame["key"]),
    timestamp: dateOf(frame["timestamp"]),
    position: text(frame["position"]),
    correlationId: text(frame["correlation_id"]),
    contentType: text(frame["content_type"]),
  };
  for (const [name, value] of Object.entries(known)) {
    if (value !== undefined)
      Object.assign(meta, { [name]: value });
  }
  const base64 = text(frame["data_base64"]);
  return { data: base64 === undefined ? (frame["data"] ?? null) : bytesOf(base64), meta };
}
function dateOf(value) {
  const date = typeof value === "string" ? new Date(value) : undefined;
  return date === undefined || Number.isNaN(date.getTime()) ? undefined : date;
}
function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
/** Reads a gap: an event of its own, or a part of a history's answer. */
function gapOf(frame, topic, reason) {
  const gap = {
    topic,
    reason: text(frame["reason"]) ?? reason,
    missed: typeof frame["missed"] === "number" ? frame["missed"] : null,
  };
  const position = text(frame["position"]);
  if (position !== undefined)
    gap.position = position;
  return gap;
}
function membersOf(value) {
  if (!Array.isArray(value))
    return [];
  const members = value.filter((one) => typeof one === "object" && one !== null);
  return members.flatMap((one) => {
    const client = text(one["client"]);
    if (client === undefined)
      return [];
    const member = { client };
    const user = text(one["user"]);
    if (user !== undefined)
      member.user = user;
    if (one["info"] !== undefined && one["info"] !== null)
      member.info = one["info"];
    return [member];
  });
}
/** Reads who is on a topic: an answer, or an event that names everybody or nobody. */
function rosterOf(frame, topic) {
  const named = Array.isArray(frame["members"]) ? membersOf(frame["members"]) : null;
  const count = typeof frame["count"] === "number" ? frame["count"] : (named?.length ?? 0);
  return { topic: text(frame["topic"]) ?? topic, count, members: named };
}
/**
 * What a roster becomes by a presence event. `undefined`: the event does not go with what is known, so the
 * whole roster has to be asked for.
 */
function rosterAfter(before, frame, topic) {
  const changes = "joined" in frame || "left" in frame;
  if (Array.isArray(frame["members"]) || !changes)
    return rosterOf(frame, topic);
  if (before?.members == null)
    return undefined;
  const members = new Map(before.members.map((member) => [member.client, member]));
  for (const member of leaversOf(frame["left"]))
    members.delete(member);
  for (const member of membersOf(frame["joined"]))
    members.set(member.client, member);
  const count = frame["count"];
  if (typeof count === "number" && count !== members.size)
    return undefined;
  return { topic: before.topic, count: members.size, members: [...members.values()] };
}
/** Who left: members, or only the ids of their connections. */
function leaversOf(value) {
  if (!Array.isArray(value))
    return [];
  return value.filter((one) => typeof one === "string").concat(membersOf(value).map((one) => one.client));
}
/** What differs between two rosters. Members that were not named neither joined nor left. */
function rosterChange(before, now) {
  const was = new Map((before?.members ?? []).map((member) => [member.client, member]));
  if (now.members === null)
    return { joined: [], left: [] };
  const joined = now.members.filter((member) => {
    const earlier = was.get(member.client);
    was.delete(member.client);
    return earlier === undefined || JSON.stringify(earlier) !== JSON.stringify(member);
  });
  return { joined, left: before?.members === null ? [] : [...was.values()] };
}

// What a browser says about its network and whether its page is looked at.
/** Listens until the returned function is called. Where there is no browser nothing is ever heard. */
function listen(hint) {
  const scope = globalThis;
  const page = scope.document;
  const back = () => hint("back");
  const gone = () => hint("gone");
  const seen = () => page?.visibilityState === "visible" && hint("back");
  const pairs = [
    [scope, "online", back],
    [scope, "offline", gone],
    [scope, "pageshow", back],
    [page, "visibilitychange", seen],
  ];
  for (const [source, type, listener] of pairs)
    source?.addEventListener?.(type, listener);
  return () => {
    for (const [source, type, listener] of pairs)
      source?.removeEventListener?.(type, listener);
  };
}

// One WebSocket, from its opening to its end.
/** How long the other side may take to say goodbye before the socket is torn down. */
const FAREWELL = 2_000;
class Connection {
  #socket;
  #listener;
  #opening;
  #beat;
  #pong;
  #pongWithin;
  /** Starts to connect. It ends by itself unless `established` is called in time. */
  constructor(socket, openWithin, pongWithin, listener) {
    this.#socket = socket;
    this.#listener = listener;
    this.#pongWithin = pongWithin;
    this.#opening = startTimer(openWithin, () => this.drop(`not ready within ${openWithin} ms`));
    socket.onmessage = (event) => this.#received(event.data);
    socket.onclose = (event) => this.#end(event.code, event.reason);
    // The close event that follows says what there is to know.
    socket.onerror = () => { };
  }
  /** It is of use now: the time limit for opening is over, and signs of life are asked for. */
  established(heartbeat) {
    clearTimeout(this.#opening);
    if (heartbeat > 0)
      this.#scheduleBeat(heartbeat);
  }
  /** Sends a text. What is sent into a connection that is ending is lost with it. */
  send(text) {
    try {
      this.#socket.send(text);
    }
    catch (thrown) {
      // Only a socket that is not open refuses: it is over, and whoever waits is told so.
      this.drop(thrown instanceof Error ? thrown.message : String(thrown));
    }
  }
  /** Asks for a sign of life; without one in time the connection is given up. */
  probe() {
    if (this.#pong !== undefined || this.#listener === undefined)
      return;
    this.#pong = startTimer(this.#pongWithin, () => this.drop(`no sign of life within ${this.#pongWithin} ms`));
    this.send('{"ping":true}');
  }
  /** Gives it up at once, without waiting for the other side, which may be gone. */
  drop(why) {
    const socket = this.#socket;
    const listener = this.#release();
    this.#shut(4000);
    listener?.ended(1006, why);
    // A socket whose other side is gone would linger.
    socket.terminate?.();
  }
  /** Says goodbye. The listener is not told. */
  close() {
    if (this.#release() === undefined)
      return;
    const socket = this.#socket;
    const farewell = startTimer(FAREWELL, () => socket.terminate?.());
    socket.onclose = () => clearTimeout(farewell);
    this.#shut(1000);
  }
  #shut(code) {
    try {
      this.#socket.close(code);
    }
    catch {
      // Some implementations refuse while they connect. Nothing of it is heeded any more.
    }
  }
  #received(data) {
    const listener = this.#listener;
    if (listener === undefined)
      return;
    clearTimeout(this.#pong);
    this.#pong = undefined;
    if (typeof data !== "string")
      return;
    let frame;
    try {
      frame = JSON.parse(data);
    }
    catch {
      listener.unreadable(data);
      return;
    }
    if (typeof frame === "object" && frame !== null && !Array.isArray(frame))
      listener.frame(frame);
    else
      listener.unreadable(data);
  }
  #end(code, reason) {
    this.#release()?.ended(code, reason);
  }
  #scheduleBeat(interval) {
    this.#beat = startTimer(interval, () => {
      this.#scheduleBeat(interval);
      this.probe();
    });
  }
  /** From here on nothing of this socket reaches anybody. */
  #release() {
    const listener = this.#listener;
    this.#listener = undefined;
    for (const timer of [this.#opening, this.#beat, this.#pong])
      clearTimeout(timer);
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    return listener;
  }
}

// Requests: numbered, bounded, with a time limit, answered at most once.
/** How many are under way at once, where the server does not say. */
const WINDOW = 32;
/** Of what waited for a connection, so many are sent at once; the others follow one by one. */
const BURST = 32;
const PACE = 25;
class Calls {
  #send;
  #nextId = 1;
  #window = WINDOW;
  #maxFrame = Infinity;
  #underway = new Map();
  /** What was given up but is not answered yet: to the server it is under way. */
  #forsaken = new Set();
  #queue = [];
  /** How many may be sent now; finite only while a backlog is worked off, so as not to be taken for a flood. */
  #credit = Infinity;
  #refill;
  #queueLimit;
  #timeout;
  #report;
  constructor(queueLimit, timeout, report) {
    this.#queueLimit = queueLimit;
    this.#timeout = timeout;
    this.#report = report;
  }
  /** An id that no other frame of this client has, on this connection or an earlier one. */
  nextId() {
    return this.#nextId++;
  }
  /** Sends a request now or, without a connection, once there is one. */
  start(frame, options = {}, traits = {}) {
    return new Promise((resolve, reject) => {
      let body;
      try {
        body = JSON.stringify(frame).slice(1);
      }
      catch (thrown) {
        reject(wrapped(thrown, "INVALID_ARGUMENT", "data must be JSON", "not_applied"));
        return;
      }
      const { signal } = options;
      if (signal?.aborted) {
        reject(cancelled(signal, "not_applied"));
        return;
      }
      if (!traits.internal && !this.#hasRoom()) {
        const message = `${this.#queueLimit} requests wait already`;
        reject(new QuorateError("RESOURCE_EXHAUSTED", message));
        return;
      }
      const call = { body, id: undefined, traits, resolve, reject, release: () => { } };
      const timeout = options.timeout ?? this.#timeout;
      const timer = startTimer(timeout, () => {
        const message = `no answer within ${timeout} ms`;
        this.#abandon(call, (outcome) => new QuorateError("DEADLINE_EXCEEDED", message, { outcome }));
      });
      const aborted = () => this.#abandon(call, (outcome) => cancelled(signal, outcome));
      signal?.addEventListener("abort", aborted, { once: true });
      call.release = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", aborted);
      };
      this.#queue.push(call);
      this.#pump();
    });
  }
  /** A connection is ready. */
  connected(send, window, maxFrame) {
    this.#send = send;
    this.#window = window;
    this.#maxFrame = maxFrame;
    this.#credit = this.#queue.length > BURST ? BURST : Infinity;
    this.#pump();
  }
  /** The connection broke. What was under way is repeated only where that does no harm. */
  disconnected(why) {
    this.#send = undefined;
    clearTimeout(this.#refill);
    this.#refill = undefined;
    const interrupted = [...this.#underway.values()];
    this.#underway.clear();
    this.#forsaken.clear();
    this.#queue.unshift(...interrupted.filter((call) => call.traits.repeatable));
    for (const call of this.#queue)
      call.id = undefined;
    for (const call of interrupted.filter((call) => !call.traits.repeatable)) {
      const message = `the connection broke before the answer (${why})`;
      this.#settle(call, () => call.reject(new QuorateError("UNAVAILABLE", message, { outcome: "unknown" })));
    }
  }
  /** Nobody will answer any more. */
  stop(error) {
    const queue = this.#queue;
    this.#queue = [];
    for (const call of queue)
      this.#settle(call, () => call.reject(error));
  }
  /** Takes a frame that may be an answer. `false`: it is none, of any request that is waited for. */
  answered(frame) {
    const call = this.#underway.get(frame["id"]);
    if (call === undefined)
      return this.#forgotten(frame);
    if ("progress" in frame) {
      try {
        call.traits.onProgress?.(frame["progress"]);
      }
      catch (thrown) {
        this.#report(thrown);
      }
      return true;
    }
    this.#underway.delete(call.id);
    if (!("error" in frame))
      call.traits.onAnswer?.(frame);
    this.#settle(call, () => ("error" in frame ? call.reject(errorOf(frame["error"])) : call.resolve(frame)));
    this.#pump();
    return true;
  }
  /** Takes the answer to what was given up. */
  #forgotten(frame) {
    const id = frame["id"];
    if (!this.#forsaken.has(id))
      return false;
    if (!("progress" in frame)) {
      this.#forsaken.delete(id);
      this.#pump();
    }
    return true;
  }
  get #full() {
    return this.#underway.size + this.#forsaken.size >= this.#window;
  }
  #hasRoom() {
    const direct = this.#send !== undefined && this.#queue.length === 0 && !this.#full;
    return direct || this.#queue.length < this.#queueLimit;
  }
  /** Sends what may be sent: no more at once than the server answers, and not too fast. */
  #pump() {
    while (this.#send !== undefined && this.#queue.length > 0 && !this.#full) {
      if (this.#credit === 0) {
        this.#refill ??= startTimer(PACE, () => {
          this.#refill = undefined;
          this.#credit += 1;
          this.#pump();
        });
        return;
      }
      const call = this.#queue.shift();
      call.id = this.nextId();
      const text = `{"id":${call.id},${call.body}`;
      if (tooLong(text, this.#maxFrame)) {
        const message = `the request must have at most ${this.#maxFrame} bytes as a frame`;
        this.#settle(call, () => call.reject(new QuorateError("INVALID_ARGUMENT", message)));
        continue;
      }
      this.#credit -= 1;
      this.#underway.set(call.id, call);
      this.#send(text);
    }
    if (this.#queue.length === 0)
      this.#credit = Infinity;
  }
  /** The user gave up, or the time is up. */
  #abandon(call, error) {
    const sent = call.id !== undefined && this.#underway.delete(call.id);
    if (sent) {
      this.#forsaken.add(call.id);
      this.#send?.(`{"cancel":${call.id}}`);
    }
    else
      this.#queue = this.#queue.filter((queued) => queued !== call);
    this.#settle(call, () => call.reject(error(sent && !call.traits.repeatable ? "unknown" : "not_applied")));
  }
  #settle(call, how) {
    call.release();
    how();
  }
}
function cancelled(signal, outcome) {
  return new QuorateError("CANCELLED", "the request was aborted", { cause: signal.reason, outcome });
}
function tooLong(text, limit) {
  // A UTF-16 unit takes at most three bytes: most frames need no counting.
  return text.length > limit || (text.length * 3 > limit && new TextEncoder().encode(text).length > limit);
}

// One handler's share in a subscription.
/** Messages kept for a feed that is still reading history; beyond, it reads on in the history instead. */
const HELD = 1_000;
/** Messages asked for at once. */
const PAGE = 100;
class Feed {
  ready;
  options;
  start;
  /** Whether the server has ever carried it. */
  active = false;
  #handler;
  #owner;
  #settleReady;
  #position;
  #closed = false;
  /** What arrives while history is read. `undefined`: the feed is live. */
  #held;
  #overflowed = false;
  constructor(owner, handler, options) {
    this.#owner = owner;
    this.#handler = handler;
    this.options = options;
    this.start = {
      ...(options.after === undefined ? {} : { after: options.after }),
      ...(options.recent === undefined ? {} : { recent: options.recent }),
    };
    this.#position = options.after;
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = (error) => (error === undefined ? resolve() : reject(error));
    });
    // Whoever does not look at it is told in another way.
    this.ready.catch(() => { });
  }
  get position() {
    return this.#position;
  }
  get roster() {
    return this.options.onPresence === undefined ? undefined : this.#owner.roster;
  }
  get closed() {
    return this.#closed;
  }
  close() {
    if (this.#closed)
      return;
    this.withdrawn(new QuorateError("CANCELLED", "the subscription was closed", { outcome: "not_applied" }));
    this.#owner.left(this);
  }
  /** It ends because its user wants so. */
  withdrawn(error) {
    this.#closed = true;
    this.#settleReady(error);
  }
  /** The server carries it: `position` is after which message what is new comes. */
  activated(position) {
    this.active = true;
    // Who asked for older messages is at their end only once they have come.
    const fromNow = this.#held === undefined && this.start.after === undefined && this.start.recent === undefined;
    if (fromNow && position !== undefined && isLater(position, this.#position))
      this.#position = position;
    this.#settleReady();
  }
  /** It ends for a reason that is not the user's. */
  ended(error) {
    if (this.#closed)
      return;
    this.#closed = true;
    this.#settleReady(error);
    const { onEnd } = this.options;
    if (onEnd === undefined)
      this.#owner.report(error);
    else
      this.#protected(() => onEnd(error));
  }
  message(message, kept) {
    if (this.#held === undefined)
      this.#deliver(message, kept);
    else
      this.#hold(message);
  }
  gap(gap) {
    if (this.#held === undefined)
      this.#deliverGap(gap);
    else
      this.#hold(gap);
  }
  presence(roster, change) {
    const { onPresence } = this.options;
    if (onPresence !== undefined && !this.#closed)
      this.#protected(() => onPresence(roster, change));
  }
  /**
   * Reads what it asked for from history, then goes on live: for a feed that joins a subscription which the
   * server makes, or has made, for others. What arrives live meanwhile is held back, and then delivered
   * but for what history had already.
   */
  async catchUp() {
    this.#held = [];
    this.#overflowed = false;
    let wanted;
    if (this.start.after !== undefined)
      wanted = { after: this.start.after, limit: PAGE };
    // From now on: only to know where that is.
    else
      wanted = { limit: this.start.recent ?? 1 };
    let skip = this.start.after === undefined && this.start.recent === undefined;
    try {
      for (;;) {
        const page = await this.#owner.history(wanted);
        if (this.#closed)
          return;
        if (page.gap !== undefined)
          this.#deliverGap(page.gap);
        if (!skip)
          for (const message of page.messages)
            this.#deliver(message, true);
        skip = false;
        this.#position = page.position ?? this.#position;
        if (page.complete || page.gap !== undefined || wanted.after === undefined) {
          if (!this.#overflowed)
            break;
          // What was let go is in history now, and what comes from here on is held again.
          this.#overflowed = false;
          this.#held = [];
        }
        if (this.#position === undefined) {
          this.#deliverGap({ topic: this.#owner.topic, reason: "buffer_full", missed: null });
          break;
        }
        wanted = { after: this.#position, limit: PAGE };
      }
    }
    catch (thrown) {
      if (this.#closed)
        return;
      this.#owner.report(thrown);
      this.#deliverGap({ topic: this.#owner.topic, reason: "history", missed: null });
    }
    this.#release();
  }
  #release() {
    // A handler may cause more to arrive: it is taken in order.
    while (this.#held !== undefined && this.#held.length > 0) {
      const next = this.#held.shift();
      if ("reason" in next)
        this.#deliverGap(next);
      else
        this.#deliver(next, next.meta.position !== undefined);
    }
    this.#held = undefined;
  }
  #hold(event) {
    if (this.#overflowed)
      return;
    this.#held.push(event);
    if (this.#held.length > HELD) {
      // History has them: it is read until it has no more.
      this.#held = [];
      this.#overflowed = true;
    }
  }
  #deliver(message, kept) {
    if (this.#closed)
      return;
    if (kept) {
      const { position } = message.meta;
      if (position !== undefined && this.#position !== undefined && !isLater(position, this.#position))
        return;
      this.#position = position ?? this.#position;
    }
    this.#protected(() => this.#handler(message.data, message.meta));
  }
  #deliverGap(gap) {
    if (this.#closed)
      return;
    // Also backwards: what came after that place is another history.
    if (gap.position !== undefined)
      this.#position = gap.position;
    const { onGap } = this.options;
    if (onGap !== undefined)
      this.#protected(() => onGap(gap));
  }
  /** What a handler throws hurts nobody else. */
  #protected(call) {
    try {
      const result = call();
      // An async function was given: what it fails with must not be lost either.
      if (result instanceof Promise)
        result.catch((thrown) => this.#owner.report(thrown));
    }
    catch (thrown) {
      this.#owner.report(thrown);
    }
  }
}

// One subscription of this client at the server, shared by all handlers of the same event and parameters.
class Entry {
  key;
  #event;
  #params;
  #host;
  #feeds = new Set();
  /** Those whose beginning is not that of the subscription. */
  #joining = new Set();
  #wire = "idle";
  #topic;
  /** Whether the server has acknowledged it, on this connection or an earlier one. */
  #made = false;
  /** Where a kept topic goes on. */
  #position;
  /** After what it was asked to go on, by the request that is under way. */
  #after;
  /** Whether old messages come over it, which only those get who asked for them. */
  #replays = false;
  #withMembers = false;
  #roster;
  #rosterIsCurrent = false;
  #askingForRoster = false;
  #attempt = 0;
  /** Set while it waits to ask the server again. */
  #retry;
  /** What handlers that read history wait for. */
  #pauses = new Set();
  constructor(key, event, params, host) {
    this.key = key;
    this.#event = event;
    this.#params = params ?? null;
    this.#topic = topicName(event, params);
    this.#host = host;
  }
  get topic() {
    return this.#topic;
  }
  get roster() {
    return this.#roster;
  }
  /** A handler more. */
  add(handler, options) {
    const feed = new Feed(this, handler, options);
    this.#feeds.add(feed);
    if (this.#wire === "active" || this.#wire === "adding members") {
      // Not before the caller has it in hands.
      queueMicrotask(() => this.#feeds.has(feed) && this.#join(feed));
    }
    else if (this.#made || this.#wire === "subscribing") {
      this.#joining.add(feed);
    }
    this.sync();
    return feed;
  }
  left(feed) {
    this.#feeds.delete(feed);
    this.#joining.delete(feed);
    this.sync();
  }
  report(error) {
    this.#host.report(error);
  }
  /** Makes the server's side what is wanted, one step at a time. */
  sync() {
    if (this.#wire === "idle") {
      if (this.#feeds.size === 0)
        this.#dispose();
      else if (this.#retry === undefined)
        this.#subscribe();
    }
    else if (this.#wire === "active") {
      if (this.#feeds.size === 0)
        this.#unsubscribe();
      else if (this.#retry === undefined && !this.#withMembers && this.#wantsMembers()) {
        this.#request("adding members", { subscribe: this.#event, members: true });
      }
    }
  }
  /** The connection broke: the server has forgotten it. */
  disconnected() {
    this.#wire = "idle";
    this.#rosterIsCurrent = false;
    this.#askingForRoster = false;
    this.#stopRetry();
    this.#host.named(this, undefined);
    if (this.#feeds.size === 0)
      this.#dispose();
  }
  /** The server has dropped it, because it had another name there that was unsubscribed. */
  dropped() {
    if (this.#wire === "unsubscribing" || this.#wire === "idle")
      return;
    this.disconnected();
    this.sync();
  }
  /** The client was closed: everybody who has a share in it knows. */
  close(error) {
    const feeds = [...this.#feeds];
    this.#feeds.clear();
    this.#wire = "idle";
    this.#dispose();
    for (const feed of feeds)
      feed.withdrawn(error);
  }
  /** It ends for everybody. */
  end(error) {
    const feeds = [...this.#feeds];
    this.#feeds.clear();
    this.#joining.clear();
    this.#wire = "idle";
    this.#dispose();
    for (const feed of feeds)
      feed.ended(error);
  }
  /** The answer to what was asked last. */
  answered(frame) {
    const asked = this.#wire;
    if (asked === "unsubscribing")
      this.#forget();
    else if ("error" in frame)
      this.#refused(errorOf(frame["error"]), asked);
    else if (asked === "subscribing")
      this.#subscribed(frame);
    else if (asked === "adding members") {
      this.#wire = "active";
      this.#withMembers = true;
      if (!this.#rosterIsCurrent)
        this.#askForRoster();
    }
    this.sync();
  }
  message(frame) {
    if (this.#wire === "unsubscribing" || this.#wire === "idle")
      return;
    const message = messageOf(frame);
    // Positions of a pattern's messages are those of their own topics.
    const kept = this.#position !== undefined;
    if (kept && message.meta.position !== undefined)
      this.#position = message.meta.position;
    for (const feed of [...this.#feeds])
      feed.message(message, kept);
  }
  gap(frame) {
    if (this.#wire === "unsubscribing" || this.#wire === "idle")
      return;
    const gap = gapOf(frame, this.#topic, "lost");
    if (gap.position !== undefined)
      this.#position = gap.position;
    for (const feed of [...this.#feeds])
      feed.gap(gap);
  }
  undecodable(frame) {
    const topic = typeof frame["topic"] === "string" ? frame["topic"] : this.#topic;
    const why = typeof frame["error"] === "string" ? frame["error"] : "the server does not say why";
    this.report(new QuorateError("INTERNAL", `a message of \`${topic}\` cannot be read: ${why}`));
  }
  presence(frame) {
    if (this.#wire === "unsubscribing" || this.#wire === "idle")
      return;
    const known = this.#rosterIsCurrent ? this.#roster : undefined;
    const roster = rosterAfter(known, frame, this.#topic);
    if (roster === undefined)
      this.#askForRoster();
    else
      this.#setRoster(roster);
  }
  /** The server ended it. */
  endedByServer(reason) {
    if (this.#wire === "unsubscribing" || this.#wire === "idle")
      return;
    this.end(new QuorateError("FAILED_PRECONDITION", `the server ended the subscription to \`${this.#topic}\`: ${reason}`));
  }
  async history(options) {
    for (let attempt = 0;; attempt += 1) {
      try {
        const frame = { history: this.#event, ...this.#paramsMember(), ...options };
        return pageOf(await this.#host.call(frame, { timeout: Infinity }, HARMLESS), this.#topic);
      }
      catch (thrown) {
        if (!(thrown instanceof QuorateError) || !thrown.retryable)
          throw thrown;
        const delay = thrown.retryAfter ?? delayOf(attempt);
        await new Promise((resolve) => this.#pause(delay, resolve));
      }
    }
  }
  #subscribe() {
    const frame = { subscribe: this.#event };
    this.#replays = false;
    if (this.#made) {
      if (this.#position !== undefined)
        frame["after"] = this.#position;
    }
    else {
      const starts = new Set([...this.#feeds].map((feed) => JSON.stringify(feed.start)));
      if (starts.size === 1) {
        const [feed] = this.#feeds;
        Object.assign(frame, feed.start);
        this.#replays = Object.keys(feed.start).length > 0;
        this.#joining.clear();
      }
      else {
        // They begin at different places: the subscription begins now, and each reads its own past.
        this.#joining = new Set([...this.#feeds].filter((feed) => Object.keys(feed.start).length > 0));
      }
    }
    if (this.#wantsMembers())
      frame["members"] = true;
    this.#after = frame["after"];
    this.#withMembers = frame["members"] === true;
    this.#request("subscribing", frame);
    // Should its frames come before the answer, they find it by the name it probably has.
    if (this.#wire === "subscribing")
      this.#host.named(this, this.#topic);
  }
  #unsubscribe() {
    // Other parameters turned out to mean the same to the server: they still need it.
    if (this.#host.isShared(this)) {
      this.#forget();
      this.#dispose();
    }
    else {
      this.#request("unsubscribing", { unsubscribe: this.#event });
    }
  }
  #subscribed(frame) {
    const again = this.#made;
    this.#wire = "active";
    this.#made = true;
    this.#attempt = 0;
    if (typeof frame["topic"] === "string")
      this.#topic = frame["topic"];
    this.#host.named(this, this.#topic);
    const position = typeof frame["position"] === "string" ? frame["position"] : undefined;
    const told = this.#after !== undefined && typeof frame["recovered"] === "boolean";
    // What was missed is still to come: the place is where it was.
    this.#position = told && frame["recovered"] === true ? this.#after : position;
    const joining = this.#joining;
    this.#joining = new Set();
    for (const feed of [...this.#feeds]) {
      if (joining.has(feed)) {
        this.#join(feed);
        continue;
      }
      const interrupted = again && !told && feed.active;
      feed.activated(this.#position);
      // Nobody keeps what was published meanwhile.
      if (interrupted)
        feed.gap(gapOf(position === undefined ? {} : { position }, this.#topic, "reconnected"));
    }
  }
  /** A feed comes to a subscription that is there already. */
  #join(feed) {
    const reads = Object.keys(feed.start).length > 0 || this.#replays;
    const kept = this.#position !== undefined;
    if (reads && kept)
      void feed.catchUp();
    feed.activated(this.#position);
    if (feed.start.after !== undefined && !kept)
      feed.gap(gapOf({}, this.#topic, "history"));
    if (this.#roster !== undefined && this.#rosterIsCurrent) {
      feed.presence(this.#roster, rosterChange(undefined, this.#roster));
    }
  }
  #refused(error, asked) {
    if (asked === "adding members" && !error.retryable) {
      // The messages go on; only presence is not to be had.
      this.#wire = "active";
      this.#withMembers = true;
      for (const feed of [...this.#feeds].filter((feed) => feed.options.onPresence !== undefined)) {
        this.#feeds.delete(feed);
        feed.ended(error);
      }
    }
    else if (error.retryable) {
      this.#wire = asked === "adding members" ? "active" : "idle";
      this.report(error);
      this.#retry = startTimer(error.retryAfter ?? delayOf(this.#attempt++), () => {
        this.#retry = undefined;
        this.sync();
      });
    }
    else {
      this.end(error);
    }
  }
  #setRoster(roster) {
    const before = this.#roster;
    const change = rosterChange(before, roster);
    this.#roster = roster;
    this.#rosterIsCurrent = true;
    const same = before !== undefined && before.count === roster.count && (before.members === null) === (roster.members === null);
    if (same && change.joined.length === 0 && change.left.length === 0)
      return;
    for (const feed of [...this.#feeds])
      feed.presence(roster, change);
  }
  /** Asks for the whole roster, because what is known does not go with what was said. */
  #askForRoster() {
    this.#rosterIsCurrent = false;
    if (this.#askingForRoster)
      return;
    this.#askingForRoster = true;
    const frame = { presence: this.#event, ...this.#paramsMember() };
    const onAnswer = (answer) => {
      this.#askingForRoster = false;
      if (this.#wire !== "idle")
        this.#setRoster(rosterOf(answer, this.#topic));
    };
    this.#host.call(frame, {}, { internal: true, onAnswer }).catch((error) => {
      // A new connection brings a new roster by itself.
      if (!this.#askingForRoster)
        return;
      this.#askingForRoster = false;
      this.report(error);
    });
  }
  #wantsMembers() {
    return [...this.#feeds].some((feed) => feed.options.onPresence !== undefined);
  }
  #paramsMember() {
    return this.#params === null ? {} : { params: this.#params };
  }
  #request(wire, frame) {
    const { subscribe, unsubscribe, ...rest } = frame;
    const verb = subscribe === undefined ? { unsubscribe } : { subscribe };
    const asked = this.#host.ask(this, { ...verb, ...this.#paramsMember(), ...rest });
    if (asked !== undefined)
      this.#wire = wire;
  }
  /** The server has it no more: whoever comes next begins anew. */
  #forget() {
    this.#wire = "idle";
    this.#made = false;
    this.#position = undefined;
    this.#roster = undefined;
    this.#rosterIsCurrent = false;
    this.#joining.clear();
    this.#host.named(this, undefined);
  }
  #pause(delay, then) {
    const timer = startTimer(delay, () => {
      this.#pauses.delete(timer);
      then();
    });
    if (timer !== undefined)
      this.#pauses.add(timer);
  }
  #stopRetry() {
    clearTimeout(this.#retry);
    this.#retry = undefined;
  }
  #dispose() {
    this.#stopRetry();
    for (const timer of this.#pauses)
      clearTimeout(timer);
    this.#pauses.clear();
    this.#host.named(this, undefined);
    this.#host.unused(this);
  }
}
const HARMLESS = { repeatable: true, internal: true };
/** Reads the answer to a question for history. */
function pageOf(frame, topic) {
  const messages = Array.isArray(frame["messages"]) ? frame["messages"].map(messageOf) : [];
  const name = typeof frame["topic"] === "string" ? frame["topic"] : topic;
  const gap = typeof frame["gap"] === "object" && frame["gap"] !== null ? gapOf(frame["gap"], name, "history") : undefined;
  const position = typeof frame["position"] === "string" ? frame["position"] : gap?.position;
  const page = { topic: name, messages, complete: frame["complete"] === true };
  if (position !== undefined)
    page.position = position;
  if (gap !== undefined)
    page.gap = gap;
  return page;
}

// All subscriptions of a client.
class Topics {
  #host;
  #entries = new Map();
  /** By the names that the server gave. */
  #byTopic = new Map();
  #topicOf = new Map();
  /** Who waits for the answer with this id. */
  #asked = new Map();
  call;
  constructor(host) {
    this.#host = host;
    this.call = host.call;
  }
  add(event, params, handler, options) {
    if (options.after !== undefined && options.recent !== undefined) {
      throw new QuorateError("INVALID_ARGUMENT", "after and recent cannot be given together");
    }
    const key = subscriptionKey(event, params);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = new Entry(key, event, params, this);
      this.#entries.set(key, entry);
    }
    return entry.add(handler, options);
  }
  connected() {
    for (const entry of [...this.#entries.values()])
      entry.sync();
  }
  disconnected() {
    this.#asked.clear();
    for (const entry of [...this.#entries.values()])
      entry.disconnected();
  }
  /** Everything ends. */
  close(error) {
    for (const entry of [...this.#entries.values()])
      entry.close(error);
    this.#asked.clear();
  }
  /** Takes a frame that may be an answer. `false`: it is none to anything asked here. */
  answered(frame) {
    const id = frame["id"];
    const asked = this.#asked.get(id);
    if (asked === undefined)
      return false;
    this.#asked.delete(id);
    const others = asked.unsubscribes ? this.#othersOf(asked.entry) : [];
    asked.entry.answered(frame);
    for (const other of others)
      other.dropped();
    return true;
  }
  /** Takes an event. One that is not known, or of a topic that nobody here wants, is skipped. */
  event(frame) {
    const name = typeof frame["subscription"] === "string" ? frame["subscription"] : frame["topic"];
    for (const entry of [...(this.#byTopic.get(name) ?? [])]) {
      if (frame["event"] === "message")
        entry.message(frame);
      else if (frame["event"] === "gap")
        entry.gap(frame);
      else if (frame["event"] === "presence")
        entry.presence(frame);
      else if (frame["event"] === "undecodable")
        entry.undecodable(frame);
      else if (frame["event"] === "unsubscribed")
        entry.endedByServer(String(frame["reason"] ?? "it gave no reason"));
    }
  }
  ask(entry, frame) {
    const id = this.#host.nextId();
    this.#asked.set(id, { entry, unsubscribes: "unsubscribe" in frame });
    if (this.#host.send(JSON.stringify({ id, ...frame })))
      return id;
    this.#asked.delete(id);
    return undefined;
  }
  named(entry, topic) {
    const before = this.#topicOf.get(entry);
    if (before !== undefined) {
      const sharing = this.#byTopic.get(before);
      sharing?.delete(entry);
      if (sharing?.size === 0)
        this.#byTopic.delete(before);
      this.#topicOf.delete(entry);
    }
    if (topic === undefined)
      return;
    this.#topicOf.set(entry, topic);
    const sharing = this.#byTopic.get(topic);
    if (sharing === undefined)
      this.#byTopic.set(topic, new Set([entry]));
    else
      sharing.add(entry);
  }
  isShared(entry) {
    return this.#othersOf(entry).length > 0;
  }
  unused(entry) {
    if (this.#entries.get(entry.key) === entry)
      this.#entries.delete(entry.key);
  }
  report(error) {
    this.#host.report(error);
  }
  #othersOf(entry) {
    const topic = this.#topicOf.get(entry);
    const sharing = topic === undefined ? undefined : this.#byTopic.get(topic);
    return [...(sharing ?? [])].filter((other) => other !== entry);
  }
}

// Staying connected: attempts, who the client is, and what follows when a connection ends.
/** After a connection that held so long, attempts count from the beginning again. */
const STEADY = 5_000;
/** The part of a token's life after which it is renewed. */
const RENEW_AT = 0.8;
class Session {
  #options;
  #listener;
  #state = "idle";
  #connection;
  #attempt = 0;
  #steady;
  #retry;
  #renewal;
  /** When the server wants the client back, as said in its farewell. */
  #comeback;
  /** Whether the wait was asked for by the server: then hints do not shorten it. */
  #ordered = false;
  #tokenReason = "connecting";
  /** The id of the `authenticate` that is not answered yet. */
  #authenticating;
  #hello = {};
  #unlisten;
  constructor(options, listener) {
    this.#options = options;
    this.#listener = listener;
  }
  get state() {
    return this.#state;
  }
  /** Connects, unless it is connected. A wait of its own making is cut short, one the server asked for is not. */
  start() {
    if (this.#state === "waiting" && !this.#ordered)
      this.#open("asked for");
    if (this.#state !== "idle" && this.#state !== "stopped")
      return;
    this.#unlisten ??= listen((what) => this.#hinted(what));
    this.#attempt = 0;
    this.#open("asked for");
  }
  /** Ends for good. */
  close() {
    if (this.#state === "closed")
      return;
    const connection = this.#connection;
    this.#clear();
    connection?.close();
    this.#to("closed", { reason: "closed by this side" });
  }
  /** `false`: not connected, so nothing was sent. */
  send(text) {
    if (this.#state !== "ready" || this.#connection === undefined)
      return false;
    this.#connection.send(text);
    return true;
  }
  #open(why) {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#ordered = false;
    this.#comeback = undefined;
    this.#to("connecting", { reason: why });
    // A listener may have closed it.
    if (this.#state !== "connecting")
      return;
    let socket;
    try {
      socket = this.#options.open();
    }
    catch (thrown) {
      // An address that can never work, or no WebSocket to be had: waiting cures neither.
      this.#stop(wrapped(thrown, "INVALID_ARGUMENT", "the WebSocket could not be made", "not_applied"));
      return;
    }
    const connection = new Connection(socket, this.#options.connectTimeout, this.#options.pongTimeout, {
      frame: (frame) => this.#received(connection, frame),
      ended: (code, reason) => this.#ended(code, reason),
      unreadable: () => this.#listener.report(new QuorateError("INTERNAL", "the server sent what is not a frame")),
    });
    this.#connection = connection;
  }
  #received(connection, frame) {
    if (frame["event"] === "hello" && this.#state === "connecting") {
      this.#hello = frame;
      if (frame["authentication"] === "required")
        void this.#authenticate(connection);
      else
        this.#ready(connection);
    }
    else if (this.#authenticating !== undefined && frame["id"] === this.#authenticating) {
      this.#authenticated(connection, frame);
    }
    else if (frame["event"] === "closing") {
      const wait = frame["retry_after_ms"];
      this.#comeback = typeof wait === "number" && wait >= 0 ? wait : undefined;
    }
    else if (this.#state === "ready") {
      this.#listener.frame(frame);
    }
  }
  async #authenticate(connection) {
    const { token } = this.#options;
    if (token === undefined) {
      connection.close();
      this.#stop(new QuorateError("UNAUTHENTICATED", "the server asks for a token, and the client has none: set `token`"));
      return;
    }
    const reason = this.#tokenReason;
    let secret;
    try {
      secret = await token(reason);
    }
    catch (thrown) {
      this.#listener.report(wrapped(thrown, "UNAUTHENTICATED", "no token was to be had", "not_applied"));
      if (this.#connection !== connection)
        return;
      // A renewal is tried again while the old token lasts; without one there is nothing to wait for.
      if (this.#state === "ready")
        this.#renewal = startTimer(delayOf(this.#attempt++, this.#options.backoff), () => void this.#authenticate(connection));
      else
        connection.drop("no token was to be had");
      return;
    }
    // Meanwhile the connection may have ended, and another one have asked for a token of its own.
    if (this.#connection !== connection)
      return;
    this.#authenticating = this.#listener.nextId();
    connection.send(JSON.stringify({ id: this.#authenticating, authenticate: secret }));
  }
  #authenticated(connection, frame) {
    this.#authenticating = undefined;
    if ("error" in frame) {
      const error = errorOf(frame["error"]);
      if (error.code === "UNAUTHENTICATED")
        this.#tokenReason = "refused";
      if (error.code === "PERMISSION_DENIED") {
        connection.close();
        this.#stop(error);
      }
      else {
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
    if (typeof frame["client"] === "string")
      this.#hello["client"] = frame["client"];
    if (this.#state === "connecting")
      this.#ready(connection);
  }
  #ready(connection) {
    const hello = this.#hello;
    const number = (name, otherwise) => (typeof hello[name] === "number" ? hello[name] : otherwise);
    const text = (name) => (typeof hello[name] === "string" ? hello[name] : undefined);
    connection.established(number("heartbeat_ms", 15_000));
    this.#steady = startTimer(STEADY, () => (this.#attempt = 0));
    const grants = {
      client: text("client"),
      instance: text("instance"),
      maxRequests: Math.max(1, number("max_requests", 32)),
      maxFrameBytes: number("max_frame_bytes", Infinity),
    };
    this.#listener.granted(grants);
    this.#to("ready", { reason: text("instance") === undefined ? "connected" : `connected to ${text("instance")}` });
    // A listener may have closed it.
    if (this.#connection !== connection)
      return;
    this.#listener.ready(grants);
  }
  #ended(code, reason) {
    const was = this.#state;
    const comeback = this.#comeback;
    this.#clear();
    const why = `${reason === "" ? "the connection ended" : reason} (${code})`;
    // Before anybody is told: what is started from here on waits for the next connection.
    this.#state = "waiting";
    if (was === "ready")
      this.#listener.lost(why);
    if (this.#state !== "waiting")
      return;
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
  #stop(error) {
    this.#clear();
    this.#to("stopped", { reason: error.message, error });
    this.#listener.over(error);
  }
  #hinted(what) {
    if (this.#state === "ready")
      this.#connection?.probe();
    else if (this.#state === "waiting" && what === "back" && !this.#ordered)
      this.#open("the network is back");
  }
  #clear() {
    for (const timer of [this.#steady, this.#retry, this.#renewal])
      clearTimeout(timer);
    this.#retry = undefined;
    this.#connection = undefined;
    this.#authenticating = undefined;
    if (this.#state === "closed" || this.#state === "stopped")
      this.#silence();
  }
  #silence() {
    this.#unlisten?.();
    this.#unlisten = undefined;
  }
  #to(state, detail) {
    this.#state = state;
    if (state === "closed" || state === "stopped")
      this.#silence();
    this.#listener.state(state, detail);
  }
}

// The client: what users see of all this.
const SUBPROTOCOL = "quorate.v1";
/**
 * A client of a Quorate hub, over one WebSocket that comes back by itself.
 *
 * `Events` and `Requests` describe what the application exchanges; without them names are not checked.
 */
class QuorateClient {
  #session;
  #calls;
  #topics;
  #listeners = new Set();
  #onError;
  #over;
  #id;
  #instance;
  /**
   * Connects with the first thing it is used for, or with `connect()`.
   *
   * @param url `wss://…` or `https://…`; in a browser also a path, such as `/ws`.
   */
  constructor(url, options = {}) {
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
  get state() {
    return this.#session.state;
  }
  /** The id of the present connection, by which others see it. */
  get id() {
    return this.#id;
  }
  /** The name of the service instance it is connected to. */
  get instance() {
    return this.#instance;
  }
  /**
   * Connects now, also where it waits for its next attempt, unless the server named the time. Settles when
   * it is ready; fails when the server sends it away, or it is closed.
   */
  connect() {
    if (this.state === "closed")
      return Promise.reject(closedError());
    if (this.state === "ready")
      return Promise.resolve();
    const ready = new Promise((resolve, reject) => {
      const end = this.onState((state, detail) => {
        if (state === "ready")
          resolve();
        else if (state === "stopped" || state === "closed")
          reject(detail.error ?? closedError());
        else
          return;
        end();
      });
    });
    // Whoever does not look at it hears of it through the state.
    ready.catch(() => { });
    this.#over = undefined;
    this.#session.start();
    return ready;
  }
  /** Calls `listener` with every change of state, until the returned function is called. */
  onState(listener) {
    // Of its own, so that the same function may listen twice.
    const own = (state, detail) => listener(state, detail);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }
  on(event, params, handler, options = {}) {
    checkEvent(event, params);
    this.#wake();
    return this.#topics.add(event, params, handler, options);
  }
  async request(type, data, options = {}) {
    this.#wake();
    const traits = { onProgress: options.onProgress };
    return (await this.#calls.start({ type, data: data ?? null }, options, traits))["data"] ?? null;
  }
  async publish(event, params, data, options = {}) {
    checkEvent(event, params);
    this.#wake();
    const frame = { publish: event, ...paramsMember(params), data: data ?? null };
    if (options.type !== undefined)
      frame["event_type"] = options.type;
    if (options.echo !== undefined)
      frame["echo"] = options.echo;
    const answer = await this.#calls.start(frame, options);
    const published = { topic: nameIn(answer, event, params) };
    if (typeof answer["position"] === "string")
      published.position = answer["position"];
    return published;
  }
  async presence(event, params, options = {}) {
    checkEvent(event, params);
    this.#wake();
    const frame = { presence: event, ...paramsMember(params) };
    return rosterOf(await this.#calls.start(frame, options, { repeatable: true }), topicName(event, params));
  }
  async history(event, params, options = {}) {
    checkEvent(event, params);
    this.#wake();
    const frame = { history: event, ...paramsMember(params) };
    if (options.after !== undefined)
      frame["after"] = options.after;
    if (options.limit !== undefined)
      frame["limit"] = options.limit;
    return pageOf(await this.#calls.start(frame, options, { repeatable: true }), topicName(event, params));
  }
  /** Ends everything, for good: subscriptions, requests that wait, the connection, all timers. */
  close() {
    if (this.state === "closed")
      return;
    const error = closedError();
    this.#over = error;
    this.#topics.close(error);
    this.#calls.disconnected("the client was closed");
    this.#calls.stop(error);
    this.#session.close();
    this.#listeners.clear();
  }
  /** Connects, if nobody asked for it yet. Refuses where it is over. */
  #wake() {
    if (this.#over !== undefined)
      throw this.#over;
    if (this.state === "idle")
      this.#session.start();
    // Where connecting is hopeless it says so at once.
    if (this.#over !== undefined)
      throw this.#over;
  }
  #received(frame) {
    // Messages have an `id` too: their own.
    if ("event" in frame)
      this.#topics.event(frame);
    // The answer to what was given up meanwhile is nobody's.
    else if (!this.#calls.answered(frame))
      this.#topics.answered(frame);
  }
  #announce(state, detail) {
    for (const listener of [...this.#listeners]) {
      try {
        listener(state, detail);
      }
      catch (thrown) {
        this.#report(thrown);
      }
    }
  }
  #report(error) {
    try {
      this.#onError(error);
    }
    catch (thrown) {
      console.error("quorate: onError itself failed:", thrown);
    }
  }
}
function closedError() {
  return new QuorateError("CANCELLED", "the client was closed", { outcome: "not_applied" });
}
function paramsMember(params) {
  return params === null || params === undefined ? {} : { params };
}
function nameIn(answer, event, params) {
  return typeof answer["topic"] === "string" ? answer["topic"] : topicName(event, params);
}
/** The address of a WebSocket; `http` and paths are understood as they are meant. */
function addressOf(url) {
  const page = globalThis.location?.href;
  let address;
  try {
    address = new URL(url, page);
  }
  catch (thrown) {
    throw new QuorateError("INVALID_ARGUMENT", "url must be an address, or in a browser a path", { cause: thrown });
  }
  address.protocol = address.protocol.replace(/^http/, "ws");
  address.hash = "";
  if (address.protocol !== "ws:" && address.protocol !== "wss:") {
    throw new QuorateError("INVALID_ARGUMENT", `url must begin with wss, ws, https or http, not ${address.protocol}`);
  }
  return address.href;
}
function socketOf(given, address) {
  const Socket = given ?? globalThis.WebSocket;
  if (Socket === undefined) {
    throw new QuorateError("FAILED_PRECONDITION", "this platform has no WebSocket: pass one as the option `WebSocket`");
  }
  return new Socket(address, [SUBPROTOCOL]);
}

export { QuorateClient, QuorateError, canonicalJson, topicName };
