//! The laws that several targets share.

use core::fmt::{Debug, Display};

/// Bytes that are text; readers of text are given nothing else.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    core::str::from_utf8(bytes).ok()
}

/// What is read from text is written as text that reads as the same.
pub(crate) fn comes_back<T, E>(text: &str, read: impl Fn(&str) -> Result<T, E>)
where
    T: Debug + Display + PartialEq,
    E: Debug + Display,
{
    match read(text) {
        Ok(value) => {
            let written = value.to_string();
            let again = read(&written);
            assert!(
                again.as_ref().is_ok_and(|again| *again == value),
                "{value:?} is written as {written:?} and read as {again:?}"
            );
        }
        Err(error) => is_fit_to_print(&error),
    }
}

/// An error is one bounded line for a person's terminal, whatever it was made from.
pub(crate) fn is_fit_to_print(error: &dyn Display) {
    let shown = error.to_string();
    assert!(!shown.is_empty(), "an error without words");
    assert!(
        shown.len() <= ERROR_BYTES_MAX,
        "an error of {} bytes",
        shown.len()
    );
    assert!(!shown.contains('\u{1b}'), "an escape sequence in {shown:?}");
}

const ERROR_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "is written as")]
    fn what_comes_back_as_something_else_is_a_finding() {
        comes_back("07", |text| text.parse::<u8>().map(|n| n % 8 + 1));
    }

    #[test]
    #[should_panic(expected = "an escape sequence")]
    fn an_error_that_would_reach_the_terminal_raw_is_a_finding() {
        is_fit_to_print(&"bad value `\u{1b}[2J`");
    }
}
