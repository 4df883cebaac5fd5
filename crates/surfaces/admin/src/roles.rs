use crate::AdminError;
use http::Extensions;
use signet_decision::{Caller, Principal, Role};
use signet_sys::Peer;

/// Says what the process at the other end of the socket was made.
pub trait Roles: Send + Sync {
    /// The roles of `peer`; none means that it may do nothing.
    fn roles(&self, peer: &Peer) -> Vec<Role>;
}

/// Root, the server's own user and the members of one group are administrators, the members of another one minters;
/// who is in both is both, and nobody else is anything.
#[derive(Clone, Copy, Debug)]
pub struct LocalAdministrators {
    own_uid: u32,
    group: Option<u32>,
    minters: Option<u32>,
}

impl LocalAdministrators {
    /// For a server that runs as `own_uid`, with the administrators' group `group`.
    #[must_use]
    pub const fn new(own_uid: u32, group: Option<u32>) -> Self {
        Self {
            own_uid,
            group,
            minters: None,
        }
    }

    /// With `minters` as the group of minters.
    #[must_use]
    pub const fn with_minters(self, minters: Option<u32>) -> Self {
        Self { minters, ..self }
    }

    fn found(self, uid: u32, gid: u32, groups: impl FnOnce() -> Vec<u32>) -> Vec<Role> {
        // Not asked for where no group counts.
        let groups = match (self.group, self.minters) {
            (None, None) => Vec::new(),
            _ => groups(),
        };
        let is_member = |of: Option<u32>| of.is_some_and(|group| gid == group || groups.contains(&group));
        let is_administrator = uid == 0 || uid == self.own_uid || is_member(self.group);
        let roles = [
            is_administrator.then_some(Role::Administrator),
            is_member(self.minters).then_some(Role::Minter),
        ];
        roles.into_iter().flatten().collect()
    }
}

impl Roles for LocalAdministrators {
    fn roles(&self, peer: &Peer) -> Vec<Role> {
        // A process that has changed since it connected is a member of nothing.
        let groups = || peer.groups().unwrap_or_default();
        self.found(peer.uid(), peer.gid(), groups)
    }
}

/// Who calls, from what the kernel said when the connection was made. Somebody without any role is nobody.
pub(crate) fn caller(roles: &dyn Roles, extensions: &Extensions) -> Result<Caller, AdminError> {
    let peer = extensions.get::<Peer>().ok_or(AdminError::NoCaller)?;
    let uid = peer.uid();
    match roles.roles(peer).as_slice() {
        [] => Err(AdminError::NotAdministrator { uid }),
        roles => Ok(Caller::new(Principal::Local { uid }, roles.iter().copied())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_our_user_and_the_group_are_administrators() {
        let with_group = LocalAdministrators::new(900, Some(50));
        let without = LocalAdministrators::new(900, None);
        for (known, uid, gid, groups, expected) in [
            (without, 0, 0, vec![], true),
            (without, 900, 900, vec![], true),
            (without, 1000, 50, vec![50], false),
            (without, 1000, 0, vec![0], false),
            (with_group, 1000, 50, vec![], true),
            (with_group, 1000, 1000, vec![7, 50], true),
            (with_group, 1000, 1000, vec![7, 51], false),
            (with_group, 50, 1000, vec![], false),
        ] {
            let found = known.found(uid, gid, || groups.clone());
            let expected: &[Role] = if expected { &[Role::Administrator] } else { &[] };
            assert_eq!(found, expected, "{uid} {gid} {groups:?}");
        }
    }

    #[test]
    fn the_minters_group_mints_and_who_is_in_both_groups_is_both() {
        use Role::{Administrator, Minter};
        let both = LocalAdministrators::new(900, Some(50)).with_minters(Some(60));
        let minters = LocalAdministrators::new(900, None).with_minters(Some(60));
        for (known, uid, gid, groups, expected) in [
            (both, 1000, 1000, vec![60], &[Minter][..]),
            (both, 1000, 60, vec![], &[Minter]),
            (both, 1000, 50, vec![60], &[Administrator, Minter]),
            (both, 1000, 60, vec![50], &[Administrator, Minter]),
            (both, 1000, 1000, vec![50], &[Administrator]),
            (both, 60, 1000, vec![61], &[]),
            (both, 0, 0, vec![], &[Administrator]),
            (minters, 900, 60, vec![], &[Administrator, Minter]),
            (minters, 1000, 1000, vec![50, 60], &[Minter]),
            (minters, 1000, 50, vec![], &[]),
            (
                LocalAdministrators::new(900, Some(50)).with_minters(Some(50)),
                1000,
                50,
                vec![],
                &[Administrator, Minter],
            ),
        ] {
            let found = known.found(uid, gid, || groups.clone());
            assert_eq!(found, expected, "{uid} {gid} {groups:?}");
        }
    }

    #[test]
    fn a_request_from_nobody_is_refused() {
        let nobody = caller(&LocalAdministrators::new(0, None), &Extensions::new());
        assert_eq!(nobody, Err(AdminError::NoCaller));
    }
}
