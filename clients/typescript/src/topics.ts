// All subscriptions of a client.

import type { Frame } from "./connection.js";
import { Entry, type EntryHost } from "./entry.js";
import { QuorateError } from "./errors.js";
import { subscriptionKey } from "./topic.js";
import type { Handler, SubscribeOptions, Subscription } from "./types.js";

/** What subscriptions need of the client. */
export interface TopicsHost {
  nextId(): number;
  /** Sends a text over the present connection. `false`: there is none. */
  send(text: string): boolean;
  call: EntryHost["call"];
  report(error: unknown): void;
}

export class Topics implements EntryHost {
  readonly #host: TopicsHost;
  readonly #entries = new Map<string, Entry>();
  /** By the names that the server gave. */
  readonly #byTopic = new Map<string, Set<Entry>>();
  readonly #topicOf = new Map<Entry, string>();
  /** Who waits for the answer with this id. */
  readonly #asked = new Map<number, { entry: Entry; unsubscribes: boolean }>();
  readonly call: EntryHost["call"];

  constructor(host: TopicsHost) {
    this.#host = host;
    this.call = host.call;
  }

  add(event: string, params: unknown, handler: Handler<any>, options: SubscribeOptions): Subscription {
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

  connected(): void {
    for (const entry of [...this.#entries.values()]) entry.sync();
  }

  disconnected(): void {
    this.#asked.clear();
    for (const entry of [...this.#entries.values()]) entry.disconnected();
  }

  /** Everything ends. */
  close(error: QuorateError): void {
    for (const entry of [...this.#entries.values()]) entry.close(error);
    this.#asked.clear();
  }

  /** Takes a frame that may be an answer. `false`: it is none to anything asked here. */
  answered(frame: Frame): boolean {
    const id = frame["id"] as number;
    const asked = this.#asked.get(id);
    if (asked === undefined) return false;
    this.#asked.delete(id);
    const others = asked.unsubscribes ? this.#othersOf(asked.entry) : [];
    asked.entry.answered(frame);
    for (const other of others) other.dropped();
    return true;
  }

  /** Takes an event. One that is not known, or of a topic that nobody here wants, is skipped. */
  event(frame: Frame): void {
    const name = typeof frame["subscription"] === "string" ? frame["subscription"] : frame["topic"];
    for (const entry of [...(this.#byTopic.get(name as string) ?? [])]) {
      if (frame["event"] === "message") entry.message(frame);
      else if (frame["event"] === "gap") entry.gap(frame);
      else if (frame["event"] === "presence") entry.presence(frame);
      else if (frame["event"] === "undecodable") entry.undecodable(frame);
      else if (frame["event"] === "unsubscribed") entry.endedByServer(String(frame["reason"] ?? "it gave no reason"));
    }
  }

  ask(entry: Entry, frame: Frame): number | undefined {
    const id = this.#host.nextId();
    this.#asked.set(id, { entry, unsubscribes: "unsubscribe" in frame });
    if (this.#host.send(JSON.stringify({ id, ...frame }))) return id;
    this.#asked.delete(id);
    return undefined;
  }

  named(entry: Entry, topic: string | undefined): void {
    const before = this.#topicOf.get(entry);
    if (before !== undefined) {
      const sharing = this.#byTopic.get(before);
      sharing?.delete(entry);
      if (sharing?.size === 0) this.#byTopic.delete(before);
      this.#topicOf.delete(entry);
    }
    if (topic === undefined) return;
    this.#topicOf.set(entry, topic);
    const sharing = this.#byTopic.get(topic);
    if (sharing === undefined) this.#byTopic.set(topic, new Set([entry]));
    else sharing.add(entry);
  }

  isShared(entry: Entry): boolean {
    return this.#othersOf(entry).length > 0;
  }

  unused(entry: Entry): void {
    if (this.#entries.get(entry.key) === entry) this.#entries.delete(entry.key);
  }

  report(error: unknown): void {
    this.#host.report(error);
  }

  #othersOf(entry: Entry): Entry[] {
    const topic = this.#topicOf.get(entry);
    const sharing = topic === undefined ? undefined : this.#byTopic.get(topic);
    return [...(sharing ?? [])].filter((other) => other !== entry);
  }
}
