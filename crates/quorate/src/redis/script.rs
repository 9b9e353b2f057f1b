//! Scripts: sent by hash, and in full when the server does not know them yet.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::OnceLock;

use quorate_link::{Batch, Frame, Lane, Link, LinkError};

use super::durable::DurableLane;
use super::reply::from_link;
use crate::clock::TestClock;
use crate::durability::{Durability, Reached};
use crate::error::{Outcome, Result};
use crate::port::CallOptions;

const PRELUDE: &str = include_str!("prelude.lua");

/// One atomic transition, from a `.lua` file that begins with `#!lua`.
#[derive(Debug)]
pub(crate) struct Script {
    source: &'static str,
    /// What several scripts share; stands in front, behind the prelude.
    library: &'static str,
    rendered: OnceLock<Rendered>,
}

/// A script as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Rendered {
    text: String,
    hash: String,
}

impl Script {
    pub(crate) const fn new(source: &'static str) -> Self {
        Self::with_library(source, "")
    }

    pub(crate) const fn with_library(source: &'static str, library: &'static str) -> Self {
        Self {
            source,
            library,
            rendered: OnceLock::new(),
        }
    }

    /// The prelude goes after the first line, which must stay the first.
    fn render(&self, offset: u64) -> Rendered {
        let (first, rest) = self.source.split_once('\n').unwrap_or((self.source, ""));
        let prelude = PRELUDE.replace("OFFSET = 0", &format!("OFFSET = {offset}"));
        let library = self.library;
        let text = format!("{first}\n{prelude}{library}{rest}");
        let mut hash = String::with_capacity(40);
        for byte in sha1_smol::Sha1::from(&text).digest().bytes() {
            write!(hash, "{byte:02x}").expect("a String takes everything");
        }
        Rendered { text, hash }
    }
}

/// A script with what it takes, to be sent with others.
#[derive(Clone, Debug)]
pub(crate) struct ScriptCall {
    pub(crate) script: &'static Script,
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) arguments: Vec<Vec<u8>>,
}

/// Calls that are sent together, beyond which they go where they hold up nobody.
const FEW: usize = 64;

/// How the scripts of a batch are sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sending {
    ByHash,
    /// What comes behind it finds it, on the same server.
    EachOnceInFull,
    /// Behind one address there may be several servers, each of which knows what it was sent.
    InFull,
}

impl Sending {
    /// Whether a call is sent with its script's text, where it is or is not the first of that script.
    pub(super) const fn is_in_full(self, is_first: bool) -> bool {
        match self {
            Self::ByHash => false,
            Self::EachOnceInFull => is_first,
            Self::InFull => true,
        }
    }
}

pub(super) type Reply = std::result::Result<Frame, LinkError>;

/// Runs scripts on one server.
#[derive(Clone, Debug)]
pub(crate) struct ScriptRunner {
    pub(super) link: Link,
    durable: DurableLane,
    /// Only in tests: what `now()` adds to the server's time.
    clock: Option<TestClock>,
}

impl ScriptRunner {
    pub(crate) fn new(link: Link, durable: DurableLane, clock: Option<TestClock>) -> Self {
        Self {
            link,
            durable,
            clock,
        }
    }

    /// The same on another server.
    pub(crate) fn on(&self, link: Link) -> Self {
        Self::new(link.clone(), DurableLane::new(link), self.clock.clone())
    }

    /// Runs `script`: one round trip, or two the first time a server sees it.
    pub(crate) async fn run(
        &self,
        script: &'static Script,
        keys: &[&[u8]],
        arguments: &[&[u8]],
        options: CallOptions,
    ) -> Result<Frame> {
        self.run_on(Lane::Command, script, keys, arguments, options)
            .await
    }

    /// [`run`](Self::run) on a connection of choice.
    pub(crate) async fn run_on(
        &self,
        lane: Lane,
        script: &'static Script,
        keys: &[&[u8]],
        arguments: &[&[u8]],
        options: CallOptions,
    ) -> Result<Frame> {
        let rendered = self.rendered(script);
        let count = keys.len().to_string();
        let mut parts = rendered.call(&count, keys, arguments);
        let options = options.link().script(true).lane(lane);
        match self.link.call(&parts, &options).await {
            Err(error) if is_unknown(&error) => {
                rendered.in_full(&mut parts);
                self.link.call(&parts, &options).await.map_err(from_link)
            }
            reply => reply.map_err(from_link),
        }
    }

    /// [`run`](Self::run), answered when it is as safe as asked for, or the time for that is up.
    pub(crate) async fn run_durably(
        &self,
        durability: Durability,
        script: &'static Script,
        keys: &[&[u8]],
        arguments: &[&[u8]],
        options: CallOptions,
    ) -> Result<(Frame, Reached)> {
        let rendered = self.rendered(script);
        let count = keys.len().to_string();
        let mut parts = rendered.call(&count, keys, arguments);
        match self
            .durable
            .call(&parts, durability, options.deadline)
            .await?
        {
            Err(error) if is_unknown(&error) => {
                rendered.in_full(&mut parts);
                self.call_durably(durability, &parts, options).await
            }
            answer => answer.map_err(from_link),
        }
    }

