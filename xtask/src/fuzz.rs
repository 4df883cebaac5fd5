//! `cargo xtask fuzz`: looks for bytes that break the laws of tests/fuzz, with libFuzzer.

use crate::{Failure, run};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What the compiler adds so that libFuzzer sees which code ran and what was compared: all of it stable options.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

const SECONDS: u64 = 60;
/// Longer than any document that is read whole in one of the targets' bounds, short enough to be quick.
const BYTES_MAX: u32 = 64 << 10;
/// Beyond this one reading is a finding: a peer must not be able to hold a thread.
const READING_SECONDS_MAX: u32 = 10;
const MEMORY_MIB_MAX: u32 = 2048;

/// What the words after `fuzz` ask for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    seconds: u64,
    targets: Vec<String>,
}

impl Wish {
    /// Reads them.
    pub(crate) fn read(words: &[&str]) -> Result<Self, Failure> {
        let mut wish = Self {
            seconds: SECONDS,
            targets: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if *word == "--seconds" {
                let given = words.next().ok_or("--seconds wants a number")?;
                wish.seconds = given
                    .parse()
                    .ok()
                    .filter(|seconds| *seconds > 0)
                    .ok_or_else(|| format!("--seconds wants a whole number above 0, not `{given}`"))?;
            } else if word.starts_with('-') {
                return Err(format!("fuzz knows --seconds alone, not `{word}`").into());
            } else {
                wish.targets.push((*word).to_owned());
            }
        }
        Ok(wish)
    }
}

/// Runs each target for a while; findings become seeds, which the tests of tests/fuzz replay from then on.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), Failure> {
    let mut wish = Wish::read(words)?;
    let known = targets(root)?;
    if wish.targets.is_empty() {
        wish.targets.clone_from(&known);
    }
    if let Some(unknown) = wish.targets.iter().find(|name| !known.contains(name)) {
        return Err(format!("no target `{unknown}`; there are {}", known.join(", ")).into());
    }
    let binary = build(root)?;
    let begun = Instant::now();
    let mut found = Vec::new();
    for name in &wish.targets {
        let seconds = wish.seconds;
        println!("{name}: {seconds} s");
        let target = Run::new(root, name)?;
        match target.run(&binary, seconds)? {
            None => println!("  {}", target.figures()?),
            Some(finding) => {
                println!("  FOUND {}\n  {}", finding.display(), target.reason()?);
                found.push(finding.display().to_string());
            }
        }
    }
    println!(
        "{} targets in {} s",
        wish.targets.len(),
        begun.elapsed().as_secs()
    );
    if found.is_empty() {
        return Ok(());
    }
    let count = found.len();
    Err(format!("{count} findings, now seeds: mend what they break, until `cargo test -p signet-fuzz` is green, and commit them").into())
}

/// The targets' names, as the crate declares them.
fn targets(root: &Path) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(root.join("tests/fuzz/src/lib.rs"))?;
    let names = text.lines().filter_map(|line| {
        let quoted = line.trim().strip_prefix("name: \"")?;
        quoted.strip_suffix("\",").map(str::to_owned)
    });
    Ok(names.collect())
}

fn build(root: &Path) -> Result<PathBuf, Failure> {
    if !run::succeeds(Command::new("c++").arg("--version")) {
        return Err("libFuzzer is C++: install a compiler, on Debian with `apt-get install g++`".into());
    }
    let version = run::captured(Command::new("rustc").arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or("rustc does not name its host")?
        .to_owned();
    // A target of its own keeps the flags from build scripts and macros, which are not linked with libFuzzer.
    run::shown(
        run::cargo()
            .current_dir(root)
            .env("RUSTFLAGS", COVERAGE)
            .args([
                "build",
                "--locked",
                "--package",
                "signet-fuzz",
                "--bin",
                "signet-fuzz",
            ])
            .args(["--features", "libfuzzer", "--profile", "fuzz"])
            .args(["--target-dir", "target/fuzz", "--target", &host]),
    )?;
    Ok(root.join("target/fuzz").join(host).join("fuzz/signet-fuzz"))
}

/// Where the files of one target's run lie.
struct Run<'a> {
    name: &'a str,
    root: &'a Path,
    /// What libFuzzer found worth keeping, over all runs.
    corpus: PathBuf,
    findings: PathBuf,
    log: PathBuf,
}

