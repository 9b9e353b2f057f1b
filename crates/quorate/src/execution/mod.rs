//! Executions: what a replay engine of your own keeps of functions that continue where they stopped.
//!
//! An execution has tasks, and each task has one result, which is stored once. Every call is one transition at one
//! moment of the home, so that of many who begin a task at once one does, and nothing is between *in progress* and
//! *done*.

mod abandon;
mod begin_task;
mod call_id;
mod handle;
mod memory;
mod port;
#[cfg(feature = "redis")]
mod redis;
mod results;
mod state;

pub use abandon::AbandonTask;
pub use begin_task::BeginTask;
pub use call_id::CallId;
pub use handle::Executions;
pub(crate) use handle::SharedExecutions;
pub(crate) use memory::MemoryExecutions;
pub use port::ExecutionPort;
#[cfg(feature = "redis")]
pub(crate) use redis::RedisExecutions;
pub use results::TaskResults;
pub(crate) use state::Execution;
pub use state::{
    Begun, Committed, Full, MAX_RESULT_BYTES, MAX_RESULTS_BYTES, MAX_TASKS, TaskBegun,
};
