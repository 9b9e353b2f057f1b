//! Servers die with the process that owns them, however that process dies.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A shell that kills a server, and removes its directory, when this process is gone.
///
/// It waits on a pipe whose other end only this process holds, so even SIGKILL to us is noticed. A
/// "signal me when my parent dies" setting would not do: the kernel ties that to the *thread* that
/// started the server, and a test's thread ends long before its process.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    /// Its closing is the signal.
    _pipe: ChildStdin,
}

/// The signals a terminal or a test runner sends to the whole group are ignored: the shell ends
/// through its pipe only, or it might go before a server that is stopped (SIGSTOP) has to be killed.
const SCRIPT: &str = r#"trap '' HUP INT TERM
read -r pid || exit 0
read -r _
kill -s KILL -- "$pid" 2>/dev/null
rm -rf -- "$1""#;

impl Watchdog {
    /// Watches over the process `pid`, which works in `dir`.
    pub(crate) fn over(pid: u32, dir: &Path) -> io::Result<Self> {
        Self::start(&pid.to_string(), dir)
    }

    /// Watches over the process group `pid`, whose processes work in `dir`.
    #[cfg(feature = "browser")]
    pub(crate) fn over_group(pid: u32, dir: &Path) -> io::Result<Self> {
        Self::start(&format!("-{pid}"), dir)
    }

    /// `target` is written as for `kill`.
    fn start(target: &str, dir: &Path) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "quorate-watchdog"])
            .arg(dir)
            .stdin(Stdio::piped())
            // Inherited handles would keep a test runner waiting for output.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut pipe = shell.stdin.take().expect("stdin was asked for");
        writeln!(pipe, "{target}")?;
        Ok(Self { shell, _pipe: pipe })
    }
}

impl Drop for Watchdog {
    /// Calls the watch off, leaving the server alone.
    fn drop(&mut self) {
        // Killed before the pipe closes (fields are dropped after this), so that it never acts.
        // Failing means that it is gone already, which is what we want.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
