//! Code of the own process that lies in memory and need not.

use rustix::mm::{Advice, madvise};
use std::io;
use std::ops::Range;

/// Lets go of the program's code as far as it lies in memory because it ran once: what starts a process never runs again.
/// What does run comes back from the system's cache of files as it is needed, 64 KiB at a time, within microseconds. How
/// many bytes of code there are.
///
/// # Errors
/// That the own mappings cannot be read, or the system refuses.
pub fn let_go_of_code() -> io::Result<usize> {
    let mappings = std::fs::read_to_string("/proc/self/smaps")?;
    let mut bytes = 0;
    for code in code(&mappings) {
        #[expect(unsafe_code, reason = "the call takes a pointer")]
        // SAFETY: the range is one mapping, or what is left of it, of a file's code that nothing has written to, so that
        // it is read from the file again with the same contents. Should it be gone by now, or something else in its place,
        // then somebody has unloaded a library meanwhile, which nothing in this program does.
        unsafe {
            madvise(
                core::ptr::with_exposed_provenance_mut(code.start),
                code.len(),
                Advice::LinuxDontNeed,
            )?;
        }
        bytes += code.len();
    }
    Ok(bytes)
}

/// Where the mappings are, of those in `smaps` (proc_pid_smaps(5)), that are a file's code and the same as in the file.
fn code(smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut mapping = None;
    for line in smaps.lines() {
        if let Some(value) = line.strip_prefix("Anonymous:") {
            found.extend(mapping.take().filter(|_| value.trim() == "0 kB"));
        } else if let Some(range) = range(line) {
            mapping = is_code(line).then_some(range);
        }
    }
    found
}

/// `55f8b76f5000-55f8b89e5000 r-xp ...`
fn range(line: &str) -> Option<Range<usize>> {
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    let number = |text: &str| usize::from_str_radix(text, 16).ok();
    Some(number(start)?..number(end)?).filter(|range| range.start < range.end)
}

/// Whether the mapping's head says that it may be run and not written to, and is of a file.
fn is_code(head: &str) -> bool {
    let mut fields = head.split_ascii_whitespace().skip(1);
    fields.next() == Some("r-xp") && fields.nth(3).is_some_and(|path| path.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_goes_on_without_its_code_in_memory() {
        let code = std::fs::metadata("/proc/self/exe").expect("own file").len();
        let bytes = let_go_of_code().expect("let go");
        assert!(bytes > 4096, "{bytes} of {code}");
        // What runs now was not there.
        let text: String = (0..1_000).map(|n: u32| n.to_string()).collect();
        assert!(text.ends_with("998999"));
        assert!(let_go_of_code().expect("once more") >= 4096);
    }

    #[test]
    fn only_code_of_files_that_nothing_was_written_to_is_let_go_of() {
        let mapping = |head: &str, anonymous: u32| {
            format!(
                "{head}\nSize: 4 kB\nRss: 4 kB\nAnonymous:             {anonymous} kB\nVmFlags: rd ex mr mw me\n"
            )
        };
        let smaps = [
            mapping(
                "1000-2000 r--p 00000000 fe:00 7                          /usr/bin/signet",
                0,
            ),
            mapping(
                "2000-5000 r-xp 00001000 fe:00 7                          /usr/bin/signet",
                0,
            ),
            mapping(
                "5000-6000 r--p 00004000 fe:00 7                          /usr/bin/signet",
                4,
            ),
            mapping(
                "6000-7000 rw-p 00005000 fe:00 7                          /usr/bin/signet",
                4,
            ),
            mapping(
                "8000-9000 r-xp 00000000 fe:00 8                          /usr/lib/patched.so",
                4,
            ),
            mapping(
                "9000-a000 rwxp 00000000 fe:00 9                          /usr/lib/other.so",
                0,
            ),
            mapping("a000-b000 r-xp 00000000 00:00 0 ", 0),
            mapping(
                "b000-c000 r-xp 00000000 fe:00 9                          /usr/lib/a b.so (deleted)",
                0,
            ),
            mapping(
                "7ffc60593000-7ffc60595000 r-xp 00000000 00:00 0          [vdso]",
                0,
            ),
        ];
        assert_eq!(code(&smaps.concat()), [0x2000..0x5000, 0xb000..0xc000]);
        assert!(code("").is_empty() && code("Anonymous: 0 kB\n").is_empty());
        assert!(code("2000-1000 r-xp 0 0 7 /x\nAnonymous: 0 kB\n").is_empty());
    }
}
