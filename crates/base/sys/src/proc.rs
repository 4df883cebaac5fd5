//! Reading `/proc/PID`. A number names a process only while it is known to live: callers check the pidfd *after*
//! reading, because a process that lived then also lived during the reads.

use crate::SysError;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

/// `Groups:` of a process with the kernel's 65,536 groups is below 800 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// `status` has some 1,500 bytes, without many groups.
const NEAR_BYTES: usize = 2048;

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
    /// The one user that it is in every respect: real, effective and saved.
    pub(crate) owner: Option<u32>,
    /// The effective group.
    pub(crate) gid: u32,
    /// The supplementary groups.
    pub(crate) groups: Vec<u32>,
}

pub(crate) fn stat(pid: u32) -> Result<Stat, SysError> {
    read(pid, "stat", parse_stat)?.ok_or(SysError::ProcForm { pid, file: "stat" })
}

pub(crate) fn status(pid: u32) -> Result<Status, SysError> {
    read(pid, "status", parse_status)?.ok_or(SysError::ProcForm { pid, file: "status" })
}

/// The executable's path as the kernel shows it, and device and inode of the file itself.
pub(crate) fn executable(pid: u32) -> Result<(u64, u64, PathBuf), SysError> {
    let (dev, ino) = executable_file(pid)?;
    let path = std::fs::read_link(format!("/proc/{pid}/exe")).map_err(|source| fault(pid, "exe", source))?;
    Ok((dev, ino, path))
}

/// Device and inode of the executable, without asking the file system that it lies on: one that hangs, as a network's or
/// a user's own may, must not hold up who looks.
pub(crate) fn executable_file(pid: u32) -> Result<(u64, u64), SysError> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
    // Through the link to the file that runs, even if its name was removed or lies in another mount namespace.
    let found = statx(
        CWD,
        format!("/proc/{pid}/exe"),
        AtFlags::STATX_DONT_SYNC,
        StatxFlags::INO,
    )
    .map_err(|source| fault(pid, "exe", source.into()))?;
    Ok((makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino))
}

/// Device and inode of the user namespace, which stand for it.
pub(crate) fn user_namespace(pid: u32) -> Result<(u64, u64), SysError> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata =
        std::fs::metadata(format!("/proc/{pid}/ns/user")).map_err(|source| fault(pid, "ns/user", source))?;
    Ok((metadata.dev(), metadata.ino()))
}

/// What `parse` makes of a file. Most are read onto the stack: each connection has several read, and what comes and goes
/// between blocks that stay leaves holes in the heap.
pub(crate) fn read<T>(pid: u32, file: &'static str, parse: impl FnOnce(&[u8]) -> T) -> Result<T, SysError> {
    let open = || -> io::Result<T> {
        let mut file = File::open(format!("/proc/{pid}/{file}"))?.take(FILE_BYTES_MAX);
        let mut near = [0; NEAR_BYTES];
        let mut filled = 0;
        while let Some(room) = near.get_mut(filled..).filter(|room| !room.is_empty()) {
            match file.read(room) {
                Ok(0) => return Ok(parse(near.get(..filled).unwrap_or_default())),
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut all = near.to_vec();
        file.read_to_end(&mut all)?;
        Ok(parse(&all))
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

/// The fields of `/proc/PID/stat` from the third on.
pub(crate) fn fields_after_name(stat: &[u8]) -> Option<impl Iterator<Item = &str> + Clone> {
    // The second field is the program's name in brackets and may hold anything, brackets and blanks included.
    let close = stat.iter().rposition(|b| *b == b')')?;
    let rest = core::str::from_utf8(stat.get(close + 1..)?).ok()?;
    Some(rest.split_ascii_whitespace())
}

fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let fields = fields_after_name(bytes)?;
    let field = |number: usize| fields.clone().nth(number - 3);
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
    let uids = line("Uid:")?
        .split_ascii_whitespace()
        .take(3)
        .map(str::parse)
        .collect::<Result<Vec<u32>, _>>()
        .ok()?;
    let owner = match uids[..] {
        [real, effective, saved] if real == effective && effective == saved => Some(effective),
        _ => None,
    };
    let groups = line("Groups:")?
        .split_ascii_whitespace()
        .map(str::parse)
        .collect::<Result<Vec<u32>, _>>()
        .ok()?;
    Some(Status {
        uid: effective("Uid:")?,
        owner,
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
            owner: None,
            gid: 6,
            groups: vec![10, 20],
        };
        assert_eq!(parse_status(text.as_bytes()), Some(want));
        let none = "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t \n";
        assert_eq!(parse_status(none.as_bytes()).expect("parse").groups, [0_u32; 0]);
    }

    #[test]
    fn who_is_one_user_in_part_only_owns_nothing() {
        let owner = |uids: &str| {
            let text = format!("Uid:\t{uids}\nGid:\t5\t6\t7\t8\nGroups:\t\n");
            parse_status(text.as_bytes()).expect("parse").owner
        };
        assert_eq!(owner("7\t7\t7\t9"), Some(7));
        for mixed in ["0\t7\t7\t7", "7\t0\t7\t7", "7\t7\t0\t7"] {
            assert_eq!(owner(mixed), None, "{mixed}");
        }
    }

    #[test]
    fn a_file_is_read_whole_whatever_its_size() {
        let pid = std::process::id();
        let whole = |file: &'static str| read(pid, file, <[u8]>::to_vec).expect("read");
        let maps = whole("maps");
        assert!(maps.len() > NEAR_BYTES && maps.ends_with(b"\n"), "{}", maps.len());
        let auxv = std::fs::read(format!("/proc/{pid}/auxv")).expect("read");
        assert!(auxv.len() < NEAR_BYTES);
        assert_eq!(whole("auxv"), auxv);
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
