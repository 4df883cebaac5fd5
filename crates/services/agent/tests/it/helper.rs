//! Callers that are processes of their own: this very binary, started again to run the one test named
//! `helper::entry`, with its task in the environment.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const TASK: &str = "SIGNET_TEST_TASK";
const AGENT: &str = "SIGNET_TEST_AGENT";
const HEIR: &str = "SIGNET_TEST_HEIR";

/// A process that connected to the agent and handed the connection to us.
pub(crate) struct Giver {
    pub(crate) child: Child,
    /// The connection. Taken by whoever uses it.
    pub(crate) connection: Option<OwnedFd>,
}

impl Giver {
    /// Starts one, which then waits for [`Giver::go_on`].
    pub(crate) fn start(task: &str, agent: &Path) -> Self {
        Self::start_as(&std::env::current_exe().expect("own path"), task, agent)
    }

    /// The same from a copy of this binary.
    pub(crate) fn start_as(program: &Path, task: &str, agent: &Path) -> Self {
        Self::start_by(Command::new(program), task, agent)
    }

    /// The same in a user namespace of its own.
    pub(crate) fn start_apart(task: &str, agent: &Path) -> Self {
        let mut unshare = Command::new("unshare");
        unshare.arg("-U").arg(std::env::current_exe().expect("own path"));
        Self::start_by(unshare, task, agent)
    }

    /// The same as the user `uid`, which root alone can do.
    pub(crate) fn start_as_user(program: &Path, uid: u32, agent: &Path) -> Self {
        let mut command = Command::new(program);
        command.uid(uid).gid(uid);
        Self::start_by(command, "end", agent)
    }

    fn start_by(mut command: Command, task: &str, agent: &Path) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let heir = folder.path().join("heir");
        let listener = std::os::unix::net::UnixListener::bind(&heir).expect("bind");
        for (path, mode) in [(folder.path(), 0o755), (&heir, 0o777)] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("open to all");
        }
        let child = command
            .args(["--exact", "helper::entry", "--nocapture", "--test-threads=1"])
            .env(TASK, task)
            .env(AGENT, agent)
            .env(HEIR, &heir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("start");
        let (stream, _) = listener.accept().expect("accept");
        let connection = receive(&stream);
        Self {
            child,
            connection: Some(connection),
        }
    }

    pub(crate) fn go_on(&mut self) {
        use std::io::Write as _;
        self.child
            .stdin
            .as_mut()
            .expect("stdin")
            .write_all(b"x")
            .expect("go on");
    }

    /// Returns once it executes another program than this one.
    pub(crate) fn await_exec(&self) {
        let own = std::env::current_exe().expect("own path");
        while self.executes().is_none_or(|exe| exe == own) {
            std::thread::yield_now();
        }
    }

    /// What it executes; nothing for the moment in which it changes that.
    pub(crate) fn executes(&self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/exe", self.child.id())).ok()
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this system lets its users have user namespaces, which some forbid.
///
/// # Panics
/// Where it does not, and every test is to run (`SIGNET_TEST_EVERYTHING`, as `cargo xtask test` sets it).
pub(crate) fn may_make_user_namespaces() -> bool {
    let may = Command::new("unshare")
        .args(["-U", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !may {
        assert!(
            std::env::var_os("SIGNET_TEST_EVERYTHING").is_none(),
            "`unshare -U` is forbidden here, and this test needs it"
        );
        eprintln!("not run: `unshare -U` is forbidden here");
    }
    may
}

/// What such a process does; nothing when the test runs without a task.
#[test]
fn entry() {
    let Ok(task) = std::env::var(TASK) else { return };
    let agent = UnixStream::connect(std::env::var(AGENT).expect("agent")).expect("connect");
    let heir = UnixStream::connect(std::env::var(HEIR).expect("heir")).expect("connect");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [agent.as_fd()];
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(&heir, &[IoSlice::new(b"!")], &mut ancillary, SendFlags::empty()).expect("hand on");
    let _ = std::io::stdin().read(&mut [0; 1]).expect("a word");
    match task.as_str() {
        "exec" => panic!("exec: {}", Command::new("sleep").arg("600").exec()),
        "end" => {}
        other => panic!("unknown task {other}"),
    }
}

fn receive(stream: &UnixStream) -> OwnedFd {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let mut buffers = [std::io::IoSliceMut::new(&mut byte)];
    recvmsg(stream, &mut buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC).expect("receive");
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            return descriptors.next().expect("a descriptor");
        }
    }
    panic!("no descriptor came");
}
