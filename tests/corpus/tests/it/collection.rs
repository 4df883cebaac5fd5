//! The files while they are made.

use signet_corpus::{Case, Kind, Refusal};
use signet_testkit::START;
use std::collections::BTreeMap;

/// A file of the corpus and its case.
pub(crate) struct Forged {
    pub(crate) case: Case,
    pub(crate) bytes: Vec<u8>,
}

/// A broken file in a table: its name, the rules, what is broken, the code, the bytes.
pub(crate) type Row = (
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static str,
    Vec<u8>,
);

/// All files as the forge makes them now.
#[derive(Default)]
pub(crate) struct Collection {
    /// Those with a case.
    pub(crate) forged: Vec<Forged>,
    /// Those that cases name.
    pub(crate) extra: BTreeMap<String, Vec<u8>>,
}

impl Collection {
    /// The whole corpus. Whoever adds a kind of document adds a module and a line here.
    pub(crate) fn new() -> Self {
        let mut all = Self::default();
        crate::bundles::forge(&mut all);
        crate::chains::forge(&mut all);
        crate::tokens::forge(&mut all);
        crate::requests::forge(&mut all);
        all.forged.sort_by(|a, b| a.case.file.cmp(&b.case.file));
        all
    }

    /// A file that no verifier has a word against.
    pub(crate) fn right(&mut self, kind: Kind, file: &str, what: &str, bytes: Vec<u8>) -> &mut Case {
        let case = Case {
            file: file.to_owned(),
            kind,
            rules: Vec::new(),
            what: what.to_owned(),
            refused: None,
            refused_by_authority: None,
            twin: None,
            differs: None,
            now: START,
            bundles: BTreeMap::new(),
            tainted: Vec::new(),
            audience: None,
            key: None,
            then: None,
        };
        self.forged.push(Forged { case, bytes });
        &mut self.forged.last_mut().unwrap().case
    }

    /// A file that is like `twin` but for one thing, which breaks `rules` and is refused with `code`.
    pub(crate) fn broken(
        &mut self,
        file: &str,
        twin: &str,
        rules: &[&str],
        what: &str,
        code: &str,
        bytes: Vec<u8>,
    ) -> &mut Case {
        let mut case = self.find(twin).case.clone();
        assert_eq!(case.code(), None, "{twin} is no right file");
        case.file = file.to_owned();
        case.rules = rules.iter().map(|rule| (*rule).to_owned()).collect();
        case.what = what.to_owned();
        case.refused = Some(Refusal {
            code: code.to_owned(),
            says: String::new(),
        });
        case.twin = Some(twin.to_owned());
        self.forged.push(Forged { case, bytes });
        &mut self.forged.last_mut().unwrap().case
    }

    /// Broken files that are otherwise like `twin`.
    pub(crate) fn rows(&mut self, twin: &str, rows: Vec<Row>) {
        for (file, rules, what, code, bytes) in rows {
            self.broken(file, twin, rules, what, code, bytes);
        }
    }

    /// A file made before.
    pub(crate) fn find(&self, file: &str) -> &Forged {
        let found = self.forged.iter().find(|forged| forged.case.file == file);
        found.unwrap_or_else(|| panic!("no {file} so far"))
    }
}
