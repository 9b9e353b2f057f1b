//! What is noted of jobs, on Redis and Valkey: as `note.lua` takes it.

use super::super::job::{JobId, LeaseNumber};
use super::super::note::Note;
use super::super::port::announcement;
use super::RedisQueues;
use super::packed::pack_delivery;
use super::scripts::LIBRARY;
use crate::error::Result;
use crate::key::Key;
use crate::port::CallOptions;
use crate::redis::{Script, unexpected};

static NOTE: Script = Script::with_library(include_str!("../scripts/note.lua"), LIBRARY);

impl RedisQueues {
    pub(super) async fn note_of(
        &self,
        queue: &Key,
        (id, lease): (JobId, LeaseNumber),
        note: Note,
        options: CallOptions,
    ) -> Result<bool> {
        note.check()?;
        let (channel, delivery) = (announcement(queue), pack_delivery(id, lease));
        let (kind, said): (&[u8], &[u8]) = match &note {
            Note::Progress(value) => (b"p", value),
            Note::Checkpoint(value) => (b"c", value),
            Note::Log(line) => (b"l", line.as_bytes()),
        };
        let arguments = [channel.name.as_bytes(), &delivery, kind, said];
        let reply = self.run(&NOTE, queue, &arguments, options).await?;
        match reply.as_int() {
            Some(held @ (0 | 1)) => Ok(held == 1),
            _ => Err(unexpected(&reply)),
        }
    }
}
