//! Responses of the cache itself.

use axum::body::Body;
use axum::http::header::AGE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::conditional::{has_it_already, is_read, not_modified, say_length};
use super::status::Handled;
use super::stored::Held;
use crate::body::whole;

/// What is there, as the answer to a request.
pub(super) fn from(held: &Held, request: &Parts, handled: Handled) -> Response<Body> {
    let stored = &held.response;
    let is_conditional = stored.status == StatusCode::OK && is_read(&request.method);
    let mut response = Response::new(Body::empty());
    if is_conditional && has_it_already(&request.headers, &stored.headers) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.headers_mut() = not_modified(&stored.headers);
    } else {
        *response.status_mut() = stored.status;
        *response.headers_mut() = stored.headers.clone();
        if request.method != Method::HEAD {
            let trailers = Some(stored.trailers.clone());
            *response.body_mut() = whole(stored.body.clone(), trailers);
        } else if stored.status != StatusCode::NO_CONTENT {
            say_length(response.headers_mut(), stored.body.len());
        }
    }
    // What the service just said has no age of ours.
    if handled.is_hit || handled.is_collapsed || handled.forward_status.is_some() {
        write_age(response.headers_mut(), held);
    }
    handled.write(response.headers_mut());
    response
}

/// Says how old it is.
pub(super) fn write_age(headers: &mut HeaderMap, held: &Held) {
    headers.insert(AGE, HeaderValue::from(held.age.as_secs()));
}

/// A status, and nothing else.
pub(super) fn without_body(status: StatusCode, handled: &Handled) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    handled.write(response.headers_mut());
    response
}
