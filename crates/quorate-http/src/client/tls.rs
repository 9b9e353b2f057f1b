//! TLS: which certificates to trust.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;

use super::error::{ClientError, ClientResult};

/// What secures connections to one server: certificates parsed once, sessions resumable.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) connector: TlsConnector,
    pub(super) name: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Trusts the authorities of the system, and those of `ca_pem`. There is no way not to verify.
    pub(super) fn new(host: &str, ca_pem: Option<&str>) -> ClientResult<Self> {
        let name = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(name).map_err(|error| {
            ClientError::invalid("url", "must name a host by its DNS name or address")
                .caused_by(error)
        })?;
        // The provider is named, so that the application's choice of a default does not matter.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| ClientError::invalid("tls", "has no usable version").caused_by(error))?
            .with_root_certificates(roots(ca_pem)?)
            .with_no_client_auth();
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }
}

fn roots(ca_pem: Option<&str>) -> ClientResult<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a system certificate could not be read");
    }
    // Systems carry certificates no library accepts; the others are what counts.
    roots.add_parsable_certificates(found.certs);
    if let Some(pem) = ca_pem {
        let rule = "must hold PEM certificates of authorities";
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| ClientError::invalid("ca_pem", rule).caused_by(error))?;
        if certificates.is_empty() {
            return Err(ClientError::invalid("ca_pem", rule));
        }
        for certificate in certificates {
            roots
                .add(certificate)
                .map_err(|error| ClientError::invalid("ca_pem", rule).caused_by(error))?;
        }
    }
    if roots.is_empty() {
        let rule = "must be set: the system has no certificates of authorities";
        return Err(ClientError::invalid("ca_pem", rule));
    }
    Ok(roots)
}
