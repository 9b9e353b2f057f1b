//! The process behind a [`Server`](super::Server): starting it, and bringing it to an end.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::detached::{log_file, socket_file, url_file};
use super::ports::Port;
use super::wait::wait_until;
use super::watchdog::Watchdog;
use super::{Binary, Reply, ServerError, ServerKind, admin};

/// How long a server may take until it answers. Far above what it takes (tens of milliseconds; two
/// seconds for a cluster), so that only a server that hangs reaches it.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long a server asked politely may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How many lines of the log an error shows.
const LOG_TAIL_LINES: usize = 20;

/// Where a server works: its log, its socket, what it persists.
#[derive(Debug)]
pub(super) enum Home {
    /// Removed with the server.
    Temporary(TempDir),
    /// Left alone, and so is the server.
    Lasting(PathBuf),
}

impl Home {
    pub(super) fn temporary() -> Result<Self, ServerError> {
        tempfile::Builder::new()
            .prefix("quorate-server-")
            .tempdir()
            .map(Self::Temporary)
            .map_err(ServerError::io("create a directory for a server"))
    }

    pub(super) fn lasting(dir: PathBuf) -> Result<Self, ServerError> {
        fs::create_dir_all(&dir).map_err(ServerError::io(format!("create {}", dir.display())))?;
        Ok(Self::Lasting(dir))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Lasting(dir) => dir,
        }
    }

    const fn is_lasting(&self) -> bool {
        matches!(self, Self::Lasting(_))
    }
}

/// A server program with its port, directory and options, running or not.
#[derive(Debug)]
pub(super) struct Process {
    kind: ServerKind,
    binary: Binary,
    password: Option<String>,
    #[cfg(feature = "tls")]
    tls: Option<super::TlsFiles>,
    args: Vec<OsString>,
    /// `None` while it does not run. The lock is held while it starts or ends, so that two tasks
    /// cannot start it twice on one port; never across an await.
    running: Mutex<Option<Running>>,
    // After `running`, because fields are dropped in order: the process goes before its directory,
    // and before anybody else may take its port.
    home: Home,
    port: Port,
}

impl Process {
    pub(super) const fn new(kind: ServerKind, binary: Binary, port: Port, home: Home) -> Self {
        Self {
            kind,
            binary,
            password: None,
            #[cfg(feature = "tls")]
            tls: None,
            args: Vec::new(),
            running: Mutex::new(None),
            home,
            port,
        }
    }

    /// Where to connect.
    pub(super) fn url(&self) -> String {
        let scheme = if self.speaks_tls() { "rediss" } else { "redis" };
        let login = self
            .password()
            .map_or_else(String::new, |it| format!(":{}@", encode(it)));
        format!("{scheme}://{login}127.0.0.1:{}", self.port())
    }

    pub(super) fn with_password(self, password: Option<String>) -> Self {
        Self { password, ..self }
    }

    pub(super) fn with_args(self, args: Vec<OsString>) -> Self {
        Self { args, ..self }
    }

    #[cfg(feature = "tls")]
    pub(super) fn with_tls(self, tls: Option<super::TlsFiles>) -> Self {
        Self { tls, ..self }
    }

    pub(super) const fn kind(&self) -> ServerKind {
        self.kind
    }

    pub(super) const fn binary(&self) -> &Binary {
        &self.binary
    }

