//! Settings of the own process.

use crate::SysError;
use rustix::process::{DumpableBehavior, PidfdFlags, Resource, Rlimit};
use std::io;
use std::os::fd::OwnedFd;

/// Keeps other processes of the same user from reading our memory, and core files from being written.
///
/// Side effect: `/proc/self` then belongs to root, as far as other processes are concerned.
///
/// # Errors
/// [`SysError::Call`] if the kernel refuses.
pub fn set_non_dumpable() -> Result<(), SysError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|e| failed("prctl PR_SET_DUMPABLE", e.into()))
}

/// Keeps the pages that hold `bytes` from being written to swap, until the process ends.
///
/// Not undone: a page may hold other bytes that must stay as well.
///
/// # Errors
/// [`SysError::Call`], most often because `RLIMIT_MEMLOCK` is used up. A caller may go on without.
pub fn keep_in_memory(bytes: &[u8]) -> Result<(), SysError> {
    if bytes.is_empty() {
        return Ok(());
    }
    #[expect(unsafe_code, reason = "the call takes a pointer")]
    // SAFETY: the range is that of a live slice; locking changes neither its contents nor what may be done with it.
    let locked = unsafe { rustix::mm::mlock(bytes.as_ptr().cast_mut().cast(), bytes.len()) };
    locked.map_err(|e| failed("mlock", e.into()))
}

/// Gives back to the system what the process has freed and its allocator keeps for later. For after work that needed much
/// memory once, such as reading all state at a start; where the allocator knows no such call, nothing happens.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "a call of the C library")]
        // SAFETY: it takes no pointers, moves nothing that is in use, and locks what it works on.
        let _given = unsafe { libc::malloc_trim(0) };
    }
}

/// Raises the number of descriptors that this process may open to the most that it is allowed, and returns it.
///
/// # Errors
/// [`SysError::Call`] if the kernel refuses.
pub fn raise_descriptor_limit() -> Result<u64, SysError> {
    let now = rustix::process::getrlimit(Resource::Nofile);
    if now.current != now.maximum {
        let wish = Rlimit {
            current: now.maximum,
            maximum: now.maximum,
        };
        rustix::process::setrlimit(Resource::Nofile, wish)
            .map_err(|e| failed("setrlimit RLIMIT_NOFILE", e.into()))?;
    }
    Ok(now.maximum.unwrap_or(u64::MAX))
}

/// The effective user of this process.
#[must_use]
pub fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The effective group of this process.
#[must_use]
pub fn gid() -> u32 {
    rustix::process::getegid().as_raw()
}

/// This process as another one can hold on to it, whatever PID namespace that one lives in: a pidfd, to be handed on
/// ([`crate::fds`]).
///
/// # Errors
/// [`SysError::Call`] if the kernel refuses.
pub fn handle() -> Result<OwnedFd, SysError> {
    rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
        .map_err(|e| failed("pidfd_open", e.into()))
}

/// Returns when the process has ended whose [`handle`] this is.
///
/// # Errors
/// [`SysError::Call`] if it cannot be watched.
pub async fn ended(handle: OwnedFd) -> Result<(), SysError> {
    let call = |source| failed("epoll_ctl", source);
    let watch = crate::peer::watch_own(handle).map_err(call)?;
    watch.readable().await.map(drop).map_err(call)
}

fn failed(call: &'static str, source: io::Error) -> SysError {
    SysError::Call { call, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_limit_rises_to_its_maximum_and_stays() {
        let raised = raise_descriptor_limit().expect("raise");
        assert_eq!(
            rustix::process::getrlimit(Resource::Nofile)
                .current
                .unwrap_or(u64::MAX),
            raised
        );
        assert_eq!(raise_descriptor_limit().expect("again"), raised);
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_seen_by_its_handle() {
        let own = ended(handle().expect("own"));
        tokio::pin!(own);
        assert!(
            core::future::poll_fn(|cx| core::task::Poll::Ready(own.as_mut().poll(cx).is_pending())).await,
            "this process has not ended"
        );
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .expect("start");
        let pid = rustix::process::Pid::from_child(&child);
        let other = rustix::process::pidfd_open(pid, PidfdFlags::empty()).expect("open");
        child.kill().expect("kill");
        ended(other).await.expect("ended");
        child.wait().expect("wait");
    }

    #[test]
    fn memory_can_be_kept() {
        let secret = vec![7_u8; 64];
        keep_in_memory(&secret).expect("64 bytes fit any limit");
        keep_in_memory(&[]).expect("nothing to keep");
    }
}
