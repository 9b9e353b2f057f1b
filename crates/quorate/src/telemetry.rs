//! Names of metrics and spans. They are API: renaming one is a breaking change.
//!
//! `docs/telemetry.md` describes each. Metrics go through the [`metrics`] facade: install a recorder
//! before the first fleet is made.

/// Counter of finished operations, by `capability`, `operation` and `result`.
pub const OPERATIONS: &str = "quorate_operations_total";
/// Histogram of operation latency in seconds, by `capability` and `operation`.
pub const OPERATION_SECONDS: &str = "quorate_operation_seconds";
/// Gauge of operations under way, by `capability`.
pub const IN_FLIGHT: &str = "quorate_operations_in_flight";
/// Counter of attempts beyond the first, by `capability` and `operation`.
pub const RETRIES: &str = "quorate_retries_total";
/// Counter of connections made again after a loss.
pub const RECONNECTS: &str = "quorate_reconnects_total";
/// Gauge that is 1 for the connection's present `state` and 0 for every other.
pub const CONNECTION_STATE: &str = "quorate_connection_state";
/// Counter of messages handed to the transport.
pub const PUBLISHED: &str = "quorate_events_published_total";
/// Counter of messages put into subscriptions' buffers.
pub const DELIVERED: &str = "quorate_events_delivered_total";
/// Counter of messages dropped because a subscription's buffer was full.
pub const DROPPED: &str = "quorate_events_dropped_total";
/// Counter of gaps, by `reason`.
pub const GAPS: &str = "quorate_events_gaps_total";
/// Counter of reads by which subscriptions of kept topics refilled what they missed, by `result`
/// (`complete`, or `lost` where it is no longer kept).
pub const REFILLS: &str = "quorate_events_refills_total";
/// Counter of messages that could not be decoded.
pub const UNDECODABLE: &str = "quorate_events_undecodable_total";
/// Counter of messages that consumer groups handed out, by `attempt` (`first` or `again`).
pub const GROUP_DELIVERIES: &str = "quorate_events_group_deliveries_total";
/// Counter of what became of them, by `result` (`acknowledged`, `extended`, `retried`, `returned`, or
/// `stale` where another consumer had it since).
pub const GROUP_SETTLEMENTS: &str = "quorate_events_group_settlements_total";
/// Gauge of local subscriptions.
pub const SUBSCRIPTIONS: &str = "quorate_events_subscriptions";
/// Counter of calls to `on_error`, by `source`.
pub const ERRORS: &str = "quorate_errors_total";
/// Counter of reads of caches, by `cache` and `kind` (`hit`, `stale`, `loaded`, `followed`, `miss`).
pub const CACHE_READS: &str = "quorate_cache_reads_total";
/// Counter of cached values that did not decode, by `cache`: each is a miss.
pub const CACHE_UNDECODABLE: &str = "quorate_cache_undecodable_total";
/// Counter of values that were not cached because they are too large, by `cache`.
pub const CACHE_OVERSIZED: &str = "quorate_cache_oversized_total";
/// Counter of decisions of limiters, by `limiter` and `result` (`allowed`, `denied`, `shadow` where a limiter in shadow mode
/// would have denied, and `open` or `share` where the home could not be asked).
pub const LIMIT_DECISIONS: &str = "quorate_limit_decisions_total";
/// Gauge of lock guards held by this process.
pub const LOCKS_HELD: &str = "quorate_locks_held";
/// Counter of leases lost before they were released.
pub const LOCKS_LOST: &str = "quorate_locks_lost_total";
/// Gauge of members that this process has on rosters.
pub const PRESENCE_MEMBERS: &str = "quorate_presence_members";
/// Counter of deliveries of jobs that are over, by `queue` and `result` (`succeeded`, `failed`, `deferred`, `dead`, `cancelled`, or `lost` where
/// the lease ended before the handler did).
pub const QUEUE_JOBS: &str = "quorate_queue_jobs_total";
/// Histogram of how long handlers ran, in seconds, by `queue`.
pub const QUEUE_JOB_SECONDS: &str = "quorate_queue_job_seconds";
/// Counter of times an instance found its lease on a roster ended, and joined again.
pub const PRESENCE_REJOINED: &str = "quorate_presence_rejoined_total";
/// Counter of rosters read again by a watch, because changes may have been missing.
pub const PRESENCE_RESYNCS: &str = "quorate_presence_resyncs_total";
