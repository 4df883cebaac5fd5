use crate::config::other_issuer;
use signet_fault::{Coded, Entry, remedy_of};
use signet_store::Seq;
use signet_time::UnixTime;
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

/// Why a server could not be made, started or kept up.
///
/// What a part of it says keeps that part's code and remedy.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The directory for a new server holds something.
    #[error("directory `{}` is not empty", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory is not one of a server, or not readable.
    #[error("directory `{}` cannot be used", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory is another user's or open to others.
    #[error("directory `{}` belongs to user {owner} with mode {mode:04o}, it must be this user's alone", dir.display())]
    DirectoryOwner {
        /// The directory.
        dir: PathBuf,
        /// Its owner's user id.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Nothing was ever set up in the directory.
    #[error("no server in `{}`", dir.display())]
    Absent {
        /// The directory.
        dir: PathBuf,
    },
    /// The store holds another trust domain.
    #[error("the store belongs to trust domain `{found}`, the settings say `{configured}`")]
    TrustDomain {
        /// The store's.
        found: String,
        /// The settings'.
        configured: String,
    },
    /// The seal's key would lie beside what it seals.
    #[error("the seal's key `{}` would lie inside the server's directory", key.display())]
    SealInside {
        /// The key's path.
        key: PathBuf,
    },
    /// A seal that can be chosen but not opened.
    #[error("seal `{choice}` cannot be opened by this server")]
    Seal {
        /// Which.
        choice: String,
    },
    /// Made by `signet dev --dir`: the seal's key lies beside the data.
    #[error("directory `{}` was made for development, its seal is insecure", dir.display())]
    Insecure {
        /// The directory.
        dir: PathBuf,
    },
    /// Made by `signet server init`, asked for as a directory for development.
    #[error("directory `{}` belongs to a server", dir.display())]
    NotForDev {
        /// The directory.
        dir: PathBuf,
    },
    /// A group that is to have a role is not there.
    #[error("there is no group `{name}`, which {setting} names")]
    Group {
        /// What names it.
        setting: &'static str,
        /// Its name.
        name: String,
    },
    /// Tokens would name another issuer than the one that there is discovery for.
    #[error("svid.jwt_issuer {}", other_issuer(configured, served))]
    Issuer {
        /// What tokens would name.
        configured: String,
        /// What is served.
        served: String,
    },
    /// A file of the public port's certificate cannot be read.
    #[error("file `{}` cannot be read", path.display())]
    WebFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file with authorities of machines cannot be read.
    #[error("file `{}` of attest.x509pop.ca cannot be read", path.display())]
    MachinesFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory for a restored server holds something.
    #[error("directory `{}` is not empty, nothing was restored", dir.display())]
    Occupied {
        /// The directory.
        dir: PathBuf,
    },
    /// A server runs in the directory that is to be replaced.
    #[error("a server runs in `{}` ({holder}), nothing was restored", dir.display())]
    Running {
        /// The directory.
        dir: PathBuf,
        /// Which process.
        holder: String,
    },
    /// The clock says that the backup is from the future, or something that no number is left for.
    #[error("the clock cannot be right: the backup was taken at {taken}")]
    Clock {
        /// When the backup was taken.
        taken: UnixTime,
    },
    /// The backup's proof is not of the seal.
    #[error(
        "the backup is not of a server with the seal `{}`, or it was changed since: nothing was restored",
        seal_key.display()
    )]
    ForeignBackup {
        /// The file of the seal's key.
        seal_key: PathBuf,
    },
    /// The change log is older than what the record shows that it was.
    #[error(
        "the state ends at change {held}, but the record shows that it had come to change {recorded}: an older state.db was put in its place"
    )]
    OlderState {
        /// The log's last change.
        held: Seq,
        /// What something was decided at.
        recorded: Seq,
    },
    /// A part of the server failed.
    #[error("{task}")]
    Part {
        /// What it was to do.
        task: &'static str,
        /// What it said.
        #[source]
        source: Cause,
    },
    /// A task of the server ended that should never end.
    #[error("task `{task}` ended")]
    Task {
        /// Its name.
        task: &'static str,
    },
}

/// What a part of the server said; its code and remedy stay its own.
#[derive(Debug)]
pub struct Cause(Box<dyn Coded + Send + Sync>);

