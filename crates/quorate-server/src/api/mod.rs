//! The HTTP interface. `/openapi.json` describes it.

mod document;
mod events;
mod health;
mod history;
mod hub;
mod locks;
mod openapi;
mod presence;
mod session;

use axum::Router;
use axum::routing::{get, post};

use crate::app::App;

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
        .route("/v1/locks/{name}", post(locks::acquire))
        .route(
            "/v1/locks/{name}/{lease_id}",
            post(locks::extend).delete(locks::release),
        )
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
