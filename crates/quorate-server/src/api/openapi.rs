//! The description of the HTTP interface.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{
    cache, events, figures, health, history, hub, limit_figures, limits, locks, presence, queues,
    session, session_changes, sessions, store,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Quorate",
        description = "Events, sessions, limits, locks, queues, stores and caches of a fleet, for programs that are not Rust. Errors are \
                       problem documents (RFC 9457) with `code`, `outcome` and `retryable`. The \
                       streams `/v1/sse` and `/v1/ws` are described in docs/protocol.md."
    ),
    paths(
        events::publish,
        history::read,
        presence::show,
        presence::instances,
        hub::show,
        hub::clients,
        hub::client,
        sse,
        ws,
        limit_figures::show,
        limits::consume,
        limits::refund,
        limits::reset,
        locks::list,
        locks::acquire,
        locks::show,
        locks::force,
        locks::extend,
        locks::release,
        queues::list::list,
        queues::list::show,
        queues::list::pause,
        queues::list::resume,
        queues::list::fsck,
        queues::push::push,
        queues::push::push_many,
        queues::jobs::list,
        queues::jobs::show,
        queues::jobs::input,
        queues::result::show,
        queues::events::watch,
        queues::listen::listen,
        queues::change::edit,
        queues::change::cancel_one,
        queues::change::remove_one,
        queues::change::cancel,
        queues::change::redrive,
        queues::change::remove,
        queues::change::purge,
        queues::work::claim,
        queues::work::renew,
        queues::work::note,
        queues::settle::settle,
        queues::groups::show,
        queues::schedules::list,
        queues::schedules::forget,
        sessions::create,
        sessions::check,
        session_changes::update,
        session_changes::rotate,
        sessions::list,
        sessions::count,
        sessions::delete_all,
        sessions::delete,
        store::list,
        store::get,
        store::set,
        store::delete,
        store::increment,
        figures::show,
        cache::list,
        cache::clear,
        cache::get,
        cache::put,
        cache::remove,
        cache::invalidate,
        session::show,
        session::log_in,
        session::log_out,
        health::alive,
        health::ready,
        health::metrics,
    ),
    modifiers(&Token),
    security((), ("token" = [])),
)]
struct Description;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// Receives events as Server-Sent Events.
#[utoipa::path(
    get,
    path = "/v1/sse",
    params(("topic" = Vec<String>, Query, explode, description = "A topic or a glob; may be repeated")),
    responses(
        (status = 200, description = "Events `message`, `gap`, `undecodable`", content_type = "text/event-stream"),
        (status = 400, description = "A topic breaks a rule"),
        (status = 503, description = "The backend cannot be reached, or there are too many clients"),
    ),
    tag = "events",
)]
#[expect(
    dead_code,
    reason = "only its description is used; the route is quorate-http's"
)]
fn sse() {}

/// Subscribes and receives over a WebSocket.
#[utoipa::path(
    get,
    path = "/v1/ws",
    responses(
        (status = 101, description = "The protocol `quorate.v1`"),
        (status = 403, description = "The page's origin may not connect"),
        (status = 503, description = "There are too many clients"),
    ),
    tag = "events",
)]
#[expect(
    dead_code,
    reason = "only its description is used; the route is quorate-http's"
)]
fn ws() {}

/// The document.
pub(crate) async fn document() -> Response {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        Description::openapi()
            .to_json()
            .expect("the description is made of what JSON has")
    });
    (
        [(header::CONTENT_TYPE, "application/json")],
        DOCUMENT.as_str(),
    )
        .into_response()
}
