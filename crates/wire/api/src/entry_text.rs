//! Entries out of text, with every fault found and placed: bulk files are written by hand.

use crate::EntryDoc;
use core::fmt;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use signet_id::{IdPattern, SpiffeId};
use std::borrow::Cow;

/// The most entries in one request: the most changes that one commit takes.
pub const ENTRIES_MAX: usize = 10_000;

/// The longest JSON of one entry, in bytes: what one stored row holds.
pub const ENTRY_BYTES_MAX: usize = 64 << 10;

/// The most faults that one answer lists; a file that is wrong all over needs no longer list.
const FAULTS_MAX: usize = 1_000;

/// An entry and where it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedEntry {
    /// The line of a file, or the position in an array; from 1.
    pub line: usize,
    /// What stood there.
    pub doc: EntryDoc,
}

/// One thing wrong with one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryFault {
    /// The line of a file, or the position in an array; from 1. 0 where it has no place.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub line: usize,
    /// Where in the line, in bytes from 1, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The member, if it is one member's fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The earlier line that says the same, where that is what is wrong; the message names it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for EntryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        if self.line > 0 {
            write!(f, "line {}", self.line)?;
            between = ", ";
        }
        if let Some(column) = self.column {
            write!(f, "{between}column {column}")?;
            between = ", ";
        }
        if let Some(field) = &self.field {
            write!(f, "{between}`{field}`")?;
            between = ": ";
        }
        let colon = if between.is_empty() { "" } else { ": " };
        write!(f, "{colon}{}", self.message)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde's `skip_serializing_if` asks for"
)]
fn is_zero(line: &usize) -> bool {
    *line == 0
}

/// Everything that was found in a text: what can be read and what cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadEntries {
    /// The entries that can be read, in order.
    pub entries: Vec<PlacedEntry>,
    /// Every fault of the others, in order.
    pub faults: Vec<EntryFault>,
}

impl ReadEntries {
    /// The entries, if nothing stands in the text that is none.
    ///
    /// # Errors
    /// Every fault, in order. Nothing is returned of a text that has one.
    pub fn all_or_faults(self) -> Result<Vec<PlacedEntry>, Vec<EntryFault>> {
        if self.faults.is_empty() {
            Ok(self.entries)
        } else {
            Err(self.faults)
        }
    }
}

/// Reads entries from JSON lines, one document per line; empty lines are passed over.
#[must_use]
pub fn read_entry_lines(text: &str) -> ReadEntries {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text
        .split('\n')
        .enumerate()
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(n, line)| (n + 1, line));
    gather(lines)
}

/// Reads entries from one JSON array. The `line` of a fault is the position of its element from 1, or, where the text is
/// no array, the line of the text.
#[must_use]
pub fn read_entry_array(text: &str) -> ReadEntries {
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(elements) => gather(elements.iter().enumerate().map(|(n, raw)| (n + 1, raw.get()))),
        Err(e) => ReadEntries {
            entries: Vec::new(),
            faults: vec![EntryFault {
                // The end of a text without anything in it is told as line 1, column 0.
                line: e.line().max(1),
                column: Some(e.column().max(1)),
                field: None,
                same_as: None,
                message: plain(&e),
            }],
        },
    }
}

/// Reads one entry, which may be written over several lines.
///
/// # Errors
/// Every fault in it, with its line and column in `text`.
pub fn parse_entry(text: &str) -> Result<EntryDoc, Vec<EntryFault>> {
    read(1, text).map_err(|mut faults| {
        for fault in &mut faults {
            // So far the column counts from the beginning of the text.
            let before = fault
                .column
                .and_then(|column| text.as_bytes().get(..column.saturating_sub(1)));
            (fault.line, fault.column) = match before {
                Some(before) => (
                    before.iter().filter(|b| **b == b'\n').count() + 1,
                    Some(before.iter().rev().take_while(|b| **b != b'\n').count() + 1),
                ),
                None => (0, None),
            };
        }
        faults
    })
}

