//! The table of the spine: what identities cost, from the server's memory to the workload's stream.

mod agent;
mod changes;
mod fleet;
mod idle;
mod issue;
mod memory;
mod python;
mod rates;
mod registry;
mod upgrade;

use super::machine::Watch;
use super::table::{Row, Table};
use crate::Failure;
use std::path::Path;

/// What is measured, and how long.
pub(crate) struct Options {
    rounds: usize,
    idle_seconds: u64,
    /// Names of groups; all where empty.
    groups: Vec<String>,
}

/// Where and how a group measures.
struct Bench<'a> {
    root: &'a Path,
    binary: &'a Path,
    rounds: usize,
}

/// Rows that are measured together.
struct Group {
    name: &'static str,
    about: &'static str,
    rows: fn(&Bench<'_>) -> Result<Vec<Row>, Failure>,
}

/// In the order of the table. `idle` comes after all of them and `registry` has a table of its own besides.
const GROUPS: &[Group] = &[
    Group {
        name: "agent",
        about: "agent start to first SVID",
        rows: agent::rows,
    },
    Group {
        name: "changes",
        about: "changes of entries to a stream",
        rows: changes::rows,
    },
    Group {
        name: "rates",
        about: "SVIDs a second",
        rows: rates::rows,
    },
    Group {
        name: "python",
        about: "the PyPI client `spiffe`",
        rows: python::rows,
    },
    Group {
        name: "memory",
        about: "memory of an agent",
        rows: memory::rows,
    },
    Group {
        name: "upgrade",
        about: "an agent's upgrade",
        rows: upgrade::rows,
    },
    Group {
        name: "issue",
        about: "certificates signed from requests",
        rows: issue::rows,
    },
    Group {
        name: "fleet",
        about: "a simulated fleet",
        rows: fleet::rows,
    },
];

const IDLE: &str = "idle";
const REGISTRY: &str = "registry";

impl Options {
    /// Reads the words behind `bench spine`; `None` where they make no sense.
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let mut options = Self {
            rounds: 3,
            idle_seconds: 300,
            groups: Vec::new(),
        };
        let known =
            |name: &&str| [IDLE, REGISTRY].contains(name) || GROUPS.iter().any(|group| group.name == *name);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--rounds" => options.rounds = words.next()?.parse().ok().filter(|n| *n > 0)?,
                "--idle-seconds" => options.idle_seconds = words.next()?.parse().ok()?,
                name if known(&name) => options.groups.push(name.to_owned()),
                _ => return None,
            }
        }
        Some(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|group| group == name)
    }
}

/// Measures and prints. What fails takes no other row along.
pub(super) fn tables(root: &Path, binary: &Path, options: &Options) -> Result<(), Failure> {
    let bench = Bench {
        root,
        binary,
        rounds: options.rounds,
    };
    let mut table = Table::default();
    // It uses next to nothing and what it uses is counted to the nanosecond, so the others run meanwhile.
    let idle = options
        .wants(IDLE)
        .then(|| (Watch::begin(), idle::Idle::start(&bench)));
    for group in GROUPS.iter().filter(|group| options.wants(group.name)) {
        measure(&mut table, group.about, || (group.rows)(&bench));
    }
    let figures = options.wants(REGISTRY).then(|| {
        let mut figures = String::new();
        measure(&mut table, "the registry at scale", || {
            let (rows, text) = registry::rows(&bench)?;
            figures = text;
            Ok(rows)
        });
        figures
    });
    if let Some((watch, idle)) = idle {
        let row = idle.and_then(|idle| idle.row(options.idle_seconds));
        match (row, watch.and_then(Watch::end)) {
            (Ok(row), Ok(others)) => table.add(&[row], &others),
            (Err(error), _) | (_, Err(error)) => table.missing("idle server", &error.to_string()),
        }
    }
    table.print();
    if let Some(figures) = figures.filter(|figures| !figures.is_empty()) {
        println!("\n{figures}");
    }
    Ok(())
}

fn measure(table: &mut Table, about: &str, rows: impl FnOnce() -> Result<Vec<Row>, Failure>) {
    eprintln!("measuring: {about}");
    let measured = Watch::begin().and_then(|watch| Ok((rows()?, watch.end()?)));
    match measured {
        Ok((rows, others)) => table.add(&rows, &others),
        Err(error) => table.missing(about, &error.to_string()),
    }
}

/// The one in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Least and most, as text.
fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let number = super::table::number;
    format!("{} to {}", number(least), number(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_choose_groups_and_lengths() {
        let options = Options::parse(&[]).unwrap();
        assert!(options.wants("fleet") && options.wants("idle"));
        let options = Options::parse(&["--rounds", "1", "fleet", "--idle-seconds", "5"]).unwrap();
        assert_eq!((options.rounds, options.idle_seconds), (1, 5));
        assert!(options.wants("fleet") && !options.wants("idle"));
        for wrong in [&["--rounds"][..], &["--rounds", "0"], &["3"], &["fleets"]] {
            assert!(Options::parse(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn the_middle_and_the_ends() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(spread(&[3.0, 1.0, 2000.0]), "1 to 2,000");
    }
}
