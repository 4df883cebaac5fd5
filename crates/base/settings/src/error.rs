use core::fmt;
use signet_fault::{Coded, Entry, remedy_of};
use std::borrow::Cow;
use std::path::PathBuf;

/// Why settings could not be read.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file has mistakes: all of them, in the order of their lines.
    #[error("`{}` has {}: {}", path.display(), count(mistakes.len()), listed(mistakes))]
    Mistakes {
        /// Where the text came from.
        path: PathBuf,
        /// At least one.
        mistakes: Vec<Mistake>,
    },
    /// The file cannot be read.
    #[error("read `{}`: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is longer than [`crate::FILE_BYTES_MAX`].
    #[error("`{}` is longer than 1 MiB", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
}

/// The codes of this crate.
pub const REGISTER: &[Entry] = &[
    Entry {
        code: "SGSE001",
        meaning: "settings: mistakes in the file",
        remedy: "correct the lines named, then run `signet config check FILE`",
    },
    Entry {
        code: "SGSE002",
        meaning: "settings: file not readable",
        remedy: "check that the path is right and that this user may read it",
    },
    Entry {
        code: "SGSE003",
        meaning: "settings: file too large",
        remedy: "name the settings file itself; it has at most 1 MiB",
    },
];

impl Coded for SettingsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Mistakes { .. } => "SGSE001",
            Self::Read { .. } => "SGSE002",
            Self::TooLarge { .. } => "SGSE003",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(REGISTER, self.code())
    }
}

impl SettingsError {
    /// The single mistakes; empty where the file was not read at all.
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        match self {
            Self::Mistakes { mistakes, .. } => mistakes,
            _ => &[],
        }
    }
}

/// One mistake and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// The key as a dotted path; empty for the file as a whole.
    pub key: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong in one place.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Not TOML.
    Syntax(String),
    /// No such key in this table.
    UnknownKey {
        /// The known name that it resembles.
        nearest: Option<&'static str>,
        /// All names that this table knows.
        known: &'static [&'static str],
    },
    /// A key that must stand here does not.
    MissingKey(String),
    /// A value of the wrong type or out of its range.
    Value(String),
    /// A rule that the value breaks together with others.
    Rule(String),
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.problem {
            Problem::Syntax(text) => f.write_str(text),
            Problem::UnknownKey {
                nearest: Some(name), ..
            } => write!(f, "unknown key `{}`, did you mean `{name}`?", self.key),
            Problem::UnknownKey { known: [], .. } => {
                write!(f, "unknown key `{}`, this table has no keys", self.key)
            }
            Problem::UnknownKey { known, .. } => {
                write!(f, "unknown key `{}`, known here: {}", self.key, known.join(", "))
            }
            Problem::MissingKey(name) if self.key.is_empty() => write!(f, "key `{name}` is missing"),
            Problem::MissingKey(name) => write!(f, "key `{name}` is missing in `{}`", self.key),
            Problem::Value(text) | Problem::Rule(text) if self.key.is_empty() => f.write_str(text),
            Problem::Value(text) | Problem::Rule(text) => write!(f, "`{}`: {text}", self.key),
        }
    }
}

fn count(mistakes: usize) -> String {
    match mistakes {
        1 => "a mistake".to_owned(),
        n => format!("{n} mistakes"),
    }
}

fn listed(mistakes: &[Mistake]) -> String {
    mistakes
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
