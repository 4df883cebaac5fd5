use super::EntryId;
use super::svid::half_life;
use crate::IssueError;
use signet_proto::agent::v1::JwtIssued;
use signet_time::UnixTime;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::watch;

/// A JWT-SVID.
pub(crate) struct JwtSvid {
    /// In compact serialization.
    pub(crate) token: String,
    expires_at: UnixTime,
    renew_at: UnixTime,
}

/// Which token: of an entry, for a set of audiences (sorted, without repetition).
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct JwtKey {
    pub(super) entry: EntryId,
    pub(super) audiences: Arc<[String]>,
}

/// What those who wait for one token get.
pub(super) type JwtResult = Result<Arc<JwtSvid>, IssueError>;

/// Tokens by what they are for, and who is being waited for.
#[derive(Default)]
pub(super) struct JwtCache {
    tokens: HashMap<JwtKey, (Arc<JwtSvid>, u64)>,
    /// The order in which tokens end, which is the order in which they make room.
    by_end: BTreeMap<(UnixTime, u64), JwtKey>,
    count_by_entry: HashMap<EntryId, usize>,
    next: u64,
    under_way: HashMap<JwtKey, watch::Receiver<Option<JwtResult>>>,
}

/// What the cache has to say about a token.
pub(super) enum Found {
    /// Good to hand out.
    Fresh(Arc<JwtSvid>),
    /// Past half its life: to be replaced, and to be handed out if that fails.
    Ageing(Arc<JwtSvid>),
    /// Nothing that is valid.
    Nothing,
}

impl JwtSvid {
    pub(super) fn new(issued: JwtIssued, now: UnixTime) -> Self {
        let expires_at = UnixTime::from_secs(issued.expires_at_s);
        Self {
            token: issued.token,
            expires_at,
            renew_at: half_life(now, expires_at),
        }
    }

    pub(super) fn is_valid(&self, now: UnixTime) -> bool {
        now < self.expires_at
    }
}

impl JwtCache {
    pub(super) fn find(&self, key: &JwtKey, now: UnixTime) -> Found {
        match self.tokens.get(key) {
            Some((token, _)) if now < token.renew_at => Found::Fresh(Arc::clone(token)),
            Some((token, _)) if token.is_valid(now) => Found::Ageing(Arc::clone(token)),
            _ => Found::Nothing,
        }
    }

    pub(super) fn insert(&mut self, key: JwtKey, token: Arc<JwtSvid>) {
        self.remove(&key);
        // One entry's callers can name audiences without end, but push out only each other's tokens.
        if self.count_by_entry.get(&key.entry).copied().unwrap_or(0) >= TOKENS_PER_ENTRY_MAX {
            let first = self.by_end.values().find(|k| k.entry == key.entry).cloned();
            first.iter().for_each(|k| self.remove(k));
        }
        if self.tokens.len() >= TOKENS_MAX
            && let Some(first) = self.by_end.values().next().cloned()
        {
            self.remove(&first);
        }
        self.next += 1;
        self.by_end.insert((token.expires_at, self.next), key.clone());
        *self.count_by_entry.entry(key.entry).or_default() += 1;
        self.tokens.insert(key, (token, self.next));
    }

    fn remove(&mut self, key: &JwtKey) {
        let Some((token, number)) = self.tokens.remove(key) else {
            return;
        };
        self.by_end.remove(&(token.expires_at, number));
        if let Some(count) = self.count_by_entry.get_mut(&key.entry) {
            *count -= 1;
            if *count == 0 {
                self.count_by_entry.remove(&key.entry);
            }
        }
    }

    /// Forgets the tokens of entries that `keep` does not name, and expired ones.
    pub(super) fn retain(&mut self, now: UnixTime, keep: impl Fn(EntryId) -> bool) {
        let gone: Vec<_> = self
            .tokens
            .iter()
            .filter(|(key, (token, _))| !keep(key.entry) || !token.is_valid(now))
            .map(|(key, _)| key.clone())
            .collect();
        gone.iter().for_each(|key| self.remove(key));
    }

