use signet_fault::{Coded, Entry, remedy_of};
use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a listener could not be opened, or a server not be reached.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Longer than the kernel's address of a socket holds.
    #[error("socket path `{}` has {bytes} bytes, the system allows {max}; `{}` would fit", path.display(), suggestion.display())]
    PathLength {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// The longest that fits.
        max: usize,
        /// One with the same name that fits.
        suggestion: PathBuf,
    },
    /// The directory of the socket is not there, or is not one.
    #[error("directory `{}` for the socket cannot be used", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody else could put their own socket in our place.
    #[error("directory `{}` belongs to user {owner} with mode {mode:04o}: another user could replace the socket", path.display())]
    DirectoryOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner's user id.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Something that is not a socket stands there.
    #[error("`{}` exists and is not a socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// A process answers there.
    #[error("another process listens on `{}`", path.display())]
    Live {
        /// The path.
        path: PathBuf,
    },
    /// A dead socket that is not ours to remove.
    #[error("`{}` is left over from user {owner}", path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
        /// Its owner's user id.
        owner: u32,
    },
    /// The socket cannot be made.
    #[error("listen on `{}`", path.display())]
    ListenUnix {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process has the port.
    #[error("port {} on {} is taken (setting `{setting}`); `ss -ltnp 'sport = :{}'` shows by whom", address.port(), address.ip(), address.port())]
    PortTaken {
        /// The address.
        address: SocketAddr,
        /// Where it is configured.
        setting: &'static str,
    },
    /// A port below 1024, or a rule of the system.
    #[error("not allowed to listen on {address} (setting `{setting}`)")]
    PortForbidden {
        /// The address.
        address: SocketAddr,
        /// Where it is configured.
        setting: &'static str,
    },
    /// The port cannot be opened for another reason, such as an address of another machine.
    #[error("listen on {address} (setting `{setting}`)")]
    ListenTcp {
        /// The address.
        address: SocketAddr,
        /// Where it is configured.
        setting: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A URL that names no server.
    #[error("`{text}` is not a server's address: {what}")]
    Endpoint {
        /// What was written, cut to a readable length.
        text: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Nobody listens there.
    #[error("no server at `{address}`")]
    Absent {
        /// The address.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system does not let this user connect.
    #[error("not allowed to connect to `{address}`")]
    Forbidden {
        /// The address.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The connection could not be made or broke.
    #[error("connect to `{address}`")]
    Connect {
        /// The address.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The two sides did not agree on TLS, or one did not trust the other.
    #[error("secure the connection to `{address}`")]
    Handshake {
        /// The address.
        address: String,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// An `https` address without a client configuration for TLS.
    #[error("`{address}` needs an identity to show")]
    NoTls {
        /// The address.
        address: String,
    },
    /// No answer in time.
    #[error("no answer from `{address}` within {seconds} s")]
    Timeout {
        /// The address.
        address: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The request could not be built or the exchange broke.
    #[error("talk to `{address}`")]
    Exchange {
        /// The address.
        address: String,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A second group could not be let in.
    #[error("`{}` cannot be opened to a second group", path.display())]
    AccessList {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A listener that another process handed on is not what it should be.
    #[error("the listener that was handed on for `{place}` cannot be used: {what}")]
    Handed {
        /// Where it should listen.
        place: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Path, query and header fields of a request are more than is taken.
    #[error(
        "path, query and headers have {bytes} bytes in {fields} headers, at most {bytes_max} bytes and {fields_max} headers are taken"
    )]
    Head {
        /// How long they are.
        bytes: usize,
        /// How long they may be.
        bytes_max: usize,
        /// How many headers there are.
        fields: usize,
        /// How many there may be.
        fields_max: usize,
    },
    /// The answer is longer than is read.
    #[error("the answer of `{address}` is longer than {max} bytes")]
    AnswerLength {
        /// The address.
        address: String,
        /// The bound.
        max: usize,
    },
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
        "SGNE001",
        "socket path: length",
        "choose a shorter path, such as the one that the message names",
    ),
    entry(
        "SGNE002",
        "socket directory: unusable",
        "create the directory, or choose another path: `listen.api` of a server, --socket or `workload_api.path` of an agent",
    ),
    entry(
        "SGNE003",
        "socket directory: another user's",
        "use a directory of this user or of root that others cannot write to",
    ),
    entry(
        "SGNE004",
        "socket path: taken by a file",
        "move the file away, or choose another path",
    ),
    entry(
        "SGNE005",
        "socket: in use",
        "stop the other process, or choose another path",
    ),
    entry(
        "SGNE006",
        "socket: another user's leftover",
        "remove it as that user or as root",
    ),
    entry(
        "SGNE007",
        "socket: cannot be made",
        "check that the file system can be written to and has room",
    ),
    entry(
        "SGNE008",
        "port: taken",
        "stop its holder, or set another port; 0 takes any that is free",
    ),
    entry(
        "SGNE009",
        "port: not allowed",
        "use a port above 1023, or give the process CAP_NET_BIND_SERVICE",
    ),
    entry(
        "SGNE010",
        "port: cannot be opened",
        "use an address of this machine",
    ),
    entry(
        "SGNE011",
        "server address: form",
        "write it as unix:///path/to/api.sock or https://host:port",
    ),
    entry(
        "SGNE012",
        "server: absent",
        "start it, or pass the right address with --api or SIGNET_API",
    ),
    entry(
        "SGNE013",
        "server: not allowed to connect",
        "run as root or as a member of the socket's group",
    ),
    entry(
        "SGNE014",
        "server: cannot connect",
        "check the address and the network",
    ),
    entry(
        "SGNE015",
        "server: TLS",
        "check that both sides belong to one trust domain and that both clocks are right",
    ),
    entry(
        "SGNE016",
        "server: no identity to show",
        "pass --identity-socket, or --cert and --key",
    ),
    entry(
        "SGNE017",
        "server: too slow",
        "try again; look at the server's log if it stays so",
    ),
    entry(
        "SGNE018",
        "server: exchange broke",
        "try again; look at the server's log if it stays so",
    ),
    entry(
        "SGNE019",
        "server: answer too long",
        "ask for less, with a smaller --limit",
    ),
    entry(
        "SGNE020",
        "request: path and headers too long",
        "send less before the body: a shorter query, fewer or shorter headers",
    ),
    entry(
        "SGNE021",
        "socket: no access control list",
        "put `listen.api` onto a file system that keeps access control lists, such as /run, or name the same group twice",
    ),
    entry(
        "SGNE022",
        "listener from another process: unusable",
        "end the other process, and start this one as usual",
    ),
];

impl Coded for NetError {
    fn code(&self) -> &'static str {
        match self {
            Self::PathLength { .. } => "SGNE001",
            Self::Directory { .. } => "SGNE002",
            Self::DirectoryOwner { .. } => "SGNE003",
            Self::NotASocket { .. } => "SGNE004",
            Self::Live { .. } => "SGNE005",
            Self::Foreign { .. } => "SGNE006",
            Self::ListenUnix { .. } => "SGNE007",
            Self::PortTaken { .. } => "SGNE008",
            Self::PortForbidden { .. } => "SGNE009",
            Self::ListenTcp { .. } => "SGNE010",
            Self::Endpoint { .. } => "SGNE011",
            Self::Absent { .. } => "SGNE012",
            Self::Forbidden { .. } => "SGNE013",
            Self::Connect { .. } => "SGNE014",
            Self::Handshake { .. } => "SGNE015",
            Self::NoTls { .. } => "SGNE016",
            Self::Timeout { .. } => "SGNE017",
            Self::Exchange { .. } => "SGNE018",
            Self::AnswerLength { .. } => "SGNE019",
            Self::Head { .. } => "SGNE020",
            Self::AccessList { .. } => "SGNE021",
            Self::Handed { .. } => "SGNE022",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}
