//! `quorate session`.

use std::process::ExitCode;

use quorate::{Fleet, SessionHandle, Sessions};

use super::backend::BackendArgs;
use crate::api::SessionView;
use crate::config::SESSION_KEY;
use crate::failure::Failure;

/// There is no such session.
const NOT_THERE: u8 = 4;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    List(List),
    Revoke(Revoke),
}

/// Print the sessions of a user as JSON, one in a line, newest first.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// The user.
    user: String,
    #[command(flatten)]
    backend: BackendArgs,
}

/// End a session, or all of a user, on every instance.
#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    /// The session's handle, as `list` prints it.
    #[arg(required_unless_present = "user", conflicts_with = "user")]
    handle: Option<String>,
    /// All sessions of this user.
    #[arg(long)]
    user: Option<String>,
    /// But this one: its handle.
    #[arg(long, value_name = "HANDLE", requires = "user")]
    keep: Option<String>,
    #[command(flatten)]
    backend: BackendArgs,
}

pub(super) async fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::List(args) => args.run().await,
        Command::Revoke(args) => args.run().await,
    }
}

async fn open(backend: BackendArgs) -> Result<(Fleet, Sessions), Failure> {
    let fleet = backend.connect().await?;
    let mut sessions = fleet.sessions();
    if let Some(key) = std::env::var(SESSION_KEY)
        .ok()
        .filter(|key| !key.is_empty())
    {
        sessions = sessions.partition_key(key);
    }
    Ok((fleet, sessions))
}

fn handle(text: &str) -> Result<SessionHandle, Failure> {
    SessionHandle::parse(text).ok_or_else(|| {
        Failure::usage("handle must be that of a session, as `session list` prints it")
    })
}

impl List {
    async fn run(self) -> Result<ExitCode, Failure> {
        let (fleet, sessions) = open(self.backend).await?;
        for session in sessions.list(&self.user).await? {
            let line = serde_json::to_string(&SessionView::of(&session));
            println!("{}", line.expect("it is made of what JSON has"));
        }
        fleet.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

impl Revoke {
    async fn run(self) -> Result<ExitCode, Failure> {
        let one = self.handle.as_deref().map(handle).transpose()?;
        let keep = self.keep.as_deref().map(handle).transpose()?;
        let (fleet, sessions) = open(self.backend).await?;
        let ended = match (one, self.user, keep) {
            (Some(one), ..) => u64::from(sessions.delete(&one).await?),
            (None, Some(user), Some(keep)) => sessions.delete_others(&user, &keep).await?,
            (None, Some(user), None) => sessions.delete_all(&user).await?,
            (None, None, _) => unreachable!("one of them is required"),
        };
        println!("{{\"ended\":{ended}}}");
        fleet.close().await;
        Ok(match (one, ended) {
            (Some(_), 0) => ExitCode::from(NOT_THERE),
            _ => ExitCode::SUCCESS,
        })
    }
}
