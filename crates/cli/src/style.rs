//! Text for people: tables and lists of facts.

use signet_time::UnixTime;

/// Lines up `rows` below `head`; the last column is as wide as it is.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain(head.get(column).map(|cell| cell.chars().count()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text.push('\n');
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// One fact a line, names lined up; facts without value are left out.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    facts
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:width$}  {value}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A point in time and how far it is from `now`.
pub(crate) fn time(at: UnixTime, now: UnixTime) -> String {
    let at_secs = at.floor_secs();
    if at >= now {
        format!("{at_secs} (in {})", span(at.since(now).as_secs()))
    } else {
        format!("{at_secs} ({} ago)", span(now.since(at).as_secs()))
    }
}

/// The two largest units of a number of seconds.
fn span(secs: u64) -> String {
    let (days, hours, minutes) = (secs / 86_400, secs / 3_600 % 24, secs / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs} s"),
        (0, 0, _) => format!("{minutes} min {} s", secs % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".to_owned(), "bb".to_owned()],
            vec!["ccc".to_owned(), String::new()],
        ];
        assert_eq!(table(&["X", "Y"], &rows), "X    Y\na    bb\nccc");
        assert_eq!(
            facts(&[("a", "1".into()), ("long", "2".into()), ("none", String::new())]),
            "a     1\nlong  2"
        );
    }

    #[test]
    fn times_say_how_far_they_are() {
        let now = UnixTime::from_secs(1_000_000);
        for (secs, text) in [
            (1_000_005, "(in 5 s)"),
            (1_000_065, "(in 1 min 5 s)"),
            (1_003_660, "(in 1 h 1 min)"),
            (1_090_000, "(in 1 d 1 h)"),
            (999_990, "(10 s ago)"),
        ] {
            assert!(time(UnixTime::from_secs(secs), now).ends_with(text), "{text}");
        }
    }
}
