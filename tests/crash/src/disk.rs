//! The disk under a recorded run: what is on it for certain, and what a crash may leave.
//!
//! The model is stricter than any file system: a byte is on the disk once its file was synced after it was written, a
//! name once its directory was synced after it was given, and everything else may be there or not, sector by sector (of
//! 512 bytes, each written whole) and name by name, in any combination.

use crate::acks::Acks;
use crate::dice::Dice;
use crate::log::{Entry, Op};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The syncs that one line of code makes, as far as a record shows. SQLite syncs some of its files twice while it makes a
/// database, with nothing to lose in between, so its syncs of one file by one thread are taken together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SyncKind {
    /// The thread that synced.
    pub thread: String,
    /// What kind of file it was.
    pub what: &'static str,
    /// For the main thread, which only starts the child: which of its syncs of this kind it is. Else 0, for all of them.
    pub nth: u32,
}

/// What a crash leaves of what was not synced.
#[derive(Clone, Debug)]
pub enum Loss {
    /// Nothing.
    Everything,
    /// A random part.
    Some(Dice),
}

#[derive(Clone, Debug)]
enum Unsynced {
    Write { offset: u64, data: Vec<u8> },
    Length(u64),
}

#[derive(Clone, Debug, Default)]
struct Node {
    directory: bool,
    /// What the kernel has.
    now: Vec<u8>,
    /// What is on the disk for certain.
    synced: Vec<u8>,
    unsynced: Vec<Unsynced>,
}

#[derive(Clone, Debug)]
enum Naming {
    Add { path: String, node: usize },
    Remove { path: String },
    Rename { from: String, to: String, node: usize },
}

/// The state of the disk, and what was acknowledged, after some part of a record.
#[derive(Clone, Debug)]
pub struct Disk {
    root: String,
    nodes: Vec<Node>,
    /// Names as the kernel has them.
    names: BTreeMap<String, usize>,
    /// Names that are on the disk for certain.
    synced_names: BTreeMap<String, usize>,
    /// By directory, in order.
    unsynced_names: BTreeMap<String, Vec<Naming>>,
    /// How often the main thread of this process has synced what.
    starting: BTreeMap<&'static str, u32>,
    /// What was acknowledged.
    pub acks: Acks,
    /// Broken rules of order; see [`Disk::apply`].
    pub violations: Vec<String>,
}

const SECTOR: usize = 512;
/// The name of the child's main thread, as the kernel cuts it.
const MAIN: &str = "signet-crash-ch";

