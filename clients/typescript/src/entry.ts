// One subscription of this client at the server, shared by all handlers of the same event and parameters.

import { delayOf, startTimer, type Timer } from "./backoff.js";
import type { CallTraits } from "./calls.js";
import type { Frame } from "./connection.js";
import { gapOf, messageOf, rosterAfter, rosterChange, rosterOf } from "./decode.js";
import { errorOf, QuorateError } from "./errors.js";
import { Feed, type FeedOwner } from "./feed.js";
import { topicName } from "./topic.js";
import type { CallOptions, Handler, HistoryPage, Roster, SubscribeOptions } from "./types.js";

/** What an entry needs of the client. */
export interface EntryHost {
  /** Sends a frame with an id over the present connection. `undefined`: there is none. */
  ask(entry: Entry, frame: Frame): number | undefined;
  call(frame: Frame, options: CallOptions, traits: CallTraits): Promise<Frame>;
  /** The server names it so from now on; `undefined`: it has no subscription at the server. */
  named(entry: Entry, topic: string | undefined): void;
  /** Whether another entry has the same name at the server. */
  isShared(entry: Entry): boolean;
  /** It is of no use any more. */
  unused(entry: Entry): void;
  report(error: unknown): void;
}

/**
 * What is under way at the server. There is never more than one request, so answers cannot cross: what is
 * wanted meanwhile is looked at when it is answered.
 */
type Wire = "idle" | "subscribing" | "adding members" | "active" | "unsubscribing";

export class Entry implements FeedOwner {
  readonly key: string;
  readonly #event: string;
  readonly #params: unknown;
  readonly #host: EntryHost;
  readonly #feeds = new Set<Feed>();
  /** Those whose beginning is not that of the subscription. */
  #joining = new Set<Feed>();
  #wire: Wire = "idle";
  #topic: string;
  /** Whether the server has acknowledged it, on this connection or an earlier one. */
  #made = false;
  /** Where a kept topic goes on. */
  #position: string | undefined;
  /** After what it was asked to go on, by the request that is under way. */
  #after: string | undefined;
  /** Whether old messages come over it, which only those get who asked for them. */
  #replays = false;
  #withMembers = false;
  #roster: Roster | undefined;
  #rosterIsCurrent = false;
  #askingForRoster = false;
  #attempt = 0;
  /** Set while it waits to ask the server again. */
  #retry: Timer | undefined;
  /** What handlers that read history wait for. */
  readonly #pauses = new Set<Timer>();

  constructor(key: string, event: string, params: unknown, host: EntryHost) {
    this.key = key;
    this.#event = event;
    this.#params = params ?? null;
    this.#topic = topicName(event, params);
    this.#host = host;
  }

  get topic(): string {
    return this.#topic;
  }

  get roster(): Roster | undefined {
    return this.#roster;
  }

