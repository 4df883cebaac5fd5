//! Names of users and groups, as the system's name service gives them.
//!
//! The name service may read files or ask the network: call from a thread that may block.

use crate::SysError;
use std::ffi::CStr;
use std::io;

/// The name of this machine, as the kernel has it for this process; none where it has none.
#[must_use]
pub fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim_end().to_owned()).filter(|name| !name.is_empty() && name != "(none)")
}

/// The name of the user `uid`, if it has one.
///
/// # Errors
/// [`SysError::Call`] if the name service failed, which is not the same as no name.
#[expect(unsafe_code, reason = "the name service has only a C interface")]
pub fn user(uid: u32) -> Result<Option<String>, SysError> {
    lookup("getpwuid_r", |buffer| {
        // SAFETY: an all-zero `passwd` is a valid value: null pointers and zeros.
        let mut entry: libc::passwd = unsafe { core::mem::zeroed() };
        let mut found = core::ptr::null_mut();
        // SAFETY: all pointers live across the call, and `buffer.len()` is the size of what the third points at.
        let code = unsafe {
            libc::getpwuid_r(
                uid,
                &raw mut entry,
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        let name = (!found.is_null()).then_some(entry.pw_name.cast_const());
        // SAFETY: when found, the name is a C string inside `buffer`, which is not written again while it is read.
        (
            code,
            name.map(|name| unsafe { CStr::from_ptr(name) }.to_bytes().to_vec()),
        )
    })
}

/// The name of the group `gid`, if it has one.
///
/// # Errors
/// As [`user`].
#[expect(unsafe_code, reason = "the name service has only a C interface")]
pub fn group(gid: u32) -> Result<Option<String>, SysError> {
    lookup("getgrgid_r", |buffer| {
        // SAFETY: an all-zero `group` is a valid value: null pointers and zeros.
        let mut entry: libc::group = unsafe { core::mem::zeroed() };
        let mut found = core::ptr::null_mut();
        // SAFETY: all pointers live across the call, and `buffer.len()` is the size of what the third points at.
        let code = unsafe {
            libc::getgrgid_r(
                gid,
                &raw mut entry,
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        let name = (!found.is_null()).then_some(entry.gr_name.cast_const());
        // SAFETY: when found, the name is a C string inside `buffer`, which is not written again while it is read.
        (
            code,
            name.map(|name| unsafe { CStr::from_ptr(name) }.to_bytes().to_vec()),
        )
    })
}

/// The number of the group called `name`, if there is one.
///
/// # Errors
/// As [`user`].
#[expect(unsafe_code, reason = "the name service has only a C interface")]
pub fn group_id(name: &str) -> Result<Option<u32>, SysError> {
    let Ok(name) = std::ffi::CString::new(name) else {
        // No group's name holds a zero byte.
        return Ok(None);
    };
    let digits = lookup("getgrnam_r", |buffer| {
        // SAFETY: an all-zero `group` is a valid value: null pointers and zeros.
        let mut entry: libc::group = unsafe { core::mem::zeroed() };
        let mut found = core::ptr::null_mut();
        // SAFETY: all pointers live across the call, and `buffer.len()` is the size of what the third points at.
        let code = unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                &raw mut entry,
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        (
            code,
            (!found.is_null()).then(|| entry.gr_gid.to_string().into_bytes()),
        )
    })?;
    Ok(digits.and_then(|digits| digits.parse().ok()))
}

/// Calls `ask` with a buffer that grows until the answer fits.
fn lookup(
    call: &'static str,
    ask: impl Fn(&mut [libc::c_char]) -> (libc::c_int, Option<Vec<u8>>),
) -> Result<Option<String>, SysError> {
    let mut bytes = 1024;
    loop {
        let mut buffer = vec![0; bytes];
        let (code, name) = ask(&mut buffer);
        match code {
            0 => return Ok(name.and_then(|name| String::from_utf8(name).ok())),
            // What the manual lists for "not found" besides 0.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            libc::EINTR => {}
            // A group's members count into the buffer.
            libc::ERANGE if bytes < BUFFER_BYTES_MAX => bytes *= 4,
            code => {
                return Err(SysError::Call {
                    call,
                    source: io::Error::from_raw_os_error(code),
                });
            }
        }
    }
}

const BUFFER_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_name_and_a_stray_number_has_none() {
        assert_eq!(user(0).expect("lookup").as_deref(), Some("root"));
        assert_eq!(group(0).expect("lookup").as_deref(), Some("root"));
        assert_eq!(user(4_000_000_123).expect("lookup"), None);
        assert_eq!(group(4_000_000_123).expect("lookup"), None);
        assert_eq!(group_id("root").expect("lookup"), Some(0));
        assert_eq!(group_id("no such group here").expect("lookup"), None);
        assert_eq!(group_id("ro\0ot").expect("lookup"), None);
    }

    #[test]
    fn many_threads_may_ask_at_once() {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        assert_eq!(user(0).expect("lookup").as_deref(), Some("root"));
                    }
                });
            }
        });
    }

    #[test]
    fn a_short_buffer_grows_up_to_its_bound() {
        let seen = std::cell::Cell::new(0);
        let refused = lookup("fake", |buffer| {
            seen.set(buffer.len());
            (libc::ERANGE, None)
        });
        assert!(matches!(refused, Err(SysError::Call { call: "fake", .. })));
        assert!(seen.get() >= BUFFER_BYTES_MAX);
    }
}
