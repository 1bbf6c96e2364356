//! TLS by rustls: with the roots of trust that were configured, or a certificate to show.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, server};

use super::Roots;
use crate::error::{CertificateError, ConnectError, TransportError};

/// What a listener shows to those who dial it over TLS. Clones share it.
#[derive(Clone)]
pub struct Certificate(TlsAcceptor);

impl Certificate {
    /// Reads the chain of certificates, the listener's own first, and its private key from PEM files.
    ///
    /// # Errors
    /// [`CertificateError`] when they cannot be read, or do not belong together.
    pub fn from_pem_files(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source: pem::Error| CertificateError::Unreadable { path, source }
        };
        let certificates = CertificateDer::pem_file_iter(chain).map_err(unreadable(chain))?;
        let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(unreadable(chain))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Answers the TLS handshake of a client. Waits as long as the client does.
    ///
    /// # Errors
    /// [`TransportError`] when the connection breaks, or is no TLS that both understand.
    pub async fn accept(&self, tcp: TcpStream) -> Result<server::TlsStream<TcpStream>, TransportError> {
        Ok(self.0.accept(tcp).await?)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate(..)")
    }
}

/// Makes a TLS connection to `host`, which its certificate must be for.
pub(super) async fn connect(
    tcp: TcpStream,
    host: &str,
    roots: &Roots,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| ConnectError::InvalidUrl { url: host.chars().take(200).collect() })?;
    let store = match roots {
        Roots::PemFile(path) => pem_roots(path)?,
        Roots::System => system_roots().await?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    stream.map_err(ConnectError::Tls)
}

fn unusable(message: String) -> ConnectError {
    ConnectError::Roots { message }
}

fn pem_roots(path: &Path) -> Result<RootCertStore, ConnectError> {
    let failed = |error: &dyn std::fmt::Display| unusable(format!("{}: {error}", path.display()));
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
        let certificate = certificate.map_err(|error| failed(&error))?;
        store.add(certificate).map_err(|error| failed(&error))?;
    }
    match store.is_empty() {
        true => Err(failed(&"no certificate in the file")),
        false => Ok(store),
    }
}

/// Reads the system's roots, which are many small files, where blocking is allowed.
async fn system_roots() -> Result<RootCertStore, ConnectError> {
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let loaded = loaded.map_err(|error| unusable(error.to_string()))?;
    let mut store = RootCertStore::empty();
    // Systems have roots that nobody can parse any more; one that can be used is enough.
    store.add_parsable_certificates(loaded.certs);
    match (store.is_empty(), loaded.errors.first()) {
        (false, _) => Ok(store),
        (true, Some(error)) => Err(unusable(error.to_string())),
        (true, None) => Err(unusable("the system has none".to_owned())),
    }
}
