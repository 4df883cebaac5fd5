//! Descriptors that go from one process to another over a UNIX socket (`SCM_RIGHTS`, unix(7)).
//!
//! What arrives refers to the very thing that was sent: a listener goes on being one, with the connections that wait at
//! it, and a [`Lock`](crate::files::Lock) stays held until both sides have closed it.

use rustix::io::IoSlice;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// So many descriptors go with one message.
pub const DESCRIPTORS_MAX: usize = 16;

const SPACE: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX));

/// Sends `bytes`, and with the first of them `descriptors`; how many bytes were taken. Those behind are sent without
/// descriptors. A socket that does not block says [`io::ErrorKind::WouldBlock`] where it has no room; nothing was sent
/// then.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] without a byte or with more than [`DESCRIPTORS_MAX`] descriptors; what the kernel said.
pub fn send(socket: &impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if bytes.is_empty() || descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?)
}

/// Reads into `bytes`, and adds the descriptors that came with them to `descriptors`; how many bytes came, 0 at the end.
/// What arrives is not inherited by programs that this process executes.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] where descriptors were lost on the way, because there were more than
/// [`DESCRIPTORS_MAX`] or this process may open no more: those that came with them are closed. What the kernel said.
pub fn receive(socket: &impl AsFd, bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let before = descriptors.len();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(arrived) = message {
            descriptors.extend(arrived);
        }
    }
    // There is room for alignment, in which one more may have found a place.
    let too_many = descriptors.len() - before > DESCRIPTORS_MAX;
    if too_many || received.flags.contains(ReturnFlags::CTRUNC) {
        descriptors.truncate(before);
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "descriptors were lost on the way",
        ));
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Lock, LockError};
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn a_listener_goes_on_where_it_is_sent_with_who_waits_at_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let mut waiting = UnixStream::connect(&path).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert_eq!(send(&ours, b"ab", &[listener.as_fd()]).unwrap(), 2);
        drop(listener);
        let (mut bytes, mut arrived) = ([0; 8], Vec::new());
        assert_eq!(receive(&theirs, &mut bytes, &mut arrived).unwrap(), 2);
        assert_eq!((&bytes[..2], arrived.len()), (&b"ab"[..], 1));
        let inherited = rustix::io::fcntl_getfd(&arrived[0]).unwrap();
        assert!(inherited.contains(rustix::io::FdFlags::CLOEXEC));
        let listener = UnixListener::from(arrived.pop().unwrap());
        let (mut accepted, _) = listener.accept().unwrap();
        accepted.write_all(b"x").unwrap();
        waiting.read_exact(&mut bytes[..1]).unwrap();
        assert_eq!(bytes[0], b'x');
    }

    #[test]
    fn bytes_alone_bring_nothing_and_the_end_is_seen() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut bytes, mut arrived) = ([0; 8], Vec::new());
        send(&ours, b"ab", &[]).unwrap();
        drop(ours);
        assert_eq!(receive(&theirs, &mut bytes, &mut arrived).unwrap(), 2);
        assert_eq!(receive(&theirs, &mut bytes, &mut arrived).unwrap(), 0);
        assert!(arrived.is_empty());
    }

    #[test]
    fn too_many_and_none_to_carry_them_are_refused() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let many = vec![ours.as_fd(); DESCRIPTORS_MAX + 1];
        let kind = |sent: io::Result<usize>| sent.unwrap_err().kind();
        assert_eq!(kind(send(&ours, b"a", &many)), io::ErrorKind::InvalidInput);
        assert_eq!(kind(send(&ours, b"", &many[..1])), io::ErrorKind::InvalidInput);
        assert_eq!(send(&ours, b"a", &many[1..]).unwrap(), 1);
    }

    #[test]
    fn more_than_there_is_room_for_is_an_error_and_leaves_nothing_open() {
        const MORE: usize = DESCRIPTORS_MAX + 8;
        for more in [DESCRIPTORS_MAX + 1, MORE] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MORE))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let many = vec![ours.as_fd(); more];
            assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
            sendmsg(&ours, &[IoSlice::new(b"a")], &mut control, SendFlags::empty()).unwrap();
            let mut arrived = Vec::new();
            let error = receive(&theirs, &mut [0; 8], &mut arrived).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(arrived.is_empty());
        }
    }

    #[test]
    fn a_lock_that_is_handed_on_is_never_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let (ours, theirs) = UnixStream::pair().unwrap();
        let first = Lock::take(&path).unwrap();
        send(&ours, b"a", &[first.as_fd()]).unwrap();
        let mut arrived = Vec::new();
        receive(&theirs, &mut [0; 1], &mut arrived).unwrap();
        let second = Lock::adopt(&path, arrived.pop().unwrap()).unwrap();
        let is_held = || matches!(Lock::take(&path), Err(LockError::Held { .. }));
        assert!(is_held());
        drop(first);
        assert!(is_held());
        second.name_holder();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            format!("{}\n", std::process::id())
        );
        drop(second);
        drop(Lock::take(&path).unwrap());
    }

    #[test]
    fn what_is_not_the_lock_file_or_held_by_others_is_not_adopted() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("lock"), dir.path().join("other"));
        let open = |path| OwnedFd::from(std::fs::File::options().write(true).open(path).unwrap());
        std::fs::write(&other, "").unwrap();
        let held = Lock::take(&path).unwrap();
        assert!(matches!(Lock::adopt(&path, open(&other)), Err(LockError::Io(_))));
        assert!(matches!(
            Lock::adopt(&path, open(&path)),
            Err(LockError::Held { .. })
        ));
        drop(held);
        // Free by now: adopting takes it.
        let taken = Lock::adopt(&path, open(&path)).unwrap();
        assert!(matches!(Lock::take(&path), Err(LockError::Held { .. })));
        drop(taken);
    }
}
