//! `quorate lock list`, `show` and `force-release`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::TryStreamExt;
use quorate::FencingToken;
use quorate::lock::{LockRef, LockStatus};
use serde_json::{Value, json};

use super::close;
use crate::cli::backend::BackendArgs;
use crate::failure::Failure;
use crate::lock_kind::Kind;

/// There is nobody to take the lock away from.
const NOBODY: u8 = 4;

/// Print the locks that are held or waited for as JSON, one in a line. Looks at every key of the server's database.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// What their names begin with.
    #[arg(default_value = "")]
    prefix: String,
    /// Only of this kind.
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Also those that nobody has or wants, but did within the last day.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Print who holds a lock and who waits for it, as JSON.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    /// The lock.
    name: String,
    /// Which lock of that name.
    #[arg(long, value_enum, default_value_t)]
    kind: Kind,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Take a lock away from whoever holds it, and print from whom. Who waits for it gets it.
///
/// Who held it learns of it at once, but may be at work until then: what the lock protects has to refuse its fencing token.
/// Exit codes: 0 it was taken away; 4 nobody held it, or not the holder that was meant.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ForceRelease {
    /// The lock.
    name: String,
    /// Which lock of that name.
    #[arg(long, value_enum, default_value_t)]
    kind: Kind,
    /// Only from the holder with this fencing token, as `show` prints it, and from nobody who got the lock since.
    #[arg(long, value_name = "TOKEN")]
    fencing_token: Option<u64>,
    #[command(flatten)]
    backend: BackendArgs,
}

impl List {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let fleet = self.backend.connect().await?;
        let mut locks = fleet.locks().scan(&self.prefix);
        while let Some(lock) = locks.try_next().await? {
            let Some(kind) = Kind::from_library(lock.kind()) else {
                continue;
            };
            if self.kind.is_some_and(|it| it != kind) {
                continue;
            }
            let status = lock.status().await?;
            let in_use = status.waiting > 0 || !status.holders.is_empty();
            if (self.all || in_use) && !print(&document(kind, &lock, &status)) {
                break;
            }
        }
        close(&fleet).await;
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let fleet = self.backend.connect().await?;
        let lock = fleet.locks().of(self.kind.of_library(), &self.name);
        let status = lock.status().await?;
        print(&document(self.kind, &lock, &status));
        close(&fleet).await;
        Ok(ExitCode::SUCCESS)
    }
}

/// `false`: whoever read our output has left, and there is nobody to go on for.
fn print(document: &Value) -> bool {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{document}");
    written.and_then(|()| out.flush()).is_ok()
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

fn document(kind: Kind, lock: &LockRef, status: &LockStatus) -> Value {
    let holders = status.holders.iter().map(|it| {
        json!({
            "fencing_token": it.token.get(),
            "owner": it.owner,
            "weight": it.weight,
            "held_for_ms": millis(it.held_for),
            "remaining_ms": millis(it.remaining),
        })
    });
    let waiters = status.waiters.iter().map(|it| {
        json!({
            "owner": it.owner,
            "weight": it.weight,
            "waiting_for_ms": millis(it.waiting_for),
        })
    });
    json!({
        "name": lock.name(),
        "kind": kind,
        "holders": holders.collect::<Vec<_>>(),
        "waiters": waiters.collect::<Vec<_>>(),
        "waiting": status.waiting,
    })
}

impl ForceRelease {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let fleet = self.backend.connect().await?;
        let lock = fleet.locks().of(self.kind.of_library(), &self.name);
        let tokens: Vec<u64> = match self.fencing_token {
            Some(token) => {
                let forced = lock.force_release_token(FencingToken::new(token)).await?;
                forced.then_some(token).into_iter().collect()
            }
            None => {
                let forced = lock.force_release().await?;
                forced.into_iter().map(FencingToken::get).collect()
            }
        };
        print(&json!({ "fencing_tokens": tokens }));
        close(&fleet).await;
        Ok(if tokens.is_empty() {
            ExitCode::from(NOBODY)
        } else {
            ExitCode::SUCCESS
        })
    }
}
