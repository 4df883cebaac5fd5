//! A folder of files with entries, read as one list.

use crate::Outcome;
use crate::error::CliError;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The entries of a folder as one text of JSON lines, and where its lines stand.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    /// All files one after another; a line that is no text is left empty.
    pub(crate) text: String,
    /// What keeps parts of it from being read.
    pub(crate) faults: Vec<String>,
    files: Vec<Placed>,
}

/// A file and where it begins in the whole.
#[derive(Debug)]
struct Placed {
    name: String,
    /// Its first line, from 1.
    first: usize,
}

impl Folder {
    /// Reads every `*.jsonl` of the folder `dir`, in the order of their names.
    ///
    /// Passed over are names that begin with a dot and notes that end in `.md`. Anything else is a fault: an entry that
    /// lies where it is not read would be taken for one that is not wanted.
    pub(crate) fn read(dir: &Path) -> Outcome<Self> {
        let refused = |source| CliError::Read {
            path: dir.into(),
            source,
        };
        let mut names = Vec::new();
        for found in fs::read_dir(dir).map_err(refused)? {
            names.push(found.map_err(refused)?.file_name());
            if names.len() > FILES_MAX {
                let why = format!("it holds more than {FILES_MAX} files");
                return Err(refused(io::Error::new(io::ErrorKind::FileTooLarge, why)).into());
            }
        }
        names.sort_unstable();
        let mut folder = Self::default();
        let mut line = 1;
        for name in names {
            let shown = signet_fault::shown(&name.to_string_lossy(), NAME_CHARS_MAX);
            if shown.starts_with('.') || shown.ends_with(".md") {
                continue;
            }
            if !shown.ends_with(".jsonl") {
                let why = "is not read: call it *.jsonl, begin its name with a dot, or move it away";
                folder.faults.push(format!("`{shown}` {why}"));
                continue;
            }
            match contents(&dir.join(&name), BYTES_MAX.saturating_sub(folder.text.len())) {
                Ok(bytes) => {
                    folder.files.push(Placed {
                        name: shown,
                        first: line,
                    });
                    line += folder.add(&bytes);
                }
                Err(error) => folder.faults.push(format!("`{shown}`: {error}")),
            }
        }
        Ok(folder)
    }

    /// Adds the lines of the newest file, and says how many they are.
    fn add(&mut self, bytes: &[u8]) -> usize {
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        let mut count = 0;
        for line in bytes.split(|byte| *byte == b'\n') {
            count += 1;
            match str::from_utf8(line) {
                Ok(line) => self.text.push_str(line),
                Err(error) => {
                    let name = self.files.last().map_or("", |file| &file.name);
                    let column = error.valid_up_to() + 1;
                    self.faults
                        .push(format!("`{name}` line {count}, column {column}: not UTF-8"));
                }
            }
            self.text.push('\n');
        }
        count
    }

    /// Whether there is no entry in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.bytes().all(|byte| byte.is_ascii_whitespace())
    }

    /// The file and the line in it that are line `line` of the whole.
    pub(crate) fn place(&self, line: usize) -> (&str, usize) {
        let after = self.files.partition_point(|file| file.first <= line);
        match after.checked_sub(1).and_then(|n| self.files.get(n)) {
            Some(file) => (&file.name, line - file.first + 1),
            None => ("", line),
        }
    }
}

/// The bytes of the regular file `path`, at most `max` of them.
fn contents(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    // Looked at before it is opened: opening a pipe waits for a writer.
    let seen = fs::symlink_metadata(path)?;
    if seen.is_symlink() {
        return Err(io::Error::other(
            "is a symbolic link, and what it points to may lie anywhere",
        ));
    }
    if !seen.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    let file = File::open(path)?;
    let place = |meta: &Metadata| (meta.dev(), meta.ino());
    if place(&file.metadata()?) != place(&seen) {
        return Err(io::Error::other(
            "was replaced while it was read, run the command again",
        ));
    }
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        let why = format!("the files together have more than {BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// As much of a name as is shown: all of what Linux allows.
const NAME_CHARS_MAX: usize = 255;

/// The most names in a folder: the entries that one commit takes, each in a file of its own.
const FILES_MAX: usize = 10_000;

/// The most bytes of all files together: what the server takes in one request, less the line ends that are added.
const BYTES_MAX: usize = (16 << 20) - FILES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_one_list_and_every_line_keeps_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
        put("b.jsonl", b"three\n\nfive");
        put("a.jsonl", "\u{feff}one\r\ntwo\n".as_bytes());
        put("README.md", b"notes");
        put(".hidden.jsonl", b"never");
        let folder = Folder::read(dir.path()).unwrap();
        assert_eq!(folder.faults, [""; 0]);
        assert_eq!(folder.text, "one\r\ntwo\n\nthree\n\nfive\n");
        let places = [1, 2, 4, 6].map(|line| folder.place(line));
        assert_eq!(
            places,
            [("a.jsonl", 1), ("a.jsonl", 2), ("b.jsonl", 1), ("b.jsonl", 3)]
        );
        assert!(!folder.is_empty());
    }

    #[test]
    fn what_is_not_read_is_a_fault() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("a.json"), "{}").unwrap();
        fs::create_dir(path("b")).unwrap();
        fs::create_dir(path("c.jsonl")).unwrap();
        symlink("/etc/passwd", path("d.jsonl")).unwrap();
        symlink("nowhere", path("e.jsonl")).unwrap();
        fs::write(path("f.jsonl"), b"good\n\"\xff\"\ngood").unwrap();
        let folder = Folder::read(dir.path()).unwrap();
        let expected = [
            "`a.json` is not read: ",
            "`b` is not read: ",
            "`c.jsonl`: is not a regular file",
            "`d.jsonl`: is a symbolic link",
            "`e.jsonl`: is a symbolic link",
            "`f.jsonl` line 2, column 2: not UTF-8",
        ];
        assert_eq!(folder.faults.len(), expected.len(), "{:#?}", folder.faults);
        for (fault, start) in folder.faults.iter().zip(expected) {
            assert!(fault.starts_with(start), "{fault}: {start}");
        }
        assert_eq!(folder.text, "good\n\ngood\n");
        assert_eq!(Folder::read(&path("none")).unwrap_err().code, "SGCL001");
        assert_eq!(Folder::read(&path("a.json")).unwrap_err().code, "SGCL001");
    }

    #[test]
    fn a_folder_has_bounds() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Folder::read(dir.path()).unwrap().is_empty());
        // A sparse file: it has its length and takes no room.
        let long = File::create(dir.path().join("a.jsonl")).unwrap();
        long.set_len(BYTES_MAX as u64 + 1).unwrap();
        fs::write(dir.path().join("b.jsonl"), "b").unwrap();
        let folder = Folder::read(dir.path()).unwrap();
        assert_eq!(folder.faults.len(), 1, "{:?}", folder.faults);
        assert!(
            folder.faults[0].contains("more than 16767216 bytes"),
            "{:?}",
            folder.faults
        );
        for n in 0..FILES_MAX {
            File::create(dir.path().join(format!("{n}.md"))).unwrap();
        }
        let refused = Folder::read(dir.path()).unwrap_err();
        assert!(refused.what.contains("more than 10000 files"), "{}", refused.what);
    }
}
