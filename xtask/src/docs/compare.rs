//! What a page shows against what was seen.

use crate::Failure;

/// A kind of value that is another one each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vary {
    /// A point in time, `2026-01-31T12:00:00Z`, with how far it is, ` (in 59 min 59 s)`, where that follows.
    Time,
    /// At least 16 lower case hexadecimal digits: serial numbers, ids, hashes.
    Hex,
}

/// Digits from which on a number is taken for one that was drawn or computed.
const HEX_DIGITS_MIN: usize = 16;

impl Vary {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Time, Self::Hex]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Hex => "hex",
        }
    }

    /// Whether `line` holds a value of this kind.
    pub(crate) fn is_in(self, line: &str) -> bool {
        self.masked(line) != line
    }

    /// `line` with every value of this kind in one form.
    fn masked(self, line: &str) -> String {
        let mut rest = line;
        let mut masked = String::new();
        let mut before = None;
        while let Some(next) = rest.chars().next() {
            let is_within = before.is_some_and(char::is_alphanumeric);
            let length = if is_within { 0 } else { self.length(rest) };
            if length > 0 {
                masked.push_str(&format!("<{}>", self.name()));
                before = None;
                rest = rest.get(length..).unwrap_or_default();
            } else {
                masked.push(next);
                before = Some(next);
                rest = rest.get(next.len_utf8()..).unwrap_or_default();
            }
        }
        masked
    }

    /// The length of the value of this kind with which `text` begins; 0 if it does not.
    fn length(self, text: &str) -> usize {
        match self {
            Self::Time => time(text),
            Self::Hex => {
                let length = text
                    .bytes()
                    .take_while(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                    .count();
                let is_whole = !text
                    .get(length..)
                    .is_some_and(|rest| rest.starts_with(char::is_alphanumeric));
                if length >= HEX_DIGITS_MIN && is_whole {
                    length
                } else {
                    0
                }
            }
        }
    }
}

fn time(text: &str) -> usize {
    const FORM: &[u8] = b"0000-00-00T00:00:00Z";
    let fits = |(form, byte): (&u8, u8)| {
        if *form == b'0' {
            byte.is_ascii_digit()
        } else {
            byte == *form
        }
    };
    if text.len() < FORM.len() || !FORM.iter().zip(text.bytes()).all(fits) {
        return 0;
    }
    let rest = text.get(FORM.len()..).unwrap_or_default();
    let distance = rest
        .find(')')
        .map_or("", |end| rest.get(..=end).unwrap_or_default());
    let is_distance =
        distance.starts_with(" (in ") || distance.starts_with(" (") && distance.ends_with(" ago)");
    FORM.len() + if is_distance { distance.len() } else { 0 }
}

/// A line that stands for any lines.
const ANY: &str = "...";

/// Whether what is shown is a command's refusal.
pub(crate) fn is_refusal(shown: &[String]) -> bool {
    shown.iter().any(|line| line.starts_with("error"))
}

/// Holds `seen` against `shown`.
///
/// # Errors
/// Both, where they differ in more than what `varies`.
pub(crate) fn check(shown: &[String], seen: &str, varies: &[Vary]) -> Result<(), Failure> {
    let masked = |line: &str| {
        varies
            .iter()
            .fold(line.trim_end().to_owned(), |line, kind| kind.masked(&line))
    };
    let wanted: Vec<String> = shown.iter().map(|line| masked(line)).collect();
    let found: Vec<String> = seen.lines().map(masked).collect();
    if fits(trimmed(&wanted), trimmed(&found)) {
        return Ok(());
    }
    Err(format!(
        "the page shows\n{}\nand this came:\n{}",
        shown.join("\n"),
        seen.trim_end()
    )
    .into())
}

/// Without empty lines at the end: one stands between commands for the eye.
fn trimmed(lines: &[String]) -> &[String] {
    let end = lines
        .iter()
        .rposition(|line| !line.is_empty())
        .map_or(0, |last| last + 1);
    lines.get(..end).unwrap_or_default()
}

