//! By what requests are told apart.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::HeaderName;
use axum::http::request::Parts;
use sha2::{Digest, Sha256};

use super::address::{TrustedProxies, counted};
use crate::hex::hex;
use crate::problem::{Code, Problem};

type Tell = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

/// By what requests are told apart: each key is counted on its own.
#[derive(Clone)]
pub struct LimitBy(Kind);

#[derive(Clone)]
enum Kind {
    Address(TrustedProxies),
    Header(HeaderName),
    Function(Tell),
}

impl LimitBy {
    /// By the address a request comes from; of IPv6 by its first 64 bits.
    ///
    /// Behind proxies, this is that of a proxy: [`address_behind`](Self::address_behind). The service has to be served with
    /// `into_make_service_with_connect_info::<SocketAddr>()`; without, requests are answered with 500.
    #[must_use]
    pub fn address() -> Self {
        Self::address_behind(TrustedProxies::default())
    }

    /// By the address of the client that trusted proxies name in `X-Forwarded-For`.
    #[must_use]
    pub const fn address_behind(proxies: TrustedProxies) -> Self {
        Self(Kind::Address(proxies))
    }

    /// By a header, such as an API key's. Requests without it share one key.
    ///
    /// What is kept is a hash: no secret is in the home.
    #[must_use]
    pub const fn header(name: HeaderName) -> Self {
        Self(Kind::Header(name))
    }

    /// By what a function makes of a request, such as the user that a layer further out put into its extensions. Requests
    /// for which it says nothing are not limited by this rule.
    ///
    /// Text of up to 512 bytes without control characters; what is not is answered with 400.
    pub fn function(tell: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Kind::Function(Arc::new(tell)))
    }

    /// The key of a request; `None` if it is not limited.
    pub(super) fn key(&self, request: &Parts) -> Result<Option<String>, Problem> {
        match &self.0 {
            Kind::Address(proxies) => {
                let Some(ConnectInfo(peer)) = request.extensions.get::<ConnectInfo<SocketAddr>>()
                else {
                    let detail = "the service does not know where its requests come from";
                    return Err(Problem::new(Code::Internal, detail));
                };
                let client = proxies.client(peer.ip(), &request.headers);
                Ok(Some(counted(client)))
            }
            Kind::Header(name) => {
                let mut values = request.headers.get_all(name).iter().peekable();
                if values.peek().is_none() {
                    return Ok(Some("none".to_owned()));
                }
                let mut hash = Sha256::new();
                for value in values {
                    hash.update((value.len() as u64).to_le_bytes());
                    hash.update(value.as_bytes());
                }
                Ok(Some(format!("sha256-{}", hex(&hash.finalize()))))
            }
            Kind::Function(tell) => Ok(tell(request)),
        }
    }
}

impl fmt::Debug for LimitBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Address(proxies) => f.debug_tuple("Address").field(proxies).finish(),
            Kind::Header(name) => f.debug_tuple("Header").field(name).finish(),
            Kind::Function(_) => f.write_str("Function"),
        }
    }
}
