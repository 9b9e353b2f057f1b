// Topics by event and parameters, as the server names them. All of it pure functions.

import { QuorateError } from "./errors.js";

/** What JSON can say. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json | undefined };

/**
 * JSON of which there is only one for each value: members sorted at every depth, no blanks, numbers
 * as JavaScript writes them. The same text as the server makes.
 */
export function canonicalJson(value: unknown): string {
  // First as JSON sees it: `undefined` members left out, dates as text, `toJSON` heeded.
  const text = JSON.stringify(value);
  return text === undefined ? "null" : write(JSON.parse(text));
}

function write(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(write).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => compareCodePoints(a, b));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${write(member)}`).join(",")}}`;
}

/** JavaScript sorts by UTF-16 units, which is another order beyond the basic plane. */
function compareCodePoints(a: string, b: string): number {
  const [left, right] = [Array.from(a), Array.from(b)];
  const shared = Math.min(left.length, right.length);
  for (let at = 0; at < shared; at += 1) {
    const difference = left[at]!.codePointAt(0)! - right[at]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/**
 * The full name of a topic: the event, and its parameters as the key. Text as it is, anything else as
 * canonical JSON; `null` and `undefined` are no key.
 */
export function topicName(event: string, params?: unknown): string {
  if (params === null || params === undefined) return event;
  return `${event}:${typeof params === "string" ? params : canonicalJson(params)}`;
}

/** What makes two subscriptions the same. A pattern is never the same as a topic that looks like it. @internal */
export function subscriptionKey(event: string, params?: unknown): string {
  const pattern = (params === null || params === undefined) && /[*?[\\]/.test(event);
  return `${pattern ? "pattern" : "topic"} ${topicName(event, params)}`;
}

/** Refuses what can never be a topic, before anything is sent. @internal */
export function checkEvent(event: unknown, params: unknown): void {
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
export function isLater(a: string | undefined, b: string | undefined): boolean {
  const left = readPosition(a);
  const right = readPosition(b);
  if (left === undefined || right === undefined) return true;
  return left.epoch === right.epoch ? left.offset > right.offset : left.epoch > right.epoch;
}

function readPosition(text: string | undefined): { epoch: bigint; offset: bigint } | undefined {
  const parts = text === undefined ? null : /^([0-9a-f]{1,32})-([0-9]{1,20})-/.exec(text);
  return parts === null ? undefined : { epoch: BigInt(`0x${parts[1]}`), offset: BigInt(parts[2]!) };
}
