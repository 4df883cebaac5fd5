//! Reaching a server: HTTP/1.1 for the command line ([`Client`]), gRPC channels ([`channel`]).

pub mod channel;
mod endpoint;
mod http1;

pub use endpoint::Endpoint;
pub use http1::{Client, Reply};

use crate::NetError;
use std::io;
use std::path::Path;
use tokio::net::{TcpStream, UnixStream};

/// Tells apart what a person can do about a connection that could not be made.
fn explain(address: &str, source: io::Error) -> NetError {
    let address = address.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => NetError::Absent { address, source },
        io::ErrorKind::PermissionDenied => NetError::Forbidden { address, source },
        _ => NetError::Connect { address, source },
    }
}

async fn connect_unix(path: &Path) -> Result<UnixStream, NetError> {
    UnixStream::connect(path)
        .await
        .map_err(|e| explain(&format!("unix://{}", path.display()), e))
}

async fn connect_tcp(address: &str) -> Result<TcpStream, NetError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|e| explain(address, e))?;
    // Small frames must not wait for an acknowledgement; failing to say so only slows them.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
