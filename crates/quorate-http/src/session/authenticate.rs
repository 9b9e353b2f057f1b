//! Connections of a hub by the sessions of a service.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use quorate::SessionId;

use super::carrier::Carrier;
use super::layer::SessionLayer;
use crate::hub::{Authenticate, Credentials, Denied, Identity};

/// Who is logged in may connect to a [hub](crate::Hub), as that user, for as long as the session lives: a client is sent away
/// (4401, `session_ended`) when it ends, on whatever instance that happens. Being connected is no use of the session.
///
/// The layer itself need not stand in front of the hub's routes. With [`bearer`](SessionLayer::bearer), the token of an
/// `authenticate` frame may be the id.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use axum::Router;
/// use quorate::Fleet;
/// use quorate_http::Hub;
/// use quorate_http::session::SessionLayer;
///
/// let fleet = Fleet::embedded();
/// let layer = SessionLayer::new(fleet.sessions());
/// let hub = Hub::builder(fleet).authenticate(layer.clone()).build()?;
/// let app: Router = Router::new().nest("/live", hub.router()).layer(layer);
/// # let _ = app;
/// # Ok(()) }
/// ```
impl Authenticate for SessionLayer {
    fn authenticate(
        &self,
        credentials: Credentials,
    ) -> BoxFuture<'static, Result<Identity, Denied>> {
        let options = self.options.clone();
        let id = match (credentials.token(), &options.carrier) {
            (None, carrier) => carrier
                .read(credentials.headers())
                .map(|carried| carried.id),
            (Some(token), Carrier::Bearer) => SessionId::parse(token),
            (Some(_), Carrier::Cookie(_)) => None,
        };
        async move {
            let nobody = || Denied::unauthenticated("log in first");
            let id = id.ok_or_else(nobody)?;
            let session = options.sessions.get_and_touch(&id).await?;
            let session = session.ok_or_else(nobody)?;
            let user = session.user().ok_or_else(nobody)?;
            Ok(Identity::new(user).with_session(&options.sessions, &id))
        }
        .boxed()
    }
}
