use crate::NetError;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::UnixListener;

/// The longest path of a socket: 108 bytes in the kernel's address, the last one being zero.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Who may connect, as far as the file system says so.
#[derive(Clone, Copy, Debug)]
pub struct UnixOptions {
    /// Permission bits of the socket; connecting needs the write bit.
    pub mode: u32,
    /// The group that the socket is given to.
    pub group: Option<u32>,
    /// One more group whose members may connect, beside all that the permission bits say: by an access control list
    /// (acl(5)), since a file has one group.
    pub also: Option<u32>,
}

impl Default for UnixOptions {
    /// The owner alone.
    fn default() -> Self {
        Self {
            mode: 0o600,
            group: None,
            also: None,
        }
    }
}

/// A listener on a UNIX socket, whose file goes when it goes.
#[derive(Debug)]
pub struct UnixServer {
    pub(crate) listener: UnixListener,
    pub(crate) path: PathBuf,
    /// Device and inode of what we made, so that nothing else is ever removed.
    pub(crate) identity: (u64, u64),
    /// Another process listens on it, and the file is that one's.
    pub(crate) left: Arc<AtomicBool>,
}

impl UnixServer {
    /// Listens on `path`. A socket left over from a process of ours that died is replaced, nothing else.
    ///
    /// # Errors
    /// One variant of [`NetError`] for each reason.
    pub fn bind(path: &Path, options: UnixOptions) -> Result<Self, NetError> {
        check_length(path)?;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        check_directory(directory)?;
        let failed = |source| NetError::ListenUnix {
            path: path.to_path_buf(),
            source,
        };
        let std_listener = match std::os::unix::net::UnixListener::bind(path) {
            Ok(listener) => listener,
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                // Two processes that find the same dead socket must not remove each other's new one.
                let held = fs::File::open(directory).map_err(failed)?;
                if owner_is_ours(&held.metadata().map_err(failed)?) {
                    held.lock().map_err(failed)?;
                }
                remove_if_dead(path)?;
                std::os::unix::net::UnixListener::bind(path).map_err(|e| match e.kind() {
                    io::ErrorKind::AddrInUse => NetError::Live {
                        path: path.to_path_buf(),
                    },
                    _ => failed(e),
                })?
            }
            Err(e) => return Err(failed(e)),
        };
        let made = fs::symlink_metadata(path).map_err(failed)?;
        // From here on the file is removed again if anything fails.
        std_listener.set_nonblocking(true).map_err(failed)?;
        let server = Self {
            listener: UnixListener::from_std(std_listener).map_err(failed)?,
            path: path.to_path_buf(),
            identity: identity(&made),
            left: Arc::default(),
        };
        if options.group.is_some() {
            std::os::unix::fs::chown(path, None, options.group).map_err(failed)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(options.mode)).map_err(failed)?;
        if let Some(group) = options.also.filter(|also| Some(*also) != options.group) {
            admit(path, options.mode, group)?;
        }
        Ok(server)
    }

    /// The next connection, without the guards of [`serve_unix`](crate::serve_unix): for whoever has guards of its own.
    ///
    /// # Errors
    /// What the kernel said; the next call may succeed.
    pub async fn accept(&self) -> io::Result<tokio::net::UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixServer {
    fn drop(&mut self) {
        let still_ours = fs::symlink_metadata(&self.path).is_ok_and(|m| identity(&m) == self.identity);
        if still_ours && !self.left.load(Ordering::Acquire) {
            // What cannot be removed is found dead by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

pub(crate) fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

fn check_length(path: &Path) -> Result<(), NetError> {
    let bytes = path.as_os_str().as_bytes().len();
    if bytes <= SOCKET_PATH_BYTES_MAX {
        return Ok(());
    }
    let name = path.file_name().filter(|name| name.as_bytes().len() <= 64);
    Err(NetError::PathLength {
        path: path.to_path_buf(),
        bytes,
        max: SOCKET_PATH_BYTES_MAX,
        suggestion: Path::new("/run/signet").join(name.unwrap_or_else(|| OsStr::new("signet.sock"))),
    })
}

fn check_directory(directory: &Path) -> Result<(), NetError> {
    let unusable = |source| NetError::Directory {
        path: directory.to_path_buf(),
        source,
    };
    let found = fs::metadata(directory).map_err(unusable)?;
    if !found.is_dir() {
        return Err(unusable(io::Error::from(io::ErrorKind::NotADirectory)));
    }
    let trusted_owner = found.uid() == 0 || owner_is_ours(&found);
    let own_group = rustix::process::getegid().as_raw();
    if trusted_owner && !others_replace(found.mode(), found.gid() == own_group) {
        return Ok(());
    }
    Err(NetError::DirectoryOwner {
        path: directory.to_path_buf(),
        owner: found.uid(),
        mode: found.mode() & 0o7777,
    })
}

/// Whether others may remove what is ours in a directory of this mode. Our own group may write to it, as to all that a user
/// makes where each user has a group.
fn others_replace(mode: u32, is_own_group: bool) -> bool {
    let is_sticky = mode & 0o1000 != 0;
    let may_write = mode & 0o002 != 0 || (mode & 0o020 != 0 && !is_own_group);
    may_write && !is_sticky
}

fn remove_if_dead(path: &Path) -> Result<(), NetError> {
    let failed = |source| NetError::ListenUnix {
        path: path.to_path_buf(),
        source,
    };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(e)),
    };
    if !found.file_type().is_socket() {
        return Err(NetError::NotASocket {
            path: path.to_path_buf(),
        });
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) if !owner_is_ours(&found) => {
            return Err(NetError::Foreign {
                path: path.to_path_buf(),
                owner: found.uid(),
            });
        }
        // It answers, or is too busy to: either way somebody is there.
        Ok(_) | Err(_) => {
            return Err(NetError::Live {
                path: path.to_path_buf(),
            });
        }
    }
    if !owner_is_ours(&found) {
        return Err(NetError::Foreign {
            path: path.to_path_buf(),
            owner: found.uid(),
        });
    }
    fs::remove_file(path).map_err(failed)
}

