//! What the keys of a queue are called.

use super::super::job::JobId;
use crate::key::Key;

/// What the keys of a queue are called behind its name, in the order of `library.lua` and `unique.lua`.
pub(super) const KEYS: [&str; 16] = [
    "",
    ":jobs",
    ":ready",
    ":due",
    ":active",
    ":ended",
    ":results",
    ":tries",
    ":tags",
    ":parked",
    ":cancelled",
    ":awaited",
    ":dead",
    ":unique",
    ":unique-until",
    ":notes",
];

/// The same of what it has for others, in the order of `outbox.lua`.
pub(super) const OUTBOX: [&str; 3] = [":effects", ":outbox", ":groups"];
/// The same of what is counted for limits, in the order of `limits.lua`.
pub(super) const LIMITS: [&str; 4] = [":aside", ":counted", ":begun", ":looks"];
/// The same of groups that are over, in the order of `bring.lua`.
pub(super) const UNTOLD: [&str; 2] = [":untold", ":telling"];

/// The keys of a group of a queue, in the order of `groups.lua`.
pub(super) fn group_keys(queue: &Key, group: JobId) -> [String; 2] {
    ["group", "members"].map(|kind| queue.unit("queue", &format!(":{kind}:{group}")))
}

/// The key of the journal of a job.
pub(super) fn journal_key(queue: &Key, id: JobId) -> String {
    queue.unit("queue", &format!(":journal:{id}"))
}

/// The keys of the journal and the inbox of a job.
pub(super) fn journal_keys(queue: &Key, id: JobId) -> Vec<String> {
    vec![
        journal_key(queue, id),
        queue.unit("queue", &format!(":inbox:{id}")),
    ]
}

/// The keys of what is counted for the limits of a queue.
pub(super) fn limit_keys(queue: &Key) -> Vec<String> {
    LIMITS.map(|rest| queue.unit("queue", rest)).to_vec()
}
