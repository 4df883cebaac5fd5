//! What a process uses: processor time and memory, as the kernel counts them for everybody to read.

use crate::{SysError, proc};
use core::time::Duration;

/// The processor time that the process `pid` has used since it started: user and system, of all its threads, those that
/// have ended included. Counted in clock ticks, most often of 10 ms.
///
/// # Errors
/// [`SysError::PeerGone`] if there is no such process; [`SysError::Proc`] and [`SysError::ProcForm`] if its file in
/// `/proc` cannot be read.
pub fn cpu_time(pid: u32) -> Result<Duration, SysError> {
    let ticks = proc::read(pid, "stat", cpu_ticks)?;
    let ticks = ticks.ok_or(SysError::ProcForm { pid, file: "stat" })?;
    let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
    Ok(Duration::from_micros(
        ticks.saturating_mul(1_000_000) / ticks_per_second,
    ))
}

/// The memory of the process `pid` that is its own and resident (`RssAnon`), in bytes.
///
/// # Errors
/// As [`cpu_time`].
pub fn anonymous_bytes(pid: u32) -> Result<u64, SysError> {
    let bytes = proc::read(pid, "status", |status| kib_of(status, "RssAnon:"))?;
    bytes.ok_or(SysError::ProcForm { pid, file: "status" })
}

/// All memory of the process `pid` that is resident (`VmRSS`), shared files included, in bytes.
///
/// # Errors
/// As [`cpu_time`].
pub fn resident_bytes(pid: u32) -> Result<u64, SysError> {
    let bytes = proc::read(pid, "status", |status| kib_of(status, "VmRSS:"))?;
    bytes.ok_or(SysError::ProcForm { pid, file: "status" })
}

/// Fields 14 and 15.
fn cpu_ticks(stat: &[u8]) -> Option<u64> {
    let fields = proc::fields_after_name(stat)?;
    let number = |field: usize| fields.clone().nth(field - 3)?.parse::<u64>().ok();
    number(14)?.checked_add(number(15)?)
}

/// The value of the field `name`, in bytes.
fn kib_of(status: &[u8], name: &str) -> Option<u64> {
    let text = core::str::from_utf8(status).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib = value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_after_the_last_bracket() {
        let stat = b"7 (a) 9) S 1 7 7 0 -1 4194304 1 2 3 4 250 50 8 9 20 0 1 0 100 0 0";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks(b"7 (a) S 1 7"), None);
        assert_eq!(cpu_ticks(b""), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let status = b"VmRSS:\t  10 kB\nRssAnon:\t    1234 kB\n";
        assert_eq!(kib_of(status, "RssAnon:"), Some(1234 * 1024));
        assert_eq!(kib_of(status, "VmRSS:"), Some(10 * 1024));
        assert_eq!(kib_of(b"VmRSS:\t  10 kB\n", "RssAnon:"), None);
        assert_eq!(kib_of(b"RssAnon:\t 12 MB\n", "RssAnon:"), None);
    }

    #[test]
    fn this_process_uses_both() {
        let pid = std::process::id();
        let own = anonymous_bytes(pid).expect("own memory");
        assert!(0 < own && own <= resident_bytes(pid).expect("all memory"));
        let before = cpu_time(pid).expect("own time");
        assert!(cpu_time(pid).expect("again") >= before);
        assert!(matches!(cpu_time(u32::MAX >> 1), Err(SysError::PeerGone { .. })));
    }
}