    /// Forgets all tokens.
    pub(super) fn clear(&mut self) {
        self.tokens.clear();
        self.by_end.clear();
        self.count_by_entry.clear();
    }

    /// Who is waited for, if anybody asks already.
    pub(super) fn under_way(&self, key: &JwtKey) -> Option<watch::Receiver<Option<JwtResult>>> {
        self.under_way.get(key).cloned()
    }

    pub(super) fn begin(
        &mut self,
        key: JwtKey,
    ) -> (
        watch::Sender<Option<JwtResult>>,
        watch::Receiver<Option<JwtResult>>,
    ) {
        let (done, wait) = watch::channel(None);
        self.under_way.insert(key, wait.clone());
        (done, wait)
    }

    pub(super) fn end(&mut self, key: &JwtKey) {
        self.under_way.remove(key);
    }
}

/// A token of the usual size takes about 1 KiB.
const TOKENS_MAX: usize = 8192;
const TOKENS_PER_ENTRY_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn key(entry: u8, audience: usize) -> JwtKey {
        JwtKey {
            entry: [entry; 16],
            audiences: vec![audience.to_string()].into(),
        }
    }

    fn token(life_s: u64) -> Arc<JwtSvid> {
        let issued = JwtIssued {
            token: "t".to_owned(),
            issued_at_s: NOW.as_secs(),
            expires_at_s: NOW.as_secs() + life_s,
        };
        Arc::new(JwtSvid::new(issued, NOW))
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(NOW.as_secs() + seconds)
    }

    #[test]
    fn a_token_is_fresh_then_ageing_then_gone() {
        let mut cache = JwtCache::default();
        cache.insert(key(1, 1), token(100));
        assert!(matches!(cache.find(&key(1, 1), at(44)), Found::Fresh(_)));
        assert!(matches!(cache.find(&key(1, 1), at(56)), Found::Ageing(_)));
        assert!(matches!(cache.find(&key(1, 1), at(100)), Found::Nothing));
        assert!(
            matches!(cache.find(&key(2, 1), at(1)), Found::Nothing),
            "another entry's"
        );
        assert!(
            matches!(cache.find(&key(1, 2), at(1)), Found::Nothing),
            "for another audience"
        );
    }

    #[test]
    fn a_flood_of_audiences_pushes_out_its_own_entrys_tokens_only() {
        let mut cache = JwtCache::default();
        cache.insert(key(2, 0), token(10));
        for audience in 0..3 * TOKENS_PER_ENTRY_MAX {
            cache.insert(key(1, audience), token(100));
        }
        assert_eq!(cache.tokens.len(), TOKENS_PER_ENTRY_MAX + 1);
        assert!(matches!(cache.find(&key(2, 0), at(1)), Found::Fresh(_)));
        assert_eq!(cache.by_end.len(), cache.tokens.len());
    }

    #[test]
    fn all_tokens_together_are_bounded() {
        let mut cache = JwtCache::default();
        for entry in 0..=u8::MAX {
            for audience in 0..40 {
                cache.insert(key(entry, audience), token(100));
            }
        }
        assert_eq!(cache.tokens.len(), TOKENS_MAX);
        assert_eq!(cache.by_end.len(), TOKENS_MAX);
        cache.retain(at(1), |entry| entry[0] == 7);
        assert_eq!(
            cache.tokens.len() + cache.by_end.len(),
            2 * cache.count_by_entry.values().sum::<usize>()
        );
        cache.retain(at(100), |_| true);
        assert!(cache.tokens.is_empty() && cache.by_end.is_empty() && cache.count_by_entry.is_empty());
    }

    #[test]
    fn the_same_token_again_takes_the_old_ones_place() {
        let mut cache = JwtCache::default();
        cache.insert(key(1, 1), token(10));
        cache.insert(key(1, 1), token(100));
        assert_eq!((cache.tokens.len(), cache.by_end.len()), (1, 1));
        assert!(matches!(cache.find(&key(1, 1), at(20)), Found::Fresh(_)));
    }
}
