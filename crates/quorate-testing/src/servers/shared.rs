//! One server per process and kind, for the many tests that only need a namespace.

use std::env;
use std::sync::{Arc, OnceLock};

use super::process::on_blocking_thread;
use super::{Server, ServerError, ServerKind};

/// A server that tests share. Cheap to clone.
///
/// Nobody may kill, pause, flush or reconfigure it: start a [`Server`] for that.
#[derive(Clone, Debug)]
pub struct Shared {
    kind: ServerKind,
    url: Arc<str>,
}

impl Shared {
    /// Where to connect.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What kind of server it is.
    #[must_use]
    pub const fn kind(&self) -> ServerKind {
        self.kind
    }
}

/// The server of this kind that the tests of this process share: the one that the environment names
/// (`QUORATE_TEST_REDIS_URL`, `QUORATE_TEST_VALKEY_URL`, `QUORATE_TEST_CLUSTER_URL`, as set by
/// `cargo xtask test`), else one that is started by the first call and dies with the process.
///
/// # Errors
///
/// As [`ServerBuilder::start_blocking`](super::ServerBuilder::start_blocking). A failure is
/// remembered: it is not tried anew for every test.
///
/// # Cancel safety
///
/// If the future is dropped the server is started all the same, for the next call.
pub async fn shared(kind: ServerKind) -> Result<Shared, ServerError> {
    if let Ok(url) = env::var(kind.url_variable()) {
        return Ok(Shared {
            kind,
            url: url.into(),
        });
    }
    on_blocking_thread(move || match started(kind) {
        Ok(server) => Ok(Shared {
            kind,
            url: server.url().into(),
        }),
        Err(error) => Err(ServerError::Earlier(Arc::clone(error))),
    })
    .await
}

/// The server of this process. Blocks while it starts.
///
/// Never dropped; its watchdog ends it with the process.
fn started(kind: ServerKind) -> &'static Result<Server, Arc<ServerError>> {
    static REDIS: OnceLock<Result<Server, Arc<ServerError>>> = OnceLock::new();
    static VALKEY: OnceLock<Result<Server, Arc<ServerError>>> = OnceLock::new();
    static CLUSTER: OnceLock<Result<Server, Arc<ServerError>>> = OnceLock::new();
    let slot = match kind {
        ServerKind::Redis => &REDIS,
        ServerKind::Valkey => &VALKEY,
        ServerKind::RedisCluster => &CLUSTER,
    };
    slot.get_or_init(|| Server::builder(kind).start_blocking().map_err(Arc::new))
}
