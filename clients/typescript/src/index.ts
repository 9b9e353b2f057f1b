// What the package exports. The files are put together in dependency order by scripts/build.mjs.

export { QuorateClient } from "./client.js";
export { QuorateError, type ErrorCode, type ErrorParts, type Outcome } from "./errors.js";
export { canonicalJson, topicName, type Json } from "./topic.js";
export type { Backoff } from "./backoff.js";
export type * from "./types.js";
