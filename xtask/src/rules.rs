//! Keeps docs/rules and the tests together.
//!
//! A test cites rules by its name: `spiffe_44_…`, `token_j7_…`, `spiffe_33_34_…`. A row of a table in docs/rules names
//! a rule, what it demands, the verdict, and the tests that show it or the issue that will bring it. The verdict follows
//! from the rest: a rule with tests holds, unless docs/divergences.md says in what it differs.

use crate::{Failure, files};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The rules that have tests; these may not fall back to "some day".
fn required() -> Vec<String> {
    (1..=86)
        .chain(99..=102)
        .map(|n| format!("spiffe-{n}"))
        .chain((1..=11).map(|n| format!("token-J{n}")))
        .collect()
}

/// Fails with every disagreement.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    let cited = cited(root)?;
    let divergences = divergences(root)?;
    let mut flaws = Vec::new();
    let mut listed = BTreeSet::new();
    let mut verdicts: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files(&root.join("docs/rules"), ".md")? {
        let text = std::fs::read_to_string(&file)?;
        let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        for (n, line) in text.lines().enumerate() {
            let Some(row) = Row::read(line) else { continue };
            let at = format!("{shown}:{}: {}", n + 1, row.name);
            let tests = row.names.iter().flat_map(|name| cited.get(name)).flatten();
            let tests = tests.cloned().collect();
            flaws.extend(row_flaws(&row, &tests).map(|flaw| format!("{at}: {flaw}")));
            let verdict = verdict(&row, !tests.is_empty(), &divergences);
            if row.verdict != verdict {
                flaws.push(format!("{at}: the verdict is `{verdict}`"));
            }
            *verdicts.entry(verdict).or_default() += row.names.len();
            listed.extend(row.names);
        }
    }
    flaws.extend(
        cited
            .iter()
            .filter(|(rule, _)| !listed.contains(*rule))
            .map(|(rule, tests)| format!("{tests:?} cite {rule}, which docs/rules does not list")),
    );
    let missing = required().into_iter().filter(|rule| !listed.contains(rule));
    flaws.extend(missing.map(|rule| format!("docs/rules does not list {rule}")));
    let unknown = divergences.keys().filter(|rule| !listed.contains(*rule));
    flaws.extend(unknown.map(|rule| format!("{DIVERGENCES} names {rule}, which docs/rules does not list")));
    if flaws.is_empty() {
        let verdicts: Vec<_> = verdicts
            .iter()
            .map(|(verdict, count)| format!("{verdict}: {count}"))
            .collect();
        println!(
            "{} rules, {} of them cited by tests; {}",
            listed.len(),
            cited.len(),
            verdicts.join(", ")
        );
        Ok(())
    } else {
        Err(format!(
            "rules and tests disagree (`cargo xtask rules --write` fills in the tests' names):\n  {}",
            flaws.join("\n  ")
        )
        .into())
    }
}

/// Fills the last column with the tests that cite each rule; rows without tests keep what they say.
pub(crate) fn write(root: &Path) -> Result<(), Failure> {
    let (cited, divergences) = (cited(root)?, divergences(root)?);
    for file in files(&root.join("docs/rules"), ".md")? {
        let old = std::fs::read_to_string(&file)?;
        let new: String = old
            .lines()
            .map(|line| filled(line, &cited, &divergences).unwrap_or_else(|| line.to_owned()) + "\n")
            .collect();
        if new != old {
            std::fs::write(&file, new)?;
            println!("{}", file.strip_prefix(root).unwrap_or(&file).display());
        }
    }
    check(root)
}

/// A row of a table of rules.
struct Row<'t> {
    /// As written, such as `spiffe-87 to spiffe-97`.
    name: &'t str,
    /// Every rule that the name covers.
    names: Vec<String>,
    what: &'t str,
    verdict: &'t str,
    shown_by: &'t str,
}

impl<'t> Row<'t> {
    fn read(line: &'t str) -> Option<Self> {
        let mut cells = line
            .trim()
            .strip_prefix('|')?
            .strip_suffix('|')?
            .split('|')
            .map(str::trim);
        let (name, what, verdict) = (cells.next()?, cells.next()?, cells.next()?);
        let shown_by = cells.next()?;
        let is_rule = name.starts_with("spiffe-") || name.starts_with("token-");
        (is_rule && cells.next().is_none()).then(|| Self {
            name,
            names: covered(name),
            what,
            verdict,
            shown_by,
        })
    }

    /// The names in backquotes that are tests' names.
    fn tests(&self) -> BTreeSet<String> {
        self.shown_by
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    }
}