fn fits(wanted: &[String], found: &[String]) -> bool {
    match (wanted.split_first(), found.split_first()) {
        (None, None) => true,
        (Some((any, wanted)), _) if any == ANY => {
            (0..=found.len()).any(|skip| fits(wanted, found.get(skip..).unwrap_or_default()))
        }
        (Some((want, wanted)), Some((have, found))) => want == have && fits(wanted, found),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same(shown: &[&str], seen: &str, varies: &[Vary]) -> bool {
        let shown: Vec<String> = shown.iter().map(|line| (*line).to_owned()).collect();
        check(&shown, seen, varies).is_ok()
    }

    #[test]
    fn what_differs_is_found() {
        assert!(is_same(&["a", "b"], "a\nb\n", &[]));
        assert!(is_same(&["a", ""], "a  \n", &[]));
        for seen in ["", "a\n", "a\nc\n", "b\na\n", "a\nb\nc\n", "a\n\nb\n", " a\nb\n"] {
            assert!(!is_same(&["a", "b"], seen, &[]), "{seen:?}");
        }
        assert!(is_same(&[], "", &[]));
        assert!(!is_same(&[], "a\n", &[]));
        let told = check(&["a".to_owned()], "b\n", &[]).unwrap_err().to_string();
        assert_eq!(told, "the page shows\na\nand this came:\nb");
    }

    #[test]
    fn three_dots_stand_for_any_lines() {
        for seen in ["a\nz\n", "a\nb\nz\n", "a\nb\nc\nz\n", "a\nz\nz\n"] {
            assert!(is_same(&["a", "...", "z"], seen, &[]), "{seen:?}");
        }
        for seen in ["a\n", "z\n", "b\nz\n", "a\nz\nb\n"] {
            assert!(!is_same(&["a", "...", "z"], seen, &[]), "{seen:?}");
        }
        assert!(is_same(&["..."], "", &[]) && is_same(&["a", "..."], "a\nb\n", &[]));
    }

    #[test]
    fn what_varies_does_so_in_its_form_alone() {
        let shown = ["until 2026-01-31T12:00:00Z (in 59 min 59 s), id 0123456789abcdef"];
        let seen = "until 2027-02-01T01:02:03Z (in 1 h 0 min), id fedcba98765432100\n";
        assert!(is_same(&shown, seen, &[Vary::Time, Vary::Hex]));
        for varies in [&[][..], &[Vary::Time], &[Vary::Hex]] {
            assert!(!is_same(&shown, seen, varies), "{varies:?}");
        }
        for seen in [
            "until soon, id fedcba9876543210",
            "until 2027-02-01 01:02:03Z (in 1 h), id fedcba9876543210",
            "until 2027-02-01T01:02:03Z (tomorrow), id fedcba9876543210",
            "until 2027-02-01T01:02:03Z (in 1 h), id fedcba987654321",
            "until 2027-02-01T01:02:03Z (in 1 h), id fedcba9876543210x",
            "until 2027-02-01T01:02:03Z (in 1 h), id xfedcba9876543210",
            "until 2027-02-01T01:02:03Z (in 1 h), id fedcba9876543210!",
        ] {
            assert!(!is_same(&shown, seen, &[Vary::Time, Vary::Hex]), "{seen}");
        }
        assert_eq!(Vary::Time.masked("2026-01-31T12:00:00Z (5 s ago)"), "<time>");
        assert!(!Vary::Hex.is_in("0123") && Vary::Hex.is_in("a 0123456789abcdef"));
    }

    #[test]
    fn a_refusal_is_seen_by_its_line() {
        assert!(is_refusal(&["error[SGNE012]: no server".to_owned()]));
        assert!(is_refusal(&["error: wrong".to_owned()]));
        assert!(!is_refusal(&["no error".to_owned()]) && !is_refusal(&[]));
    }
}
