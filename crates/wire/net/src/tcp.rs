use crate::NetError;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// A TCP listener.
#[derive(Debug)]
pub struct TcpServer {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl TcpServer {
    /// Listens on `address`; port 0 takes any free one. `setting` is where a person changes it.
    ///
    /// # Errors
    /// [`NetError::PortTaken`], [`NetError::PortForbidden`] or [`NetError::ListenTcp`].
    pub async fn bind(address: SocketAddr, setting: &'static str) -> Result<Self, NetError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| Self::explain(address, setting, source))?;
        let address = listener
            .local_addr()
            .map_err(|source| Self::explain(address, setting, source))?;
        Ok(Self { listener, address })
    }

    /// Where it listens; the real port where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn explain(address: SocketAddr, setting: &'static str, source: io::Error) -> NetError {
        match source.kind() {
            io::ErrorKind::AddrInUse => NetError::PortTaken { address, setting },
            io::ErrorKind::PermissionDenied => NetError::PortForbidden { address, setting },
            _ => NetError::ListenTcp {
                address,
                setting,
                source,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signet_fault::Coded;

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_setting() {
        let any = "127.0.0.1:0".parse().unwrap();
        let first = TcpServer::bind(any, "listen.agents").await.unwrap();
        let port = first.address().port();
        assert_ne!(port, 0);
        let error = TcpServer::bind(first.address(), "listen.agents")
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("port {port}")) && text.contains("`listen.agents`"),
            "{text}"
        );
        assert!(text.contains("ss -ltnp"), "{text}");
        assert_eq!(error.code(), "SGNE008");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused() {
        let there = "192.0.2.1:0".parse().unwrap();
        assert!(matches!(
            TcpServer::bind(there, "x").await,
            Err(NetError::ListenTcp { .. })
        ));
    }
}
