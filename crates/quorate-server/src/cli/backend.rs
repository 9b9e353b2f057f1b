//! Where commands other than `serve` find the fleet.

use quorate::{Fleet, Secret};

use crate::config::display_backend;
use crate::failure::Failure;

/// Which fleet to work with.
#[derive(Debug, clap::Args)]
pub(super) struct BackendArgs {
    /// Where the fleet keeps its state, such as redis://localhost; else QUORATE_BACKEND says it. A URL
    /// with a password is better given there: other users of this machine can see a command line.
    #[arg(long, value_name = "URL")]
    backend: Option<String>,
    /// Prefix of all keys and channels; `quorate` unless the URL says otherwise.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
}

impl BackendArgs {
    /// Connects, as the service `quorate-cli`.
    pub(super) async fn connect(self) -> Result<Fleet, Failure> {
        let url = self.url()?;
        let shown = display_backend(&url);
        let mut builder = Fleet::builder().url(url).service("quorate-cli");
        if let Some(namespace) = self.namespace {
            builder = builder.namespace(namespace);
        }
        tracing::debug!(backend = shown, "connecting");
        Ok(builder.build().await?)
    }

    fn url(&self) -> Result<Secret, Failure> {
        let url = self
            .backend
            .clone()
            .or_else(|| std::env::var("QUORATE_BACKEND").ok())
            .filter(|url| !url.is_empty())
            .ok_or_else(|| {
                Failure::usage("backend must be given: --backend redis://… or QUORATE_BACKEND")
            })?;
        if url.starts_with("memory:") {
            return Err(Failure::usage(
                "backend must be a server: a home in this process is seen by nobody else",
            ));
        }
        Ok(url.into())
    }
}
