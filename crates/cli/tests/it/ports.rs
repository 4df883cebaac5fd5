//! Ports for processes that are started again and again.

use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpSocket;

/// A port of the loopback that the kernel chose, for one of our processes to listen on.
///
/// The socket that chose it never listens. As long as it is there the kernel gives the port to nobody who did not ask
/// for it by number, so that it is still free when that process is started a second time.
pub(crate) struct HeldPort {
    _socket: TcpSocket,
    port: u16,
}

impl HeldPort {
    pub(crate) fn take() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Whoever listens does the same; two such sockets may have one port while only one of them listens.
        socket.set_reuseaddr(true).unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = socket.local_addr().unwrap().port();
        Self {
            _socket: socket,
            port,
        }
    }

    pub(crate) fn number(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}

/// Another test may be starting a process, which has a copy of the listener before this one until it runs its program.
async fn listen(address: SocketAddr) -> tokio::net::TcpListener {
    loop {
        match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_held_port_can_be_listened_on_and_is_given_to_nobody_else() {
    let held = HeldPort::take();
    for _ in 0..3 {
        let listener = listen(held.address()).await;
        let (ours, theirs) = tokio::join!(tokio::net::TcpStream::connect(held.address()), listener.accept());
        drop((ours.unwrap(), theirs.unwrap()));
    }
    // As many as the kernel may have to give: those that it does give are others.
    let mut others = Vec::new();
    for _ in 0..200 {
        let other = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert_ne!(other.local_addr().unwrap().port(), held.number());
        others.push(other);
    }
}