impl Disk {
    /// An empty disk below the directory `root`, which is there for certain.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_str().expect("a plain path").to_owned(),
            nodes: Vec::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            unsynced_names: BTreeMap::new(),
            starting: BTreeMap::new(),
            acks: Acks::default(),
            violations: Vec::new(),
        }
    }

    /// Which kind of sync `entry` is, if it is one.
    #[must_use]
    pub fn sync_kind(&self, entry: &Entry) -> Option<SyncKind> {
        let Op::Sync { path } = &entry.op else {
            return None;
        };
        let is_directory = *path == self.root || self.node(path).is_none_or(|node| node.directory);
        let (what, by_sqlite) = match path {
            _ if path.ends_with("-wal") => ("write-ahead log", true),
            _ if path.ends_with("-journal") => ("rollback journal", true),
            _ if path.ends_with(".db") => ("database", true),
            _ if path.ends_with(".preparing") => ("segment in preparation", false),
            _ if path.ends_with(".segment") => ("segment", false),
            _ if !is_directory => ("another file", false),
            _ if *path != self.root => ("directory of segments", false),
            _ => ("directory", self.names.keys().any(|name| name.ends_with(".db"))),
        };
        let before = self.starting.get(what).copied().unwrap_or(0);
        Some(SyncKind {
            thread: entry.thread.clone(),
            what,
            nth: if by_sqlite || entry.thread != MAIN {
                0
            } else {
                before + 1
            },
        })
    }

    /// Takes in the next operation; a sync of the kind `without` does nothing.
    ///
    /// The first write to a prepared segment that is not synced is noted as a violation: its sync would have to write
    /// the whole segment, and would be the one to meet a full disk.
    pub fn apply(&mut self, entry: &Entry, without: Option<&SyncKind>) {
        match &entry.op {
            Op::Start => {
                self.acks.restart();
                self.starting.clear();
            }
            Op::Close => {}
            Op::Open {
                path,
                creates,
                truncates,
            } => {
                if !self.names.contains_key(path) && *creates {
                    self.add(path, false);
                }
                if *truncates {
                    self.resize(path, 0);
                }
            }
            Op::Write { path, offset, data } => {
                let is_prepared = |node: &Node| node.now.iter().take(SECTOR).all(|byte| *byte == 0);
                if path.ends_with(".segment")
                    && *offset == 0
                    && self
                        .node(path)
                        .is_some_and(|node| is_prepared(node) && !node.unsynced.is_empty())
                {
                    self.violations
                        .push(format!("{path} is used before it is synced"));
                }
                let node = self.node_mut(path);
                write(&mut node.now, *offset, data);
                node.unsynced.push(Unsynced::Write {
                    offset: *offset,
                    data: data.clone(),
                });
            }
            Op::Truncate { path, length } => self.resize(path, *length),
            Op::Sync { path } => {
                let kind = self.sync_kind(entry);
                if without.is_none() || kind.as_ref() != without {
                    self.sync(path);
                }
                if let Some(kind) = kind.filter(|kind| kind.thread == MAIN) {
                    *self.starting.entry(kind.what).or_default() += 1;
                }
            }
            Op::Rename { from, to } => {
                let node = self.names.remove(from).expect("a file that was renamed");
                self.names.insert(to.clone(), node);
                self.note(Naming::Rename {
                    from: from.clone(),
                    to: to.clone(),
                    node,
                });
            }
            Op::Unlink { path } => {
                self.names.remove(path);
                self.note(Naming::Remove { path: path.clone() });
            }
            Op::Mkdir { path } => self.add(path, true),
            Op::Ack { data } => self.acks.take(data),
        }
    }

    /// Writes what a crash would leave into the empty directory `target`.
    ///
    /// # Panics
    /// If `target` cannot be written.
    pub fn crash(&self, loss: &mut Loss, target: &Path) {
        let names = self.names_after(loss);
        // A file is reached only through directories that are there.
        let mut made = BTreeSet::from([self.root.clone()]);
        for (path, node) in names {
            let node = self.nodes.get(node).expect("a node");
            let place = target.join(
                path.strip_prefix(&self.root)
                    .expect("below the root")
                    .trim_start_matches('/'),
            );
            if !made.contains(parent(&path)) || path.ends_with("-shm") {
                continue;
            }
            if node.directory {
                fs::create_dir(place).expect("make a directory");
                made.insert(path);
            } else {
                fs::write(place, bytes_after(node, loss)).expect("write a file");
            }
        }
    }

    fn names_after(&self, loss: &mut Loss) -> BTreeMap<String, usize> {
        let mut names = self.synced_names.clone();
        let Loss::Some(dice) = loss else {
            return names;
        };
        for pending in self.unsynced_names.values() {
            // Mostly as a journaling file system does it, in order; at times any of them.
            let in_order = dice.below(2) == 0;
            let upto = dice.below(pending.len() as u64 + 1) as usize;
            for (n, naming) in pending.iter().enumerate() {
                if if in_order { n < upto } else { dice.below(2) == 0 } {
                    rename(&mut names, naming);
                }
            }
        }
        names
    }

    fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(*self.names.get(path)?)
    }

    fn node_mut(&mut self, path: &str) -> &mut Node {
        let node = self
            .names
            .get(path)
            .unwrap_or_else(|| panic!("{path} was never opened"));
        self.nodes.get_mut(*node).expect("a node")
    }

    fn add(&mut self, path: &str, directory: bool) {
        let node = self.nodes.len();
        self.nodes.push(Node {
            directory,
            ..Node::default()
        });
        self.names.insert(path.to_owned(), node);
        self.note(Naming::Add {
            path: path.to_owned(),
            node,
        });
    }

    fn note(&mut self, naming: Naming) {
        let (Naming::Add { path, .. } | Naming::Remove { path } | Naming::Rename { to: path, .. }) = &naming;
        let directory = parent(path).to_owned();
        self.unsynced_names.entry(directory).or_default().push(naming);
    }

    fn resize(&mut self, path: &str, length: u64) {
        let node = self.node_mut(path);
        node.now.resize(length as usize, 0);
        node.unsynced.push(Unsynced::Length(length));
    }

    fn sync(&mut self, path: &str) {
        for naming in self.unsynced_names.remove(path).unwrap_or_default() {
            rename(&mut self.synced_names, &naming);
        }
        if let Some(node) = self.names.get(path).and_then(|node| self.nodes.get_mut(*node)) {
            node.synced.clone_from(&node.now);
            node.unsynced.clear();
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn rename(names: &mut BTreeMap<String, usize>, naming: &Naming) {
    match naming {
        Naming::Add { path, node } => {
            names.insert(path.clone(), *node);
        }
        Naming::Remove { path } => {
            names.remove(path);
        }
        Naming::Rename { from, to, node } => {
            names.remove(from);
            names.insert(to.clone(), *node);
        }
    }
}

fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let start = offset as usize;
    let end = start + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes
        .get_mut(start..end)
        .expect("as long as that")
        .copy_from_slice(data);
}

fn bytes_after(node: &Node, loss: &mut Loss) -> Vec<u8> {
    let mut bytes = node.synced.clone();
    let Loss::Some(dice) = loss else {
        return bytes;
    };
    // How many of the changes a sector, or the length, has seen. A sector is written whole, so it never has a later
    // change without an earlier one.
    let all = node.unsynced.len() as u64;
    let luck = 1 + 4 * dice.below(3);
    let seen = |dice: &mut Dice| match dice.below(10) {
        9 => dice.below(all + 1),
        other if other < luck => all,
        _ => 0,
    };
    let length_seen = seen(dice);
    let mut sectors: BTreeMap<usize, u64> = BTreeMap::new();
    for (unsynced, n) in node.unsynced.iter().zip(0..) {
        match unsynced {
            Unsynced::Length(length) if n < length_seen => bytes.resize(*length as usize, 0),
            Unsynced::Length(_) => {}
            Unsynced::Write { offset, data } => {
                let mut done = 0;
                while done < data.len() {
                    let at = *offset as usize + done;
                    let length = (SECTOR - at % SECTOR).min(data.len() - done);
                    if n < *sectors.entry(at / SECTOR).or_insert_with(|| seen(dice)) {
                        write(
                            &mut bytes,
                            at as u64,
                            data.get(done..done + length).expect("within"),
                        );
                    }
                    done += length;
                }
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(op: Op) -> Entry {
        Entry {
            op,
            thread: "t".to_owned(),
        }
    }

    fn left(disk: &Disk) -> Vec<(String, Vec<u8>)> {
        let target = tempfile::tempdir().unwrap();
        disk.crash(&mut Loss::Everything, target.path());
        let mut files: Vec<_> = fs::read_dir(target.path())
            .unwrap()
            .map(|file| file.unwrap())
            .map(|file| {
                (
                    file.file_name().into_string().unwrap(),
                    fs::read(file.path()).unwrap(),
                )
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_nothing_else() {
        let mut disk = Disk::new(Path::new("/r"));
        let open = Op::Open {
            path: "/r/a".to_owned(),
            creates: true,
            truncates: false,
        };
        let write = |offset, data: &[u8]| Op::Write {
            path: "/r/a".to_owned(),
            offset,
            data: data.to_vec(),
        };
        let sync = |path: &str| Op::Sync {
            path: path.to_owned(),
        };
        for op in [open, write(0, b"abc"), sync("/r/a")] {
            disk.apply(&entry(op), None);
        }
        assert_eq!(left(&disk), [], "its name is not synced");
        disk.apply(&entry(sync("/r")), None);
        disk.apply(&entry(write(1, b"X")), None);
        assert_eq!(left(&disk), [("a".to_owned(), b"abc".to_vec())]);
        disk.apply(&entry(sync("/r/a")), None);
        let renamed = Op::Rename {
            from: "/r/a".to_owned(),
            to: "/r/b".to_owned(),
        };
        disk.apply(&entry(renamed), None);
        assert_eq!(left(&disk), [("a".to_owned(), b"aXc".to_vec())]);
        disk.apply(&entry(sync("/r")), None);
        disk.apply(
            &entry(Op::Unlink {
                path: "/r/b".to_owned(),
            }),
            None,
        );
        assert_eq!(left(&disk), [("b".to_owned(), b"aXc".to_vec())]);
        disk.apply(&entry(sync("/r")), None);
        assert_eq!(left(&disk), []);
    }

    #[test]
    fn a_sync_that_is_left_out_does_nothing() {
        let mut disk = Disk::new(Path::new("/r"));
        let open = entry(Op::Open {
            path: "/r/x.db".to_owned(),
            creates: true,
            truncates: false,
        });
        let sync = entry(Op::Sync {
            path: "/r".to_owned(),
        });
        disk.apply(&open, None);
        let kind = disk.sync_kind(&sync).unwrap();
        assert_eq!(kind.what, "directory");
        disk.apply(&sync, Some(&kind));
        assert_eq!(left(&disk), []);
        disk.apply(&sync, None);
        assert_eq!(left(&disk).len(), 1);
    }
}
