use crate::proc::{self, Stat, Status};
use crate::{PeerChanged, SysError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The process that opened a connection over a UNIX socket, as it was when it was first looked at.
///
/// User, group and number are those that the kernel noted at `connect`. A pidfd holds on to that very process, so
/// that its number cannot come to mean another one unnoticed. What it executes is noted too, because a descriptor
/// outlives `execve` and can be handed on: before each answer ask [`still_same`](Self::still_same).
///
/// Clones share one pidfd.
#[derive(Clone)]
pub struct Peer {
    inner: Arc<Inner>,
}

/// The file that a process executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// Device of the file.
    pub dev: u64,
    /// Inode of the file.
    pub ino: u64,
    /// Its name as the kernel shows it: it may have been removed since (` (deleted)`), and in another mount
    /// namespace it may name another file. Compare device and inode before relying on it.
    pub path: PathBuf,
}

/// How the pidfd is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PidfdSource {
    /// From the socket (`SO_PEERPIDFD`, Linux 6.5); where the kernel lacks that, as [`PidfdSource::OpenByPid`].
    Socket,
    /// By the number that the socket names, with the start time compared before and after. A process that ended
    /// between `connect` and this call, and whose number was given out again, cannot be told from its successor.
    OpenByPid,
}

struct Inner {
    // INVARIANT: before `pidfd`, so that it leaves the poller while the descriptor is still open.
    watch: OnceLock<AsyncFd<SharedFd>>,
    /// Held while `watch` is made: a poller takes a descriptor once.
    making: Mutex<()>,
    pidfd: SharedFd,
    pid: u32,
    uid: u32,
    gid: u32,
    stat: Stat,
    exe: Executable,
    attachment: OnceLock<Arc<dyn Any + Send + Sync>>,
}

#[derive(Clone)]
pub(crate) struct SharedFd(Arc<OwnedFd>);

impl Peer {
    /// Looks at the process at the other end of `stream`. Call it as soon as a connection is accepted: what the
    /// process executed between `connect` and this call cannot be known. (A process that runs a program as its own
    /// user can make that program do anything anyway, and one that changes the user is noticed.)
    ///
    /// # Errors
    /// [`SysError::PeerGone`] if it ended, [`SysError::PeerInvisible`] if its PID namespace is not below ours,
    /// [`SysError::Proc`] if we may not look at it, [`SysError::Changed`] if it changed its user since it connected.
    pub fn of(stream: &impl AsFd) -> Result<Self, SysError> {
        Self::of_with(stream, PidfdSource::Socket)
    }

    /// As [`Peer::of`], saying where the pidfd comes from.
    ///
    /// # Errors
    /// As [`Peer::of`].
    pub fn of_with(stream: &impl AsFd, source: PidfdSource) -> Result<Self, SysError> {
        let socket = stream.as_fd();
        let credentials = socket_credentials(socket).map_err(|source| SysError::Call {
            call: "getsockopt SO_PEERCRED",
            source,
        })?;
        let pid = u32::try_from(credentials.pid)
            .ok()
            .filter(|pid| *pid != 0)
            .ok_or(SysError::PeerInvisible)?;
        let (pidfd, stat) = match source {
            PidfdSource::Socket => match socket_pidfd(socket) {
                Ok(pidfd) => (pidfd, proc::stat(pid)?),
                Err(e) if e.raw_os_error() == Some(libc::ENOPROTOOPT) => open_pidfd(pid)?,
                Err(e) => return Err(pidfd_fault(pid, "getsockopt SO_PEERPIDFD", e)),
            },
            PidfdSource::OpenByPid => open_pidfd(pid)?,
        };
        let (dev, ino, path) = proc::executable(pid)?;
        let inner = Inner {
            watch: OnceLock::new(),
            making: Mutex::new(()),
            pidfd: SharedFd(Arc::new(pidfd)),
            pid,
            uid: credentials.uid,
            gid: credentials.gid,
            stat,
            exe: Executable { dev, ino, path },
            attachment: OnceLock::new(),
        };
        let peer = Self {
            inner: Arc::new(inner),
        };
        peer.still_same()?;
        Ok(peer)
    }

