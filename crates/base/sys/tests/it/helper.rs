use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const TASK: &str = "SIGNET_TEST_TASK";
const SOCKET: &str = "SIGNET_TEST_SOCKET";

/// Starts a process that carries out `task`, by way of `wrapper`, which executes its arguments; its standard input
/// and output are pipes.
pub(crate) fn start(wrapper: &[&str], task: &str, socket: &Path) -> Child {
    let own = std::env::current_exe().expect("own path");
    let own = own.to_str().expect("utf-8");
    let line = [wrapper, &[own]].concat();
    let (program, arguments) = line.split_first().expect("at least our own name");
    Command::new(program)
        .args(arguments)
        .args(["--exact", "helper::entry", "--nocapture", "--test-threads=1"])
        .env(TASK, task)
        .env(SOCKET, socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the helper")
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

/// What a helper does; nothing when the test runs without a task.
#[test]
fn entry() {
    let Ok(task) = std::env::var(TASK) else { return };
    let mut stream = UnixStream::connect(std::env::var(SOCKET).expect("socket")).expect("connect");
    wait_for_word();
    match task.as_str() {
        "stay" => wait_for_word(),
        "exec" => {
            keep_open(stream.as_fd());
            // `sleep` holds the connection open and never writes.
            panic!("exec: {}", Command::new("sleep").arg("600").exec());
        }
        "exec_self" => {
            keep_open(stream.as_fd());
            let own = std::env::current_exe().expect("own path");
            let args = ["--exact", "helper::idle", "--nocapture"];
            panic!("exec: {}", Command::new(own).args(args).env(TASK, "idle").exec());
        }
        #[expect(
            clippy::zombie_processes,
            reason = "the child is meant to outlive this process"
        )]
        "leave_to_child" => {
            keep_open(stream.as_fd());
            let child = Command::new("sleep")
                .arg("600")
                .spawn()
                .expect("start a child that inherits");
            writeln!(stream, "{}", child.id()).expect("tell");
        }
        other => panic!("unknown task {other}"),
    }
}

/// What "exec_self" becomes.
#[test]
fn idle() {
    if std::env::var(TASK).is_ok_and(|task| task == "idle") {
        wait_for_word();
    }
}

fn wait_for_word() {
    let mut word = [0; 1];
    // The end of input is a word too: the test has gone.
    let _ = std::io::stdin().read(&mut word).expect("read a word");
}

fn keep_open(fd: BorrowedFd<'_>) {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).expect("clear close-on-exec");
}
