//! Clients that go when their session does.

use std::fmt;
use std::sync::Weak;
use std::time::Duration;

use quorate::{ErrorKind, Result, SessionHandle, Sessions};
use rand::RngExt;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::seam::{ClientPort, CloseWith};

/// Between attempts to hear of the end of a session, while the home cannot be asked; up to twice as long, so that the clients
/// of an instance do not all ask at once.
const PAUSE: Duration = Duration::from_secs(1);

/// The session that a client is connected by.
#[derive(Clone)]
pub(crate) struct OfSession {
    pub(crate) sessions: Sessions,
    pub(crate) handle: SessionHandle,
}

impl OfSession {
    /// Resolves when the session is gone.
    async fn ended(&self) -> Result<()> {
        self.sessions.watch(&self.handle).await?.ended().await?;
        Ok(())
    }
}

impl Client {
    /// Sends the client away when the session ends that it is connected by, if it is by one: on whatever instance it ends.
    pub(crate) fn follow_session(&self) {
        let session = self.identity().and_then(|known| known.session.clone());
        let following = session.map(|session| {
            let left = CancellationToken::new();
            let task = left
                .clone()
                .run_until_cancelled_owned(follow(self.own.clone(), session));
            self.hub.spawn(async move {
                task.await;
            });
            left.drop_guard()
        });
        let mut state = self.state.lock();
        let before = if state.is_over {
            following
        } else {
            std::mem::replace(&mut state.following, following)
        };
        drop(state);
        // It wakes the task, which must not find the lock taken.
        drop(before);
    }
}

async fn follow(client: Weak<Client>, session: OfSession) {
    loop {
        match session.ended().await {
            Ok(()) => {
                if let Some(client) = client.upgrade() {
                    client.end(CloseWith::SessionEnded);
                }
                return;
            }
            // The hub sends everybody away.
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => {
                tracing::debug!(%error, "whether a session goes on is not known; asking again");
                tokio::time::sleep(pause()).await;
            }
        }
    }
}

fn pause() -> Duration {
    PAUSE.mul_f64(rand::rng().random_range(1.0..2.0))
}

impl PartialEq for OfSession {
    fn eq(&self, other: &Self) -> bool {
        self.handle == other.handle
    }
}

impl fmt::Debug for OfSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.handle, f)
    }
}
