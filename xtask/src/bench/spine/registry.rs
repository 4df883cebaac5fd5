//! The registry at scale, which a program of its own measures.

use super::super::process::Scratch;
use super::super::table::Row;
use super::Bench;
use crate::{Failure, run};
use std::process::Command;

/// Rows for the table, and the program's own table.
pub(super) fn rows(bench: &Bench<'_>) -> Result<(Vec<Row>, String), Failure> {
    let dir = Scratch::new()?;
    let text = run::captured(
        Command::new(bench.root.join("target/release/signet-bench-spine"))
            .arg(&dir.0)
            .arg(bench.rounds.to_string()),
    )?;
    let rows = vec![
        Row::new(
            "restart with 500,000 entries: open, check and fold",
            cell(&text, "restart, ms", 2)? / 1e3,
            "s",
        )
        .below(3.0),
        Row::new(
            "server memory for each of a million entries after a restart",
            cell(&text, "memory after it (RSS), bytes/entry", 3)?,
            "B",
        )
        .below(220.0)
        .spire(3_500.0),
        Row::new(
            "the same, for each of 100,000",
            cell(&text, "memory after it (RSS), bytes/entry", 1)?,
            "B",
        )
        .below(220.0),
        Row::new(
            "entries created in bulk, at a million, durable",
            cell(&text, "created, entries/s", 3)?,
            "/s",
        )
        .above(5_000.0)
        .spire(257.0),
    ];
    Ok((rows, text))
}

/// The median in a column of the row `name`.
fn cell(table: &str, name: &str, column: usize) -> Result<f64, Failure> {
    let cells = table
        .lines()
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
        .find(|cells| cells.get(1) == Some(&name));
    let figure = cells
        .as_ref()
        .and_then(|cells| cells.get(column + 1)?.split_whitespace().next());
    Ok(figure.ok_or_else(|| format!("no `{name}`"))?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_read_from_its_cell() {
        let table = "| 3 rounds | 100,000 | 500,000 | 1 |\n|---|---|---|---|\n| restart, ms | 593.3 (415.0 to 639.5) | \
                     3110.6 (2940.0 to 3614.6) | 6362.3 (1.0 to 2.0) |\n";
        assert_eq!(cell(table, "restart, ms", 2).unwrap(), 3110.6);
        assert!(cell(table, "restarts", 2).is_err());
    }
}
