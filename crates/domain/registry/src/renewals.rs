//! What exposes a copied node key.
//!
//! Whoever holds a node's key can come as that node. Each renewal therefore goes on from the one before: the agent says
//! the mark that it made for its last renewal and a new one, both random. Two agents that live from one copy soon say
//! different marks, and the renewal of whichever comes second does not go on from what the server holds. That is counted
//! and told, and no more: which of the two is the copy cannot be seen from here.

use signet_time::UnixTime;

/// 16 random bytes that an agent makes for one renewal.
pub type Mark = [u8; 16];

/// How one renewal says that it follows on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It does not say; so do agents that know nothing of marks.
    Unsaid,
    /// The node proved itself anew by something else than its key, and begins here.
    Begin(Mark),
    /// It follows on a renewal.
    Next {
        /// The mark of that one; `None` if the agent holds none.
        from: Option<Mark>,
        /// The mark of this one.
        to: Mark,
    },
}

/// How often a node renewed its identity, and whether somebody else did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Renewals {
    /// Certificates that the node was given, answers that it asked for twice counted once.
    pub count: u64,
    /// What the next renewal has to go on from, and the epoch of the log in which that was taken.
    pub(crate) mark: Option<(Mark, [u8; 16])>,
    /// Renewals that did not go on from the mark.
    pub copies: u64,
    /// When the last of these came.
    pub copied_at: Option<UnixTime>,
}

impl Renewals {
    /// After a renewal by `step`, in a log of `epoch`.
    ///
    /// A renewal whose answer was lost is asked for again with both marks as they were, and is not counted again. In
    /// another epoch the marks say nothing: the log was restored, and the nodes are ahead of it.
    #[must_use]
    pub(crate) fn after(self, step: Step, epoch: [u8; 16], now: UnixTime) -> Self {
        let held = self.mark.filter(|(_, of)| *of == epoch).map(|(mark, _)| mark);
        let counted = |mark: Option<Mark>| Self {
            count: self.count.saturating_add(1),
            mark: mark.map(|mark| (mark, epoch)),
            ..self
        };
        let copied = |mark| Self {
            copies: self.copies.saturating_add(1),
            copied_at: Some(now),
            ..counted(mark)
        };
        match (step, held) {
            (Step::Begin(to), _) => counted(Some(to)),
            (Step::Unsaid, None) => counted(None),
            (Step::Unsaid, Some(held)) => copied(Some(held)),
            (Step::Next { to, .. }, Some(held)) if to == held => self,
            (Step::Next { from, to }, Some(held)) if from != Some(held) => copied(Some(to)),
            (Step::Next { to, .. }, _) => counted(Some(to)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000);
    const EPOCH: [u8; 16] = [7; 16];

    fn next(from: u8, to: u8) -> Step {
        Step::Next {
            from: Some([from; 16]),
            to: [to; 16],
        }
    }

    fn after(steps: &[Step]) -> Renewals {
        steps.iter().fold(Renewals::default(), |renewals, step| {
            renewals.after(*step, EPOCH, NOW)
        })
    }

    #[test]
    fn a_line_of_renewals_is_counted_and_a_repeated_one_is_not() {
        let line = after(&[Step::Begin([1; 16]), next(1, 2), next(2, 3), next(2, 3)]);
        assert_eq!((line.count, line.copies, line.copied_at), (3, 0, None));
    }

    #[test]
    fn whichever_of_two_copies_renews_second_exposes_both() {
        let line = [Step::Begin([1; 16]), next(1, 2)];
        for forked in [
            next(1, 9),
            next(0, 9),
            Step::Next {
                from: None,
                to: [9; 16],
            },
            Step::Unsaid,
        ] {
            let steps = [&line[..], &[forked]].concat();
            let seen = after(&steps);
            assert_eq!((seen.copies, seen.copied_at), (1, Some(NOW)), "{forked:?}");
        }
        // And again each time that they take turns.
        let turns = after(&[
            Step::Begin([1; 16]),
            next(1, 2),
            next(1, 9),
            next(2, 3),
            next(9, 8),
        ]);
        assert_eq!(turns.copies, 3);
    }

    #[test]
    fn who_says_no_marks_does_not_get_rid_of_the_one_that_is_held() {
        let seen = after(&[Step::Begin([1; 16]), Step::Unsaid, next(1, 2)]);
        assert_eq!((seen.count, seen.copies), (3, 1));
        assert_eq!(after(&[Step::Unsaid, Step::Unsaid]).copies, 0);
        // An agent that knows of marks since its last update.
        let updated = Step::Next {
            from: None,
            to: [1; 16],
        };
        assert_eq!(after(&[Step::Unsaid, updated, next(1, 2)]).copies, 0);
    }

    #[test]
    fn after_a_restore_the_marks_begin_anew() {
        let before = after(&[Step::Begin([1; 16]), next(1, 2)]);
        let restored = before.after(next(5, 6), [8; 16], NOW);
        assert_eq!((restored.count, restored.copies), (3, 0));
        assert_eq!(restored.after(next(5, 9), [8; 16], NOW).copies, 1);
    }

    proptest! {
        /// One agent, whose answers get lost and whose process dies as it may, never exposes itself: it says both marks
        /// again until it has an answer.
        #[test]
        fn one_agent_alone_is_never_taken_for_two(events in prop::collection::vec((any::<bool>(), any::<bool>()), 1..64)) {
            let mut server = Renewals::default().after(Step::Begin([0; 16]), EPOCH, NOW);
            let (mut from, mut to, mut answered) = ([0; 16], [0; 16], true);
            for (n, (lands, is_heard)) in (1_u8..).zip(events) {
                if answered {
                    (from, to, answered) = (to, [n; 16], false);
                }
                if lands {
                    server = server.after(Step::Next { from: Some(from), to }, EPOCH, NOW);
                    answered = is_heard;
                }
            }
            prop_assert_eq!(server.copies, 0);
        }
    }
}