fn gather<'a>(documents: impl Iterator<Item = (usize, &'a str)>) -> ReadEntries {
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    for (count, (line, text)) in documents.enumerate() {
        if count == ENTRIES_MAX {
            faults.push(EntryFault {
                line,
                column: None,
                field: None,
                same_as: None,
                message: format!("more than {ENTRIES_MAX} entries in one request, split the file here"),
            });
            break;
        }
        match read(line, text) {
            Ok(doc) => entries.push(PlacedEntry { line, doc }),
            Err(found) => faults.extend(found),
        }
        if faults.len() >= FAULTS_MAX {
            faults.truncate(FAULTS_MAX);
            break;
        }
    }
    ReadEntries { entries, faults }
}

/// The members of one object, unread, in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one entry as a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// Where the faults of one document go.
struct Faults<'a> {
    line: usize,
    text: &'a str,
    found: Vec<EntryFault>,
}

impl<'a> Faults<'a> {
    fn add(&mut self, column: Option<usize>, field: Option<&str>, message: String) {
        self.found.push(EntryFault {
            line: self.line,
            column,
            field: field.map(str::to_owned),
            same_as: None,
            message,
        });
    }

    /// Where `raw` begins in the document, from 1.
    fn column_of(&self, raw: &str) -> usize {
        // Both are addresses inside one document, because a raw value is borrowed from the text it was read from.
        (raw.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize) + 1
    }

    fn read<T: Deserialize<'a>>(&mut self, field: &str, raw: &'a RawValue) -> Option<T> {
        serde_json::from_str(raw.get())
            .map_err(|e| {
                let column = self.column_of(raw.get()) + offset(raw.get(), &e);
                self.add(Some(column), Some(field), plain(&e));
            })
            .ok()
    }
}

fn read(line: usize, text: &str) -> Result<EntryDoc, Vec<EntryFault>> {
    let mut faults = Faults {
        line,
        text,
        found: Vec::new(),
    };
    if text.len() > ENTRY_BYTES_MAX {
        let message = format!("{} bytes, an entry has at most {ENTRY_BYTES_MAX}", text.len());
        faults.add(None, None, message);
        return Err(faults.found);
    }
    let Members(members) = match serde_json::from_str(text) {
        Ok(members) => members,
        Err(e) => {
            faults.add(Some(offset(text, &e) + 1), None, plain(&e));
            return Err(faults.found);
        }
    };
    let doc = fill(&members, &mut faults);
    match doc {
        Some(doc) if faults.found.is_empty() => Ok(doc),
        _ => Err(faults.found),
    }
}

fn fill<'a>(members: &[(Cow<'a, str>, &'a RawValue)], faults: &mut Faults<'a>) -> Option<EntryDoc> {
    let (mut spiffe_id, mut selectors) = (None::<IdPattern>, None);
    // Stands in for the two members that must be there, until they are known to be.
    let mut rest = Optional::default();
    let mut seen: Vec<&str> = Vec::with_capacity(members.len());
    for (name, raw) in members {
        let column = faults.column_of(raw.get());
        if seen.contains(&name.as_ref()) {
            faults.add(Some(column), Some(name), "stands twice".to_owned());
            continue;
        }
        seen.push(name);
        match name.as_ref() {
            "spiffe_id" => spiffe_id = faults.read(name, raw),
            "selectors" => selectors = faults.read(name, raw),
            "x509_ttl" => rest.x509_ttl = faults.read::<Span>(name, raw).unwrap_or_default(),
            "jwt_ttl" => rest.jwt_ttl = faults.read::<Span>(name, raw).unwrap_or_default(),
            "id" => rest.id = faults.read(name, raw).flatten(),
            "parent_id" => rest.parent_id = faults.read(name, raw).flatten(),
            "dns_names" => rest.dns_names = faults.read(name, raw).unwrap_or_default(),
            "hint" => rest.hint = faults.read(name, raw).flatten(),
            "owner" => rest.owner = faults.read(name, raw).flatten(),
            "federates_with" => rest.federates_with = faults.read(name, raw).unwrap_or_default(),
            "jwt_audiences" => rest.jwt_audiences = faults.read(name, raw).unwrap_or_default(),
            "expires_at" => rest.expires_at = faults.read(name, raw).flatten(),
            unknown => {
                let message = match nearest(unknown) {
                    Some(known) => format!("no such member, did you mean `{known}`?"),
                    None => format!("no such member, there are {}", EntryDoc::MEMBERS.join(", ")),
                };
                let shown = signet_fault::shown(unknown, 64);
                faults.add(Some(column), Some(&shown), message);
            }
        }
    }
    for required in ["spiffe_id", "selectors"] {
        if !seen.contains(&required) {
            faults.add(None, Some(required), "is missing".to_owned());
        }
    }
    Some(EntryDoc {
        id: rest.id,
        spiffe_id: spiffe_id?,
        parent_id: rest.parent_id,
        selectors: selectors?,
        x509_ttl: rest.x509_ttl.0,
        jwt_ttl: rest.jwt_ttl.0,
        dns_names: rest.dns_names,
        hint: rest.hint,
        owner: rest.owner,
        federates_with: rest.federates_with,
        jwt_audiences: rest.jwt_audiences,
        expires_at: rest.expires_at,
    })
}