/// Lets the members of `group` connect, beside whom `mode` lets.
fn admit(path: &Path, mode: u32, group: u32) -> Result<(), NetError> {
    let list = access_list(mode, group);
    rustix::fs::lsetxattr(path, ACL, &list, rustix::fs::XattrFlags::empty()).map_err(|source| {
        NetError::AccessList {
            path: path.to_path_buf(),
            source: source.into(),
        }
    })
}

/// Where an access control list is kept, and how: a version, then entries of a tag, permissions and an id, ordered by
/// tag, all in little endian (the kernel's `posix_acl_xattr.h`).
const ACL: &str = "system.posix_acl_access";
const ACL_VERSION: u32 = 2;
const ACL_USER_OBJ: u16 = 0x01;
const ACL_GROUP_OBJ: u16 = 0x04;
const ACL_GROUP: u16 = 0x08;
const ACL_MASK: u16 = 0x10;
const ACL_OTHER: u16 = 0x20;
/// Of entries that need no id.
const ACL_NO_ID: u32 = u32::MAX;
const READ_WRITE: u32 = 6;

fn access_list(mode: u32, group: u32) -> Vec<u8> {
    let (owner, own_group, others) = ((mode >> 6) & 7, (mode >> 3) & 7, mode & 7);
    let mut list = ACL_VERSION.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (ACL_USER_OBJ, owner, ACL_NO_ID),
        (ACL_GROUP_OBJ, own_group, ACL_NO_ID),
        (ACL_GROUP, READ_WRITE, group),
        (ACL_MASK, own_group | READ_WRITE, ACL_NO_ID),
        (ACL_OTHER, others, ACL_NO_ID),
    ] {
        list.extend(tag.to_le_bytes());
        // Three bits.
        list.extend([permissions.to_le_bytes()[0], 0]);
        list.extend(id.to_le_bytes());
    }
    list
}

