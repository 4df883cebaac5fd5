//! SIGKILL at random moments.

use crate::run::{Run, verify};
use signet_crash::acks::Acks;
use signet_crash::dice::Dice;
use signet_crash::verify::Store;
use std::io::Read as _;

fn rounds() -> u64 {
    std::env::var("SIGNET_CRASH_ROUNDS").map_or(20, |text| text.parse().unwrap())
}

fn campaign(store: Store) {
    let mut dice = Dice::seeded(&format!("kill {store:?}"));
    let directory = tempfile::tempdir().unwrap();
    let mut acks = Acks::default();
    let mut while_writing = 0;
    for round in 0..rounds() {
        acks.restart();
        let (mut child, mut out) = Run::new(store, directory.path(), 1_000_000).start();
        // After a random number of answers, or, in one round of four, at a random moment of the start.
        let answers = if dice.below(4) == 0 {
            0
        } else {
            acks.lines + dice.below(600)
        };
        let mut bytes = [0; 4_096];
        while acks.lines < answers {
            match out.read(&mut bytes).unwrap() {
                0 => panic!("round {round}: the child ended by itself: {:?}", acks.errors),
                read => acks.take(&bytes[..read]),
            }
        }
        for _ in 0..dice.below(3_000_000) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        // What it said before it was killed counts.
        let mut rest = Vec::new();
        out.read_to_end(&mut rest).unwrap();
        acks.take(&rest);
        child.wait().unwrap();
        while_writing += u64::from(acks.ready);
        assert_eq!(acks.errors, [""; 0], "round {round}");
        if let Err(wrong) = verify(store, directory.path(), &acks) {
            panic!("round {round}: {wrong}");
        }
    }
    println!(
        "{store:?}: {} answers in {} rounds, {while_writing} killed while writing",
        acks.lines,
        rounds()
    );
    assert!(
        while_writing > rounds() / 4,
        "most rounds are killed while writing"
    );
}

#[test]
fn crash_by_sigkill_loses_nothing_acknowledged_in_sqlite() {
    campaign(Store::Sqlite);
}

#[test]
fn crash_by_sigkill_loses_nothing_acknowledged_in_the_journal() {
    campaign(Store::Journal);
}