#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Span(#[serde(with = "crate::span::optional")] Option<core::time::Duration>);

#[derive(Default)]
struct Optional {
    id: Option<String>,
    parent_id: Option<SpiffeId>,
    x509_ttl: Span,
    jwt_ttl: Span,
    dns_names: Vec<String>,
    hint: Option<String>,
    owner: Option<String>,
    federates_with: Vec<signet_id::TrustDomain>,
    jwt_audiences: Vec<String>,
    expires_at: Option<signet_time::UnixTime>,
}

/// Where in `text` `error` stands, in bytes from 0.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let earlier = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let offset = earlier.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
    offset.min(text.len())
}

/// The message without serde's own ` at line 1 column 9`: the fault says the place itself.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}

/// The member that `name` most likely was meant to be: at most two edits away.
fn nearest(name: &str) -> Option<&'static str> {
    let folded: String = name
        .chars()
        .take(32)
        .map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() })
        .collect();
    EntryDoc::MEMBERS
        .iter()
        .map(|known| (edits(&folded, known), *known))
        .filter(|(edits, known)| {
            *edits <= 2 && 2 * edits < known.len() || known.starts_with(&folded) && folded.len() >= 3
        })
        .min()
        .map(|(_, known)| known)
}

/// Levenshtein's distance of two short words.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for ((y, above), corner) in b.bytes().zip(row.iter().skip(1)).zip(row.iter()) {
            left = (corner + usize::from(x != y)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = r#"{"spiffe_id":"spiffe://dev.test/a","selectors":["unix:uid:1"],"x509_ttl":"1h"}"#;

    fn faults(text: &str) -> Vec<String> {
        read_entry_lines(text)
            .all_or_faults()
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn good_lines_keep_their_numbers() {
        let text = format!("\u{feff}{GOOD}\r\n\n  {GOOD}\n\n");
        let entries = read_entry_lines(&text).all_or_faults().unwrap();
        assert_eq!(entries.iter().map(|e| e.line).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(
            entries[0].doc.x509_ttl,
            Some(core::time::Duration::from_secs(3600))
        );
        assert_eq!(read_entry_lines("").all_or_faults().unwrap(), []);
        assert_eq!(parse_entry(GOOD).unwrap(), entries[0].doc);
        assert_eq!(serde_json::from_str::<EntryDoc>(GOOD).unwrap(), entries[0].doc);
    }

    #[test]
    fn every_fault_of_every_line_is_found_and_nothing_is_returned() {
        let text = [
            GOOD,
            r#"{"spiffe_id":"spiffe://Dev.test/a","selectors":["unix"],"jwt_ttl":"5 m"}"#,
            r#"{"selektors":[],"spiffe_id":"spiffe://dev.test/a""#,
            r#"{"Spiffe-ID":"x","selectors":[],"selectors":[]}"#,
            "[1]",
            r#"{"spiffe_id":"spiffe://dev.test/a","selectors":["unix:uid:1"],"expires_at":5}"#,
        ]
        .join("\n");
        let found = faults(&text);
        let expected = [
            (
                "line 2, column 14, `spiffe_id`: ",
                "trust domain has `D` at byte 0",
            ),
            ("line 2, column 55, `selectors`: ", "`unix` is not a selector"),
            ("line 2, column 67, `jwt_ttl`: ", "`5 m` is not a duration"),
            ("line 3, column 49: ", "EOF"),
            ("line 4, column 14, `Spiffe-ID`: ", "did you mean `spiffe_id`?"),
            ("line 4, column 45, `selectors`: ", "stands twice"),
            ("line 4, `spiffe_id`: ", "is missing"),
            ("line 5, column 1: ", "expected one entry as a JSON object"),
            ("line 6, column 76, `expires_at`: ", "invalid type: integer"),
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, (place, what)) in found.iter().zip(expected) {
            assert!(
                found.starts_with(place) && found.contains(what),
                "{found}: expected {place}{what}"
            );
        }
    }

    #[test]
    fn one_entry_over_several_lines_is_placed_in_them() {
        let text = "{\n \"spiffe_id\": \"spiffe://dev.test/a\",\n \"selectors\": [\n  \"unix:uid:1\", 7],\n}";
        let faults = parse_entry(text).unwrap_err();
        assert_eq!(faults.len(), 1, "not JSON: {faults:?}");
        assert_eq!((faults[0].line, faults[0].column), (5, Some(1)));
        let text = text.replace(",\n}", "\n}");
        let faults = parse_entry(&text).unwrap_err();
        assert_eq!((faults[0].line, faults[0].column), (4, Some(17)), "{faults:?}");
        let faults = parse_entry("{}").unwrap_err();
        assert_eq!(faults[0].to_string(), "`spiffe_id`: is missing");
        assert!(serde_json::to_value(&faults[0]).unwrap().get("line").is_none());
    }

    #[test]
    fn columns_point_at_the_value() {
        let found =
            read_entry_lines(r#"{"spiffe_id":"spiffe://dev.test/a","selectors":["unix:uid:1"],"hint":7}"#)
                .all_or_faults()
                .unwrap_err();
        assert_eq!(
            (found[0].column, found[0].field.as_deref()),
            (Some(70), Some("hint"))
        );
    }

    #[test]
    fn arrays_are_read_alike() {
        let array = format!("[{GOOD}, {GOOD}]");
        assert_eq!(read_entry_array(&array).all_or_faults().unwrap().len(), 2);
        let found = read_entry_array(&format!("[{GOOD}, {{}}]"))
            .all_or_faults()
            .unwrap_err();
        assert!(found.iter().all(|f| f.line == 2) && found.len() == 2, "{found:?}");
        assert_eq!(read_entry_array("{}").all_or_faults().unwrap_err().len(), 1);
        assert_eq!(read_entry_array("[").all_or_faults().unwrap_err().len(), 1);
    }

    #[test]
    fn files_and_lines_have_bounds() {
        let many = format!("{GOOD}\n").repeat(ENTRIES_MAX + 1);
        let found = faults(&many);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("line 10001: more than 10000 entries"),
            "{found:?}"
        );
        assert!(faults(&" ".repeat(ENTRY_BYTES_MAX).replace(' ', "x"))[0].contains("expected value"));
        assert!(faults(&"x".repeat(ENTRY_BYTES_MAX + 1))[0].contains("at most 65536"));
        assert_eq!(faults(&"x\n".repeat(5_000)).len(), FAULTS_MAX);
        assert!(!faults(&"[".repeat(60_000)).is_empty());
    }

    #[test]
    fn misspelt_members_are_recognised() {
        for (written, meant) in [
            ("selector", "selectors"),
            ("x509-ttl", "x509_ttl"),
            ("dns", "dns_names"),
            ("spifeid", "spiffe_id"),
        ] {
            assert_eq!(nearest(written), Some(meant), "{written}");
        }
        assert_eq!(nearest("colour"), None);
        assert_eq!(nearest(""), None);
    }

    proptest! {
        #[test]
        fn no_input_panics_and_both_readers_agree(text in "\\PC{0,80}", cut in 0..200_usize) {
            let _ = read_entry_lines(&text).all_or_faults();
            let mut changed = GOOD.to_owned();
            changed.truncate(cut.min(GOOD.len()));
            changed.push_str(&text);
            prop_assert_eq!(parse_entry(&changed).ok(), serde_json::from_str::<EntryDoc>(&changed).ok());
        }
    }
}
