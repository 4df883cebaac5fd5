//! The project's own chores: `cargo xtask`.

mod arrows;
mod bench;
mod corpus;
mod docs;
mod fuzz;
mod proto;
mod rules;
mod run;
mod setup;
mod soak;
mod systemd;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What went wrong, for a person.
pub(crate) type Failure = Box<dyn std::error::Error>;

const USAGE: &str = "usage: cargo xtask COMMAND

  test [NAME ...]   set up what is needed and run everything, or the phases named; `test --list` names them
  bench start       print how long `signet dev` and `signet server run` take to be up (release build)
  bench spine [--rounds N] [--idle-seconds N] [GROUP ...]
                    print what identities cost, beside what they may cost: agent, changes, rates, python, memory,
                    issue, fleet, registry, idle; all of them, in some ten minutes, where none is named
  arrows            check tiers, folders, unsafe code and cryptography against ARCHITECTURE.md
  rules [--write]   check docs/rules against the tests; with --write, fill in the tests' names
  corpus [--write]  check the negative corpus; with --write, make its files anew
  foreign --write   have foreign verifiers judge the corpus and write docs/rules/foreign-verifiers.md
  fuzz [TARGET ...] [--seconds N]
                    look for bytes that break a reader of outside bytes, N seconds (60) for each
  soak [--seconds N]
                    hold 1,000 streams while 10,000 entries churn and the server is restarted every 20 s, for
                    N seconds (600), and see what the streams are told and whether anything grows (release build)
  proto [--check]   generate the protobuf code; with --check, only say what is stale
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let root = root();
    let outcome = match words.as_slice() {
        ["proto"] => proto::write(&root),
        ["proto", "--check"] => proto::check(&root),
        ["bench", "start"] => bench::start(&root),
        ["bench", "spine", words @ ..] => match bench::Options::parse(words) {
            Some(options) => bench::spine(&root, &options),
            None => return usage(),
        },
        ["arrows"] => arrows::check(&root),
        ["rules"] => rules::check(&root),
        ["rules", "--write"] => rules::write(&root),
        ["corpus"] => corpus::check(&root),
        ["corpus", "--write"] => corpus::write(&root),
        ["foreign", "--write"] => corpus::write_foreign(&root),
        ["soak", words @ ..] => soak::run(&root, words),
        ["fuzz", words @ ..] => fuzz::run(&root, words),
        // Not for people: the first process of the namespaces in which a page of documentation runs.
        [docs::INSIDE, page, scratch] => docs::inside(&root, page, Path::new(scratch)),
        ["test", "--list"] => {
            print!("{}", test::list());
            Ok(())
        }
        ["test", names @ ..] => test::run(&root, names),
        _ => return usage(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}

/// The folder that holds the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// Every file below `dir` whose name ends in `ending`, sorted; build output and hidden folders left out.
pub(crate) fn files(dir: &Path, ending: &str) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).map_err(|e| format!("read {}: {e}", dir.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else if name.ends_with(ending) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
