//! Scripts that read what the server is to watch for the connection.

use quorate_link::{Batch, Frame};

use super::reply::from_link;
use super::script::{Reply, ScriptCall, ScriptRunner, Sending, is_unknown};
use crate::error::Result;
use crate::port::CallOptions;

impl ScriptRunner {
    /// Runs scripts that only read, one after the other in one round trip, or more when the connection or its server is new.
    /// Each says besides whether the server will tell when one of its keys changes.
    ///
    /// A command that says so goes before each of them, and holds for it alone.
    pub(crate) async fn run_tracked(
        &self,
        calls: &[ScriptCall],
        options: CallOptions,
    ) -> Result<Vec<(Result<Frame>, bool)>> {
        if !self.link.can_push() {
            let replies = self.run_many(calls, options).await?;
            return Ok(replies.into_iter().map(|reply| (reply, false)).collect());
        }
        let mut replies = self.track(calls, Sending::ByHash, options).await?;
        let is_new =
            |(said, read): &(Reply, Reply)| said.is_err() || read.as_ref().is_err_and(is_unknown);
        if replies.iter().any(is_new) {
            replies = self.track(calls, Sending::EachOnceInFull, options).await?;
        }
        if replies
            .iter()
            .any(|(_, read)| read.as_ref().is_err_and(is_unknown))
        {
            replies = self.track(calls, Sending::InFull, options).await?;
        }
        // Another connection may have been made meanwhile.
        let can_be_told = self.link.can_push();
        let told =
            |(said, read): (Reply, Reply)| (read.map_err(from_link), can_be_told && said.is_ok());
        Ok(replies.into_iter().map(told).collect())
    }

    async fn track(
        &self,
        calls: &[ScriptCall],
        sending: Sending,
        options: CallOptions,
    ) -> Result<Vec<(Reply, Reply)>> {
        let mut batch = Batch::new();
        let is_new = !matches!(sending, Sending::ByHash);
        if is_new {
            batch.command(&[b"CLIENT", b"TRACKING", b"ON", b"OPTIN"]);
        }
        for (at, call) in calls.iter().enumerate() {
            batch.command(&[b"CLIENT", b"CACHING", b"YES"]);
            let has_script = |before: &ScriptCall| std::ptr::eq(before.script, call.script);
            let in_full = sending.is_in_full(!calls[..at].iter().any(has_script));
            call.add_to(&mut batch, &self.rendered(call.script), in_full);
        }
        let options = options.link().script(true);
        let replies = self
            .link
            .pipeline(&batch, &options)
            .await
            .map_err(from_link)?;
        let mut replies = replies.into_iter().skip(usize::from(is_new));
        let mut pairs = Vec::with_capacity(calls.len());
        while let (Some(said), Some(read)) = (replies.next(), replies.next()) {
            pairs.push((said, read));
        }
        Ok(pairs)
    }
}