/// `spiffe-87 to spiffe-97` covers eleven rules; any other name only itself.
fn covered(name: &str) -> Vec<String> {
    let number = |rule: &str| rule.strip_prefix("spiffe-")?.parse::<u32>().ok();
    match name.split_once(" to ") {
        Some((from, to)) => match (number(from), number(to)) {
            (Some(from), Some(to)) => (from..=to).map(|n| format!("spiffe-{n}")).collect(),
            _ => vec![name.to_owned()],
        },
        None => vec![name.to_owned()],
    }
}

fn row_flaws(row: &Row<'_>, citing: &BTreeSet<String>) -> impl Iterator<Item = String> + use<> {
    let named = row.tests();
    let is_required = row.names.iter().any(|name| required().contains(name));
    let mut flaws = Vec::new();
    if row.what.is_empty() {
        flaws.push("says nothing".to_owned());
    }
    let absent = named.difference(citing);
    flaws.extend(absent.map(|test| format!("no test `{test}` cites it")));
    let unnamed = citing.difference(&named);
    flaws.extend(unnamed.map(|test| format!("`{test}` is not named")));
    if citing.is_empty() && named.is_empty() {
        if is_required {
            flaws.push("has no test".to_owned());
        } else if !row.shown_by.contains("issue") && !row.shown_by.contains("planned") {
            flaws.push("has neither a test nor the issue that brings it".to_owned());
        }
    }
    flaws.into_iter()
}

fn filled(
    line: &str,
    cited: &BTreeMap<String, BTreeSet<String>>,
    divergences: &BTreeMap<String, &'static str>,
) -> Option<String> {
    let row = Row::read(line)?;
    let tests: BTreeSet<&String> = row
        .names
        .iter()
        .filter_map(|name| cited.get(name))
        .flatten()
        .collect();
    let verdict = verdict(&row, !tests.is_empty(), divergences);
    let shown_by = if tests.is_empty() && row.tests().is_empty() {
        row.shown_by.to_owned()
    } else {
        let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
        tests.join(" ")
    };
    Some(format!(
        "| {} | {} | {verdict} | {shown_by} |",
        row.name, row.what
    ))
}

/// What is to be said of a rule.
fn verdict(row: &Row<'_>, is_shown: bool, divergences: &BTreeMap<String, &'static str>) -> &'static str {
    if !is_shown {
        return "open";
    }
    let differs = row.names.iter().find_map(|name| divergences.get(name));
    differs.copied().unwrap_or("holds")
}

/// The rules in the last column of docs/divergences.md, with the word that the row has for what Signet does.
fn divergences(root: &Path) -> Result<BTreeMap<String, &'static str>, Failure> {
    let text =
        std::fs::read_to_string(root.join(DIVERGENCES)).map_err(|e| format!("read {DIVERGENCES}: {e}"))?;
    Ok(text.lines().flat_map(divergent).collect())
}

fn divergent(line: &str) -> Vec<(String, &'static str)> {
    let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
    let [_, _, does, _, rules] = cells.as_slice() else {
        return Vec::new();
    };
    let word = ["stricter", "looser"]
        .into_iter()
        .find(|word| does.starts_with(word));
    let named = rules
        .split(", ")
        .filter(|rule| rule.starts_with("spiffe-") || rule.starts_with("token-"));
    named
        .map(|rule| (rule.to_owned(), word.unwrap_or("differs")))
        .collect()
}

const DIVERGENCES: &str = "docs/divergences.md";

/// Every rule that a test's name cites, with those tests.
fn cited(root: &Path) -> Result<BTreeMap<String, BTreeSet<String>>, Failure> {
    let mut cited: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files(root, ".rs")? {
        for line in std::fs::read_to_string(&file)?.lines() {
            let Some(name) = function(line) else { continue };
            for rule in rules_of(name) {
                cited.entry(rule).or_default().insert(name.to_owned());
            }
        }
    }
    Ok(cited)
}

/// The name that a line `fn name(` declares.
fn function(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    let rest = line.strip_prefix("fn ")?;
    rest.split(['(', '<']).next().map(str::trim)
}

/// The rules that a test's name begins with: their numbers stand right behind the family's name.
fn rules_of(test: &str) -> Vec<String> {
    let number = |text: &str, max: u32| text.parse().ok().filter(|n: &u32| *n <= max);
    if let Some(rest) = test.strip_prefix("spiffe_") {
        let numbers = rest.split('_').map_while(|part| number(part, NUMBER_MAX));
        return numbers.map(|n| format!("spiffe-{n}")).collect();
    }
    if let Some(rest) = test.strip_prefix("token_") {
        // The families of token rules are single letters: J7, K1.
        let rule = |part: &str| {
            let (letter, digits) = part.split_at_checked(1)?;
            let letter = letter.chars().next().filter(char::is_ascii_lowercase)?;
            Some(format!(
                "token-{}{}",
                letter.to_ascii_uppercase(),
                number(digits, LETTERED_MAX)?
            ))
        };
        return rest.split('_').map_while(rule).collect();
    }
    Vec::new()
}