    pub(super) const fn port(&self) -> u16 {
        self.port.number
    }

    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    pub(super) const fn speaks_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.running().as_ref().map(|running| running.child.id())
    }

    pub(super) fn log(&self) -> Result<String, ServerError> {
        let path = self.log_path();
        fs::read(&path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(ServerError::io(format!("read {}", path.display())))
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), ServerError> {
        let running = self.running();
        let running = running
            .as_ref()
            .ok_or_else(|| ServerError::NotRunning { port: self.port() })?;
        running
            .signal(signal)
            .map_err(ServerError::io(format!("send {signal:?} to the server")))
    }

    pub(super) fn kill(&self) {
        if let Some(running) = self.running().take() {
            running.kill();
        }
    }

    pub(super) fn stop(&self) {
        if let Some(mut running) = self.running().take() {
            // A paused server would not hear. Neither fails unless it has ended by itself.
            let _ = running.signal(Signal::CONT);
            let _ = running.signal(Signal::TERM);
            // Reaped here or, if it takes too long, killed when dropped.
            wait_until(STOP_WITHIN, || running.has_ended());
            running.kill();
        }
    }

    /// Starts it, after killing it if it runs, and waits until it answers.
    pub(super) fn start_again(&self) -> Result<(), ServerError> {
        let mut slot = self.running();
        if let Some(running) = slot.take() {
            running.kill();
        }
        let child = self
            .server_command()?
            .spawn()
            .map_err(ServerError::io(format!(
                "start {}",
                self.binary.path.display()
            )))?;
        let mut running = Running {
            child,
            watchdog: None,
            outlives_us: false,
        };
        if !self.home.is_lasting() {
            let watchdog = Watchdog::over(running.child.id(), self.home.path());
            running.watchdog = Some(watchdog.map_err(ServerError::io("watch over a server"))?);
        }

        let mut problem = String::new();
        let done = wait_until(READY_WITHIN, || {
            if running.has_ended() {
                "ended".clone_into(&mut problem);
                return true;
            }
            match self.is_ready() {
                Ok(()) => {
                    problem.clear();
                    true
                }
                Err(reason) => {
                    problem = reason;
                    false
                }
            }
        });
        if !done || !problem.is_empty() {
            return Err(self.start_error(&problem));
        }
        if self.home.is_lasting() {
            let file = url_file(self.home.path());
            let written = fs::write(&file, self.url());
            written.map_err(ServerError::io(format!("write {}", file.display())))?;
            running.outlives_us = true;
        }
        *slot = Some(running);
        Ok(())
    }

    pub(super) fn command(&self, args: &[&str]) -> Result<Reply, ServerError> {
        let name = args.first().copied().unwrap_or_default();
        match admin::call(&self.socket_path(), self.password(), args) {
            Ok(Reply::Error(reply)) => Err(ServerError::Command {
                command: name.to_owned(),
                reply,
            }),
            Ok(reply) => Ok(reply),
            Err(source) => Err(ServerError::io(format!("send {name} to the server"))(
                source,
            )),
        }
    }

    /// Whether it answers and, in a cluster, serves all slots; if not, why not.
    fn is_ready(&self) -> Result<(), String> {
        match admin::call(&self.socket_path(), None, &["PING"]) {
            Ok(Reply::Error(error)) if error.starts_with("LOADING") => return Err(error),
            // Any other answer, also one that wants a password, comes from a server that is up.
            Ok(_) => {}
            Err(error) => return Err(format!("did not answer: {error}")),
        }
        if !self.kind.is_cluster() {
            return Ok(());
        }
        let ask = |args: &[&str]| self.command(args).map_err(|error| error.to_string());
        let info = ask(&["CLUSTER", "INFO"])?;
        let info = info.as_str().unwrap_or_default();
        if info.contains("cluster_slots_assigned:0\r") {
            ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])?;
        }
        if info.contains("cluster_state:ok") {
            Ok(())
        } else {
            Err("did not form its cluster".to_owned())
        }
    }

    fn server_command(&self) -> Result<Command, ServerError> {
        let dir = self.home.path();
        let port = self.port.number.to_string();
        let mut command = self.binary.command();
        command.current_dir(dir);
        let (plain, secure) = if self.speaks_tls() {
            ("0", &*port)
        } else {
            (&*port, "0")
        };
        command.args(["--port", plain, "--bind", "127.0.0.1"]);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            command
                .args(["--tls-port", secure])
                .args(tls.server_options());
        }
        #[cfg(not(feature = "tls"))]
        let _ = secure;
        command.arg("--unixsocket").arg(self.socket_path());
        command
            .arg("--dir")
            .arg(dir)
            .arg("--logfile")
            .arg(self.log_path());
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.args([
            "--enable-debug-command",
            "yes",
            "--repl-diskless-sync-delay",
            "0",
        ]);
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        if self.kind.is_cluster() {
            command.args([
                "--cluster-enabled",
                "yes",
                "--cluster-config-file",
                "nodes.conf",
            ]);
            // Otherwise clients would be sent to an address it guesses.
            command.args(["--cluster-announce-ip", "127.0.0.1"]);
        }
        command.args(&self.args);
        if self.home.is_lasting() {
            // Out of reach of the terminal's Ctrl-C.
            command.process_group(0);
        }
        // What it says before it opens its log goes there too. Inherited handles would keep a test
        // runner waiting for output.
        let log = self.open_log()?;
        let also = log.try_clone().map_err(ServerError::io("share the log"))?;
        command.stdin(Stdio::null()).stdout(log).stderr(also);
        Ok(command)
    }

    fn open_log(&self) -> Result<File, ServerError> {
        let path = self.log_path();
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(ServerError::io(format!("open {}", path.display())))
    }

    fn start_error(&self, problem: &str) -> ServerError {
        // An unreadable log must not hide why we wanted it.
        let log = self.log().unwrap_or_else(|error| error.to_string());
        let lines: Vec<_> = log.lines().collect();
        ServerError::Start {
            program: self.binary.path.clone(),
            port: self.port.number,
            problem: problem.to_owned(),
            log_tail: lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n"),
        }
    }

    fn log_path(&self) -> PathBuf {
        log_file(self.home.path())
    }

    fn socket_path(&self) -> PathBuf {
        socket_file(self.home.path())
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        // A panic elsewhere leaves either a process or none here: both are fine to go on with.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server process, killed when dropped.
#[derive(Debug)]
struct Running {
    child: Child,
    watchdog: Option<Watchdog>,
    /// Set once a detached server is up: it is left running when dropped.
    outlives_us: bool,
}

impl Running {
    fn signal(&self, signal: Signal) -> io::Result<()> {
        // The process has not been waited for (whoever does that takes it out of its place), so the
        // number is still its own.
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).map_err(io::Error::from)
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn kill(mut self) {
        self.outlives_us = false;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.outlives_us {
            return;
        }
        // Either fails only if it has ended already. The watchdog goes after it: fields are dropped
        // when this is done.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Percent-encodes everything that means something in a URL.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