    /// Looks at the process with the number `pid`, which need not have connected: it is held from here on as one that
    /// has, and [`still_same`](Self::still_same) tells when its number, program or user became another's. Who it was
    /// before is not known.
    ///
    /// # Errors
    /// [`SysError::PeerGone`] if there is none, or it ended meanwhile; [`SysError::Proc`] if we may not look at it,
    /// [`SysError::Changed`] if it changed meanwhile.
    pub fn of_pid(pid: u32) -> Result<Self, SysError> {
        let (pidfd, stat) = open_pidfd(pid)?;
        let Status { uid, gid, .. } = proc::status(pid)?;
        let (dev, ino, path) = proc::executable(pid)?;
        let inner = Inner {
            watch: OnceLock::new(),
            making: Mutex::new(()),
            pidfd: SharedFd(Arc::new(pidfd)),
            pid,
            uid,
            gid,
            stat,
            exe: Executable { dev, ino, path },
            attachment: OnceLock::new(),
        };
        let peer = Self {
            inner: Arc::new(inner),
        };
        peer.still_same()?;
        Ok(peer)
    }

    /// The user whose process this is: real, effective and saved user are this one. `None` where they differ, as in a
    /// program that took another user's rights, or is about to give them up.
    ///
    /// # Errors
    /// [`SysError::Changed`] if it is not the same any more, [`SysError::Proc`] if it cannot be read.
    pub fn owner(&self) -> Result<Option<u32>, SysError> {
        let status = proc::status(self.inner.pid)?;
        self.still_same()?;
        Ok(status.owner)
    }

    /// Its number in our PID namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.inner.pid
    }

    /// The effective user at `connect`.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.inner.uid
    }

    /// The effective group at `connect`.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.inner.gid
    }

    /// When it started, in clock ticks since boot.
    #[must_use]
    pub fn start_time(&self) -> u64 {
        self.inner.stat.start_time
    }

    /// What it executes.
    #[must_use]
    pub fn exe(&self) -> &Executable {
        &self.inner.exe
    }

    /// Holds on to the process.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.inner.pidfd.0.as_fd()
    }

    /// What a service keeps for the life of the connection: `make`'s value, made at the first call, for all clones.
    ///
    /// `None` if another type was attached before.
    pub fn attached<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<Arc<T>> {
        let kept = self.inner.attachment.get_or_init(|| Arc::new(make()));
        Arc::clone(kept).downcast().ok()
    }

    /// Reads several things about it that all belong to this very process: it is looked at once, after the last of them,
    /// and nothing comes out where it is not the same any more.
    ///
    /// # Errors
    /// What `read` says, [`SysError::Changed`].
    pub fn read<T, E: From<SysError>>(
        &self,
        read: impl FnOnce(&Readings<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let found = read(&Readings { peer: self })?;
        self.still_same().map_err(SysError::Changed)?;
        Ok(found)
    }

    /// Its supplementary groups now, which are certainly this process's.
    ///
    /// # Errors
    /// [`SysError::Changed`] if it is not the same any more, [`SysError::Proc`] if it cannot be read.
    pub fn groups(&self) -> Result<Vec<u32>, SysError> {
        self.read(|process| process.groups())
    }

    /// Whether it runs in our own user namespace.
    ///
    /// Any user can make a namespace and is privileged inside it, which since Linux 5.9 is enough to change what
    /// `/proc/PID/exe` shows (`PR_SET_MM_MAP`): in another namespace, what a process executes is its own word. The
    /// way back out is closed to whoever is not privileged outside, so the answer of one moment also speaks for all
    /// earlier ones.
    ///
    /// It is no proof: who shares memory with a process of another namespace can be changed from there.
    ///
    /// # Errors
    /// [`SysError::Changed`] if it is not the same any more, [`SysError::Proc`] if it cannot be read.
    pub fn in_our_user_namespace(&self) -> Result<bool, SysError> {
        self.read(|process| process.in_our_user_namespace())
    }

    /// Opens the file that it executes, by way of the process and not by name.
    ///
    /// # Errors
    /// [`SysError::Changed`] if it is not the same any more, [`SysError::Proc`] if the file cannot be opened.
    pub fn open_exe(&self) -> Result<std::fs::File, SysError> {
        self.read(|process| process.open_exe())
    }

    /// Checks that the process lives, is the one that connected, runs the same program under the same user.
    ///
    /// # Errors
    /// [`PeerChanged`] says in what it differs.
    pub fn still_same(&self) -> Result<(), PeerChanged> {
        let inner = &*self.inner;
        let stat = proc::stat(inner.pid).map_err(changed)?;
        let Status { uid, gid, .. } = proc::status(inner.pid).map_err(changed)?;
        let (dev, ino) = proc::executable_file(inner.pid).map_err(changed)?;
        // After the reads: whoever lives now has lived, under this number, while they were made.
        if inner.pidfd.has_ended().map_err(|_| PeerChanged::Unreadable)? || stat.ended {
            return Err(PeerChanged::Ended);
        }
        if stat.start_time != inner.stat.start_time {
            return Err(PeerChanged::Replaced);
        }
        if (dev, ino) != (inner.exe.dev, inner.exe.ino) || stat.layout != inner.stat.layout {
            return Err(PeerChanged::Executed);
        }
        if (uid, gid) != (inner.uid, inner.gid) {
            return Err(PeerChanged::Credentials);
        }
        Ok(())
    }

    /// Resolves when the process has ended. Needs a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// [`SysError::Call`] if the pidfd cannot be watched.
    pub async fn exited(&self) -> Result<(), SysError> {
        let failed = |source| SysError::Call {
            call: "watch pidfd",
            source,
        };
        let pidfd = &self.inner.pidfd;
        let watch = self.watch().map_err(failed)?;
        loop {
            let mut ready = watch.readable().await.map_err(failed)?;
            if pidfd.has_ended().map_err(failed)? {
                return Ok(());
            }
            ready.clear_ready();
        }
    }
}

