//! The HTTP interface. `/openapi.json` describes it.

mod cache;
mod document;
mod events;
pub(crate) mod figures;
mod health;
mod history;
mod hub;
pub(crate) mod limit_figures;
mod limits;
mod locks;
mod openapi;
mod presence;
pub(crate) mod queues;
pub(crate) mod remembered;
mod session;
mod session_changes;
mod sessions;
mod store;
mod values;

use axum::Router;
use axum::http::{HeaderName, header};
use axum::routing::{delete, get, post};

pub(crate) use self::sessions::SessionView;
use crate::app::App;

/// Headers of answers that pages of other sites may read.
pub(crate) const SHOWN: [HeaderName; 4] =
    [header::AGE, header::ETAG, values::EXPIRES_IN, cache::TAGS];

/// Routes for those who have the token, if there is one.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/events/{*topic}", post(events::publish))
        .route("/v1/history/{*topic}", get(history::read))
        .route("/v1/presence/{*topic}", get(presence::show))
        .route("/v1/instances", get(presence::instances))
        .route("/v1/hub", get(hub::show))
        .route("/v1/hub/clients", get(hub::clients))
        .route("/v1/hub/clients/{id}", get(hub::client))
        .route("/v1/limits", get(limit_figures::show))
        .route("/v1/limits/{limiter}/{key}", post(limits::consume))
        .route("/v1/limits/{limiter}/{key}/refund", post(limits::refund))
        .route("/v1/limits/{limiter}/{key}/reset", post(limits::reset))
        .route("/v1/locks", get(locks::list))
        .route(
            "/v1/locks/{name}",
            get(locks::show).post(locks::acquire).delete(locks::force),
        )
        .route(
            "/v1/locks/{name}/{lease_id}",
            post(locks::extend).delete(locks::release),
        )
        .merge(queues::routes())
        .route(
            "/v1/sessions",
            get(sessions::list)
                .post(sessions::create)
                .delete(sessions::delete_all),
        )
        .route("/v1/sessions/check", post(sessions::check))
        .route("/v1/sessions/count", get(sessions::count))
        .route("/v1/sessions/update", post(session_changes::update))
        .route("/v1/sessions/rotate", post(session_changes::rotate))
        .route("/v1/sessions/{handle}", delete(sessions::delete))
        .route("/v1/store/{store}", get(store::list))
        .route(
            "/v1/store/{store}/{key}",
            get(store::get).put(store::set).delete(store::delete),
        )
        .route("/v1/store/{store}/{key}/increment", post(store::increment))
        .route("/v1/cache", get(figures::show))
        .route("/v1/cache/{cache}", get(cache::list).delete(cache::clear))
        .route(
            "/v1/cache/{cache}/{key}",
            get(cache::get).put(cache::put).delete(cache::remove),
        )
        .route("/v1/cache-tags/invalidate", post(cache::invalidate))
        .route("/metrics", get(health::metrics))
}

/// Routes for everybody.
pub(crate) fn open_routes() -> Router<App> {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/openapi.json", get(openapi::document))
        .route(
            "/v1/session",
            get(session::show)
                .post(session::log_in)
                .delete(session::log_out),
        )
}
