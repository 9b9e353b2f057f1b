//! A running server, and what a test may do to it.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::Signal;

use super::ports::Port;
use super::running::{Home, Process};
use super::{Binary, Reply, ServerError, ServerKind, locate};

/// How to start a server. Made by [`Server::builder`].
#[derive(Debug)]
#[must_use = "nothing starts before start()"]
pub struct ServerBuilder {
    kind: ServerKind,
    binary: Option<Binary>,
    port: Option<u16>,
    password: Option<String>,
    #[cfg(feature = "tls")]
    tls: Option<super::TlsFiles>,
    detached: Option<PathBuf>,
    args: Vec<OsString>,
}

impl ServerBuilder {
    /// Adds an option as on the server's command line: `arg("--maxmemory", "1mb")`. A later one of
    /// the same name wins, also over what the harness sets.
    pub fn arg(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.args.extend([name.into(), value.into()]);
        self
    }

    /// Listens on this port instead of a free one.
    pub const fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Requires this password. It becomes part of [`Server::url`], and [`Server::command`] uses it.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Speaks TLS on the port, and nothing else there. Not every build of a server can.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, files: super::TlsFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// Runs this program instead of looking for one.
    pub fn binary(mut self, binary: Binary) -> Self {
        self.binary = Some(binary);
        self
    }

    /// Works in `dir`, which is made if needed and never removed, and outlives both the [`Server`]
    /// value and this process. [`Detached`](super::Detached) finds it again.
    pub fn detached(mut self, dir: impl Into<PathBuf>) -> Self {
        self.detached = Some(dir.into());
        self
    }

    /// Starts the server, and waits until it answers. Blocks.
    ///
    /// # Errors
    ///
    /// [`ServerError::NotFound`] if there is no program to start, [`ServerError::Start`] with the
    /// end of its log if it does not come up, [`ServerError::Port`] if there is no free port or the
    /// one asked for is taken.
    pub fn start_blocking(self) -> Result<Server, ServerError> {
        let binary = match self.binary {
            Some(binary) => binary,
            // In a test, standard error is what people see if this takes long or fails.
            None => locate(self.kind.flavour(), &mut |what| {
                eprintln!("test servers: {what}")
            })?,
        };
        let port = self.port.map_or_else(Port::take, Port::take_exactly)?;
        let home = self.detached.map_or_else(Home::temporary, Home::lasting)?;
        let process = Process::new(self.kind, binary, port, home);
        #[cfg(feature = "tls")]
        let process = process.with_tls(self.tls);
        let process = process.with_password(self.password).with_args(self.args);
        process.start_again()?;
        Ok(Server {
            process: Arc::new(process),
        })
    }

    /// Starts the server, and waits until it answers.
    ///
    /// # Errors
    ///
    /// As [`start_blocking`](Self::start_blocking).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the server is started all the same, and killed at once.
    #[cfg(feature = "runtime")]
    pub async fn start(self) -> Result<Server, ServerError> {
        on_blocking_thread(move || self.start_blocking()).await
    }
}

/// A real server, which dies with this value.
pub struct Server {
    /// Shared only with blocking threads that do something to it on behalf of a method.
    process: Arc<Process>,
}

impl Server {
    /// Starts a server with what the suites expect: no persistence, `DEBUG` allowed, loopback only.
    ///
    /// # Errors
    ///
    /// As [`ServerBuilder::start_blocking`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the server is started all the same, and killed at once.
    #[cfg(feature = "runtime")]
    pub async fn start(kind: ServerKind) -> Result<Self, ServerError> {
        Self::builder(kind).start().await
    }

    /// Describes a server to start.
    pub const fn builder(kind: ServerKind) -> ServerBuilder {
        ServerBuilder {
            kind,
            binary: None,
            port: None,
            password: None,
            #[cfg(feature = "tls")]
            tls: None,
            detached: None,
            args: Vec::new(),
        }
    }

    /// Where to connect, such as `redis://127.0.0.1:12345`; with the password if there is one, and
    /// `rediss:` if it speaks TLS.
    #[must_use]
    pub fn url(&self) -> String {
        self.process.url()
    }

    /// The port, on 127.0.0.1. It stays the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// Where to connect, as an address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// What kind of server it is.
    #[must_use]
    pub fn kind(&self) -> ServerKind {
        self.process.kind()
    }

    /// The program that runs.
    #[must_use]
    pub fn binary(&self) -> &Binary {
        self.process.binary()
    }

    /// The process id, or `None` while it does not run.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// What the server has written to its log so far.
    ///
    /// # Errors
    ///
    /// [`ServerError::Io`] if the log cannot be read.
    pub fn log(&self) -> Result<String, ServerError> {
        self.process.log()
    }

    /// Kills it (SIGKILL), and returns when it is gone. Killing twice is killing once.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Stops it in its tracks (SIGSTOP): connections stay open, and nothing answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::NotRunning`] after a kill.
    pub fn pause(&self) -> Result<(), ServerError> {
        self.process.signal(Signal::STOP)
    }

    /// Lets it go on after [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// [`ServerError::NotRunning`] after a kill.
    pub fn resume(&self) -> Result<(), ServerError> {
        self.process.signal(Signal::CONT)
    }

    /// Asks it to end (SIGTERM), and returns when it is gone, which takes milliseconds; what has not
    /// ended after ten seconds is killed. Blocks.
    pub fn stop_blocking(&self) {
        self.process.stop();
    }

    /// Starts it on the same port, in the same directory, with the same options, after killing it if
    /// it runs. Nothing is persisted unless the options say so. Blocks until it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::Start`] if it does not come up.
    pub fn restart_blocking(&self) -> Result<(), ServerError> {
        self.process.start_again()
    }

    /// Sends one command past whatever is tested (over a Unix socket of its own, so also when the
    /// port speaks TLS), and returns the answer. Blocks.
    ///
    /// # Errors
    ///
    /// [`ServerError::Command`] if the answer is an error, [`ServerError::Io`] if there is none
    /// within ten seconds or the server does not run.
    pub fn command_blocking(&self, args: &[&str]) -> Result<Reply, ServerError> {
        self.process.command(args)
    }
}

#[cfg(feature = "runtime")]
impl Server {
    /// As [`stop_blocking`](Self::stop_blocking), without blocking.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the server ends all the same.
    pub async fn stop(&self) {
        let process = Arc::clone(&self.process);
        on_blocking_thread(move || process.stop()).await;
    }

    /// As [`restart_blocking`](Self::restart_blocking), without blocking.
    ///
    /// # Errors
    ///
    /// [`ServerError::Start`] if it does not come up.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the server restarts all the same.
    pub async fn restart(&self) -> Result<(), ServerError> {
        let process = Arc::clone(&self.process);
        on_blocking_thread(move || process.start_again()).await
    }

    /// As [`command_blocking`](Self::command_blocking), without blocking.
    ///
    /// # Errors
    ///
    /// [`ServerError::Command`] if the answer is an error, [`ServerError::Io`] if there is none
    /// within ten seconds or the server does not run.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the command is sent all the same.
    pub async fn command(&self, args: &[&str]) -> Result<Reply, ServerError> {
        let process = Arc::clone(&self.process);
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        on_blocking_thread(move || {
            process.command(&args.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .await
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("kind", &self.kind())
            .field("port", &self.port())
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}

/// Runs blocking work beside the runtime, which also keeps a paused clock from running ahead of it.
#[cfg(feature = "runtime")]
pub(super) async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => panic!("the runtime shut down during blocking work: {cancelled}"),
        },
    }
}
