//! Running the child.

use signet_crash::acks::Acks;
use signet_crash::verify::Store;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, PoisonError, RwLock};

/// Held for writing while a child starts. Between fork and exec it has a copy of every descriptor of this process, and
/// with them the locks of the stores that other tests have open; they would seem to be in use a moment longer.
static STARTING: RwLock<()> = RwLock::new(());

/// As [`Store::verify`], but for the moment when a child starts.
pub(crate) fn verify(store: Store, directory: &Path, acks: &Acks) -> Result<(), String> {
    let _open = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    store.verify(directory, acks)
}

/// One run of the child.
pub(crate) struct Run<'a> {
    pub(crate) store: Store,
    pub(crate) directory: &'a Path,
    pub(crate) steps: u32,
    /// Whether it never prunes.
    pub(crate) keep: bool,
    /// `SIGNET_FAILPOINTS`.
    pub(crate) failpoints: Option<String>,
    /// The interposer's log.
    pub(crate) log: Option<&'a Path>,
    /// `SIGNET_CRASH_AT`.
    pub(crate) at: Option<&'a str>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(store: Store, directory: &'a Path, steps: u32) -> Self {
        Self {
            store,
            directory,
            steps,
            keep: false,
            failpoints: None,
            log: None,
            at: None,
        }
    }

    pub(crate) fn start(&self) -> (Child, ChildStdout) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_signet-crash-child"));
        command
            .args([self.store.role().as_ref(), self.directory.as_os_str()])
            .arg(self.steps.to_string())
            .arg(if self.keep { "keep" } else { "prune" })
            .env_remove("SIGNET_FAILPOINTS")
            .env_remove("SIGNET_CRASH_AT")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        if let Some(failpoints) = &self.failpoints {
            command.env("SIGNET_FAILPOINTS", failpoints);
        }
        if let Some(log) = self.log {
            command
                .env("LD_PRELOAD", interposer())
                .env("SIGNET_CRASH_ROOT", self.directory)
                .env("SIGNET_CRASH_LOG", log);
        }
        if let Some(at) = self.at {
            command.env("SIGNET_CRASH_AT", at);
        }
        let starting = STARTING.write().unwrap_or_else(PoisonError::into_inner);
        let mut child = command.spawn().unwrap();
        drop(starting);
        let out = child.stdout.take().unwrap();
        (child, out)
    }

    /// Runs the child to its end, and takes in what it said.
    pub(crate) fn finish(&self, acks: &mut Acks) -> ExitStatus {
        acks.restart();
        let (mut child, mut out) = self.start();
        let mut said = Vec::new();
        out.read_to_end(&mut said).unwrap();
        acks.take(&said);
        child.wait().unwrap()
    }
}

/// The interposer, compiled once by the C compiler that the workspace needs anyway.
fn interposer() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("interpose/interpose.c");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        // Test processes run side by side: each compiles under a name of its own, and the last to finish wins.
        let own = directory.join(format!("interpose-{}.so", std::process::id()));
        let target = directory.join("interpose.so");
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let done = Command::new(&compiler)
            .args([
                "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", "-pthread", "-o",
            ])
            .args([&own, &source])
            .status();
        assert!(
            done.is_ok_and(|status| status.success()),
            "`{compiler}` could not compile {}",
            source.display()
        );
        std::fs::rename(&own, &target).unwrap();
        target
    })
}

/// A directory for copies of a disk: in memory where the system has that, because they are many and short-lived.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory)
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}
