//! Certificates for servers that speak TLS, made on the fly and good for nothing else.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

use super::ServerError;

/// A certificate authority, a server certificate for `localhost` and 127.0.0.1, and a client
/// certificate, as PEM files in a temporary directory.
///
/// # Clone
///
/// Clones share the files, which are removed with the last one.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    dir: Arc<TempDir>,
    client_certificate_required: bool,
}

impl TlsFiles {
    /// Makes new ones.
    ///
    /// # Errors
    ///
    /// [`ServerError::Io`] if they cannot be made or written.
    pub fn generate() -> Result<Self, ServerError> {
        let dir = tempfile::Builder::new()
            .prefix("quorate-tls-")
            .tempdir()
            .map_err(ServerError::io("create a directory for certificates"))?;
        write_all(dir.path())
            .map_err(|error| ServerError::io("make certificates")(io::Error::other(error)))?;
        Ok(Self {
            dir: Arc::new(dir),
            client_certificate_required: false,
        })
    }

    /// Lets servers refuse clients that don't show a certificate of this authority.
    #[must_use]
    pub fn require_client_certificate(mut self) -> Self {
        self.client_certificate_required = true;
        self
    }

    /// The authority's certificate, for clients to trust.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The client's certificate.
    #[must_use]
    pub fn client_certificate(&self) -> PathBuf {
        self.dir.path().join("client.pem")
    }

    /// The key of the client's certificate.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.dir.path().join("client.key")
    }

    /// The server's certificate, for servers other than Redis.
    #[must_use]
    pub fn server_certificate(&self) -> PathBuf {
        self.dir.path().join("server.pem")
    }

    /// The key of the server's certificate.
    #[must_use]
    pub fn server_key(&self) -> PathBuf {
        self.dir.path().join("server.key")
    }

    /// The options that make a Redis or Valkey server use them.
    pub(super) fn server_options(&self) -> Vec<Box<OsStr>> {
        let clients = if self.client_certificate_required {
            "yes"
        } else {
            "no"
        };
        let (certificate, key, authority) = (
            self.server_certificate(),
            self.server_key(),
            self.authority(),
        );
        [
            OsStr::new("--tls-cert-file"),
            certificate.as_os_str(),
            OsStr::new("--tls-key-file"),
            key.as_os_str(),
            OsStr::new("--tls-ca-cert-file"),
            authority.as_os_str(),
            OsStr::new("--tls-auth-clients"),
            OsStr::new(clients),
        ]
        .map(Into::into)
        .into()
    }
}

fn write_all(dir: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Quorate test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    fs::write(dir.join("ca.pem"), authority.pem())?;

    let issue = |name: &str, names: &[&str], purpose| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority)?;
        fs::write(dir.join(format!("{name}.pem")), certificate.pem())?;
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem())?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    issue(
        "server",
        &["localhost", "127.0.0.1"],
        ExtendedKeyUsagePurpose::ServerAuth,
    )?;
    issue(
        "client",
        &["quorate-client"],
        ExtendedKeyUsagePurpose::ClientAuth,
    )
}
