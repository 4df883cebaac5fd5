use signet_fault::{Coded, Entry, remedy_of};
use std::borrow::Cow;
use std::io;

/// Why the kernel's word could not be had.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SysError {
    /// The process that connected has ended, or another one has its number by now.
    #[error("the process that connected (pid {pid}) is gone")]
    PeerGone {
        /// The number it had.
        pid: u32,
    },
    /// The process that connected is not visible in this PID namespace.
    #[error("the process that connected is not visible from this PID namespace")]
    PeerInvisible,
    /// A file below `/proc/PID` could not be read, most often for want of the right to.
    #[error("read /proc/{pid}/{file}")]
    Proc {
        /// The process.
        pid: u32,
        /// The file below its folder.
        file: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file below `/proc/PID` does not have the form that the kernel documents.
    #[error("/proc/{pid}/{file} does not have the expected form")]
    ProcForm {
        /// The process.
        pid: u32,
        /// The file below its folder.
        file: &'static str,
    },
    /// A system call failed.
    #[error("{call}")]
    Call {
        /// Its name.
        call: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The process is not what it was when it connected.
    #[error(transparent)]
    Changed(#[from] PeerChanged),
}

/// In what a process differs from the one that connected.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerChanged {
    /// It ended, or one of its threads is about to execute another program, for which the first thread ends.
    #[error("the process that connected has ended")]
    Ended,
    /// Its number belongs to another process now.
    #[error("the pid of the process that connected belongs to another process now")]
    Replaced,
    /// It executed another program.
    #[error("the process that connected has executed another program")]
    Executed,
    /// It runs under another user or group now.
    #[error("the process that connected runs under another user or group now")]
    Credentials,
    /// It can no longer be looked at.
    #[error("the process that connected can no longer be looked at")]
    Unreadable,
}

impl Coded for SysError {
    fn code(&self) -> &'static str {
        match self {
            Self::PeerGone { .. } => "SGSY001",
            Self::PeerInvisible => "SGSY002",
            Self::Proc { .. } => "SGSY003",
            Self::ProcForm { .. } => "SGSY004",
            Self::Call { .. } => "SGSY005",
            Self::Changed(changed) => changed.code(),
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

impl Coded for PeerChanged {
    fn code(&self) -> &'static str {
        "SGSY006"
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

/// The error codes of this crate.
pub const REGISTER: &[Entry] = &[
    Entry {
        code: "SGSY001",
        meaning: "the process that connected has ended",
        remedy: "connect again from a process that stays alive during the call",
    },
    Entry {
        code: "SGSY002",
        meaning: "the process that connected lives in a PID namespace that cannot be seen from here",
        remedy: "run the agent in the host's PID namespace",
    },
    Entry {
        code: "SGSY003",
        meaning: "the caller's files below /proc could not be read",
        remedy: "run the agent as root or with CAP_SYS_PTRACE, or as the same user as its callers",
    },
    Entry {
        code: "SGSY004",
        meaning: "a file below /proc has an unknown form",
        remedy: "report the kernel's version and the file's contents",
    },
    Entry {
        code: "SGSY005",
        meaning: "a system call failed",
        remedy: "see the kernel's message; check limits and privileges",
    },
    Entry {
        code: "SGSY006",
        meaning: "the process that connected ended, executed another program or changed its user",
        remedy: "open a new connection from the program that needs the identity",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_register_is_sound() {
        assert_eq!(signet_fault::flaws(&[REGISTER]), []);
        assert!(!PeerChanged::Executed.remedy().is_empty());
    }
}
