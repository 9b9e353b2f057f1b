//! What a frame asks for, looked at closely: which room it means, and whether the client may.

use std::sync::Arc;

use crate::frame::{FrameError, HistoryAnswer, MemberFrame, RequestId};
use crate::hub::{
    Attendance, Client, ClientPort, ClientPublish, EventRoom, HistoryFrom, HistoryPage, Hub,
    Identity, MAX_READ, Named, OpenSource, Published, ReadLimit, RoomSource, SubscribeOptions,
    position,
};
use crate::problem::{Code, Problem};

pub(super) fn subscribe_options(
    after: Option<&str>,
    recent: Option<u32>,
    members: bool,
) -> Result<SubscribeOptions, Problem> {
    Ok(SubscribeOptions {
        after: after.map(|text| position("after", text)).transpose()?,
        recent: recent.map(|recent| at_most("recent", recent)).transpose()?,
        members,
        unguarded: false,
    })
}

/// What a history frame asks for. Without a position: the latest messages.
pub(super) fn history_read(
    after: Option<&str>,
    limit: Option<u32>,
) -> Result<(HistoryFrom, ReadLimit), Problem> {
    /// Messages unless told otherwise.
    const LIMIT: u32 = 100;
    let from = match after {
        Some(text) => HistoryFrom::After(position("after", text)?),
        None => HistoryFrom::Latest,
    };
    let messages = at_most("limit", limit.unwrap_or(LIMIT))?;
    Ok((from, ReadLimit::messages(messages)))
}

pub(super) fn at_most(name: &str, count: u32) -> Result<u32, Problem> {
    if count <= MAX_READ {
        return Ok(count);
    }
    let text = format!("{name} must be at most {MAX_READ}");
    Err(Problem::new(Code::InvalidArgument, text))
}

pub(super) fn history_answer(id: Option<&RequestId>, topic: &str, page: &HistoryPage) -> String {
    let messages = page.events.iter().map(|event| event.frame.as_str());
    HistoryAnswer::new(id, topic, messages)
        .at(page.position)
        .complete(page.complete)
        .lost(page.lost)
        .to_text()
}

/// Publishes for a client, if it may.
pub(super) async fn publish_for(
    hub: &Hub,
    client: &Client,
    topic: &str,
    publish: ClientPublish,
) -> Result<Published, Problem> {
    let shared = &hub.shared;
    let gatekeeper = &shared.gatekeeper;
    if let Some(room) = shared.events.room(topic, &publish.params) {
        let EventRoom {
            event,
            params,
            room,
        } = room?;
        let topic = Arc::from(room.name());
        gatekeeper.publish(client.info(), topic, true).await?;
        let publish = ClientPublish { params, ..publish };
        return event.publish(&shared.fleet, client.info(), publish).await;
    }
    if !shared.open {
        return Err(Named::none(topic));
    }
    let source = OpenSource::select(topic, &publish.params, shared)?;
    let topic = Arc::from(source.name());
    gatekeeper.publish(client.info(), topic, false).await?;
    source.publish(&shared.fleet, client.info(), publish).await
}

/// Takes a new identity for a client: its first, or one of the same user.
pub(super) fn renew(client: &Client, identity: Identity) -> Result<Arc<Identity>, Problem> {
    if let Some(known) = client.identity() {
        known.renewed_by(&identity)?;
    }
    let identity = Arc::new(identity);
    client.set_identity(identity.clone());
    client.follow_session();
    Ok(identity)
}

pub(super) fn refuse(
    client: &Client,
    id: Option<&RequestId>,
    kind: Option<&str>,
    problem: &Problem,
) {
    client.reply(FrameError::new(id, kind, problem).to_text());
}

pub(super) fn cancelled() -> Problem {
    Problem::new(Code::Cancelled, "cancelled by the client")
}

/// Who is on a topic: how many, and who unless they are too many.
pub(super) async fn look(
    hub: &Hub,
    source: &dyn RoomSource,
) -> Result<(usize, Option<Vec<MemberFrame>>), Problem> {
    if !source.options().presence {
        let text = format!("`{}` has no presence", source.name());
        return Err(Problem::new(Code::FailedPrecondition, text));
    }
    Attendance::new(&hub.shared.fleet, source.name().into())
        .look()
        .await
}
