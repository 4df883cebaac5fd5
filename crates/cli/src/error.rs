use crate::register::REGISTER;
use signet_fault::{Coded, remedy_of};
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
    /// A path that is too long to hold sockets.
    #[error("`{}` is too long: sockets in it would have more than {max} bytes", path.display())]
    DirectoryLength { path: PathBuf, max: usize },
    /// A part of `signet dev` ended by itself.
    #[error("{part} ended by itself{}", why.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Ended { part: &'static str, why: Option<String> },
    /// No agent answers on its local socket.
    #[error("no agent answers at `{}`: {why}", path.display())]
    NoAgent { path: PathBuf, why: String },
    /// An address that is no UNIX socket, where one is needed.
    #[error("`{endpoint}` is no UNIX socket")]
    NotUnix { endpoint: String },
    /// An agent's answer lacks what every answer has.
    #[error("the agent's answer lacks `{field}`")]
    AgentAnswer { field: &'static str },
    /// More connections were asked for than files may be open.
    #[error("this needs {needed} open files, and the limit is {max}")]
    Descriptors { needed: u64, max: u64 },
    /// A measurement in which every call failed.
    #[error("no call succeeded: {errors}")]
    NoneSucceeded { errors: String },
    /// A measurement that would change a server which may be more than a toy.
    #[error(
        "this creates {what} below {below} and deletes them again, and the server at `{api}` is not known to be `signet dev`"
    )]
    NotDev {
        what: String,
        below: String,
        api: String,
    },
    /// Entries and nodes of a measurement that could not be deleted.
    #[error("{what} below {below} were not deleted: {why}")]
    Left {
        what: String,
        below: String,
        why: String,
    },
    /// A measurement of what becomes of a process that loses its last identity, in one that has others.
    #[error("this process has the identity {id}, too, and would keep it")]
    NotAlone { id: String },
    /// Something did not happen in time.
    #[error("{what} within {seconds} s")]
    Slow { what: String, seconds: u64 },
}

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
            Self::DirectoryLength { .. } => "SGCL009",
            Self::Ended { .. } => "SGCL010",
            Self::Slow { .. } => "SGCL011",
            Self::NoAgent { .. } => "SGCL020",
            Self::NotUnix { .. } => "SGCL021",
            Self::AgentAnswer { .. } => "SGCL022",
            Self::Descriptors { .. } => "SGCL060",
            Self::NoneSucceeded { .. } => "SGCL061",
            Self::NotDev { .. } => "SGCL062",
            Self::Left { .. } => "SGCL063",
            Self::NotAlone { .. } => "SGCL064",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

/// The code of a bulk file with mistakes: its failure is made from a list and not from an error.
pub(crate) const ENTRY_FILE: &str = "SGCL012";
