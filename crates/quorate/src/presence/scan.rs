//! Reading a whole roster, in bounded pieces.

use std::sync::Arc;

use tokio::time::Instant;

use super::follower::Scan;
use super::handle::Presences;
use super::keeper::standing;
use super::member::InstanceId;
use super::port::MAX_INSTANCES;
use super::roster::{Look, Removal};
use crate::context::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::port::CallOptions;

/// How often a read begins again because a lease ended, or the roster was lost, while it was under way.
const ATTEMPTS: u32 = 16;

/// Reads everybody. What comes back is exact as of its last version, once the changes that were announced
/// since its first have been applied to it.
pub(super) async fn scan(
    presences: &Arc<Presences>,
    key: &Key,
    operation: &'static Operation,
) -> Result<Scan> {
    for _ in 0..ATTEMPTS {
        let look = look(presences, key, operation).await?;
        let mut ended = look.instances.clone();
        ended.retain(|it| it.remaining.is_zero());
        if !ended.is_empty() {
            // Taken off first, so that the version that is read says so too.
            for it in ended {
                reap(presences, key, operation, it.instance).await?;
            }
            continue;
        }
        if let Some(scan) = pages(presences, key, operation, &look).await? {
            return Ok(scan);
        }
    }
    Err(Error::new(ErrorKind::Overloaded)
        .with_message("the instances on the roster change faster than it can be read")
        .with_operation(operation.name)
        .with_target(key.name()))
}

/// Who is on the roster; the keeper hears of it too.
pub(super) async fn look(
    presences: &Arc<Presences>,
    key: &Key,
    operation: &'static Operation,
) -> Result<Look> {
    let Presences { context, port, .. } = &**presences;
    let mut asked = Instant::now();
    let look = context
        .run(operation, key.name(), None, |attempt| {
            asked = Instant::now();
            port.look(key, CallOptions::until(attempt.deadline))
        })
        .await?;
    presences.note(key, &standing(&look), asked);
    Ok(look)
}

async fn reap(
    presences: &Arc<Presences>,
    key: &Key,
    operation: &'static Operation,
    instance: InstanceId,
) -> Result<()> {
    let Presences { context, port, .. } = &**presences;
    let removed = context.run(operation, key.name(), None, |attempt| {
        let options = CallOptions::until(attempt.deadline);
        port.remove(key, instance, Removal::IfEnded, options)
    });
    removed.await.map(drop)
}

/// `None`: a lease has ended, or the roster was lost.
async fn pages(
    presences: &Arc<Presences>,
    key: &Key,
    operation: &'static Operation,
    look: &Look,
) -> Result<Option<Scan>> {
    let Presences { context, port, .. } = &**presences;
    let mut scan = Scan {
        first: look.version,
        last: look.version,
        members: Vec::new(),
    };
    let instances: Vec<_> = look.instances.iter().map(|it| it.instance).collect();
    for some in instances.chunks(MAX_INSTANCES) {
        let mut cursor = None;
        loop {
            let page = context
                .run(operation, key.name(), None, |attempt| {
                    let options = CallOptions::until(attempt.deadline);
                    port.page(key, some, cursor.as_ref(), options)
                })
                .await?;
            if page.ended || page.version.epoch != scan.first.epoch {
                return Ok(None);
            }
            scan.last = page.version;
            scan.members.extend(page.members);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(Some(scan))
}