impl core::fmt::Display for Cause {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl ServerError {
    /// Wraps what a part said while doing `task`.
    pub(crate) fn part<E: Coded + Send + Sync + 'static>(task: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Part {
            task,
            source: Cause(Box::new(source)),
        }
    }
}

const fn entry(code: &'static str, meaning: &'static str, remedy: &'static str) -> Entry {
    Entry {
        code,
        meaning,
        remedy,
    }
}

/// The codes of this crate.
pub const REGISTER: &[Entry] = &[
    entry(
        "SGSV001",
        "new server: directory not empty",
        "choose a directory that is empty or does not exist",
    ),
    entry(
        "SGSV002",
        "server directory: unusable",
        "check that it exists, and its owner and permissions",
    ),
    entry(
        "SGSV003",
        "server directory: open to others",
        "give it to the server's user alone: chown and chmod 0700",
    ),
    entry(
        "SGSV004",
        "server directory: no server",
        "set one up with `signet server init`",
    ),
    entry(
        "SGSV005",
        "server: other trust domain",
        "set the store's trust domain, or use another data_dir",
    ),
    entry(
        "SGSV006",
        "seal: key beside the data",
        "keep the seal's key in another directory",
    ),
    entry(
        "SGSV007",
        "group: absent",
        "create the group, or change the setting that names it",
    ),
    entry("SGSV008", "server: part failed", "see the cause"),
    entry("SGSV010", "seal: cannot be opened", "use file=PATH"),
    entry(
        "SGSV011",
        "server directory: for development",
        "set up a server with `signet server init`; nothing can be taken over",
    ),
    entry(
        "SGSV012",
        "server directory: not for development",
        "run it with `signet server run`, or name another directory",
    ),
    entry(
        "SGSV013",
        "issuer of JWT-SVIDs: not the one that is served",
        "leave svid.jwt_issuer out, or set web.url so that both are the same",
    ),
    entry(
        "SGSV014",
        "public port: file unreadable",
        "check the path in [web], and that the server's user may read the file",
    ),
    entry(
        "SGSV020",
        "authorities of machines: file unreadable",
        "check the paths in attest.x509pop.ca, and that the server's user may read the files",
    ),
    entry(
        "SGSV021",
        "restore: directory not empty",
        "name a directory that is empty or does not exist, or add --replace: what is there is then kept beside it",
    ),
    entry(
        "SGSV022",
        "restore: server running",
        "stop the server, then run the command again",
    ),
    entry(
        "SGSV023",
        "restore: clock",
        "set the clock of this machine, then run the command again",
    ),
    entry(
        "SGSV024",
        "state older than the record",
        "put the right state.db back, or go back to a backup with `signet server restore`, which gives the log new numbers",
    ),
    entry(
        "SGSV025",
        "restore: backup of another seal, or changed",
        "name the key that the server had with --seal; if this is it, do not use the backup, and find out who wrote it",
    ),
    entry(
        "SGSV009",
        "server: task ended",
        "restart the server and report the log before it",
    ),
];

impl Coded for ServerError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotEmpty { .. } => "SGSV001",
            Self::Directory { .. } => "SGSV002",
            Self::DirectoryOwner { .. } => "SGSV003",
            Self::Absent { .. } => "SGSV004",
            Self::TrustDomain { .. } => "SGSV005",
            Self::SealInside { .. } => "SGSV006",
            Self::Group { .. } => "SGSV007",
            Self::Part { source, .. } => source.0.code(),
            Self::Task { .. } => "SGSV009",
            Self::Seal { .. } => "SGSV010",
            Self::Insecure { .. } => "SGSV011",
            Self::NotForDev { .. } => "SGSV012",
            Self::Issuer { .. } => "SGSV013",
            Self::WebFile { .. } => "SGSV014",
            Self::MachinesFile { .. } => "SGSV020",
            Self::Occupied { .. } => "SGSV021",
            Self::Running { .. } => "SGSV022",
            Self::Clock { .. } => "SGSV023",
            Self::OlderState { .. } => "SGSV024",
            Self::ForeignBackup { .. } => "SGSV025",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Part { source, .. } => source.0.remedy(),
            _ => remedy_of(REGISTER, self.code()),
        }
    }
}
