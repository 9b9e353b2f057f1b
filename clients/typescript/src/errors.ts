// What can go wrong, as one type.

/** What kind of failure it is. The same codes as the server's; see docs/protocol.md. */
export type ErrorCode =
  | "INVALID_ARGUMENT"
  | "UNAUTHENTICATED"
  | "PERMISSION_DENIED"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "ABORTED"
  | "FAILED_PRECONDITION"
  | "UNIMPLEMENTED"
  | "RESOURCE_EXHAUSTED"
  | "UNAVAILABLE"
  | "DEADLINE_EXCEEDED"
  | "CANCELLED"
  | "INTERNAL";

/** Whether what failed can have had an effect. */
export type Outcome = "not_applied" | "unknown";

/** The codes with which a server says that it did nothing. */
const NOT_APPLIED: ReadonlySet<string> = new Set<ErrorCode>([
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

const RETRYABLE: ReadonlySet<string> = new Set<ErrorCode>([
  "ABORTED",
  "RESOURCE_EXHAUSTED",
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
]);

/** What a {@link QuorateError} is made of. */
export interface ErrorParts {
  retryable?: boolean;
  retryAfter?: number;
  details?: unknown;
  outcome?: Outcome;
  cause?: unknown;
}

/** The one error of this library. */
export class QuorateError extends Error {
  override readonly name = "QuorateError";
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

  constructor(code: ErrorCode, message: string, parts: ErrorParts = {}) {
    super(message, parts.cause === undefined ? undefined : { cause: parts.cause });
    this.code = code;
    this.retryable = parts.retryable ?? RETRYABLE.has(code);
    this.retryAfter = parts.retryAfter;
    this.details = parts.details;
    this.outcome = parts.outcome ?? (NOT_APPLIED.has(code) ? "not_applied" : "unknown");
  }
}

/** Reads the `error` of a frame. What is missing or strange in it makes an INTERNAL error, never none. @internal */
export function errorOf(value: unknown): QuorateError {
  const error = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const code = typeof error["code"] === "string" ? (error["code"] as ErrorCode) : "INTERNAL";
  const message = typeof error["message"] === "string" ? error["message"] : "the server gave no reason";
  const parts: ErrorParts = { details: error["details"] };
  if (typeof error["retryable"] === "boolean") parts.retryable = error["retryable"];
  if (typeof error["retry_after_ms"] === "number") parts.retryAfter = error["retry_after_ms"];
  if (error["outcome"] === "unknown" || error["outcome"] === "not_applied") parts.outcome = error["outcome"];
  return new QuorateError(code, message, parts);
}

/** Whatever was thrown, as an error of this library. @internal */
export function wrapped(thrown: unknown, code: ErrorCode, doing: string, outcome: Outcome): QuorateError {
  if (thrown instanceof QuorateError) return thrown;
  const said = thrown instanceof Error ? thrown.message : String(thrown);
  return new QuorateError(code, `${doing}: ${said}`, { cause: thrown, outcome });
}
