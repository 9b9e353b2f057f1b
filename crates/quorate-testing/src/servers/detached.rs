//! Servers that outlive the process that started them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::wait::wait_until;
use super::{Reply, ServerError, admin};

/// How long a server that was told to end may take.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// A server started with [`ServerBuilder::detached`](super::ServerBuilder::detached), found again by
/// its directory. It need not run.
#[derive(Clone, Debug)]
pub struct Detached {
    dir: PathBuf,
}

impl Detached {
    /// The server that works in `dir`.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        admin::call(&self.socket(), None, &["PING"]).is_ok()
    }

    /// Where to connect, or `None` if it does not run.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        let url = fs::read_to_string(url_file(&self.dir)).ok()?;
        self.is_running().then(|| url.trim().to_owned())
    }

    /// Where its log is.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        log_file(&self.dir)
    }

    /// Tells it to end, and waits until it has. Whether it ran. Blocks.
    ///
    /// # Errors
    ///
    /// [`ServerError::Command`] if it refuses, or has not ended after ten seconds.
    pub fn stop(&self) -> Result<bool, ServerError> {
        let error = |reply: &str| ServerError::Command {
            command: "SHUTDOWN".to_owned(),
            reply: reply.to_owned(),
        };
        if !self.is_running() {
            return Ok(false);
        }
        // It closes the connection instead of answering, unless it refuses.
        if let Ok(Reply::Error(reply)) = admin::call(&self.socket(), None, &["SHUTDOWN", "NOSAVE"])
        {
            return Err(error(&reply));
        }
        if wait_until(STOPPED_WITHIN, || !self.is_running()) {
            Ok(true)
        } else {
            Err(error("it still runs"))
        }
    }

    fn socket(&self) -> PathBuf {
        socket_file(&self.dir)
    }
}

/// Where a server that works in `dir` is talked to by the harness.
pub(super) fn socket_file(dir: &Path) -> PathBuf {
    dir.join("socket")
}

/// Where it writes its log.
pub(super) fn log_file(dir: &Path) -> PathBuf {
    dir.join("log")
}

/// Where its URL is noted down.
pub(super) fn url_file(dir: &Path) -> PathBuf {
    dir.join("url")
}