  /** A handler more. */
  add(handler: Handler<any>, options: SubscribeOptions): Feed {
    const feed = new Feed(this, handler, options);
    this.#feeds.add(feed);
    if (this.#wire === "active" || this.#wire === "adding members") {
      // Not before the caller has it in hands.
      queueMicrotask(() => this.#feeds.has(feed) && this.#join(feed));
    } else if (this.#made || this.#wire === "subscribing") {
      this.#joining.add(feed);
    }
    this.sync();
    return feed;
  }

  left(feed: Feed): void {
    this.#feeds.delete(feed);
    this.#joining.delete(feed);
    this.sync();
  }

  report(error: unknown): void {
    this.#host.report(error);
  }

  /** Makes the server's side what is wanted, one step at a time. */
  sync(): void {
    if (this.#wire === "idle") {
      if (this.#feeds.size === 0) this.#dispose();
      else if (this.#retry === undefined) this.#subscribe();
    } else if (this.#wire === "active") {
      if (this.#feeds.size === 0) this.#unsubscribe();
      else if (this.#retry === undefined && !this.#withMembers && this.#wantsMembers()) {
        this.#request("adding members", { subscribe: this.#event, members: true });
      }
    }
  }

  /** The connection broke: the server has forgotten it. */
  disconnected(): void {
    this.#wire = "idle";
    this.#rosterIsCurrent = false;
    this.#askingForRoster = false;
    this.#stopRetry();
    this.#host.named(this, undefined);
    if (this.#feeds.size === 0) this.#dispose();
  }

  /** The server has dropped it, because it had another name there that was unsubscribed. */
  dropped(): void {
    if (this.#wire === "unsubscribing" || this.#wire === "idle") return;
    this.disconnected();
    this.sync();
  }

  /** The client was closed: everybody who has a share in it knows. */
  close(error: QuorateError): void {
    const feeds = [...this.#feeds];
    this.#feeds.clear();
    this.#wire = "idle";
    this.#dispose();
    for (const feed of feeds) feed.withdrawn(error);
  }

  /** It ends for everybody. */
  end(error: QuorateError): void {
    const feeds = [...this.#feeds];
    this.#feeds.clear();
    this.#joining.clear();
    this.#wire = "idle";
    this.#dispose();
    for (const feed of feeds) feed.ended(error);
  }

  /** The answer to what was asked last. */
  answered(frame: Frame): void {
    const asked = this.#wire;
    if (asked === "unsubscribing") this.#forget();
    else if ("error" in frame) this.#refused(errorOf(frame["error"]), asked);
    else if (asked === "subscribing") this.#subscribed(frame);
    else if (asked === "adding members") {
      this.#wire = "active";
      this.#withMembers = true;
      if (!this.#rosterIsCurrent) this.#askForRoster();
    }
    this.sync();
  }

  message(frame: Frame): void {
    if (this.#wire === "unsubscribing" || this.#wire === "idle") return;
    const message = messageOf(frame);
    // Positions of a pattern's messages are those of their own topics.
    const kept = this.#position !== undefined;
    if (kept && message.meta.position !== undefined) this.#position = message.meta.position;
    for (const feed of [...this.#feeds]) feed.message(message, kept);
  }

  gap(frame: Frame): void {
    if (this.#wire === "unsubscribing" || this.#wire === "idle") return;
    const gap = gapOf(frame, this.#topic, "lost");
    if (gap.position !== undefined) this.#position = gap.position;
    for (const feed of [...this.#feeds]) feed.gap(gap);
  }

  undecodable(frame: Frame): void {
    const topic = typeof frame["topic"] === "string" ? frame["topic"] : this.#topic;
    const why = typeof frame["error"] === "string" ? frame["error"] : "the server does not say why";
    this.report(new QuorateError("INTERNAL", `a message of \`${topic}\` cannot be read: ${why}`));
  }

  presence(frame: Frame): void {
    if (this.#wire === "unsubscribing" || this.#wire === "idle") return;
    const known = this.#rosterIsCurrent ? this.#roster : undefined;
    const roster = rosterAfter(known, frame, this.#topic);
    if (roster === undefined) this.#askForRoster();
    else this.#setRoster(roster);
  }

  /** The server ended it. */
  endedByServer(reason: string): void {
    if (this.#wire === "unsubscribing" || this.#wire === "idle") return;
    this.end(new QuorateError("FAILED_PRECONDITION", `the server ended the subscription to \`${this.#topic}\`: ${reason}`));
  }

  async history(options: { after?: string; limit?: number }): Promise<HistoryPage<unknown>> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const frame = { history: this.#event, ...this.#paramsMember(), ...options };
        return pageOf(await this.#host.call(frame, { timeout: Infinity }, HARMLESS), this.#topic);
      } catch (thrown) {
        if (!(thrown instanceof QuorateError) || !thrown.retryable) throw thrown;
        const delay = thrown.retryAfter ?? delayOf(attempt);
        await new Promise<void>((resolve) => this.#pause(delay, resolve));
      }
    }
  }

  #subscribe(): void {
    const frame: Frame = { subscribe: this.#event };
    this.#replays = false;
    if (this.#made) {
      if (this.#position !== undefined) frame["after"] = this.#position;
    } else {
      const starts = new Set([...this.#feeds].map((feed) => JSON.stringify(feed.start)));
      if (starts.size === 1) {
        const [feed] = this.#feeds;
        Object.assign(frame, feed!.start);
        this.#replays = Object.keys(feed!.start).length > 0;
        this.#joining.clear();
      } else {
        // They begin at different places: the subscription begins now, and each reads its own past.
        this.#joining = new Set([...this.#feeds].filter((feed) => Object.keys(feed.start).length > 0));
      }
    }
    if (this.#wantsMembers()) frame["members"] = true;
    this.#after = frame["after"] as string | undefined;
    this.#withMembers = frame["members"] === true;
    this.#request("subscribing", frame);
    // Should its frames come before the answer, they find it by the name it probably has.
    if (this.#wire === "subscribing") this.#host.named(this, this.#topic);
  }

  #unsubscribe(): void {
    // Other parameters turned out to mean the same to the server: they still need it.
    if (this.#host.isShared(this)) {
      this.#forget();
      this.#dispose();
    } else {
      this.#request("unsubscribing", { unsubscribe: this.#event });
    }
  }

  #subscribed(frame: Frame): void {
    const again = this.#made;
    this.#wire = "active";
    this.#made = true;
    this.#attempt = 0;
    if (typeof frame["topic"] === "string") this.#topic = frame["topic"];
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
      if (interrupted) feed.gap(gapOf(position === undefined ? {} : { position }, this.#topic, "reconnected"));
    }
  }

  /** A feed comes to a subscription that is there already. */
  #join(feed: Feed): void {
    const reads = Object.keys(feed.start).length > 0 || this.#replays;
    const kept = this.#position !== undefined;
    if (reads && kept) void feed.catchUp();
    feed.activated(this.#position);
    if (feed.start.after !== undefined && !kept) feed.gap(gapOf({}, this.#topic, "history"));
    if (this.#roster !== undefined && this.#rosterIsCurrent) {
      feed.presence(this.#roster, rosterChange(undefined, this.#roster));
    }
  }

  #refused(error: QuorateError, asked: Wire): void {
    if (asked === "adding members" && !error.retryable) {
      // The messages go on; only presence is not to be had.
      this.#wire = "active";
      this.#withMembers = true;
      for (const feed of [...this.#feeds].filter((feed) => feed.options.onPresence !== undefined)) {
        this.#feeds.delete(feed);
        feed.ended(error);
      }
    } else if (error.retryable) {
      this.#wire = asked === "adding members" ? "active" : "idle";
      this.report(error);
      this.#retry = startTimer(error.retryAfter ?? delayOf(this.#attempt++), () => {
        this.#retry = undefined;
        this.sync();
      });
    } else {
      this.end(error);
    }
  }

  #setRoster(roster: Roster): void {
    const before = this.#roster;
    const change = rosterChange(before, roster);
    this.#roster = roster;
    this.#rosterIsCurrent = true;
    const same = before !== undefined && before.count === roster.count && (before.members === null) === (roster.members === null);
    if (same && change.joined.length === 0 && change.left.length === 0) return;
    for (const feed of [...this.#feeds]) feed.presence(roster, change);
  }

  /** Asks for the whole roster, because what is known does not go with what was said. */
  #askForRoster(): void {
    this.#rosterIsCurrent = false;
    if (this.#askingForRoster) return;
    this.#askingForRoster = true;
    const frame = { presence: this.#event, ...this.#paramsMember() };
    const onAnswer = (answer: Frame) => {
      this.#askingForRoster = false;
      if (this.#wire !== "idle") this.#setRoster(rosterOf(answer, this.#topic));
    };
    this.#host.call(frame, {}, { internal: true, onAnswer }).catch((error: unknown) => {
      // A new connection brings a new roster by itself.
      if (!this.#askingForRoster) return;
      this.#askingForRoster = false;
      this.report(error);
    });
  }

  #wantsMembers(): boolean {
    return [...this.#feeds].some((feed) => feed.options.onPresence !== undefined);
  }

  #paramsMember(): { params?: unknown } {
    return this.#params === null ? {} : { params: this.#params };
  }

  #request(wire: Wire, frame: Frame): void {
    const { subscribe, unsubscribe, ...rest } = frame;
    const verb = subscribe === undefined ? { unsubscribe } : { subscribe };
    const asked = this.#host.ask(this, { ...verb, ...this.#paramsMember(), ...rest });
    if (asked !== undefined) this.#wire = wire;
  }

  /** The server has it no more: whoever comes next begins anew. */
  #forget(): void {
    this.#wire = "idle";
    this.#made = false;
    this.#position = undefined;
    this.#roster = undefined;
    this.#rosterIsCurrent = false;
    this.#joining.clear();
    this.#host.named(this, undefined);
  }

  #pause(delay: number, then: () => void): void {
    const timer = startTimer(delay, () => {
      this.#pauses.delete(timer!);
      then();
    });
    if (timer !== undefined) this.#pauses.add(timer);
  }

  #stopRetry(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
  }

  #dispose(): void {
    this.#stopRetry();
    for (const timer of this.#pauses) clearTimeout(timer);
    this.#pauses.clear();
    this.#host.named(this, undefined);
    this.#host.unused(this);
  }
}

const HARMLESS: CallTraits = { repeatable: true, internal: true };

/** Reads the answer to a question for history. */
export function pageOf(frame: Frame, topic: string): HistoryPage<unknown> {
  const messages = Array.isArray(frame["messages"]) ? (frame["messages"] as Frame[]).map(messageOf) : [];
  const name = typeof frame["topic"] === "string" ? frame["topic"] : topic;
  const gap = typeof frame["gap"] === "object" && frame["gap"] !== null ? gapOf(frame["gap"] as Frame, name, "history") : undefined;
  const position = typeof frame["position"] === "string" ? frame["position"] : gap?.position;
  const page: HistoryPage<unknown> = { topic: name, messages, complete: frame["complete"] === true };
  if (position !== undefined) page.position = position;
  if (gap !== undefined) page.gap = gap;
  return page;
}
