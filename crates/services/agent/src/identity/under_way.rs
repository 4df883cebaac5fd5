use super::EntryId;
use super::jwt::{JwtKey, JwtSvid};
use crate::IssueError;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// What those who wait for one token get.
pub(super) type JwtResult = Result<Arc<JwtSvid>, IssueError>;
/// Where they wait for it.
pub(super) type Waiting = watch::Receiver<Option<JwtResult>>;

/// Tokens that the server is being asked for: one question for each, whoever waits for the answer. How many there are is
/// bounded by the places of those who ask.
#[derive(Default)]
pub(super) struct UnderWay {
    /// By the server's names of entries.
    by_entry: HashMap<EntryId, HashMap<JwtKey, Question>>,
    last: u64,
}

struct Question {
    number: u64,
    waiting: Waiting,
}

impl UnderWay {
    /// Where to wait, if the server is asked already.
    pub(super) fn find(&self, key: &JwtKey) -> Option<Waiting> {
        let question = self.by_entry.get(&key.source)?.get(key)?;
        Some(question.waiting.clone())
    }

    /// The number of a new question, and where its answer goes to.
    pub(super) fn begin(&mut self, key: &JwtKey) -> (u64, watch::Sender<Option<JwtResult>>, Waiting) {
        self.last += 1;
        let (done, waiting) = watch::channel(None);
        let question = Question {
            number: self.last,
            waiting: waiting.clone(),
        };
        let of_entry = self.by_entry.entry(key.source).or_default();
        of_entry.insert(key.clone(), question);
        (self.last, done, waiting)
    }

    /// Ends the question. Whether its answer is what would be asked for today: nothing was forgotten since.
    pub(super) fn end(&mut self, key: &JwtKey, number: u64) -> bool {
        let Some(of_entry) = self.by_entry.get_mut(&key.source) else {
            return false;
        };
        let is_asked = of_entry
            .get(key)
            .is_some_and(|question| question.number == number);
        if is_asked {
            of_entry.remove(key);
        }
        if of_entry.is_empty() {
            self.by_entry.remove(&key.source);
        }
        is_asked
    }

    /// Whoever comes from now on does not wait for what was asked about `entry` before.
    pub(super) fn forget(&mut self, entry: EntryId) {
        self.by_entry.remove(&entry);
    }

    /// The same for all entries.
    pub(super) fn clear(&mut self) {
        self.by_entry.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_what_was_forgotten_is_told_from_one_to_what_is_asked_now() {
        let mut asked = UnderWay::default();
        let key = JwtKey::new([1; 16], &["a".to_owned()]);
        let other = JwtKey::new([1; 16], &["b".to_owned()]);
        let (first, ..) = asked.begin(&key);
        let (beside, ..) = asked.begin(&other);
        assert!(asked.find(&key).is_some());
        asked.forget([1; 16]);
        assert!(asked.find(&key).is_none());
        assert!(!asked.end(&other, beside));
        let (second, ..) = asked.begin(&key);
        assert!(!asked.end(&key, first), "that answer is of yesterday");
        assert!(asked.find(&key).is_some(), "and ends no question of today");
        assert!(asked.end(&key, second));
        assert!(asked.find(&key).is_none() && asked.by_entry.is_empty());
        asked.begin(&key);
        asked.clear();
        assert!(asked.find(&key).is_none());
    }
}
