//! Error codes and their register, how errors quote foreign text, and failpoints.
//!
//! Every error that a user can meet carries a code: `SG`, two letters of the crate, three digits. A code is never
//! reused and its meaning never changes, while the text beside it may. Each crate lists its codes in a constant
//! named `REGISTER`; the binary puts the lists together.

pub mod failpoint;
mod shown;

pub use shown::shown;

use core::fmt;

/// One line of the register of error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `SG`, two letters of the crate, three digits.
    pub code: &'static str,
    /// What it means, in a few words.
    pub meaning: &'static str,
    /// What the reader should do about it: the next step.
    pub remedy: &'static str,
}

/// An error with a code that is quoted in logs, answers and support threads.
pub trait Coded: std::error::Error {
    /// The stable code of this very error.
    fn code(&self) -> &'static str;

    /// The next step for whoever meets it; empty if there is none to take.
    fn remedy(&self) -> std::borrow::Cow<'static, str>;
}

/// The remedy that `register` has for `code`; empty if it has none. What most `Coded::remedy` call.
#[must_use]
pub fn remedy_of(register: &'static [Entry], code: &str) -> std::borrow::Cow<'static, str> {
    register
        .iter()
        .find(|e| e.code == code)
        .map_or("", |e| e.remedy)
        .into()
}

/// Shows an error with all that caused it on one line: `load bundle: parse jwks: expected a value`.
///
/// A cause whose text already stands in the line is not said twice.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let part = cause.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = cause.source();
    }
    text
}

/// Whether `code` has the shape that the register asks for.
#[must_use]
pub fn is_well_formed(code: &str) -> bool {
    let bytes = code.as_bytes();
    bytes.len() == 7
        && code.starts_with("SG")
        && bytes.iter().skip(2).take(2).all(u8::is_ascii_uppercase)
        && bytes.iter().skip(4).all(u8::is_ascii_digit)
}

/// Why a register cannot stand. Found by a test over all crates' lists together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The code does not have the shape `SGxx000`.
    Shape(&'static str),
    /// The code stands twice.
    Twice(&'static str),
    /// Meaning or remedy is missing.
    Silent(&'static str),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(code) => write!(f, "`{code}` is not SG, two capital letters, three digits"),
            Self::Twice(code) => write!(f, "`{code}` is registered twice"),
            Self::Silent(code) => write!(f, "`{code}` lacks a meaning or a remedy"),
        }
    }
}

/// Everything wrong with the registers of all crates put together.
#[must_use]
pub fn flaws(registers: &[&'static [Entry]]) -> Vec<Flaw> {
    let mut seen = std::collections::BTreeSet::new();
    let mut found = Vec::new();
    for entry in registers.iter().flat_map(|register| register.iter()) {
        if !is_well_formed(entry.code) {
            found.push(Flaw::Shape(entry.code));
        }
        if !seen.insert(entry.code) {
            found.push(Flaw::Twice(entry.code));
        }
        if entry.meaning.is_empty() || entry.remedy.is_empty() {
            found.push(Flaw::Silent(entry.code));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Entry = Entry {
        code: "SGXX001",
        meaning: "m",
        remedy: "r",
    };

    #[test]
    fn flaws_are_found() {
        const TWICE: &[Entry] = &[GOOD, GOOD];
        const SHAPE: &[Entry] = &[Entry {
            code: "SGX0001",
            ..GOOD
        }];
        const SILENT: &[Entry] = &[Entry {
            code: "SGXX002",
            remedy: "",
            ..GOOD
        }];
        assert_eq!(flaws(&[&[GOOD]]), []);
        assert_eq!(flaws(&[TWICE]), [Flaw::Twice("SGXX001")]);
        assert_eq!(flaws(&[SHAPE]), [Flaw::Shape("SGX0001")]);
        assert_eq!(flaws(&[SILENT]), [Flaw::Silent("SGXX002")]);
    }

    #[test]
    fn a_chain_says_nothing_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("load bundle")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("no such file")]
        struct Inner;
        #[derive(Debug, thiserror::Error)]
        #[error("start: {0}")]
        struct Spelled(#[source] Inner);
        assert_eq!(chain(&Outer(Inner)), "load bundle: no such file");
        assert_eq!(chain(&Spelled(Inner)), "start: no such file");
    }
}
