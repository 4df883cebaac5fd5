use crate::helper;
use signet_sys::{Peer, PeerChanged, PidfdSource, SysError};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Child;

const SOURCES: [PidfdSource; 2] = [PidfdSource::Socket, PidfdSource::OpenByPid];

/// A helper process that has connected, and our end of the connection.
struct Connected {
    child: Child,
    stream: UnixStream,
    _folder: tempfile::TempDir,
}

impl Connected {
    fn new(task: &str) -> Self {
        Self::new_below(&[], task)
    }

    /// The same with `wrapper` in front of the helper's command line, which must execute it and not start it.
    fn new_below(wrapper: &[&str], task: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).expect("bind");
        let child = helper::start(wrapper, task, &path);
        let (stream, _) = listener.accept().expect("accept");
        Self {
            child,
            stream,
            _folder: folder,
        }
    }

    /// Lets the helper go on.
    fn say(&mut self) {
        self.child
            .stdin
            .as_mut()
            .expect("stdin")
            .write_all(b"x")
            .expect("say");
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks until the peer differs as `wanted`: `execve` in the other process takes its time, and one that a thread
/// calls shows an ended process for a moment, because the first thread ends.
fn await_change(peer: &Peer, wanted: PeerChanged) {
    while peer.still_same() != Err(wanted) {
        std::thread::yield_now();
    }
}

#[test]
fn a_living_peer_is_described_and_stays_the_same() {
    for source in SOURCES {
        let connected = Connected::new("stay");
        let peer = Peer::of_with(&connected.stream, source).expect("peer");
        assert_eq!(peer.pid(), connected.child.id());
        assert_eq!(
            (peer.uid(), peer.gid()),
            (signet_sys::process::uid(), signet_sys::process::gid())
        );
        assert_eq!(peer.exe().path, std::env::current_exe().expect("own path"));
        assert!(peer.start_time() > 0);
        assert_eq!(peer.still_same(), Ok(()));
        assert_eq!(
            peer.groups().expect("groups").len(),
            rustix::process::getgroups().expect("own").len()
        );
        assert!(peer.open_exe().is_ok());
    }
}

#[test]
fn the_own_process_is_a_peer_too_over_tokio() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let (ours, _theirs) = tokio::net::UnixStream::pair().expect("pair");
        let peer = Peer::of(&ours).expect("peer");
        assert_eq!(peer.pid(), std::process::id());
        assert_eq!(peer.still_same(), Ok(()));
    });
}

#[test]
fn a_peer_in_a_user_namespace_of_its_own_is_told() {
    for source in SOURCES {
        let connected = Connected::new("stay");
        let peer = Peer::of_with(&connected.stream, source).expect("peer");
        assert!(peer.in_our_user_namespace().expect("read"));
    }
    if !helper::may_make_user_namespaces() {
        return;
    }
    for source in SOURCES {
        let mut connected = Connected::new_below(&["unshare", "-U"], "stay");
        let peer = Peer::of_with(&connected.stream, source).expect("peer");
        assert_eq!(peer.uid(), signet_sys::process::uid());
        assert_eq!(peer.exe().path, std::env::current_exe().expect("own path"));
        assert!(!peer.in_our_user_namespace().expect("read"));
        connected.child.kill().expect("kill");
        connected.child.wait().expect("wait");
        assert!(matches!(
            peer.in_our_user_namespace(),
            Err(SysError::PeerGone { .. })
        ));
    }
}

#[test]
fn a_peer_that_executes_another_program_is_not_the_same() {
    for source in SOURCES {
        let mut connected = Connected::new("exec");
        let peer = Peer::of_with(&connected.stream, source).expect("peer");
        connected.say();
        await_change(&peer, PeerChanged::Executed);
        assert!(matches!(
            peer.groups(),
            Err(SysError::Changed(PeerChanged::Executed))
        ));
        assert!(matches!(
            peer.open_exe(),
            Err(SysError::Changed(PeerChanged::Executed))
        ));
    }
}

/// The file is the same, so only the layout of the new image tells: this needs address space randomisation.
#[test]
fn a_peer_that_executes_its_own_program_again_is_not_the_same() {
    let randomised = std::fs::read_to_string("/proc/sys/kernel/randomize_va_space").expect("read");
    assert_ne!(
        randomised.trim(),
        "0",
        "this kernel does not randomise address spaces"
    );
    let mut connected = Connected::new("exec_self");
    let peer = Peer::of(&connected.stream).expect("peer");
    connected.say();
    await_change(&peer, PeerChanged::Executed);
}

#[test]
fn a_peer_that_ends_is_not_the_same_though_its_child_holds_the_connection() {
    for source in SOURCES {
        let mut connected = Connected::new("leave_to_child");
        let peer = Peer::of_with(&connected.stream, source).expect("peer");
        connected.say();
        let mut line = String::new();
        BufReader::new(&connected.stream)
            .read_line(&mut line)
            .expect("the child's number");
        let heir: i32 = line.trim().parse().expect("number");
        // Ended but not waited for: a zombie still has its number.
        await_change(&peer, PeerChanged::Ended);
        connected.child.wait().expect("wait");
        assert_eq!(peer.still_same(), Err(PeerChanged::Ended));
        // The heir still holds the connection open, and whoever asks the socket hears of the one that connected.
        for source in SOURCES {
            assert!(matches!(
                Peer::of_with(&connected.stream, source),
                Err(SysError::PeerGone { .. } | SysError::Changed(_))
            ));
        }
        let heir = rustix::process::Pid::from_raw(heir).expect("number");
        rustix::process::kill_process(heir, rustix::process::Signal::KILL).expect("end the heir");
    }
}

#[test]
fn the_end_of_a_peer_can_be_awaited_by_many() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let mut connected = Connected::new("stay");
        let peer = Peer::of(&connected.stream).expect("peer");
        let waits: Vec<_> = (0..4)
            .map(|_| {
                let peer = peer.clone();
                tokio::spawn(async move { peer.exited().await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waits.iter().all(|w| !w.is_finished()));
        connected.child.kill().expect("kill");
        for wait in waits {
            wait.await.expect("join").expect("watch");
        }
        peer.exited().await.expect("again");
        assert_eq!(peer.still_same(), Err(PeerChanged::Ended));
    });
}

#[test]
fn a_process_is_held_by_its_number_until_it_is_another() {
    let mut connected = Connected::new("exec");
    let pid = connected.child.id();
    let peer = Peer::of_pid(pid).expect("a child of ours");
    let by_socket = Peer::of(&connected.stream).expect("peer");
    assert_eq!(
        (peer.pid(), peer.uid(), peer.gid(), peer.start_time()),
        (pid, by_socket.uid(), by_socket.gid(), by_socket.start_time())
    );
    assert_eq!(peer.exe(), by_socket.exe());
    assert_eq!(peer.owner().expect("owner"), Some(signet_sys::process::uid()));
    connected.say();
    await_change(&peer, PeerChanged::Executed);
    assert!(matches!(
        peer.owner(),
        Err(SysError::Changed(PeerChanged::Executed))
    ));
    connected.child.kill().expect("kill");
    connected.child.wait().expect("wait");
    // Its number may be given to anybody now; who was looked at has ended all the same.
    assert_eq!(peer.still_same(), Err(PeerChanged::Ended));
}

#[test]
fn numbers_without_a_process_name_nobody() {
    for pid in [0, i32::MAX as u32, u32::MAX] {
        assert!(
            matches!(Peer::of_pid(pid), Err(SysError::PeerGone { .. })),
            "{pid}"
        );
    }
}
