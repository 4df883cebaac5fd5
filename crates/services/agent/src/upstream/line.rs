//! The line of renewals that this node's identity is of: each goes on from the mark of the one before, so that two agents
//! that live from one copied key show at the server.
//!
//! A mark is kept before it is sent, and sent again until there is an answer; an agent that dies in between, or whose answer
//! is lost, goes on where it was. What is kept is read anew each time: an agent that takes over from another goes on
//! where that one was.

use super::files::{MarksFile, StateDir};
use crate::AgentError;
use signet_proto::agent::v1::RenewalStep;
use std::sync::{Mutex, PoisonError};
use tracing::warn;

/// Where a node is in its line.
pub(super) struct Line {
    state: Option<StateDir>,
    /// In place of the directory, if there is none or it takes nothing.
    memory: Mutex<Option<MarksFile>>,
}

impl Line {
    pub(super) fn new(state: Option<StateDir>) -> Self {
        Self {
            state,
            memory: Mutex::default(),
        }
    }

    /// What the next renewal says.
    ///
    /// # Errors
    /// [`AgentError::Key`] where there is no randomness.
    pub(super) fn step(&self) -> Result<RenewalStep, AgentError> {
        let held = self.held();
        if let Some(marks) = held.as_ref().filter(|marks| !marks.answered) {
            return Ok(marks.step());
        }
        let next = MarksFile {
            from: held.as_ref().map(|marks| marks.to),
            to: signet_crypto::random().map_err(AgentError::Key)?,
            answered: false,
        };
        Ok(match (self.keep(next), held) {
            // A mark that is lost when we die would make one agent look like two. The last one said again changes
            // nothing at the server.
            (false, Some(held)) => held.step(),
            (false, None) => {
                *self.memory() = Some(next);
                next.step()
            }
            (true, _) => next.step(),
        })
    }

    /// There was an answer to `step`.
    pub(super) fn answered(&self, step: &RenewalStep) {
        let held = self
            .held()
            .filter(|marks| marks.step() == *step && !marks.answered);
        if let Some(marks) = held {
            // If it is not kept, the same step is said once more, which does no harm.
            self.keep(MarksFile {
                answered: true,
                ..marks
            });
        }
    }

    fn held(&self) -> Option<MarksFile> {
        let kept = self.state.as_ref().map(StateDir::marks);
        match kept {
            Some(Ok(marks)) => marks.or_else(|| *self.memory()),
            Some(Err(error)) => {
                warn!(
                    error = signet_fault::chain(&error),
                    "cannot read the marks of this node's renewals"
                );
                *self.memory()
            }
            None => *self.memory(),
        }
    }

    /// Whether it is kept.
    fn keep(&self, marks: MarksFile) -> bool {
        let kept = self.state.as_ref().map(|state| state.keep_marks(&marks));
        match kept {
            Some(Err(error)) => {
                warn!(
                    error = signet_fault::chain(&error),
                    "cannot keep the marks of this node's renewals"
                );
                false
            }
            _ => {
                *self.memory() = Some(marks);
                true
            }
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Option<MarksFile>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn line(folder: &tempfile::TempDir) -> Line {
        Line::new(Some(StateDir::open(&folder.path().join("state")).expect("open")))
    }

    #[test]
    fn a_step_is_said_until_it_is_answered_and_the_next_goes_on_from_it() {
        let folder = tempfile::tempdir().expect("folder");
        for line in [Line::new(None), line(&folder)] {
            let first = line.step().expect("step");
            assert!(first.from.is_empty() && first.to.len() == 16);
            assert_eq!(line.step().expect("step"), first);
            line.answered(&first);
            let second = line.step().expect("step");
            assert_eq!(second.from, first.to);
            line.answered(&first);
            assert_eq!(line.step().expect("step"), second, "what was answered is another");
        }
    }

    #[test]
    fn another_agent_of_the_same_directory_goes_on_where_the_first_was() {
        let folder = tempfile::tempdir().expect("folder");
        let state = StateDir::open(&folder.path().join("state")).expect("open");
        let [one, other] = [state.clone(), state].map(|state| Line::new(Some(state)));
        let first = one.step().expect("step");
        assert_eq!(other.step().expect("step"), first);
        other.answered(&first);
        let second = other.step().expect("step");
        other.answered(&second);
        assert_eq!(one.step().expect("step").from, second.to);
    }

    #[test]
    fn a_directory_that_takes_nothing_has_the_last_step_said_again() {
        let folder = tempfile::tempdir().expect("folder");
        let line = line(&folder);
        let first = line.step().expect("step");
        line.answered(&first);
        let path = folder.path().join("state/renewal.json");
        let kept = fs::read(&path).expect("kept");
        // Root writes where it may not: something that cannot be replaced is in the way.
        fs::create_dir_all(folder.path().join("state/renewal.json.new/x")).expect("in the way");
        assert_eq!(line.step().expect("step"), first);
        fs::remove_dir_all(folder.path().join("state/renewal.json.new")).expect("out of the way");
        assert_eq!(line.step().expect("step").from, first.to);
        assert_ne!(fs::read(&path).expect("kept"), kept);
        assert_eq!(
            fs::metadata(&path).expect("stat").permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn what_is_broken_is_begun_anew() {
        let folder = tempfile::tempdir().expect("folder");
        let line = line(&folder);
        line.step().expect("step");
        for contents in ["", "{}", "{\"version\":2}", "x"] {
            fs::write(folder.path().join("state/renewal.json"), contents).expect("write");
            assert!(line.step().is_ok(), "{contents}");
        }
    }
}
