//! Listeners that go from one process to another: the descriptor itself moves, so nobody who connects meanwhile is
//! refused.

use crate::unix::identity;
use crate::{NetError, TcpServer, UnixServer};
use rustix::net::{AddressFamily, SocketType, sockopt};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What another process needs to listen where a [`UnixServer`] of this one does.
#[derive(Debug)]
pub struct UnixShare {
    descriptor: OwnedFd,
    path: PathBuf,
    identity: (u64, u64),
    left: Arc<AtomicBool>,
}

/// What another process needs to listen where a [`TcpServer`] of this one does.
#[derive(Debug)]
pub struct TcpShare {
    descriptor: OwnedFd,
    address: SocketAddr,
}

impl UnixShare {
    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode of the socket's file.
    #[must_use]
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Whether the file stays when the [`UnixServer`] goes, because another process listens on it then.
    pub fn leave(&self, is_left: bool) {
        self.left.store(is_left, Ordering::Release);
    }
}

impl TcpShare {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl AsFd for UnixShare {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsFd for TcpShare {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl UnixServer {
    /// This listener for another process. Whoever connects is accepted by whichever of both comes first.
    ///
    /// # Errors
    /// [`NetError::ListenUnix`] if this process may open no more.
    pub fn share(&self) -> Result<UnixShare, NetError> {
        let descriptor = self
            .listener
            .as_fd()
            .try_clone_to_owned()
            .map_err(|source| self.failed(source))?;
        Ok(UnixShare {
            descriptor,
            path: self.path.clone(),
            identity: self.identity,
            left: Arc::clone(&self.left),
        })
    }

    /// Listens on `path` by `descriptor`, which another process handed on, with the [`UnixShare::identity`] that it told.
    /// The file is that process's until [`UnixShare::leave`] says otherwise.
    ///
    /// # Errors
    /// [`NetError::Handed`] if the descriptor listens somewhere else or nowhere, or the file is not the one it listens on.
    pub fn adopt(descriptor: OwnedFd, path: &Path, identity: (u64, u64)) -> Result<Self, NetError> {
        let wrong = |what| handed(path.display().to_string(), what);
        check(&descriptor, AddressFamily::UNIX).map_err(wrong)?;
        let listener = std::os::unix::net::UnixListener::from(descriptor);
        let address = listener.local_addr().map_err(|_| wrong("it has no address"))?;
        if address.as_pathname() != Some(path) {
            return Err(wrong("it listens elsewhere"));
        }
        let found = fs::symlink_metadata(path).map_err(|_| wrong("its file is gone"))?;
        if self::identity(&found) != identity {
            return Err(wrong("its file is another one by now"));
        }
        let failed = |source| NetError::ListenUnix {
            path: path.to_path_buf(),
            source,
        };
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            listener: tokio::net::UnixListener::from_std(listener).map_err(failed)?,
            path: path.to_path_buf(),
            identity,
            left: Arc::new(AtomicBool::new(true)),
        })
    }

    fn failed(&self, source: io::Error) -> NetError {
        NetError::ListenUnix {
            path: self.path.clone(),
            source,
        }
    }
}

impl TcpServer {
    /// This listener for another process. Whoever connects is accepted by whichever of both comes first.
    ///
    /// # Errors
    /// [`NetError::Handed`] if this process may open no more.
    pub fn share(&self) -> Result<TcpShare, NetError> {
        let descriptor = self
            .listener
            .as_fd()
            .try_clone_to_owned()
            .map_err(|_| handed(self.address.to_string(), "it cannot be opened once more"))?;
        Ok(TcpShare {
            descriptor,
            address: self.address,
        })
    }

    /// Listens on `address` by `descriptor`, which another process handed on.
    ///
    /// # Errors
    /// [`NetError::Handed`] if the descriptor listens somewhere else or nowhere.
    pub fn adopt(descriptor: OwnedFd, address: SocketAddr) -> Result<Self, NetError> {
        let wrong = |what| handed(address.to_string(), what);
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        check(&descriptor, family).map_err(wrong)?;
        let listener = std::net::TcpListener::from(descriptor);
        if listener.local_addr().ok() != Some(address) {
            return Err(wrong("it listens elsewhere"));
        }
        listener
            .set_nonblocking(true)
            .and_then(|()| tokio::net::TcpListener::from_std(listener))
            .map(|listener| Self { listener, address })
            .map_err(|_| wrong("it cannot be waited at"))
    }
}

/// Whether `descriptor` is a socket of streams that listens.
fn check(descriptor: &OwnedFd, family: AddressFamily) -> Result<(), &'static str> {
    let no_socket = |_| "it is no socket";
    if sockopt::socket_domain(descriptor).map_err(no_socket)? != family
        || sockopt::socket_type(descriptor).map_err(no_socket)? != SocketType::STREAM
    {
        return Err("it is another kind of socket");
    }
    match sockopt::socket_acceptconn(descriptor) {
        Ok(true) => Ok(()),
        _ => Err("it does not listen"),
    }
}

