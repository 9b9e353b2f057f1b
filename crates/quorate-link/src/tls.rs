//! TLS: which certificates to trust, and which to show.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::Secret;
use crate::error::{LinkError, LinkErrorKind, Outcome};

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

/// A [`TlsConfig`] made ready: certificates parsed once, sessions resumable between connections.
#[derive(Clone)]
pub(crate) struct TlsSetup {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl fmt::Debug for TlsSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSetup")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl TlsSetup {
    pub(crate) fn new(config: &TlsConfig, host: &str) -> Result<Self, LinkError> {
        let name = config.server_name.as_deref().unwrap_or(host);
        let name = name
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(name)
            .map_err(|e| invalid("tls.server_name: must be a DNS name or an address", e))?;
        // The provider is named, so that the application's choice of a default does not matter.
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| invalid("tls: no usable protocol version", e))?
            .with_root_certificates(roots(config)?);
        let client = match (&config.client_cert_pem, &config.client_key_pem) {
            (None, None) => builder.with_no_client_auth(),
            (Some(chain), Some(key)) => {
                let chain = certificates("tls.client_cert_pem: must be a PEM certificate", chain)?;
                let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
                    .map_err(|e| invalid("tls.client_key_pem: must be a PEM private key", e))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| invalid("tls.client_key_pem: must fit the certificate", e))?
            }
            _ => {
                return Err(LinkError::config(
                    "tls.client_cert_pem and tls.client_key_pem: set both or neither",
                ));
            }
        };
        Ok(Self {
            connector: TlsConnector::from(Arc::new(client)),
            name,
        })
    }

    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, LinkError> {
        self.connector
            .connect(self.name.clone(), stream)
            .await
            .map_err(|error| {
                LinkError::with_source(
                    LinkErrorKind::Tls,
                    Outcome::NotApplied,
                    format!("the TLS handshake failed: {error}"),
                    error,
                )
            })
    }
}

fn roots(config: &TlsConfig) -> Result<RootCertStore, LinkError> {
    let mut roots = RootCertStore::empty();
    if config.system_roots {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a system certificate could not be read");
        }
        // Systems carry certificates no library accepts; the others are what counts.
        roots.add_parsable_certificates(found.certs);
    }
    if let Some(pem) = &config.ca_pem {
        for certificate in certificates("tls.ca_pem: must hold PEM certificates", pem)? {
            roots
                .add(certificate)
                .map_err(|e| invalid("tls.ca_pem: must hold certificates of authorities", e))?;
        }
    }
    if roots.is_empty() {
        return Err(LinkError::config(
            "tls: trusts no authority; set tls.ca_pem, or install the system's certificates",
        ));
    }
    Ok(roots)
}

fn certificates(rule: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, LinkError> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| invalid(rule, e))?;
    if found.is_empty() {
        Err(LinkError::config(rule))
    } else {
        Ok(found)
    }
}

fn invalid(
    rule: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> LinkError {
    LinkError::with_source(LinkErrorKind::Config, Outcome::NotApplied, rule, source)
}
