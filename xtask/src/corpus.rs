//! `cargo xtask corpus`: the negative corpus, and what foreign verifiers make of it.

use crate::{Failure, run, test};
use std::path::Path;

/// Tells tests and scenarios to write down what they find instead of holding it against what is there.
const WRITE: (&str, &str) = ("SIGNET_BLESS", "1");

/// Shows that the files are fresh, each breaks one rule, and Signet refuses each for its own reason.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    run::shown(
        run::cargo()
            .current_dir(root)
            .args(["test", "--locked", "-p", "signet-corpus"]),
    )
}

/// Makes the files and their manifest anew, and checks them.
pub(crate) fn write(root: &Path) -> Result<(), Failure> {
    run::shown(
        run::cargo()
            .current_dir(root)
            .env(WRITE.0, WRITE.1)
            .args(["test", "--locked", "-p", "signet-corpus", "--test", "it"])
            .arg("the_corpus_is_what_the_forge_makes"),
    )?;
    check(root)
}

/// Writes docs/rules/foreign-verifiers.md.
pub(crate) fn write_foreign(root: &Path) -> Result<(), Failure> {
    test::scenarios(root, &["foreign-verifiers"], &[WRITE])
}
