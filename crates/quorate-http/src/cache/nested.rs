//! Layers of one cache within each other: the inner one does not wait for the outer one, which waits for it.

use axum::body::Body;
use axum::http::{Extensions, Request};
use quorate::Cache;

use super::stored::Kept;

/// For which entries a request to the service is on its way, from the layers around: an extension of it.
#[derive(Clone, Default)]
pub(super) struct Around(Vec<(Cache<str, Kept>, String)>);

impl Around {
    /// The request is on its way for this entry.
    pub(super) fn enter(request: &mut Request<Body>, cache: &Cache<str, Kept>, entry: &str) {
        let extensions = request.extensions_mut();
        let mut around = extensions.remove::<Self>().unwrap_or_default();
        around.0.push((cache.clone(), entry.to_owned()));
        extensions.insert(around);
    }

    /// Whether a layer around asks for this entry.
    pub(super) fn has(request: &Extensions, cache: &Cache<str, Kept>, entry: &str) -> bool {
        let around = request.get::<Self>();
        around.is_some_and(|Self(around)| {
            let is_it =
                |(outer, name): &(Cache<str, Kept>, String)| name == entry && outer.is_same(cache);
            around.iter().any(is_it)
        })
    }
}
