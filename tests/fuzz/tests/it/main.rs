//! Replays what is known: every seed, and what becomes of seeds under random changes.

mod changes;

use changes::Changes;
use signet_fuzz::{TARGETS, Target};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `target`; what is found is said with the bytes that broke a law.
fn run(target: &Target, bytes: &[u8], what: &str) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| target.run(bytes))).map_err(|_| {
        let (name, count) = (target.name, bytes.len());
        format!("{name}, {what}, {count} bytes: {}", bytes.escape_ascii())
    })
}

/// Fails with all of them: one finding must not hide another target's.
fn told(found: &[String]) {
    assert!(
        found.is_empty(),
        "{} findings:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn every_seed_keeps_the_laws() {
    let mut found = Vec::new();
    for target in TARGETS {
        found.extend(run(target, b"", "nothing").err());
        for seed in target.seeds().expect("seeds") {
            found.extend(run(target, &seed.bytes, &seed.path.display().to_string()).err());
        }
    }
    told(&found);
}

/// Readings of each target, at most: short bytes are quick.
const READINGS: usize = 6_000;
/// Bytes that each target reads, at most.
const BYTES: usize = 2 << 20;

fn changed(target: &Target, readings: usize) -> Result<(), String> {
    let seeds = target.seeds().map_err(|e| e.to_string())?;
    let seeds: Vec<_> = seeds.into_iter().map(|seed| seed.bytes).collect();
    let mut changes = Changes::new(target.name);
    let mut left = BYTES;
    for n in 0..readings {
        let bytes = changes.of(&seeds);
        run(target, &bytes, &format!("change {n}"))?;
        match left.checked_sub(bytes.len()) {
            Some(rest) => left = rest,
            None => break,
        }
    }
    Ok(())
}

#[test]
fn changed_seeds_keep_the_laws() {
    // Where keys are read or chains verified, a reading costs as much as a hundred others.
    let costly = ["csrs", "tokens", "chains", "keys"];
    let found = TARGETS.iter().filter_map(|target| {
        let readings = if costly.contains(&target.name) {
            READINGS / 10
        } else {
            READINGS
        };
        changed(target, readings).err()
    });
    told(&found.collect::<Vec<_>>());
}

#[test]
fn targets_have_names_of_their_own_and_seed_folders_a_target() {
    let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names.len(), TARGETS.len());
    for folder in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/seeds")).expect("seeds") {
        let name = folder.expect("entry").file_name();
        assert!(
            Target::named(&name.to_string_lossy()).is_some(),
            "no target reads {name:?}"
        );
    }
}
