//! Who a client is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// Who a client is, as said by the hook that let it in.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The user's id, as other clients see it.
    pub(crate) user: String,
    /// What others see of the user in presence.
    pub(crate) info: serde_json::Value,
    /// When the client has to show itself again.
    pub(crate) expires: Option<SystemTime>,
}

/// What hooks are told about a client.
#[derive(Clone, Debug)]
pub(crate) struct ClientInfo {
    /// The id of this connection.
    pub(crate) client: Arc<str>,
    /// Who it is, if it said so.
    pub(crate) identity: Option<Arc<Identity>>,
    /// Where it connects from.
    pub(crate) address: Option<SocketAddr>,
}
