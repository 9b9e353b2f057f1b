// One handler's share in a subscription.

import { QuorateError } from "./errors.js";
import { isLater } from "./topic.js";
import type { Gap, Handler, HistoryPage, Message, Roster, RosterChange, SubscribeOptions, Subscription } from "./types.js";

/** What a feed needs of the subscription it belongs to. */
export interface FeedOwner {
  /** The name that the server gave the subscription, or will. */
  readonly topic: string;
  readonly roster: Roster | undefined;
  /** A page of the topic's history; asked for again when a connection breaks meanwhile. */
  history(options: { after?: string; limit?: number }): Promise<HistoryPage<unknown>>;
  /** The feed was closed by its user. */
  left(feed: Feed): void;
  report(error: unknown): void;
}

/** Where a feed begins. */
export type Start = { readonly after?: string; readonly recent?: number };

/** Messages kept for a feed that is still reading history; beyond, it reads on in the history instead. */
const HELD = 1_000;

/** Messages asked for at once. */
const PAGE = 100;

export class Feed implements Subscription {
  readonly ready: Promise<void>;
  readonly options: SubscribeOptions;
  readonly start: Start;
  /** Whether the server has ever carried it. */
  active = false;
  readonly #handler: Handler<any>;
  readonly #owner: FeedOwner;
  #settleReady!: (error?: QuorateError) => void;
  #position: string | undefined;
  #closed = false;
  /** What arrives while history is read. `undefined`: the feed is live. */
  #held: (Message<unknown> | Gap)[] | undefined;
  #overflowed = false;

  constructor(owner: FeedOwner, handler: Handler<any>, options: SubscribeOptions) {
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
    this.ready.catch(() => {});
  }

  get position(): string | undefined {
    return this.#position;
  }

  get roster(): Roster | undefined {
    return this.options.onPresence === undefined ? undefined : this.#owner.roster;
  }

  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    if (this.#closed) return;
    this.withdrawn(new QuorateError("CANCELLED", "the subscription was closed", { outcome: "not_applied" }));
    this.#owner.left(this);
  }

  /** It ends because its user wants so. */
  withdrawn(error: QuorateError): void {
    this.#closed = true;
    this.#settleReady(error);
  }

  /** The server carries it: `position` is after which message what is new comes. */
  activated(position: string | undefined): void {
    this.active = true;
    // Who asked for older messages is at their end only once they have come.
    const fromNow = this.#held === undefined && this.start.after === undefined && this.start.recent === undefined;
    if (fromNow && position !== undefined && isLater(position, this.#position)) this.#position = position;
    this.#settleReady();
  }

  /** It ends for a reason that is not the user's. */
  ended(error: QuorateError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#settleReady(error);
    const { onEnd } = this.options;
    if (onEnd === undefined) this.#owner.report(error);
    else this.#protected(() => onEnd(error));
  }

  message(message: Message<unknown>, kept: boolean): void {
    if (this.#held === undefined) this.#deliver(message, kept);
    else this.#hold(message);
  }

  gap(gap: Gap): void {
    if (this.#held === undefined) this.#deliverGap(gap);
    else this.#hold(gap);
  }

  presence(roster: Roster, change: RosterChange): void {
    const { onPresence } = this.options;
    if (onPresence !== undefined && !this.#closed) this.#protected(() => onPresence(roster, change));
  }

  /**
   * Reads what it asked for from history, then goes on live: for a feed that joins a subscription which the
   * server makes, or has made, for others. What arrives live meanwhile is held back, and then delivered
   * but for what history had already.
   */
  async catchUp(): Promise<void> {
    this.#held = [];
    this.#overflowed = false;
    let wanted: { after?: string; limit?: number };
    if (this.start.after !== undefined) wanted = { after: this.start.after, limit: PAGE };
    // From now on: only to know where that is.
    else wanted = { limit: this.start.recent ?? 1 };
    let skip = this.start.after === undefined && this.start.recent === undefined;
    try {
      for (;;) {
        const page = await this.#owner.history(wanted);
        if (this.#closed) return;
        if (page.gap !== undefined) this.#deliverGap(page.gap);
        if (!skip) for (const message of page.messages) this.#deliver(message, true);
        skip = false;
        this.#position = page.position ?? this.#position;
        if (page.complete || page.gap !== undefined || wanted.after === undefined) {
          if (!this.#overflowed) break;
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
    } catch (thrown) {
      if (this.#closed) return;
      this.#owner.report(thrown);
      this.#deliverGap({ topic: this.#owner.topic, reason: "history", missed: null });
    }
    this.#release();
  }

  #release(): void {
    // A handler may cause more to arrive: it is taken in order.
    while (this.#held !== undefined && this.#held.length > 0) {
      const next = this.#held.shift()!;
      if ("reason" in next) this.#deliverGap(next);
      else this.#deliver(next, next.meta.position !== undefined);
    }
    this.#held = undefined;
  }

  #hold(event: Message<unknown> | Gap): void {
    if (this.#overflowed) return;
    this.#held!.push(event);
    if (this.#held!.length > HELD) {
      // History has them: it is read until it has no more.
      this.#held = [];
      this.#overflowed = true;
    }
  }

  #deliver(message: Message<unknown>, kept: boolean): void {
    if (this.#closed) return;
    if (kept) {
      const { position } = message.meta;
      if (position !== undefined && this.#position !== undefined && !isLater(position, this.#position)) return;
      this.#position = position ?? this.#position;
    }
    this.#protected(() => this.#handler(message.data, message.meta));
  }

  #deliverGap(gap: Gap): void {
    if (this.#closed) return;
    // Also backwards: what came after that place is another history.
    if (gap.position !== undefined) this.#position = gap.position;
    const { onGap } = this.options;
    if (onGap !== undefined) this.#protected(() => onGap(gap));
  }

  /** What a handler throws hurts nobody else. */
  #protected(call: () => unknown): void {
    try {
      const result = call();
      // An async function was given: what it fails with must not be lost either.
      if (result instanceof Promise) result.catch((thrown: unknown) => this.#owner.report(thrown));
    } catch (thrown) {
      this.#owner.report(thrown);
    }
  }
}
