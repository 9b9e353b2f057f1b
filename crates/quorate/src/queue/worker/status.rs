//! How a worker does.

/// How a worker does, for [`Worker::status`](super::Worker::status).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WorkerStatus {
    /// It has not asked for work yet.
    #[default]
    Starting,
    /// It takes what there is.
    Running,
    /// Its queue cannot be asked at present. It goes on trying, and what it has goes on.
    Degraded,
    /// It takes nothing more, and what it has may end.
    Draining,
    /// It has nothing any more.
    Stopped,
}
