//! TLS by rustls, with the roots of trust that were configured.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Roots;
use crate::error::{ConnectError, TransportError};

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
    Ok(stream.map_err(TransportError::Io)?)
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
