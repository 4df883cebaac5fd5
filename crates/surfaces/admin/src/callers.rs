use crate::AdminError;
use http::Extensions;
use signet_decision::{Caller, Principal, Role};
use signet_sys::Peer;

/// Says who calls, from what the listener knows of the connection.
pub trait Identify: Send + Sync {
    /// The caller behind a request.
    ///
    /// # Errors
    /// [`AdminError::NoCaller`] or [`AdminError::NotAdministrator`]: the request is refused before anything else.
    fn caller(&self, extensions: &Extensions) -> Result<Caller, AdminError>;
}

/// Administrators are root, the server's own user and the members of one group; nobody else is anything.
#[derive(Clone, Copy, Debug)]
pub struct PeerAdministrators {
    own_uid: u32,
    group: Option<u32>,
}

impl PeerAdministrators {
    /// For a server that runs as `own_uid`, with the administrators' group `group`.
    #[must_use]
    pub fn new(own_uid: u32, group: Option<u32>) -> Self {
        Self { own_uid, group }
    }

    fn admits(self, peer: &Peer) -> bool {
        if peer.uid() == 0 || peer.uid() == self.own_uid {
            return true;
        }
        self.group.is_some_and(|group| {
            // A process that has changed since it connected is not believed in what it is now.
            peer.gid() == group || peer.groups().is_ok_and(|groups| groups.contains(&group))
        })
    }
}

impl Identify for PeerAdministrators {
    fn caller(&self, extensions: &Extensions) -> Result<Caller, AdminError> {
        let peer = extensions.get::<Peer>().ok_or(AdminError::NoCaller)?;
        let uid = peer.uid();
        if !self.admits(peer) {
            return Err(AdminError::NotAdministrator { uid });
        }
        Ok(Caller::new(Principal::Local { uid }, [Role::Administrator]))
    }
}
