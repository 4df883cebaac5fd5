//! What the child says on its standard output, a line each, and what that amounts to.

use signet_store::{Cursor, Seq};
use std::collections::BTreeMap;
use std::io::Write as _;

/// Everything acknowledged so far.
#[derive(Clone, Debug, Default)]
pub struct Acks {
    /// Each writer's last step in the change log.
    pub steps: BTreeMap<u32, u32>,
    /// The last cursor of the change log that anyone was given.
    pub cursor: Option<Cursor>,
    /// Writer and step by index in the journal.
    pub records: BTreeMap<u64, (u32, u32)>,
    /// Records before this may have been pruned.
    pub prunable: u64,
    /// Whether the stores were open.
    pub ready: bool,
    /// What failed, by code.
    pub errors: Vec<String>,
    /// How many lines there were.
    pub lines: u64,
    /// A line that is not complete yet.
    rest: String,
}

/// Says one line; it leaves the process before this returns.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())
        .expect("standard output");
    out.flush().expect("standard output");
}

/// The line for a step in the change log.
#[must_use]
pub fn step(writer: u32, step: u32, cursor: &Cursor) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    format!(
        "s {writer} {step} {} {} {}",
        hex(&cursor.epoch),
        cursor.seq,
        hex(&cursor.chain)
    )
}

impl Acks {
    /// Takes in what was read; a line counts once its end is there.
    pub fn take(&mut self, bytes: &[u8]) {
        self.rest.push_str(std::str::from_utf8(bytes).expect("text"));
        while let Some((line, rest)) = self.rest.split_once('\n') {
            let (line, rest) = (line.to_owned(), rest.to_owned());
            self.rest = rest;
            self.line(&line);
        }
    }

    /// A new child speaks: what the last one left unfinished does not count.
    pub fn restart(&mut self) {
        self.rest.clear();
        self.ready = false;
    }

    fn line(&mut self, line: &str) {
        self.lines += 1;
        let parts: Vec<&str> = line.split(' ').collect();
        match *parts.as_slice() {
            ["ready"] => self.ready = true,
            ["s", writer, step, epoch, seq, chain] => {
                let step: u32 = step.parse().unwrap();
                let last = self.steps.entry(writer.parse().unwrap()).or_default();
                *last = step.max(*last);
                let cursor = Cursor {
                    epoch: unhex(epoch),
                    seq: Seq(seq.parse().unwrap()),
                    chain: unhex(chain),
                };
                if self.cursor.is_none_or(|last| last.seq < cursor.seq) {
                    self.cursor = Some(cursor);
                }
            }
            ["j", writer, step, index] => {
                let record = (writer.parse().unwrap(), step.parse().unwrap());
                let before = self.records.insert(index.parse().unwrap(), record);
                assert!(
                    before.is_none_or(|before| before == record),
                    "two records share index {index}"
                );
            }
            ["p", before] => self.prunable = self.prunable.max(before.parse().unwrap()),
            ["e", code] => self.errors.push(code.to_owned()),
            _ => panic!("the child said `{line}`"),
        }
    }
}

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2).unwrap(), 16).unwrap();
    }
    bytes
}
