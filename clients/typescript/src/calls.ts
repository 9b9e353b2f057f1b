// Requests: numbered, bounded, with a time limit, answered at most once.

import { startTimer, type Timer } from "./backoff.js";
import type { Frame } from "./connection.js";
import { errorOf, QuorateError, wrapped } from "./errors.js";
import type { CallOptions } from "./types.js";

/** How a request is treated, besides what its user says. */
export interface CallTraits {
  /** Repeating it does no harm: it is sent again if its connection breaks. */
  repeatable?: boolean;
  /** It is the library's own: it finds room in the queue always. */
  internal?: boolean;
  /** Called with each report of progress. */
  onProgress?: ((progress: any) => void) | undefined;
  /** Called with the answer before any later frame is looked at, which a promise does not promise. */
  onAnswer?: (frame: Frame) => void;
}

interface Call {
  /** The frame without its id and without the first brace. */
  body: string;
  id: number | undefined;
  traits: CallTraits;
  resolve(frame: Frame): void;
  reject(error: QuorateError): void;
  /** Ends timers and listeners. */
  release(): void;
}

/** Sends one text over the present connection. */
export type Send = (text: string) => void;

/** How many are under way at once, where the server does not say. */
const WINDOW = 32;

/** Of what waited for a connection, so many are sent at once; the others follow one by one. */
const BURST = 32;
const PACE = 25;

export class Calls {
  #send: Send | undefined;
  #nextId = 1;
  #window = WINDOW;
  #maxFrame = Infinity;
  #underway = new Map<number, Call>();
  /** What was given up but is not answered yet: to the server it is under way. */
  #forsaken = new Set<number>();
  #queue: Call[] = [];
  /** How many may be sent now; finite only while a backlog is worked off, so as not to be taken for a flood. */
  #credit = Infinity;
  #refill: Timer | undefined;
  readonly #queueLimit: number;
  readonly #timeout: number;
  readonly #report: (error: unknown) => void;

  constructor(queueLimit: number, timeout: number, report: (error: unknown) => void) {
    this.#queueLimit = queueLimit;
    this.#timeout = timeout;
    this.#report = report;
  }

  /** An id that no other frame of this client has, on this connection or an earlier one. */
  nextId(): number {
    return this.#nextId++;
  }

  /** Sends a request now or, without a connection, once there is one. */
  start(frame: Frame, options: CallOptions = {}, traits: CallTraits = {}): Promise<Frame> {
    return new Promise((resolve, reject) => {
      let body: string;
      try {
        body = JSON.stringify(frame).slice(1);
      } catch (thrown) {
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
      const call: Call = { body, id: undefined, traits, resolve, reject, release: () => {} };
      const timeout = options.timeout ?? this.#timeout;
      const timer = startTimer(timeout, () => {
        const message = `no answer within ${timeout} ms`;
        this.#abandon(call, (outcome) => new QuorateError("DEADLINE_EXCEEDED", message, { outcome }));
      });
      const aborted = () => this.#abandon(call, (outcome) => cancelled(signal!, outcome));
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
  connected(send: Send, window: number, maxFrame: number): void {
    this.#send = send;
    this.#window = window;
    this.#maxFrame = maxFrame;
    this.#credit = this.#queue.length > BURST ? BURST : Infinity;
    this.#pump();
  }

  /** The connection broke. What was under way is repeated only where that does no harm. */
  disconnected(why: string): void {
    this.#send = undefined;
    clearTimeout(this.#refill);
    this.#refill = undefined;
    const interrupted = [...this.#underway.values()];
    this.#underway.clear();
    this.#forsaken.clear();
    this.#queue.unshift(...interrupted.filter((call) => call.traits.repeatable));
    for (const call of this.#queue) call.id = undefined;
    for (const call of interrupted.filter((call) => !call.traits.repeatable)) {
      const message = `the connection broke before the answer (${why})`;
      this.#settle(call, () => call.reject(new QuorateError("UNAVAILABLE", message, { outcome: "unknown" })));
    }
  }

  /** Nobody will answer any more. */
  stop(error: QuorateError): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const call of queue) this.#settle(call, () => call.reject(error));
  }

  /** Takes a frame that may be an answer. `false`: it is none, of any request that is waited for. */
  answered(frame: Frame): boolean {
    const call = this.#underway.get(frame["id"] as number);
    if (call === undefined) return this.#forgotten(frame);
    if ("progress" in frame) {
      try {
        call.traits.onProgress?.(frame["progress"]);
      } catch (thrown) {
        this.#report(thrown);
      }
      return true;
    }
    this.#underway.delete(call.id!);
    if (!("error" in frame)) call.traits.onAnswer?.(frame);
    this.#settle(call, () => ("error" in frame ? call.reject(errorOf(frame["error"])) : call.resolve(frame)));
    this.#pump();
    return true;
  }

  /** Takes the answer to what was given up. */
  #forgotten(frame: Frame): boolean {
    const id = frame["id"] as number;
    if (!this.#forsaken.has(id)) return false;
    if (!("progress" in frame)) {
      this.#forsaken.delete(id);
      this.#pump();
    }
    return true;
  }

  get #full(): boolean {
    return this.#underway.size + this.#forsaken.size >= this.#window;
  }

  #hasRoom(): boolean {
    const direct = this.#send !== undefined && this.#queue.length === 0 && !this.#full;
    return direct || this.#queue.length < this.#queueLimit;
  }

  /** Sends what may be sent: no more at once than the server answers, and not too fast. */
  #pump(): void {
    while (this.#send !== undefined && this.#queue.length > 0 && !this.#full) {
      if (this.#credit === 0) {
        this.#refill ??= startTimer(PACE, () => {
          this.#refill = undefined;
          this.#credit += 1;
          this.#pump();
        });
        return;
      }
      const call = this.#queue.shift()!;
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
    if (this.#queue.length === 0) this.#credit = Infinity;
  }

  /** The user gave up, or the time is up. */
  #abandon(call: Call, error: (outcome: "not_applied" | "unknown") => QuorateError): void {
    const sent = call.id !== undefined && this.#underway.delete(call.id);
    if (sent) {
      this.#forsaken.add(call.id!);
      this.#send?.(`{"cancel":${call.id}}`);
    } else this.#queue = this.#queue.filter((queued) => queued !== call);
    this.#settle(call, () => call.reject(error(sent && !call.traits.repeatable ? "unknown" : "not_applied")));
  }

  #settle(call: Call, how: () => void): void {
    call.release();
    how();
  }
}

function cancelled(signal: AbortSignal, outcome: "not_applied" | "unknown"): QuorateError {
  return new QuorateError("CANCELLED", "the request was aborted", { cause: signal.reason, outcome });
}

function tooLong(text: string, limit: number): boolean {
  // A UTF-16 unit takes at most three bytes: most frames need no counting.
  return text.length > limit || (text.length * 3 > limit && new TextEncoder().encode(text).length > limit);
}
