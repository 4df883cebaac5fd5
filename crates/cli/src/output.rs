use crate::Outcome;
use crate::error::CliError;
use crate::failure::Failure;
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

/// How a command's result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document; `watch` writes one per line.
    Json,
}

/// Writes a command's one result: `value` as JSON, or the text that `show` makes of it.
pub(crate) fn result<T: Serialize>(format: Format, value: &T, show: impl FnOnce(&T) -> String) -> Outcome {
    match format {
        Format::Json => json(value, true),
        Format::Text => text(&show(value)),
    }
}

/// Writes `value` as one line of JSON, where many follow one another.
pub(crate) fn json_line<T: Serialize>(value: &T) -> Outcome {
    json(value, false)
}

fn json<T: Serialize>(value: &T, is_alone: bool) -> Outcome {
    let written = if is_alone && io::stdout().is_terminal() {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    match written {
        Ok(line) => text(&line),
        Err(error) => Err(write_error(io::Error::other(error))),
    }
}

/// Writes `text` and ends its line.
pub(crate) fn text(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    let outcome = out
        .write_all(text.as_bytes())
        .and_then(|()| {
            if text.ends_with('\n') || text.is_empty() {
                Ok(())
            } else {
                out.write_all(b"\n")
            }
        })
        .and_then(|()| out.flush());
    match outcome {
        // Whoever read us has seen enough, as in `signet entry list | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(write_error(error)),
        Ok(()) => Ok(()),
    }
}

/// Tells the user something beside the result, where a person is watching.
pub(crate) fn note(line: &str) {
    if io::stderr().is_terminal() {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// Whether a person is watching what is written beside the result.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Puts `line` in the place of the last one of these, where a person is watching.
pub(crate) fn progress(line: &str) {
    if is_watched() {
        let mut err = io::stderr().lock();
        // To the start of the line, and all of it away.
        let _ = write!(err, "\r\x1b[K{line}").and_then(|()| err.flush());
    }
}

/// Warns of something that is legal and probably not what was meant.
pub(crate) fn warning(line: &str) {
    let _ = writeln!(io::stderr().lock(), "warning: {line}");
}

/// Writes why the command failed: one line with all of it, and below it one line for each of several mistakes.
pub(crate) fn failure(failure: &Failure) {
    // Where standard error is gone, the exit code has to do.
    let _ = writeln!(io::stderr().lock(), "{}", shown(failure));
}

fn shown(failure: &Failure) -> String {
    let Failure {
        code,
        what,
        items,
        next,
        ..
    } = failure;
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown = format!("error[{code}]: {}", plain(what));
    if let [only] = items.as_slice() {
        shown.push_str(": ");
        shown.push_str(&plain(only));
    }
    if !next.is_empty() {
        shown.push_str(", ");
        shown.push_str(&plain(next));
    }
    if items.len() > 1 {
        for item in items {
            shown.push_str("\n  ");
            shown.push_str(&plain(item));
        }
    }
    shown
}

fn write_error(source: io::Error) -> Failure {
    CliError::Write {
        path: PathBuf::from("standard output"),
        source,
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(items: &[&str]) -> Failure {
        Failure {
            code: "SGCL012".into(),
            what: "`a.jsonl` has\nmistakes".into(),
            items: items.iter().map(|item| (*item).to_owned()).collect(),
            next: "correct them".into(),
            is_usage: false,
        }
    }

    #[test]
    fn a_failure_is_one_line() {
        assert_eq!(
            shown(&example(&["line 2:\nb"])),
            "error[SGCL012]: `a.jsonl` has mistakes: line 2: b, correct them"
        );
        assert_eq!(
            shown(&example(&[])),
            "error[SGCL012]: `a.jsonl` has mistakes, correct them"
        );
    }

    #[test]
    fn several_mistakes_stand_below_one_another_after_the_line() {
        assert_eq!(
            shown(&example(&["line 1: a", "line 2:\nb"])),
            "error[SGCL012]: `a.jsonl` has mistakes, correct them\n  line 1: a\n  line 2: b"
        );
    }
}