    /// Runs one call.
    pub(crate) async fn run_call(&self, call: &ScriptCall, options: CallOptions) -> Result<Frame> {
        let keys: Vec<&[u8]> = call.keys.iter().map(Vec::as_slice).collect();
        let arguments: Vec<&[u8]> = call.arguments.iter().map(Vec::as_slice).collect();
        self.run(call.script, &keys, &arguments, options).await
    }

    /// Runs calls one after the other in one round trip, or more when a server does not know one of their scripts: then
    /// those that it did not run are sent again, and only those. Each has a reply of its own.
    pub(crate) async fn run_many(
        &self,
        calls: &[ScriptCall],
        options: CallOptions,
    ) -> Result<Vec<Result<Frame>>> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let all = (0..calls.len()).collect::<Vec<_>>();
        let replies = self.send(calls, &all, Sending::ByHash, options).await;
        let mut replies = replies.map_err(from_link)?;
        for sending in [Sending::EachOnceInFull, Sending::InFull] {
            let unknown = |at: &usize| replies[*at].as_ref().is_err_and(is_unknown);
            let again: Vec<_> = all.iter().copied().filter(unknown).collect();
            if again.is_empty() {
                break;
            }
            let answers = self.send(calls, &again, sending, options).await;
            // The others were carried out.
            let answers = answers.map_err(|error| {
                let error = from_link(error);
                if again.len() == calls.len() {
                    error
                } else {
                    error.with_outcome(Outcome::Unknown)
                }
            })?;
            for (at, answer) in again.into_iter().zip(answers) {
                replies[at] = answer;
            }
        }
        let replies = replies.into_iter();
        Ok(replies.map(|reply| reply.map_err(from_link)).collect())
    }

    /// Sends these of the calls.
    async fn send(
        &self,
        calls: &[ScriptCall],
        these: &[usize],
        sending: Sending,
        options: CallOptions,
    ) -> std::result::Result<Vec<Reply>, LinkError> {
        let lane = if calls.len() > FEW {
            Lane::Bulk
        } else {
            Lane::Command
        };
        let mut batch = Batch::new();
        // Rendered once: most calls are of one script.
        let mut seen: Vec<(&'static Script, Cow<'static, Rendered>)> = Vec::new();
        for call in these.iter().map(|at| &calls[*at]) {
            let found = seen
                .iter()
                .position(|(script, _)| std::ptr::eq(*script, call.script));
            let at = found.unwrap_or_else(|| {
                seen.push((call.script, self.rendered(call.script)));
                seen.len() - 1
            });
            call.add_to(&mut batch, &seen[at].1, sending.is_in_full(found.is_none()));
        }
        let options = options.link().script(true).lane(lane);
        self.link.pipeline(&batch, &options).await
    }

    /// Sends a plain command.
    pub(crate) async fn call(&self, parts: &[&[u8]], options: CallOptions) -> Result<Frame> {
        let mut link = options.link();
        // It is all of its call, or the first step. A script takes so much longer than a look at the clock, and a further
        // step begins later.
        link.now = options.now;
        self.link.call(parts, &link).await.map_err(from_link)
    }

    /// Sends a plain command, answered when it is as safe as asked for, or the time for that is up.
    pub(crate) async fn call_durably(
        &self,
        durability: Durability,
        parts: &[&[u8]],
        options: CallOptions,
    ) -> Result<(Frame, Reached)> {
        self.durable
            .call(parts, durability, options.deadline)
            .await?
            .map_err(from_link)
    }

    pub(super) fn rendered(&self, script: &'static Script) -> Cow<'static, Rendered> {
        match &self.clock {
            None => Cow::Borrowed(script.rendered.get_or_init(|| script.render(0))),
            Some(clock) => Cow::Owned(script.render(clock.offset_micros())),
        }
    }
}

impl ScriptCall {
    pub(super) fn add_to(&self, batch: &mut Batch, rendered: &Rendered, in_full: bool) {
        let keys: Vec<&[u8]> = self.keys.iter().map(Vec::as_slice).collect();
        let arguments: Vec<&[u8]> = self.arguments.iter().map(Vec::as_slice).collect();
        let count = keys.len().to_string();
        let mut parts = rendered.call(&count, &keys, &arguments);
        if in_full {
            rendered.in_full(&mut parts);
        }
        batch.command(&parts);
    }
}

impl Rendered {
    /// The command that runs it by its hash.
    fn call<'a>(
        &'a self,
        count: &'a str,
        keys: &[&'a [u8]],
        arguments: &[&'a [u8]],
    ) -> Vec<&'a [u8]> {
        let mut parts: Vec<&[u8]> = Vec::with_capacity(3 + keys.len() + arguments.len());
        parts.extend([b"EVALSHA", self.hash.as_bytes(), count.as_bytes()]);
        parts.extend(keys);
        parts.extend(arguments);
        parts
    }

    /// Makes it the command that sends the whole text.
    fn in_full<'a>(&'a self, parts: &mut [&'a [u8]]) {
        parts[0] = b"EVAL";
        parts[1] = self.text.as_bytes();
    }
}

/// Whether the server does not know the script yet.
pub(super) fn is_unknown(error: &LinkError) -> bool {
    error.server_code() == Some("NOSCRIPT")
}

#[cfg(test)]
mod tests;
