//! Durable runs: functions that continue where they stopped.
//!
//! A function does its work through a [`Cx`]: whatever it does there is written into the journal of its run before it goes on. When the
//! process dies, or the function waits for long, another process leads it through what is written down, to where it stopped, and it goes
//! on from there. A run is a job of the queue of its [`Workflow`]; its journal and its inbox are beside it.

mod activity;
mod child;
mod cx;
mod drive;
mod entry;
mod failure;
mod handle;
mod history;
mod inbox;
mod map;
mod message;
mod operate;
mod path;
mod replay;
mod running;
mod saga;
mod scope;
mod setup;
mod signal;
mod start;
mod step;
mod workflow;
mod writer;

pub use child::Child;
pub use cx::Cx;
pub use failure::{Failure, FailureKind, RunFailure};
pub use futures_util::future::Either;
pub use handle::{RunHandle, RunResult, RunState};
pub use history::{RunCounts, RunHistory, RunSummary, Written};
pub use map::Map;
pub use operate::{RunPage, RunPlace};
pub use path::MAX_STEP_NAME;
pub use saga::Undo;
pub use setup::{DurableBuilder, DurableRuns};
pub use signal::{Receive, Signal};
pub use start::StartRun;
pub use step::{MAX_STEP_VALUE, Step, StepContext};
pub use workflow::{MAX_RUN_ID, Workflow};