fn handed(place: String, what: &'static str) -> NetError {
    NetError::Handed { place, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UnixOptions;
    use std::os::unix::net::UnixStream;

    fn what(result: Result<UnixServer, NetError>) -> &'static str {
        match result {
            Err(NetError::Handed { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_socket_that_is_handed_on_outlives_its_first_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let first = UnixServer::bind(&path, UnixOptions::default()).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        let share = first.share().unwrap();
        let descriptor = share.as_fd().try_clone_to_owned().unwrap();
        let second = UnixServer::adopt(descriptor, share.path(), share.identity()).unwrap();
        share.leave(true);
        drop((first, share));
        second.listener.accept().await.unwrap();
        // As long as it is the other's, it goes on there.
        drop(second);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn the_file_goes_with_whose_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let first = UnixServer::bind(&path, UnixOptions::default()).unwrap();
        let share = first.share().unwrap();
        // One that was given up is as before.
        share.leave(true);
        share.leave(false);
        let descriptor = share.as_fd().try_clone_to_owned().unwrap();
        let second = UnixServer::adopt(descriptor, &path, share.identity()).unwrap();
        let taken = second.share().unwrap();
        drop(first);
        assert!(!path.exists());
        let first = UnixServer::bind(&path, UnixOptions::default()).unwrap();
        taken.leave(false);
        drop(second);
        assert!(path.exists(), "another socket by now, which is not its to remove");
        let share = first.share().unwrap();
        let descriptor = share.as_fd().try_clone_to_owned().unwrap();
        let second = UnixServer::adopt(descriptor, &path, share.identity()).unwrap();
        share.leave(true);
        second.share().unwrap().leave(false);
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn only_that_very_listener_is_adopted() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a.sock"), dir.path().join("b.sock"));
        let server = UnixServer::bind(&path, UnixOptions::default()).unwrap();
        let share = server.share().unwrap();
        let identity = share.identity();
        let clone = || share.as_fd().try_clone_to_owned().unwrap();
        let adopt = |descriptor, path: &Path, identity| what(UnixServer::adopt(descriptor, path, identity));
        assert_eq!(adopt(clone(), &other, identity), "it listens elsewhere");
        assert_eq!(
            adopt(clone(), &path, (identity.0, identity.1 + 1)),
            "its file is another one by now"
        );
        let (stream, _peer) = UnixStream::pair().unwrap();
        assert_eq!(adopt(stream.into(), &path, identity), "it does not listen");
        let datagrams = std::os::unix::net::UnixDatagram::unbound().unwrap();
        assert_eq!(
            adopt(datagrams.into(), &path, identity),
            "it is another kind of socket"
        );
        let file = fs::File::open(dir.path()).unwrap();
        assert_eq!(adopt(file.into(), &path, identity), "it is no socket");
        fs::remove_file(&path).unwrap();
        assert_eq!(adopt(clone(), &path, identity), "its file is gone");
    }

    #[tokio::test]
    async fn a_port_that_is_handed_on_is_held_throughout() {
        let any = "127.0.0.1:0".parse().unwrap();
        let first = TcpServer::bind(any, "metrics").await.unwrap();
        let address = first.address();
        let share = first.share().unwrap();
        let clone = || share.as_fd().try_clone_to_owned().unwrap();
        let elsewhere = TcpServer::adopt(clone(), any).unwrap_err();
        assert!(matches!(
            elsewhere,
            NetError::Handed {
                what: "it listens elsewhere",
                ..
            }
        ));
        let v6 = TcpServer::adopt(clone(), "[::1]:1".parse().unwrap()).unwrap_err();
        assert!(matches!(v6, NetError::Handed { .. }));
        let second = TcpServer::adopt(clone(), share.address()).unwrap();
        drop((first, share));
        let _client = std::net::TcpStream::connect(address).unwrap();
        second.listener.accept().await.unwrap();
    }
}