fn owner_is_ours(found: &fs::Metadata) -> bool {
    found.uid() == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(path: &Path) -> Result<UnixServer, NetError> {
        UnixServer::bind(path, UnixOptions::default())
    }

    #[test]
    fn whoever_may_write_to_a_directory_may_replace_what_is_in_it() {
        for mode in [0o755, 0o700, 0o1777, 0o1775, 0o1770] {
            assert!(
                !others_replace(mode, false) && !others_replace(mode, true),
                "{mode:o}"
            );
        }
        for mode in [0o777, 0o702, 0o772] {
            assert!(
                others_replace(mode, false) && others_replace(mode, true),
                "{mode:o}"
            );
        }
        for mode in [0o775, 0o770, 0o2770] {
            assert!(others_replace(mode, false), "{mode:o}");
            assert!(!others_replace(mode, true), "{mode:o} of the own group");
        }
    }

    #[test]
    fn a_list_admits_one_more_group_and_leaves_the_rest_as_it_was() {
        // As `setfacl -m g:50:rw` leaves it on a file of mode 0600.
        let expected = [
            &[2, 0, 0, 0][..],
            &[1, 0, 6, 0, 255, 255, 255, 255],
            &[4, 0, 0, 0, 255, 255, 255, 255],
            &[8, 0, 6, 0, 50, 0, 0, 0],
            &[16, 0, 6, 0, 255, 255, 255, 255],
            &[32, 0, 0, 0, 255, 255, 255, 255],
        ];
        assert_eq!(access_list(0o600, 50), expected.concat());
    }

    #[tokio::test]
    async fn one_more_group_may_connect_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let (own, also) = (rustix::process::getegid().as_raw(), 54_321);
        for (mode, group) in [(0o600, None), (0o660, Some(own))] {
            let options = UnixOptions {
                mode,
                group,
                also: Some(also),
            };
            let _server = UnixServer::bind(&path, options).unwrap();
            let mut list = [0; 64];
            let bytes = rustix::fs::lgetxattr(&path, ACL, &mut list).unwrap();
            assert_eq!(list[..bytes], access_list(mode, also));
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o007, 0);
        }
        // No list where the socket's own group is the one.
        let options = UnixOptions {
            mode: 0o660,
            group: Some(own),
            also: Some(own),
        };
        let _server = UnixServer::bind(&path, options).unwrap();
        assert!(rustix::fs::lgetxattr(&path, ACL, &mut [0; 64]).is_err());
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_refused_with_one_that_fits() {
        let long = PathBuf::from(format!("/tmp/{}/api.sock", "x".repeat(120)));
        let error = bind(&long).unwrap_err();
        let NetError::PathLength {
            bytes: 134,
            max: 107,
            suggestion,
            ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!(suggestion, Path::new("/run/signet/api.sock"));
        assert!(error.to_string().contains("107"));
        let dir = tempfile::tempdir().unwrap();
        let room = SOCKET_PATH_BYTES_MAX - dir.path().as_os_str().len() - 1;
        bind(&dir.path().join("s".repeat(room))).unwrap();
        assert!(matches!(
            bind(&dir.path().join("s".repeat(room + 1))),
            Err(NetError::PathLength { .. })
        ));
    }

    #[tokio::test]
    async fn a_live_socket_is_left_alone_and_a_dead_one_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let live = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(NetError::Live { .. })));
        assert!(
            std::os::unix::net::UnixStream::connect(&path).is_ok(),
            "still there"
        );
        drop(live);
        assert!(!path.exists(), "gone with its listener");
        // What a killed process leaves.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let server = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        // Somebody replaced it meanwhile: that one is not ours to remove.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "theirs").unwrap();
        drop(server);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
    }

    #[tokio::test]
    async fn what_is_not_a_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path), Err(NetError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        // A dangling link could lead anywhere.
        let link = dir.path().join("link.sock");
        std::os::unix::fs::symlink(dir.path().join("nowhere"), &link).unwrap();
        assert!(bind(&link).is_err());
    }

    #[tokio::test]
    async fn the_directory_must_be_there_and_safe() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            bind(&dir.path().join("no/a.sock")),
            Err(NetError::Directory { .. })
        ));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(
            bind(&file.join("a.sock")),
            Err(NetError::Directory { .. })
        ));
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(
            bind(&open.join("a.sock")),
            Err(NetError::DirectoryOwner { mode: 0o777, .. })
        ));
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
        bind(&open.join("a.sock")).unwrap();
    }

    #[tokio::test]
    async fn a_directory_of_another_user_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        // Only root can make such a directory; others meet the same rule through the mode above.
        if std::os::unix::fs::chown(&theirs, Some(12_345), None).is_ok() {
            assert!(matches!(
                bind(&theirs.join("a.sock")),
                Err(NetError::DirectoryOwner { owner: 12_345, .. })
            ));
            let leftover = dir.path().join("left.sock");
            drop(std::os::unix::net::UnixListener::bind(&leftover).unwrap());
            std::os::unix::fs::chown(&leftover, Some(12_345), None).unwrap();
            assert!(matches!(
                bind(&leftover),
                Err(NetError::Foreign { owner: 12_345, .. })
            ));
        }
    }
}