impl Peer {
    /// Made here and not in [`Peer::exited`], of which thousands wait: each of those would keep room for the making.
    fn watch(&self) -> io::Result<&AsyncFd<SharedFd>> {
        let inner = &*self.inner;
        if let Some(watch) = inner.watch.get() {
            return Ok(watch);
        }
        let _making = inner.making.lock().unwrap_or_else(PoisonError::into_inner);
        match inner.watch.get() {
            Some(watch) => Ok(watch),
            None => {
                let watch = watch(inner.pidfd.clone())?;
                Ok(inner.watch.get_or_init(|| watch))
            }
        }
    }
}

/// What can be read about a process inside [`Peer::read`]: it may be another one's until that has returned.
#[derive(Clone, Copy, Debug)]
pub struct Readings<'a> {
    peer: &'a Peer,
}

impl Readings<'_> {
    /// As [`Peer::groups`].
    ///
    /// # Errors
    /// [`SysError::Proc`] if they cannot be read.
    pub fn groups(&self) -> Result<Vec<u32>, SysError> {
        Ok(proc::status(self.peer.pid())?.groups)
    }

    /// As [`Peer::in_our_user_namespace`].
    ///
    /// # Errors
    /// [`SysError::Proc`] if it cannot be read.
    pub fn in_our_user_namespace(&self) -> Result<bool, SysError> {
        Ok(proc::user_namespace(self.peer.pid())? == proc::user_namespace(std::process::id())?)
    }

    /// As [`Peer::open_exe`].
    ///
    /// # Errors
    /// [`SysError::Proc`] if the file cannot be opened.
    pub fn open_exe(&self) -> Result<std::fs::File, SysError> {
        let pid = self.peer.pid();
        std::fs::File::open(format!("/proc/{pid}/exe")).map_err(|source| SysError::Proc {
            pid,
            file: "exe",
            source,
        })
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("pid", &self.pid())
            .field("uid", &self.uid())
            .field("gid", &self.gid())
            .field("exe", &self.exe().path)
            .finish_non_exhaustive()
    }
}

