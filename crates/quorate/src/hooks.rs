//! Functions of the user's that are called when something happens.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::Error;
use crate::state::StateChange;
use crate::telemetry;

/// Where an error came from that no caller was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorSource {
    /// A fire-and-forget publish.
    Publish,
    /// A subscription that could not be made or ended in the background.
    Subscribe,
    /// A connection.
    Connection,
    /// A listener returned an error or panicked.
    Listener,
    /// A message could not be decoded, or was refused by its `validate`.
    Decode,
    /// The file of the home, which could not be written.
    File,
    /// A consumer group that could not be asked, or a delivery that could not be settled, in the
    /// background.
    Group,
    /// A cache that could not be asked, or given what was loaded; or a load that failed and whose caller was given an
    /// old value.
    Cache,
    /// What was counted and could not be taken back, or a slot whose lease could not be renewed or given back, in the
    /// background.
    Limit,
    /// A lease that could not be renewed or released in the background.
    Lock,
    /// A durable run whose journal could not be written, or whose inbox could not be read, in the background.
    Durable,
    /// A worker that could not ask for jobs, settle or renew what it has, or be told of it, in the background.
    Queue,
    /// A place on a roster that could not be renewed, taken or given up in the background, or a roster that
    /// could not be read again.
    Presence,
}

impl ErrorSource {
    /// The name used in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Connection => "connection",
            Self::Listener => "listener",
            Self::Decode => "decode",
            Self::File => "file",
            Self::Group => "group",
            Self::Cache => "cache",
            Self::Limit => "limit",
            Self::Lock => "lock",
            Self::Durable => "durable",
            Self::Presence => "presence",
            Self::Queue => "queue",
        }
    }
}

type StateHook = Arc<dyn Fn(&StateChange) + Send + Sync>;
type ErrorHook = Arc<dyn Fn(ErrorSource, &Error) + Send + Sync>;

/// The user's hooks. A hook that panics is isolated: the panic is logged and nothing else happens.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) on_connect: Option<StateHook>,
    pub(crate) on_disconnect: Option<StateHook>,
    pub(crate) on_error: Option<ErrorHook>,
}

impl Hooks {
    /// Tells the hooks about a change of state.
    pub(crate) fn state_changed(&self, change: &StateChange) {
        let hook = match (change.previous.is_connected(), change.new.is_connected()) {
            (false, true) => &self.on_connect,
            (true, false) => &self.on_disconnect,
            _ => return,
        };
        if let Some(hook) = hook {
            isolated(|| hook(change));
        }
    }

    /// Reports an error that no caller is waiting for.
    pub(crate) fn error(&self, source: ErrorSource, error: &Error) {
        metrics::counter!(telemetry::ERRORS, "source" => source.as_str()).increment(1);
        match &self.on_error {
            Some(hook) => isolated(|| hook(source, error)),
            None => tracing::warn!(source = source.as_str(), %error, "error without a caller"),
        }
    }
}

fn isolated(call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!("a hook panicked");
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("on_connect", &self.on_connect.is_some())
            .field("on_disconnect", &self.on_disconnect.is_some())
            .field("on_error", &self.on_error.is_some())
            .finish()
    }
}
