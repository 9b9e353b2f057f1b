//! Programs that commands run, and the signals that reach them.

use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use std::time::Duration;

use crate::failure::Failure;

/// What shells answer when there is no such program, or it cannot be run.
pub(super) const NOT_FOUND: u8 = 127;
/// What shells add to the number of the signal that ended a program.
pub(super) const BY_SIGNAL: i32 = 128;

/// How long a program told to end may take, before it is made to.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// A running program. Dropped before it has ended, it is killed with what it started.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) child: Child,
    pid: Option<Pid>,
    /// Whether it leads a process group, so that what it started can be ended with it.
    leads: bool,
}

impl Program {
    /// With `leads` in a process group of its own, of which a terminal's Ctrl-C knows nothing.
    pub(super) fn start(command: &mut Command, leads: bool) -> Result<Self, Failure> {
        command.kill_on_drop(true);
        if leads {
            command.process_group(0);
        }
        let child = command.spawn().map_err(|error| {
            let program = command.as_std().get_program().to_string_lossy();
            Failure::with_code(NOT_FOUND, format!("cannot run `{program}`: {error}"))
        })?;
        let pid = child
            .id()
            .and_then(|id| id.try_into().ok())
            .and_then(Pid::from_raw);
        Ok(Self { child, pid, leads })
    }

    /// Whether it has to be told of a signal that we got: Ctrl-C at a terminal goes to all of our group, and so to the
    /// command if it is one of them.
    pub(super) fn needs(&self, signal: Signal) -> bool {
        self.leads || signal != Signal::INT
    }

    pub(super) fn pass_on(&self, signal: Signal) {
        let Some(pid) = self.pid else { return };
        // Fails only if it has ended already. Its number is its own until it is waited for.
        let _ = if self.leads {
            kill_process_group(pid, signal)
        } else {
            kill_process(pid, signal)
        };
    }

    /// Ends it: politely, then not.
    pub(super) async fn end(&mut self) {
        self.pass_on(Signal::TERM);
        let ended = timeout(ENDS_WITHIN, self.child.wait()).await.is_ok();
        if !ended || self.leads {
            // What it started may have stayed, also when it ended itself. As long as there is something
            // left of the group, nobody else gets its number.
            self.pass_on(Signal::KILL);
        }
        if !ended {
            // Nobody survives that; an error would mean it is gone already.
            let _ = self.child.wait().await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Only while nobody has waited for it: after that its number may be another's.
        if self.leads && self.child.id().is_some() {
            self.pass_on(Signal::KILL);
        }
    }
}

/// What we are told to do, the program is told too.
#[derive(Debug)]
pub(super) struct Signals {
    term: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::failed(format!("cannot listen to signals: {error}")))
        };
        Ok(Self {
            term: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::TERM,
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.hangup.recv() => Signal::HUP,
        }
    }
}