impl SharedFd {
    /// A pidfd becomes readable when its process ends.
    fn has_ended(&self) -> io::Result<bool> {
        let mut polled = [PollFd::new(&*self.0, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        Ok(poll(&mut polled, Some(&now))? != 0)
    }
}

impl AsRawFd for SharedFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Watches for the end of the process that `pidfd` stands for.
pub(crate) fn watch_own(pidfd: OwnedFd) -> io::Result<AsyncFd<SharedFd>> {
    watch(SharedFd(Arc::new(pidfd)))
}

#[expect(unsafe_code, reason = "tokio asks its caller to answer for the descriptor")]
fn watch(pidfd: SharedFd) -> io::Result<AsyncFd<SharedFd>> {
    // SAFETY: `as_raw_fd` always gives the one descriptor that the `Arc` keeps open while the `AsyncFd` lives.
    unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }.map_err(io::Error::from)
}

fn changed(error: SysError) -> PeerChanged {
    match error {
        SysError::PeerGone { .. } => PeerChanged::Ended,
        SysError::Changed(changed) => changed,
        _ => PeerChanged::Unreadable,
    }
}

fn open_pidfd(pid: u32) -> Result<(OwnedFd, Stat), SysError> {
    let gone = SysError::PeerGone { pid };
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Err(gone);
    };
    let before = proc::stat(pid)?;
    let pidfd =
        pidfd_open(number, PidfdFlags::empty()).map_err(|e| pidfd_fault(pid, "pidfd_open", e.into()))?;
    let after = proc::stat(pid)?;
    if before.start_time == after.start_time {
        Ok((pidfd, after))
    } else {
        Err(gone)
    }
}

fn pidfd_fault(pid: u32, call: &'static str, source: io::Error) -> SysError {
    match source.raw_os_error() {
        // What kernels of different age say of a process that was reaped.
        Some(libc::ESRCH | libc::EINVAL | libc::ENODATA) => SysError::PeerGone { pid },
        _ => SysError::Call { call, source },
    }
}

/// `getsockopt(SO_PEERCRED)`. The number is 0 where the process is outside our PID namespace, which is why rustix's
/// wrapper, whose number cannot be 0, will not do.
fn socket_credentials(socket: BorrowedFd<'_>) -> io::Result<libc::ucred> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    #[expect(unsafe_code, reason = "no safe wrapper can hold the number 0")]
    // SAFETY: the kernel writes a `ucred` for this option.
    unsafe {
        socket_option(socket, libc::SO_PEERCRED, &mut credentials)?;
    }
    Ok(credentials)
}

/// `getsockopt(SO_PEERPIDFD)`: a pidfd of the process that the socket's credentials name.
fn socket_pidfd(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut fd: libc::c_int = -1;
    #[expect(unsafe_code, reason = "no safe wrapper for this option exists")]
    // SAFETY: the kernel writes an `int` for this option; once it has, that is a new descriptor which nobody else
    // owns.
    let owned = unsafe {
        socket_option(socket, libc::SO_PEERPIDFD, &mut fd)?;
        OwnedFd::from_raw_fd(fd)
    };
    Ok(owned)
}

/// Reads the option `name` into `value`, whole or not at all.
///
/// # Safety
/// The kernel must write nothing but valid values of `T` for this option.
#[expect(unsafe_code, reason = "the call takes pointers")]
unsafe fn socket_option<T>(socket: BorrowedFd<'_>, name: libc::c_int, value: &mut T) -> io::Result<()> {
    let mut len = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: `value` and `len` live across the call, and `len` is the size of `value`, the most that is written.
    let code = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            core::ptr::from_mut(value).cast(),
            &raw mut len,
        )
    };
    match code {
        0 if usize::try_from(len) == Ok(size_of::<T>()) => Ok(()),
        0 => Err(io::ErrorKind::InvalidData.into()),
        _ => Err(io::Error::last_os_error()),
    }
}