/// No list of rules is longer; what is larger in a test's name counts something else.
const NUMBER_MAX: u32 = 200;

/// The same for the rules of a letter; `b64` is none of them.
const LETTERED_MAX: u32 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_from_names_of_tests() {
        assert_eq!(rules_of("spiffe_44_other_domains_roots"), ["spiffe-44"]);
        assert_eq!(rules_of("spiffe_33_34_uri_names"), ["spiffe-33", "spiffe-34"]);
        assert_eq!(rules_of("spiffe_26_1000_streams"), ["spiffe-26"]);
        assert_eq!(rules_of("token_j7_j8_times"), ["token-J7", "token-J8"]);
        assert_eq!(rules_of("token_k1_r2_keys_x1"), ["token-K1", "token-R2"]);
        assert_eq!(rules_of("token_j4_b64_is_refused"), ["token-J4"]);
        assert!(rules_of("token_seven_of_7").is_empty() && rules_of("token_j_7").is_empty());
        assert!(rules_of("spiffe_ids_are_read").is_empty() && rules_of("a_spiffe_1_b").is_empty());
        assert_eq!(function("    async fn spiffe_1_a() {"), Some("spiffe_1_a"));
        assert_eq!(function("    let f = 1;"), None);
    }

    #[test]
    fn rows_and_their_flaws() {
        let flaws = |line: &str, citing: &[&str]| -> Vec<String> {
            let citing = citing.iter().map(|t| (*t).to_owned()).collect();
            row_flaws(&Row::read(line).unwrap(), &citing).collect()
        };
        assert!(flaws("| spiffe-1 | a | holds | `spiffe_1_a` |", &["spiffe_1_a"]).is_empty());
        assert_eq!(
            flaws("| spiffe-1 | a | holds | `spiffe_1_b` |", &["spiffe_1_a"]),
            ["no test `spiffe_1_b` cites it", "`spiffe_1_a` is not named"]
        );
        assert_eq!(flaws("| spiffe-1 | a | open | issue 3 |", &[]), ["has no test"]);
        assert_eq!(flaws("| spiffe-95 | | open | issue 3 |", &[]), ["says nothing"]);
        assert_eq!(
            flaws("| spiffe-95 | a | open | |", &[]),
            ["has neither a test nor the issue that brings it"]
        );
        assert!(Row::read("| rule | what | verdict | shown by |").is_none() && Row::read("text").is_none());
        assert_eq!(covered("spiffe-99 to spiffe-101").len(), 3);
    }

    #[test]
    fn a_row_is_filled_with_its_tests() {
        let cited = BTreeMap::from([(
            "spiffe-1".to_owned(),
            BTreeSet::from(["spiffe_1_b".to_owned(), "spiffe_1_a".to_owned()]),
        )]);
        let divergences = BTreeMap::from([("spiffe-1".to_owned(), "stricter")]);
        let line = "| spiffe-1 | what | open | |";
        assert_eq!(
            filled(line, &cited, &BTreeMap::new()).as_deref(),
            Some("| spiffe-1 | what | holds | `spiffe_1_a` `spiffe_1_b` |")
        );
        assert_eq!(
            filled(line, &cited, &divergences).as_deref(),
            Some("| spiffe-1 | what | stricter | `spiffe_1_a` `spiffe_1_b` |")
        );
        let open = "| spiffe-2 | what | open | issue 3 |";
        assert_eq!(filled(open, &cited, &divergences).as_deref(), Some(open));
    }

    #[test]
    fn a_row_of_divergences_names_its_rules() {
        let row = "| A §1 | it may | stricter: it must | because | spiffe-60, spiffe-67 |";
        let named = |word| vec![("spiffe-60".to_owned(), word), ("spiffe-67".to_owned(), word)];
        assert_eq!(divergent(row), named("stricter"));
        assert_eq!(divergent(&row.replace("stricter: it", "It")), named("differs"));
        assert!(divergent("| A §1 | it may | stricter | because | |").is_empty());
        assert!(divergent("| standard | it says | Signet | why | rule |").is_empty());
    }

    #[test]
    fn the_rules_and_the_tests_agree() {
        check(&crate::root()).unwrap();
    }
}
