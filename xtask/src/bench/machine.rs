//! The machine, and what else it did: what a figure is worth nothing without.

use crate::{Failure, run};
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

/// The commit, the processor and the load before the start.
pub(super) fn line(root: &Path) -> Result<String, Failure> {
    let commit = run::captured(
        Command::new("git")
            .current_dir(root)
            .args(["describe", "--always", "--dirty"]),
    )?;
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .unwrap_or("")
        .trim_start_matches([' ', '\t', ':']);
    let cores = cpu.lines().filter(|l| l.starts_with("processor")).count();
    Ok(format!(
        "commit {}, {cores} x {model}, load before the start {}",
        commit.trim(),
        load()
    ))
}

/// The load average of the last minute, as the kernel writes it.
pub(super) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}

/// Watches what others use of the processors while we measure.
pub(super) struct Watch {
    load: String,
    busy: u64,
    idle: u64,
    ours: u64,
}

/// What else the machine did during a measurement.
#[derive(Clone)]
pub(super) struct Others {
    /// The load average before.
    pub(super) load: String,
    /// What others used, in percent of all processors.
    pub(super) percent: f64,
}

impl Others {
    /// Whether they used so little that a rate or a time can be held against another.
    pub(super) fn are_quiet(&self) -> bool {
        self.percent <= 10.0
    }
}

impl Watch {
    pub(super) fn begin() -> Result<Self, Failure> {
        let (busy, idle) = machine()?;
        Ok(Self {
            load: load(),
            busy,
            idle,
            ours: ours(std::process::id()),
        })
    }

    pub(super) fn end(self) -> Result<Others, Failure> {
        let (busy, idle) = machine()?;
        let (busy, idle) = (busy - self.busy, idle.saturating_sub(self.idle));
        let theirs = busy.saturating_sub(ours(std::process::id()).saturating_sub(self.ours));
        let percent = theirs as f64 * 100.0 / (busy + idle).max(1) as f64;
        Ok(Others {
            load: self.load,
            percent,
        })
    }
}

/// Clock ticks in which the processors worked, and in which they did not.
fn machine() -> Result<(u64, u64), Failure> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let fields: Vec<u64> = line
        .ok_or("no processors in /proc/stat")?
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    let at = |n: usize| fields.get(n).copied().unwrap_or(0);
    // user nice system idle iowait irq softirq steal; guests are in user and nice already.
    Ok((at(0) + at(1) + at(2) + at(5) + at(6) + at(7), at(3) + at(4)))
}

/// Clock ticks that `root` and all its descendants have used, those that have ended and were waited for included.
fn ours(root: u32) -> u64 {
    let mut processes: HashMap<u32, (u32, u64)> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(found) = parent_and_ticks(&stat) {
            processes.insert(pid, found);
        }
    }
    let is_ours = |mut pid: u32| {
        for _ in 0..64 {
            if pid == root {
                return true;
            }
            match processes.get(&pid) {
                Some((parent, _)) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    let mine = processes.iter().filter(|(pid, _)| is_ours(**pid));
    mine.map(|(_, (_, ticks))| ticks).sum()
}

/// Fields 4 and 14 to 17 of a process's `stat`.
fn parent_and_ticks(stat: &str) -> Option<(u32, u64)> {
    let after_name = stat.rsplit_once(')')?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ticks = number(14)? + number(15)? + number(16)? + number(17)?;
    Some((u32::try_from(number(4)?).ok()?, ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_and_time_are_read_after_the_last_bracket() {
        let stat = "7 (a) 9) S 5 7 7 0 -1 4194304 1 2 3 4 250 50 8 9 20 0 1 0 100 0 0";
        assert_eq!(parent_and_ticks(stat), Some((5, 317)));
        assert_eq!(parent_and_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn our_children_are_ours() {
        let before = ours(std::process::id());
        let done = Command::new("sh")
            .args(["-c", "n=0; while [ $n -lt 300000 ]; do n=$((n+1)); done"])
            .status()
            .unwrap();
        assert!(done.success());
        assert!(ours(std::process::id()) > before, "what it used came to us");
    }
}
