//! Where an agent listens.

use crate::handover::{self, Role, Share, Takeover};
use crate::upstream::StateDir;
use crate::{AgentError, AgentSettings, SOCKET_MODE};
use signet_fault::Coded as _;
use signet_net::{TcpServer, UnixOptions, UnixServer};
use std::fs;
use std::path::Path;
use tracing::warn;

/// All of its listeners.
pub(crate) struct Sockets {
    pub(crate) workload: UnixServer,
    pub(crate) local: UnixServer,
    pub(crate) metrics: Option<TcpServer>,
    /// None where nobody can take over.
    pub(crate) handover: Option<UnixServer>,
}

impl Sockets {
    /// Opens them, but for those that `takeover` has open already.
    ///
    /// # Errors
    /// [`AgentError::Listen`].
    pub(crate) async fn open(
        settings: &AgentSettings,
        files: Option<&StateDir>,
        mut takeover: Option<&mut Takeover>,
    ) -> Result<Self, AgentError> {
        let mut unix = |role, path: &Path| match takeover.as_mut().map(|given| given.unix(role, path)) {
            Some(given) => given,
            None => Ok(None),
        };
        let bind = |path: &Path| {
            let options = UnixOptions {
                mode: SOCKET_MODE,
                ..UnixOptions::default()
            };
            UnixServer::bind(path, options)
        };
        let path = &settings.workload_api.path;
        let workload = match unix(Role::Workload, path)? {
            Some(given) => given,
            None => bind(path)?,
        };
        let path = settings.local_socket();
        let local = match unix(Role::Local, &path)? {
            Some(given) => given,
            None => bind(&path)?,
        };
        let handover = match (files, takeover.as_mut()) {
            (None, _) => None,
            (Some(files), None) => handover_socket(files.path()),
            (Some(files), Some(given)) => given.unix(Role::Handover, &handover_path(files.path()))?,
        };
        let metrics = match &settings.metrics {
            None => None,
            Some(address) => {
                let given = match takeover {
                    Some(given) => given.tcp(Role::Metrics, address.0)?,
                    None => None,
                };
                match given {
                    Some(given) => Some(given),
                    None => Some(TcpServer::bind(address.0, "metrics").await?),
                }
            }
        };
        Ok(Self {
            workload,
            local,
            metrics,
            handover,
        })
    }

    /// All of them, for an agent that takes over.
    ///
    /// # Errors
    /// [`AgentError::Listen`].
    pub(crate) fn shares(&self) -> Result<Vec<Share>, AgentError> {
        let mut shares = vec![
            Share::Unix(Role::Workload, self.workload.share()?),
            Share::Unix(Role::Local, self.local.share()?),
        ];
        if let Some(metrics) = &self.metrics {
            shares.push(Share::Tcp(Role::Metrics, metrics.share()?));
        }
        if let Some(handover) = &self.handover {
            shares.push(Share::Unix(Role::Handover, handover.share()?));
        }
        Ok(shares)
    }
}

/// Where the next agent asks, for this user alone. An agent serves without it, too.
fn handover_socket(dir: &Path) -> Option<UnixServer> {
    let path = handover_path(dir);
    // Whoever listens there has no business to: the lock of the directory is ours.
    let _ = fs::remove_file(&path);
    match UnixServer::bind(&path, UnixOptions::default()) {
        Ok(server) => Some(server),
        Err(error) => {
            warn!(%error, code = error.code(), "no other agent will be able to take over from this one");
            None
        }
    }
}

/// The same however the directory is written.
fn handover_path(dir: &Path) -> std::path::PathBuf {
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    dir.join(handover::SOCKET)
}
