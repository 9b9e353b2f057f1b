// When to try again. Pure functions, but for drawing a number.

/** How long to wait between attempts. */
export interface Backoff {
  /** Before the first repetition, in milliseconds. Default 300. */
  initial?: number;
  /** By how much each wait is longer than the one before. Default 2. */
  factor?: number;
  /** The longest wait, in milliseconds. Default 30 000. */
  max?: number;
}

/**
 * How long to wait before attempt number `attempt` (from 0), in milliseconds: uniform in [d/2, d], where d
 * grows by `factor` from `initial` to `max`.
 *
 * @internal
 */
export function delayOf(attempt: number, backoff: Backoff = {}, random: () => number = Math.random): number {
  const { initial = 300, factor = 2, max = 30_000 } = backoff;
  const longest = Math.min(max, initial * factor ** Math.min(attempt, 64));
  return longest / 2 + (random() * longest) / 2;
}

/** Timers take no more than this; longer ones would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** @internal */
export type Timer = ReturnType<typeof setTimeout>;

/** A timer for any time; what is too long for a timer never fires, which is some 25 days away. @internal */
export function startTimer(milliseconds: number, then: () => void): Timer | undefined {
  return milliseconds > LONGEST_TIMER ? undefined : setTimeout(then, Math.max(0, milliseconds));
}
