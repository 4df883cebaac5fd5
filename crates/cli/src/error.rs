use signet_fault::{Coded, Entry, remedy_of};
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

/// What goes wrong in the command line itself.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// A file named on the command line cannot be read.
    #[error("read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The server's answer is not what this version expects.
    #[error("the answer of `{server}` is not understood: {why}")]
    Answer { server: String, why: String },
    /// A part of the contract that this version does not have.
    #[error("{what} does not exist in this version")]
    Absent { what: String },
    /// A health address that answers with something else than health.
    #[error("`{url}` is not ready: {why}")]
    NotReady { url: String, why: String },
    /// Nothing answers where health is asked.
    #[error("nothing answers at {urls}")]
    NotRunning { urls: String },
    /// The asynchronous runtime or a signal handler could not be made.
    #[error("start the runtime")]
    Runtime(#[source] io::Error),
    /// The directory given with `--dir` cannot be used.
    #[error("use the directory `{}`: {why}", path.display())]
    Directory { path: PathBuf, why: String },
    /// No join string was given.
    #[error("this node has no identity yet and no join string was given")]
    NoJoinString,
    /// A path that is too long to hold sockets.
    #[error("`{}` is too long: sockets in it would have more than {max} bytes", path.display())]
    DirectoryLength { path: PathBuf, max: usize },
    /// A part of `signet dev` ended by itself.
    #[error("{part} ended by itself{}", why.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Ended { part: &'static str, why: Option<String> },
    /// Something did not happen in time.
    #[error("{what} within {seconds} s")]
    Slow { what: String, seconds: u64 },
}

const fn entry(code: &'static str, meaning: &'static str, remedy: &'static str) -> Entry {
    Entry {
        code,
        meaning,
        remedy,
    }
}

/// The codes of the command line.
pub(crate) const REGISTER: &[Entry] = &[
    entry(
        "SGCL001",
        "command: file not readable",
        "check that the path is right and that this user may read it",
    ),
    entry(
        "SGCL002",
        "command: file not writable",
        "check that the directory exists, has room and may be written by this user",
    ),
    entry(
        "SGCL003",
        "command: answer not understood",
        "check that the address is a signet server's and that both have the same version",
    ),
    entry(
        "SGCL004",
        "command: part does not exist",
        "leave it out, or use what the message names",
    ),
    entry(
        "SGCL005",
        "health: not ready",
        "wait with --wait 30s, or look at the process's log",
    ),
    entry(
        "SGCL006",
        "health: nothing answers",
        "start `signet dev`, `signet server run` or `signet agent run`, or name the address with --url",
    ),
    entry(
        "SGCL007",
        "command: runtime",
        "check the limits on processes, threads and open files",
    ),
    entry(
        "SGCL008",
        "dev: directory",
        "name a directory of this user with --dir, or leave --dir out",
    ),
    entry(
        "SGCL009",
        "agent: no join string",
        "make one on the server with `signet node join-token create` and pass it with --join-file or SIGNET_JOIN",
    ),
    entry(
        "SGCL010",
        "dev: path too long",
        "choose a shorter directory with --dir",
    ),
    entry(
        "SGCL011",
        "dev: a part ended",
        "set SIGNET_LOG=debug and look at the log",
    ),
    entry(
        "SGCL012",
        "command: too slow",
        "try again; set SIGNET_LOG=debug and look at the log if it stays so",
    ),
    entry(
        "SGCL013",
        "entries: mistakes in the file",
        "correct these lines and run the command again; nothing was created",
    ),
];

impl Coded for CliError {
    fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "SGCL001",
            Self::Write { .. } => "SGCL002",
            Self::Answer { .. } => "SGCL003",
            Self::Absent { .. } => "SGCL004",
            Self::NotReady { .. } => "SGCL005",
            Self::NotRunning { .. } => "SGCL006",
            Self::Runtime(_) => "SGCL007",
            Self::Directory { .. } => "SGCL008",
            Self::NoJoinString => "SGCL009",
            Self::DirectoryLength { .. } => "SGCL010",
            Self::Ended { .. } => "SGCL011",
            Self::Slow { .. } => "SGCL012",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

/// The code of a bulk file with mistakes: its failure is made from a list and not from an error.
pub(crate) const ENTRY_FILE: &str = "SGCL013";
