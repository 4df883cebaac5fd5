//! The table as Markdown.

use super::Judge;
use signet_corpus::{Case, Kind, Manifest};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The sections: heading, the kinds of files, and what is to be known of the calls.
const SECTIONS: [(&str, &[Kind], &str); 4] = [
    (
        "Certificate chains",
        &[Kind::Chain],
        "OpenSSL is `openssl verify -x509_strict -purpose sslclient -attime`, Go `Certificate.Verify` for ClientAuth, \
         `cryptography` its client verifier, rustls-webpki `verify_for_usage` for client authentication. All of them \
         have one pool of roots for everybody, so they are given the roots of all bundles that the verifier has. \
         None knows taint.",
    ),
    (
        "Tokens",
        &[Kind::Token],
        "PyJWT and joserfc are called by somebody who forgets nothing: the nine algorithms, the audience, `sub`, \
         `aud` and `exp` required, five seconds of leeway, and the keys for tokens of all bundles, by `kid`. `spiffe` \
         is `JwtSvid.parse_and_validate` with the bundle of the subject's domain. joserfc is given the use `sig`, \
         as it takes no other.",
    ),
    (
        "Signing requests",
        &[Kind::Request],
        "What is asked of others is whether the request reads and is signed by its own key. Who may have which name is \
         for an authority to say.",
    ),
    (
        "Bundles",
        &[Kind::Bundle, Kind::NextBundle, Kind::BundleMap],
        "Read as JWK sets; where a token is to be checked with what was read, it is.",
    ),
];

/// How much of what a tool said stands in a cell.
const SAID_MAX: usize = 140;

/// Begins the lines that may differ between machines: the versions of what the system brings.
const SYSTEM: &str = "- from the system: ";

pub(super) fn render(manifest: &Manifest, judges: &[Judge], interpreter: &str) -> String {
    let mut text = String::from(
        "# What others do with the same files\n\n\
         Written by `cargo xtask foreign --write`; the scenario `foreign-verifiers` of `cargo xtask test interop` fails when \
         a verdict is another one than here. The files are those of the [corpus](README.md#files-that-break-the-rules): \
         each breaks one rule of SPIFFE or of tokens. Most of these programs never promised to hold to those rules; \
         the table tells what a service relies on that checks with them alone.\n\n",
    );
    for judge in judges {
        let start = if judge.column == "OpenSSL" { SYSTEM } else { "- " };
        let _ = writeln!(text, "{start}{}", judge.tool);
    }
    let _ = writeln!(text, "{SYSTEM}{interpreter}");
    for (heading, kinds, about) in SECTIONS {
        section(&mut text, heading, kinds, about, manifest, judges);
    }
    text
}

fn section(
    text: &mut String,
    heading: &str,
    kinds: &[Kind],
    about: &str,
    manifest: &Manifest,
    judges: &[Judge],
) {
    let cases: Vec<&Case> = manifest
        .cases
        .iter()
        .filter(|c| kinds.contains(&c.kind))
        .collect();
    let judges: Vec<&Judge> = judges
        .iter()
        .filter(|judge| cases.iter().any(|case| judge.verdicts.contains_key(&case.file)))
        .collect();
    let (right, broken): (Vec<&Case>, Vec<&Case>) = cases.into_iter().partition(|c| c.code().is_none());
    // A judge that takes none of the right files has nothing to say of the others.
    let takes_some = |judge: &&Judge| {
        let verdicts = right.iter().filter_map(|case| judge.verdicts.get(&case.file));
        verdicts.into_iter().any(Option::is_none)
    };
    let (judges, strangers): (Vec<&Judge>, Vec<&Judge>) = judges.into_iter().partition(takes_some);
    let _ = writeln!(text, "\n## {heading}\n\n{about}\n");
    for judge in strangers {
        let said = right
            .iter()
            .find_map(|case| judge.verdicts.get(&case.file)?.as_deref());
        let said = shown(said.unwrap_or_default());
        let _ = writeln!(text, "{} refuses the right ones too: {said}\n", judge.column);
    }
    let columns: Vec<&str> = judges.iter().map(|judge| judge.column.as_str()).collect();
    let _ = writeln!(text, "| file | rule | Signet | {} |", columns.join(" | "));
    let _ = writeln!(text, "|---|---|---|{}", "---|".repeat(columns.len()));
    for case in broken.into_iter().chain(right) {
        let own = case.code().unwrap_or("accepts");
        let cells: Vec<String> = judges.iter().map(|judge| cell(case, judge)).collect();
        let rules = case.rules.join(", ");
        let _ = writeln!(
            text,
            "| `{}` | {rules} | {own} | {} |",
            case.file,
            cells.join(" | ")
        );
    }
}

fn cell(case: &Case, judge: &Judge) -> String {
    let refuses = |file: &str| judge.verdicts.get(file).is_some_and(Option::is_some);
    match judge.verdicts.get(&case.file) {
        None => "does not read it".to_owned(),
        Some(None) if case.code().is_some() => "**accepts**".to_owned(),
        Some(None) => "accepts".to_owned(),
        // Then it was not what is broken that it saw.
        Some(Some(_)) if case.twin.as_deref().is_some_and(refuses) => "refuses the right one too".to_owned(),
        Some(Some(said)) => format!("refuses: {}", shown(said)),
    }
}

/// One line for a cell, without what differs from run to run.
fn shown(said: &str) -> String {
    let line = said.lines().next().unwrap_or_default();
    let words: Vec<&str> = line
        .split_whitespace()
        .map(|word| if word.starts_with("0x") { "0x…" } else { word })
        .collect();
    let line = words.join(" ").replace('|', "\\|").replace('<', "&lt;");
    match line.char_indices().nth(SAID_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// The lines that are in one text and not in the other.
pub(super) fn changes(kept: &str, found: &str) -> Vec<String> {
    let lines = |text: &str| -> BTreeSet<String> {
        text.lines()
            .filter(|line| !line.starts_with(SYSTEM))
            .map(str::to_owned)
            .collect()
    };
    let (kept, found) = (lines(kept), lines(found));
    let gone = kept.difference(&found).map(|line| format!("- {line}"));
    gone.chain(found.difference(&kept).map(|line| format!("+ {line}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_verdict_is_a_change_and_another_system_is_none() {
        let kept = format!("{SYSTEM}OpenSSL 3.0.1\n| a | accepts |\n");
        let later = format!("{SYSTEM}OpenSSL 3.0.2\n| a | accepts |\n");
        assert!(changes(&kept, &later).is_empty());
        let other = later.replace("accepts", "refuses: expired");
        assert_eq!(
            changes(&kept, &other),
            ["- | a | accepts |", "+ | a | refuses: expired |"]
        );
    }

    #[test]
    fn what_was_said_fits_into_a_cell() {
        assert_eq!(shown("a | b at 0x7f00,\nmore"), "a \\| b at 0x…");
        assert_eq!(shown(&"x".repeat(2 * SAID_MAX)).chars().count(), SAID_MAX + 1);
    }
}
