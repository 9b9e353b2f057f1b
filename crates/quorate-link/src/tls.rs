//! TLS: which certificates to trust, and which to show.

use std::fmt;

use crate::config::Secret;

/// How to secure the connection.
///
/// There is no option to skip verification: a private authority is named with
/// [`ca_pem`](TlsConfig::ca_pem).
#[derive(Clone)]
#[non_exhaustive]
pub struct TlsConfig {
    /// Trust the authorities installed on the system.
    pub system_roots: bool,
    /// Certificates of further authorities to trust, in PEM.
    pub ca_pem: Option<String>,
    /// The client's certificate chain in PEM, for servers that ask for one.
    pub client_cert_pem: Option<String>,
    /// The private key of the client's certificate, in PEM.
    pub client_key_pem: Option<Secret>,
    /// The name the server's certificate must carry; `None` means the host.
    pub server_name: Option<String>,
}

impl TlsConfig {
    /// Trusts the system's authorities and shows no client certificate.
    #[must_use]
    pub fn new() -> Self {
        Self {
            system_roots: true,
            ca_pem: None,
            client_cert_pem: None,
            client_key_pem: None,
            server_name: None,
        }
    }
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("system_roots", &self.system_roots)
            .field("ca_pem", &self.ca_pem.as_ref().map(|_| ".."))
            .field(
                "client_cert_pem",
                &self.client_cert_pem.as_ref().map(|_| ".."),
            )
            .field("client_key_pem", &self.client_key_pem)
            .field("server_name", &self.server_name)
            .finish()
    }
}
