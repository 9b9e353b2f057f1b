//! A command that does one job.

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate::{CancellationToken, Job, JobError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};

use super::super::MOST_BYTES;
use super::Done;
use crate::api::queues::RawInput;
use crate::cli::program::Program;
use crate::failure::Failure;
use crate::json::compact;

/// The job will never be done. `EX_DATAERR` of sysexits.h.
const NEVER: i32 = 65;
/// It is too early. `EX_TEMPFAIL`.
const TOO_EARLY: i32 = 75;
/// How long is waited for the output of what a program started that has ended.
const LINGER: Duration = Duration::from_secs(2);
/// How much is kept of a line that says why.
const MOST_REASON: usize = 1_024;

/// How jobs are done.
#[derive(Debug)]
pub(super) struct Runs {
    pub(super) queue: String,
    /// The program and its arguments.
    pub(super) command: Vec<String>,
    pub(super) defer: Duration,
    pub(super) broken: Broken,
    pub(super) stop: CancellationToken,
}

/// Why no job can be done here at all.
#[derive(Clone, Debug, Default)]
pub(super) struct Broken(Arc<Mutex<Option<Failure>>>);

impl Broken {
    pub(super) fn take(&self) -> Option<Failure> {
        self.0.lock().take()
    }
}

impl Runs {
    pub(super) async fn run(&self, job: Job<RawInput>) -> Done {
        let mut program = match self.start(&job) {
            Ok(program) => program,
            Err(failure) => {
                // That is no fault of the job: others may do it.
                *self.broken.0.lock() = Some(failure);
                self.stop.cancel();
                return Err(JobError::defer(Duration::ZERO));
            }
        };
        let child = &mut program.child;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (mut output, mut said) = (Vec::new(), Vec::new());
        let talk = async {
            let input = &job.input.bytes;
            tokio::try_join!(
                feed(stdin, input),
                read(stdout, &mut output),
                pass(stderr, &mut said)
            )
        };
        let status = talk_until_end(talk, ended(&mut program, job.cancelled())).await?;
        if output.len() > MOST_BYTES {
            return Err(JobError::abort("its output is larger than 16 MiB"));
        }
        if status.success() {
            return Ok(result_of(output));
        }
        Err(self.failed(status, &reason_of(&said)))
    }

    fn start(&self, job: &Job<RawInput>) -> Result<Program, Failure> {
        let (program, arguments) = self
            .command
            .split_first()
            .expect("clap requires at least one");
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("QUORATE_QUEUE", &self.queue)
            .env("QUORATE_JOB_ID", job.id().to_string())
            .env("QUORATE_ATTEMPT", job.attempt().to_string())
            .env("QUORATE_MAX_ATTEMPTS", job.max_attempts().to_string())
            .env("QUORATE_LEASE", job.lease().get().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Program::start(&mut command, true)
    }

    /// What the end of a program means that did not succeed.
    fn failed(&self, status: ExitStatus, reason: &str) -> JobError {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("it ended with {code}"),
            (None, Some(signal)) => format!("it was ended by signal {signal}"),
            (None, None) => status.to_string(),
        };
        let why = if reason.is_empty() {
            how
        } else {
            format!("{how}: {reason}")
        };
        match status.code() {
            Some(NEVER) => JobError::abort(why),
            Some(TOO_EARLY) => JobError::defer(self.defer),
            _ => JobError::retry(why),
        }
    }
}

/// Waits until the program has ended, and ends it if it is told to stop.
async fn ended(program: &mut Program, stop: &CancellationToken) -> io::Result<ExitStatus> {
    tokio::select! {
        status = program.child.wait() => return status,
        () = stop.cancelled() => {}
    }
    program.end().await;
    program.child.wait().await
}

/// Talks with a program while it runs, and for a while longer: what it started may keep its output open.
async fn talk_until_end<T>(
    talk: impl Future<Output = io::Result<T>>,
    ended: impl Future<Output = io::Result<ExitStatus>>,
) -> io::Result<ExitStatus> {
    let (mut talk, mut ended) = (pin!(talk), pin!(ended));
    let status = tokio::select! {
        status = &mut ended => status?,
        talked = &mut talk => {
            talked?;
            return ended.await;
        }
    };
    if let Ok(talked) = tokio::time::timeout(LINGER, talk).await {
        talked?;
    }
    Ok(status)
}

async fn feed(stdin: Option<ChildStdin>, input: &[u8]) -> io::Result<()> {
    let Some(mut stdin) = stdin else {
        return Ok(());
    };
    match stdin.write_all(input).await {
        // It need not read what it does not want to know.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Reads what is printed, and no more than a byte too much: whoever prints more is told by a broken pipe.
async fn read(stdout: Option<ChildStdout>, output: &mut Vec<u8>) -> io::Result<()> {
    if let Some(stdout) = stdout {
        let most = MOST_BYTES as u64 + 1;
        stdout.take(most).read_to_end(output).await?;
    }
    Ok(())
}

/// Passes on what is said to people, and keeps the end of it.
async fn pass(stderr: Option<ChildStderr>, said: &mut Vec<u8>) -> io::Result<()> {
    let Some(mut stderr) = stderr else {
        return Ok(());
    };
    let mut some = [0; MOST_REASON];
    loop {
        let length = stderr.read(&mut some).await?;
        if length == 0 {
            return Ok(());
        }
        // Whoever read our own may have left: that is no concern of the job.
        let _ = io::stderr().write_all(&some[..length]);
        said.extend_from_slice(&some[..length]);
        let too_much = said.len().saturating_sub(MOST_REASON);
        said.drain(..too_much);
    }
}

/// What is printed as a result: JSON as it is, other text as JSON, nothing as null.
fn result_of(output: Vec<u8>) -> Bytes {
    if output.trim_ascii().is_empty() {
        return Bytes::from_static(b"null");
    }
    if let Ok(json) = compact(&output) {
        return json;
    }
    match String::from_utf8(output) {
        Ok(text) => serde_json::Value::from(text.trim_end()).to_string().into(),
        Err(bytes) => bytes.into_bytes().into(),
    }
}

/// The last line in which something stands.
fn reason_of(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let mut lines = text.lines().rev().map(str::trim);
    let line = lines.find(|line| !line.is_empty());
    line.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_a_result() {
        for (printed, result) in [
            (&b""[..], &b"null"[..]),
            (b" \n", b"null"),
            (b"{\"a\": 1}\n", b"{\"a\":1}"),
            (b"42", b"42"),
            (b"two words\n", b"\"two words\""),
            (b"\xff\n", b"\xff\n"),
        ] {
            assert_eq!(result_of(printed.to_vec()), result);
        }
    }

    #[test]
    fn the_last_line_that_says_something_is_the_reason() {
        assert_eq!(reason_of(b"one\n two \n\n"), "two");
        assert_eq!(reason_of(b"\n"), "");
    }
}
