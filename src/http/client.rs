//! Asks a service that runs, over its HTTP interface, on behalf of an operator's command.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::Request;
use hyper::header::{AUTHORIZATION, HOST};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::HttpConfig;

/// A service that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// The service does not answer, or not what was asked.
#[derive(Debug, Error)]
pub enum AskError {
    /// There is no service.
    #[error("no service answers at {address}: {reason}; is it running, with this configuration?")]
    NotRunning {
        /// Where it should listen.
        address: SocketAddr,
        /// What the operating system says.
        reason: String,
    },
    /// It says something else.
    #[error("what listens at {address} answers with {status}; does the token fit?")]
    Refused {
        /// Where it listens.
        address: SocketAddr,
        /// The HTTP status.
        status: u16,
    },
}

/// The service, as its configuration says that it listens.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    token: Option<SecretString>,
}

impl Client {
    /// Connects to nothing yet. What listens everywhere is asked on this machine.
    pub fn new(config: &HttpConfig, token: Option<SecretString>) -> Self {
        let mut address = config.listen;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        Self { address, token }
    }

    /// What it answers to a GET, which is JSON. Takes up to five seconds.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(&self, path: &str) -> Result<Value, AskError> {
        let failed = |reason: String| AskError::NotRunning { address: self.address, reason };
        let answer = timeout(PATIENCE, self.get(path)).await;
        let (status, body) = answer.map_err(|_| failed("it does not answer".to_owned()))?.map_err(failed)?;
        match serde_json::from_slice(&body) {
            Ok(answer) if status == 200 || path == "/readyz" => Ok(answer),
            _ => Err(AskError::Refused { address: self.address, status }),
        }
    }

    async fn get(&self, path: &str) -> Result<(u16, Vec<u8>), String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        let connection = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connection.map_err(|error| error.to_string())?;
        let driver = tokio::spawn(connection);
        let mut request = Request::get(path).header(HOST, self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        }
        let request = request.body(Body::empty()).map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let body = to_bytes(Body::new(answer.into_body()), MAX_ANSWER).await;
        driver.abort();
        Ok((status, body.map_err(|error| error.to_string())?.to_vec()))
    }
}
