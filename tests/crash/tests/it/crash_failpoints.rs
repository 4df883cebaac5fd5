//! An abort at each failpoint, with writers running.

use crate::run::{Run, verify};
use signet_crash::acks::Acks;
use signet_crash::verify::Store;
use std::os::unix::process::ExitStatusExt as _;

const SIGABRT: i32 = 6;

/// Aborts at the `nth` hit of `point`, in a new directory or in one that was used before. Whether it was reached.
fn abort_at(store: Store, point: &str, nth: u32, used: bool) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let mut acks = Acks::default();
    if used {
        assert!(Run::new(store, directory.path(), 20).finish(&mut acks).success());
    }
    let mut run = Run::new(store, directory.path(), 120);
    run.failpoints = Some(format!("{point}=abort@{nth}"));
    let status = run.finish(&mut acks);
    let aborted = status.signal() == Some(SIGABRT);
    assert!(aborted || status.success(), "{point}@{nth}: {status}");
    let check = |acks: &Acks, when: &str| {
        if let Err(wrong) = verify(store, directory.path(), acks) {
            panic!("{point}@{nth}, {when}: {wrong}");
        }
    };
    check(&acks, "after the abort");
    // It goes on where it stopped.
    let before = acks.lines;
    assert!(Run::new(store, directory.path(), 20).finish(&mut acks).success());
    assert!(acks.lines > before);
    check(&acks, "after going on");
    assert_eq!(acks.errors, [""; 0], "{point}@{nth}");
    aborted
}

fn each(store: Store) {
    for point in store.failpoints() {
        let first = [false, true].map(|used| abort_at(store, point, 1, used));
        assert!(first.contains(&true), "{point} was never reached");
        // Later ones are reached by what happens often.
        for nth in [2, 7] {
            abort_at(store, point, nth, false);
        }
    }
}

#[test]
fn crash_at_each_failpoint_loses_nothing_acknowledged_in_sqlite() {
    each(Store::Sqlite);
}

#[test]
fn crash_at_each_failpoint_loses_nothing_acknowledged_in_the_journal() {
    each(Store::Journal);
}
