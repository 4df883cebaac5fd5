//! gRPC channels over a UNIX socket or TLS. They connect when first used and again after a break.

use super::{connect_tcp, connect_unix};
use crate::NetError;
use core::time::Duration;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// From the first packet to a connection that can be used.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a quiet server is asked whether it is there; a dead one is noticed after this and the next.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Header fields of one answer.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// What a server may send ahead of being read.
const WINDOW_BYTES: u32 = 1 << 20;

fn endpoint() -> Endpoint {
    // gRPC wants an authority; there is none on a socket, and over TLS the certificate's SPIFFE ID decides.
    Endpoint::from_static("http://signet.invalid")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        // A stream or call that we drop counts as a reset, and by default a connection fails after 1,024 of them however
        // long it has lived. That is meant for peers who make us reset streams; we call these servers, and trust them.
        .http2_max_local_error_reset_streams(None)
}

/// A channel over the UNIX socket at `path`.
#[must_use]
pub fn unix(path: PathBuf) -> Channel {
    endpoint().connect_with_connector_lazy(service_fn(move |_: Uri| {
        let path = path.clone();
        async move { connect_unix(&path).await.map(TokioIo::new) }
    }))
}

/// A channel over TLS to `address` (`HOST:PORT`), secured by `config`.
///
/// `config` decides by the peer's SPIFFE ID; the name that is sent (SNI) is the host.
#[must_use]
pub fn tls(address: String, config: Arc<rustls::ClientConfig>) -> Channel {
    endpoint()
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(service_fn(move |_: Uri| {
            let (address, config) = (address.clone(), Arc::clone(&config));
            async move { tls_stream(&address, config).await.map(TokioIo::new) }
        }))
}

/// A channel over one connection by TLS to `address`, which is open when this returns, and what `look` finds of it. It
/// lives as long as that connection: what was found holds for each call.
///
/// # Errors
/// As [`tls_stream`].
pub async fn tls_once<T>(
    address: &str,
    config: Arc<rustls::ClientConfig>,
    look: impl FnOnce(&rustls::ClientConnection) -> T,
) -> Result<(Channel, T), NetError> {
    let stream = tls_stream(address, config).await?;
    let found = look(stream.get_ref().1);
    let only = Arc::new(Mutex::new(Some(TokioIo::new(stream))));
    let channel = endpoint().connect_with_connector_lazy(service_fn(move |_: Uri| {
        let taken = only.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move { taken.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    }));
    Ok((channel, found))
}

/// Opens one TLS connection to `address` (`HOST:PORT`).
///
/// # Errors
/// [`NetError::Absent`], [`NetError::Connect`] or [`NetError::Handshake`].
pub async fn tls_stream(
    address: &str,
    config: Arc<rustls::ClientConfig>,
) -> Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>, NetError> {
    let failed = |source| NetError::Handshake {
        address: address.to_owned(),
        source,
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|e| failed(io::Error::new(io::ErrorKind::InvalidInput, e)))?;
    let stream = connect_tcp(address).await?;
    TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(failed)
}

/// The cause that `status` carries if the call failed before it reached the server.
///
/// tonic hands a connection's failure on as `Unavailable` with the cause inside; a person needs that one.
#[must_use]
pub fn transport_cause(status: &tonic::Status) -> Option<&NetError> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<NetError>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