impl<'a> Run<'a> {
    fn new(root: &'a Path, name: &'a str) -> Result<Self, Failure> {
        let work = root.join("target/fuzz");
        let run = Self {
            name,
            root,
            corpus: work.join("corpus").join(name),
            findings: work.join("findings").join(name),
            log: work.join(format!("{name}.log")),
        };
        std::fs::create_dir_all(&run.corpus)?;
        // What an earlier run found is a seed by now.
        if run.findings.exists() {
            std::fs::remove_dir_all(&run.findings)?;
        }
        std::fs::create_dir_all(&run.findings)?;
        Ok(run)
    }

    /// The seed that was made of what was found, if anything was.
    fn run(&self, binary: &Path, seconds: u64) -> Result<Option<PathBuf>, Failure> {
        let log = std::fs::File::create(&self.log)?;
        let seeds = self.root.join("tests/fuzz/seeds").join(self.name);
        let shared = self.root.join("tests/corpus/files");
        let status = Command::new(binary)
            .env("SIGNET_FUZZ_TARGET", self.name)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={BYTES_MAX}"))
            .arg(format!("-timeout={READING_SECONDS_MAX}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
            .arg(format!("-artifact_prefix={}/", self.findings.display()))
            .arg("-print_final_stats=1")
            .arg(&self.corpus)
            .args(
                [seeds, shared.join("keys"), shared]
                    .iter()
                    .filter(|folder| folder.is_dir()),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .status()?;
        if status.success() {
            return Ok(None);
        }
        let Some(artifact) = std::fs::read_dir(&self.findings)?.next() else {
            return Err(format!(
                "{}: {status} without a finding, see {}",
                self.name,
                self.log.display()
            )
            .into());
        };
        let artifact = artifact?;
        let folder = self.root.join("tests/fuzz/seeds").join(self.name);
        std::fs::create_dir_all(&folder)?;
        let mut name = artifact.file_name().to_string_lossy().into_owned();
        name.truncate(NAME_BYTES);
        let seed = folder.join(name);
        std::fs::copy(artifact.path(), &seed)?;
        Ok(Some(seed))
    }

    /// How much was done, in libFuzzer's own numbers.
    fn figures(&self) -> Result<String, Failure> {
        let log = std::fs::read_to_string(&self.log)?;
        let stat = |name: &str| {
            let line = log.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim_start_matches(':').trim().to_owned())
        };
        let readings = stat("stat::number_of_executed_units").unwrap_or_default();
        let peak = stat("stat::peak_rss_mb").unwrap_or_default();
        let cover = log
            .lines()
            .rev()
            .find(|line| line.contains(" cov: "))
            .unwrap_or_default();
        let cover = cover
            .split(" cov: ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        Ok(format!(
            "{readings} readings, {} places of the code reached, {peak} MiB at most, nothing found",
            cover.unwrap_or("?")
        ))
    }

    /// The panic's words, or libFuzzer's.
    fn reason(&self) -> Result<String, Failure> {
        let log = std::fs::read_to_string(&self.log)?;
        let mut lines = log
            .lines()
            .skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR:"));
        Ok(lines.by_ref().take(3).collect::<Vec<_>>().join("\n  "))
    }
}

/// `crash-` and enough of the hash to tell findings apart.
const NAME_BYTES: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_wrong_ones_refused() {
        let wish = Wish::read(&["ids", "--seconds", "5", "json"]).expect("read");
        assert_eq!(
            (wish.seconds, wish.targets),
            (5, vec!["ids".to_owned(), "json".to_owned()])
        );
        assert_eq!(Wish::read(&[]).expect("read").seconds, SECONDS);
        for wrong in [
            &["--seconds"][..],
            &["--seconds", "0"],
            &["--seconds", "x"],
            &["--minutes", "1"],
        ] {
            assert!(Wish::read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_target_is_seen() {
        let names = targets(&crate::root()).expect("read");
        assert!(
            names.contains(&"ids".to_owned()) && names.contains(&"records".to_owned()),
            "{names:?}"
        );
    }
}
