//! What every WebSocket of this crate has in common, whatever is said over it: its buffers and limits,
//! the close code that answers an unreadable frame, and a closing handshake that the other side gets to
//! see.

use std::error::Error as _;
use std::time::Duration;

use axum::extract::ws::{
    CloseFrame, Message, OnFailedUpgrade, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code,
};
use tokio::time::timeout;
use tungstenite::Error;
use tungstenite::error::ProtocolError;

/// Both buffers of a connection. axum's own read buffer takes 128 KiB from every idle client.
const SOCKET_BUFFER: usize = 4 * 1024;

/// What a connection may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketLimits {
    /// The largest frame, and the largest message made of frames, that is read at all.
    pub(crate) message_bytes: usize,
    /// How much may wait to be written.
    pub(crate) unsent_bytes: usize,
}

/// Prepares a connection, the same way for all.
pub(crate) fn configure(
    upgrade: WebSocketUpgrade,
    limits: SocketLimits,
) -> WebSocketUpgrade<impl OnFailedUpgrade> {
    upgrade
        .read_buffer_size(SOCKET_BUFFER)
        .write_buffer_size(SOCKET_BUFFER)
        // The library below insists on room for more than one buffer.
        .max_write_buffer_size(limits.unsent_bytes.max(2 * SOCKET_BUFFER))
        .max_frame_size(limits.message_bytes)
        .max_message_size(limits.message_bytes)
        .on_failed_upgrade(|error| tracing::debug!(%error, "websocket upgrade failed"))
}

/// What to answer what could not be read with (RFC 6455, 7.4.1). `None`: there is nobody to answer,
/// since the connection broke.
pub(crate) fn refusal(error: &axum::Error) -> Option<CloseFrame> {
    let (code, reason) = match error.source()?.downcast_ref::<Error>()? {
        Error::Capacity(_) => (close_code::SIZE, "frame too large"),
        Error::Utf8(_) => (close_code::INVALID, "text must be UTF-8"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return None,
        Error::Protocol(_) => (close_code::PROTOCOL, "not a frame that can be read here"),
        _ => return None,
    };
    Some(CloseFrame {
        code,
        reason: Utf8Bytes::from_static(reason),
    })
}

/// Ends a connection so that the other side sees why: says `farewell`, or, without one, answers the
/// farewell of the other side; then waits for the other side to be done, for at most `patience`.
///
/// What comes meanwhile is read and thrown away: a connection that is closed with something unread is
/// reset, and a reset can overtake the farewell.
pub(crate) async fn hang_up(
    socket: &mut WebSocket,
    farewell: Option<CloseFrame>,
    patience: Duration,
) {
    let handshake = async {
        if let Some(farewell) = farewell
            && socket.send(Message::Close(Some(farewell))).await.is_err()
        {
            return;
        }
        // Reading also writes what the library below owes: the answer to the other side's farewell.
        while let Some(Ok(_)) = socket.recv().await {}
    };
    // Whether it is seen or not, this is the end.
    let _ = timeout(patience, handshake).await;
}
