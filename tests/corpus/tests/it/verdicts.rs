//! Signet refuses each file for its own reason, and accepts every right one.

use signet_corpus::{Manifest, Verdict};
use std::collections::BTreeSet;

#[test]
fn each_file_is_refused_for_its_own_reason_and_right_ones_are_accepted() {
    let manifest = Manifest::read().unwrap();
    let mut wrong = Vec::new();
    for case in &manifest.cases {
        let verdict = case.judge(&case.bytes().unwrap(), &manifest).unwrap();
        let wanted = case.refused.clone().map_or(Verdict::Accepted, Verdict::Refused);
        if verdict != wanted {
            wrong.push(format!("{}: {verdict:?}, not {wanted:?}", case.file));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let broken = manifest.cases.iter().filter(|case| case.code().is_some()).count();
    assert!(broken >= BROKEN_MIN, "{broken} files are left");
}

/// So many were there when this was written: none may get lost.
const BROKEN_MIN: usize = 130;

/// The rules that a file can show have one; spiffe-52 is about sessions, token-J1 about the code.
#[test]
fn every_rule_that_a_file_can_break_has_one() {
    let manifest = Manifest::read().unwrap();
    let shown: BTreeSet<&str> = manifest
        .cases
        .iter()
        .flat_map(|case| &case.rules)
        .map(String::as_str)
        .collect();
    let spiffe = (32..=51).chain(53..=67).chain(79..=86);
    let wanted = spiffe
        .map(|n| format!("spiffe-{n}"))
        .chain((2..=11).map(|n| format!("token-J{n}")));
    let missing: Vec<String> = wanted.filter(|rule| !shown.contains(rule.as_str())).collect();
    assert!(missing.is_empty(), "no file breaks {missing:?}");
}

/// A file that breaks two rules breaks one thing that two standards forbid. The empty key set is the one exception:
/// it is two rules of SPIFFE that say what it means, to the reader of the bundle and to the verifier.
#[test]
fn a_file_breaks_no_two_rules_of_one_standard() {
    for case in Manifest::read().unwrap().cases {
        let of = |standard: &str| {
            case.rules
                .iter()
                .filter(|rule| rule.starts_with(standard))
                .count()
        };
        let (spiffe, tokens) = (of("spiffe-"), of("token-"));
        let is_exception = case.rules == ["spiffe-45", "spiffe-81"];
        let is_single = spiffe <= 1 && tokens <= 1;
        assert!(
            case.code().is_none() || is_single || is_exception,
            "{}: {:?}",
            case.file,
            case.rules
        );
    }
}

/// Rules are named as docs/rules names them.
#[test]
fn the_rules_of_the_files_are_listed() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rules");
    let read = |name: &str| std::fs::read_to_string(format!("{docs}/{name}")).unwrap();
    let listed = [read("spiffe.md"), read("tokens.md")].concat();
    for case in Manifest::read().unwrap().cases {
        for rule in case.rules {
            let is_ours = rule.starts_with("spiffe-") || rule.starts_with("token-");
            let row = format!("| {rule} |");
            assert!(!is_ours || listed.contains(&row), "{}: {rule}", case.file);
        }
    }
}
