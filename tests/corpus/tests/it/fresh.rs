//! What is checked in is what the forge makes.

use crate::collection::Collection;
use crate::{difference, keys};
use signet_corpus::{Case, Manifest, Refusal, Verdict, folder};
use std::collections::BTreeSet;
use std::path::Path;

/// Set by `cargo xtask corpus --write`: the files are written first.
const WRITE: &str = "SIGNET_BLESS";

#[test]
fn the_corpus_is_what_the_forge_makes() {
    let is_writing = std::env::var_os(WRITE).is_some();
    if is_writing {
        keys::make_missing();
    }
    let made = Collection::new();
    if is_writing {
        write(&made);
    }
    for forged in &made.forged {
        assert_eq!(
            on_disk(&forged.case.file),
            forged.bytes,
            "{}: {STALE}",
            forged.case.file
        );
    }
    for (name, bytes) in &made.extra {
        assert_eq!(&on_disk(name), bytes, "{name}: {STALE}");
    }
    let manifest = Manifest::read().unwrap();
    let wanted: Vec<&str> = made.forged.iter().map(|f| f.case.file.as_str()).collect();
    let listed: Vec<&str> = manifest.cases.iter().map(|c| c.file.as_str()).collect();
    assert_eq!(wanted, listed, "{STALE}");
    for (forged, case) in made.forged.iter().zip(&manifest.cases) {
        assert_eq!(&bare(&forged.case), &bare(case), "{STALE}");
    }
    let known: BTreeSet<String> = wanted
        .into_iter()
        .map(str::to_owned)
        .chain(made.extra.keys().cloned())
        .chain(keys::ALL.map(|(name, _)| keys::file(name)))
        .chain([Manifest::FILE.to_owned(), README.to_owned()])
        .collect();
    assert_eq!(
        known,
        files_below(&folder(), ""),
        "each file is made by something"
    );
}

/// Of each broken file: the twin is right, and the two differ in one place.
#[test]
fn each_file_breaks_one_thing() {
    let manifest = Manifest::read().unwrap();
    for case in &manifest.cases {
        assert_eq!(case.code().is_some(), case.twin.is_some(), "{}", case.file);
        let Some(twin) = &case.twin else { continue };
        let twin = manifest.case(twin).unwrap();
        assert_eq!(case.kind, twin.kind, "{}", case.file);
        assert!(!case.rules.is_empty(), "{}", case.file);
        assert_eq!(Some(place(case, twin)), case.differs, "{}", case.file);
    }
}

const STALE: &str =
    "stale or changed: `cargo xtask corpus --write` makes it anew, and `git diff` shows what changed";

/// It tells what the keys are for.
const README: &str = "README.md";

fn on_disk(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}: {STALE}"))
}

/// Without what is found out by looking at the file.
fn bare(case: &Case) -> Case {
    let refused = case.refused.clone().map(|refused| Refusal {
        says: String::new(),
        ..refused
    });
    Case {
        differs: None,
        refused,
        ..case.clone()
    }
}

/// The one place.
fn place(case: &Case, twin: &Case) -> String {
    let places = difference::places((case, &case.bytes().unwrap()), (twin, &twin.bytes().unwrap()));
    let mut places = places.into_iter();
    match (places.next(), places.next()) {
        (Some(place), None) => place,
        (first, second) => panic!(
            "{} and {} differ in {first:?}, {second:?}, {places:?}",
            case.file, twin.file
        ),
    }
}

fn write(made: &Collection) {
    let put = |name: &str, bytes: &[u8]| {
        let path = folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    for forged in &made.forged {
        put(&forged.case.file, &forged.bytes);
    }
    for (name, bytes) in &made.extra {
        put(name, bytes);
    }
    let mut manifest = Manifest {
        cases: made.forged.iter().map(|f| f.case.clone()).collect(),
    };
    let drafted = manifest.clone();
    for case in &mut manifest.cases {
        if let Some(twin) = &case.twin {
            case.differs = Some(place(case, drafted.case(twin).unwrap()));
        }
        // The code is the forge's expectation and stays as it is; only the words are taken down.
        let verdict = case.judge(&case.bytes().unwrap(), &drafted).unwrap();
        if let (Some(refused), Verdict::Refused(found)) = (&mut case.refused, verdict) {
            refused.says = found.says;
        }
    }
    let mut text = serde_json::to_vec_pretty(&manifest).unwrap();
    text.push(b'\n');
    put(Manifest::FILE, &text);
}

fn files_below(dir: &Path, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_below(&entry.path(), &format!("{name}/")));
        } else {
            found.insert(name);
        }
    }
    found
}
