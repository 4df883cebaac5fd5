//! Reading `/proc/PID`. A number names a process only while it is known to live: callers check the pidfd *after*
//! reading, because a process that lived then also lived during the reads.

use crate::SysError;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

/// `Groups:` of a process with the kernel's 65,536 groups is below 800 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Field 22: when the process started, in clock ticks since boot.
    pub(crate) start_time: u64,
    /// Fields 26 and 28: where code and stack begin. Laid out anew by each `execve`, so they tell two runs of one
    /// program apart; zeros where the kernel does not show them.
    pub(crate) layout: (u64, u64),
    /// Field 3 is `Z` or `X`: the process has ended and waits for its parent.
    pub(crate) ended: bool,
}

/// What `/proc/PID/status` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// The effective user.
    pub(crate) uid: u32,
    /// The effective group.
    pub(crate) gid: u32,
    /// The supplementary groups.
    pub(crate) groups: Vec<u32>,
}

pub(crate) fn stat(pid: u32) -> Result<Stat, SysError> {
    let bytes = read(pid, "stat")?;
    parse_stat(&bytes).ok_or(SysError::ProcForm { pid, file: "stat" })
}

pub(crate) fn status(pid: u32) -> Result<Status, SysError> {
    let bytes = read(pid, "status")?;
    parse_status(&bytes).ok_or(SysError::ProcForm { pid, file: "status" })
}

/// The executable's path as the kernel shows it, and device and inode of the file itself.
pub(crate) fn executable(pid: u32) -> Result<(u64, u64, PathBuf), SysError> {
    use std::os::unix::fs::MetadataExt as _;
    let link = format!("/proc/{pid}/exe");
    let failed = |source| fault(pid, "exe", source);
    // Through the link to the file that runs, even if its name was removed or lies in another mount namespace.
    let metadata = std::fs::metadata(&link).map_err(failed)?;
    let path = std::fs::read_link(&link).map_err(failed)?;
    Ok((metadata.dev(), metadata.ino(), path))
}

/// Device and inode of the user namespace, which stand for it.
pub(crate) fn user_namespace(pid: u32) -> Result<(u64, u64), SysError> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata =
        std::fs::metadata(format!("/proc/{pid}/ns/user")).map_err(|source| fault(pid, "ns/user", source))?;
    Ok((metadata.dev(), metadata.ino()))
}

fn read(pid: u32, file: &'static str) -> Result<Vec<u8>, SysError> {
    let open = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(2048);
        File::open(format!("/proc/{pid}/{file}"))?
            .take(FILE_BYTES_MAX)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    open().map_err(|source| fault(pid, file, source))
}

fn fault(pid: u32, file: &'static str, source: io::Error) -> SysError {
    // ESRCH: the process ended between open and read.
    if source.kind() == io::ErrorKind::NotFound || source.raw_os_error() == Some(libc::ESRCH) {
        SysError::PeerGone { pid }
    } else {
        SysError::Proc { pid, file, source }
    }
}

fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    // The second field is the program's name in brackets and may hold anything, brackets and blanks included.
    let close = bytes.iter().rposition(|b| *b == b')')?;
    let rest = core::str::from_utf8(bytes.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |at: usize| field(at)?.parse::<u64>().ok();
    Some(Stat {
        start_time: number(22)?,
        layout: (number(26)?, number(28)?),
        ended: matches!(field(3)?, "Z" | "X"),
    })
}

fn parse_status(bytes: &[u8]) -> Option<Status> {
    // Names before `Uid:` are escaped by the kernel, so that no program can write a line of its own.
    let text = core::str::from_utf8(bytes).ok()?;
    let line = |key: &str| text.lines().find_map(|l| l.strip_prefix(key));
    // Real, effective, saved, file system.
    let effective = |key: &str| line(key)?.split_ascii_whitespace().nth(1)?.parse().ok();
    let groups = line("Groups:")?
        .split_ascii_whitespace()
        .map(str::parse)
        .collect::<Result<Vec<u32>, _>>()
        .ok()?;
    Some(Status {
        uid: effective("Uid:")?,
        gid: effective("Gid:")?,
        groups,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_cannot_shift_the_fields() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21 22 2600 24 2800 26";
        for name in ["cat", "a b", "x) S 1 2 3 4 (y", ")", "\u{fffd} ) 9 9"] {
            let stat = parse_stat(format!("42 ({name}) {tail}").as_bytes()).expect("parse");
            assert_eq!(
                (stat.start_time, stat.layout, stat.ended),
                (777, (2600, 2800), false)
            );
        }
        let ended = parse_stat(format!("42 (cat) {}", tail.replacen('S', "Z", 1)).as_bytes());
        assert!(ended.expect("parse").ended);
    }

    #[test]
    fn cut_or_foreign_contents_are_refused() {
        for bad in [
            "",
            "42",
            "42 (cat",
            "42 (cat) S 1 2",
            "42 (cat) S a b c d e f g h i j k l m n o p q r s t u v",
        ] {
            assert_eq!(parse_stat(bad.as_bytes()), None, "{bad}");
        }
        for bad in [
            "",
            "Uid:\t1\t2\t3\t4\n",
            "Uid:\t1\nGid:\t1\nGroups:\t\n",
            "Uid:\t1 2\nGid:\t1 2\nGroups:\tx\n",
        ] {
            assert_eq!(parse_status(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn status_gives_effective_ids_and_groups() {
        let text = "Name:\tcat\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t10 20 \n";
        let want = Status {
            uid: 2,
            gid: 6,
            groups: vec![10, 20],
        };
        assert_eq!(parse_status(text.as_bytes()), Some(want));
        let none = "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t \n";
        assert_eq!(parse_status(none.as_bytes()).expect("parse").groups, [0_u32; 0]);
    }

    #[test]
    fn the_own_process_can_be_read() {
        let pid = std::process::id();
        let first = stat(pid).expect("stat");
        assert!(first.start_time > 0 && !first.ended);
        assert_eq!(first, stat(pid).expect("stat"));
        assert_eq!(
            status(pid).expect("status").uid,
            rustix::process::geteuid().as_raw()
        );
        assert_eq!(
            executable(pid).expect("exe").2,
            std::env::current_exe().expect("exe")
        );
        assert_eq!(
            user_namespace(pid).expect("namespace"),
            user_namespace(pid).expect("again")
        );
        assert!(matches!(stat(u32::MAX), Err(SysError::PeerGone { .. })));
        assert!(matches!(user_namespace(u32::MAX), Err(SysError::PeerGone { .. })));
    }
}
