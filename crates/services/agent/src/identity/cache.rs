use super::EntryId;
use super::jwt::{JwtKey, JwtSvid};
use crate::metrics::JwtCacheSeries;
use signet_time::UnixTime;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Tokens by what they are for, bounded in bytes: those that were used least recently make room.
#[derive(Default)]
pub(super) struct JwtCache {
    tokens: HashMap<JwtKey, Cached>,
    /// Uses are numbered: the lowest number is longest ago.
    by_use: BTreeMap<u64, JwtKey>,
    /// The order in which tokens end. The number tells those apart that end together.
    by_end: BTreeMap<(UnixTime, u64), JwtKey>,
    /// By the server's names: all that comes of a template is one entry's.
    by_entry: HashMap<EntryId, Share>,
    bytes: u64,
    last: u64,
    series: JwtCacheSeries,
}

struct Cached {
    token: Arc<JwtSvid>,
    bytes: u64,
    made: u64,
    used: u64,
    /// The server is not asked for another one before.
    retry_at: UnixTime,
    failures: u32,
}

/// What the tokens of one entry take.
#[derive(Default)]
struct Share {
    bytes: u64,
    by_use: BTreeSet<u64>,
}

/// What the cache has to say about a token.
pub(super) enum Found {
    /// Good to hand out.
    Fresh(Arc<JwtSvid>),
    /// To be replaced, and good until then.
    Ageing {
        token: Arc<JwtSvid>,
        /// Whether the server may be asked now.
        is_due: bool,
    },
    /// Nothing that is valid.
    Nothing,
}

impl JwtCache {
    pub(super) fn new(series: JwtCacheSeries) -> Self {
        Self {
            series,
            ..Self::default()
        }
    }

    /// Looks, which is a use.
    pub(super) fn find(&mut self, key: &JwtKey, now: UnixTime) -> Found {
        let Some(cached) = self.tokens.get(key).filter(|c| c.token.is_valid(now)) else {
            return Found::Nothing;
        };
        let token = Arc::clone(&cached.token);
        let found = if token.is_fresh(now) {
            Found::Fresh(token)
        } else {
            let is_due = cached.retry_at <= now;
            Found::Ageing { token, is_due }
        };
        self.touch(key);
        found
    }

    /// Keeps `token`, unless it is too large for the part of `bytes_max` that one entry may have.
    pub(super) fn insert(&mut self, key: JwtKey, token: Arc<JwtSvid>, bytes_max: u64) {
        self.remove(&key);
        let bytes = bytes_of(&key, &token);
        let share_max = bytes_max / ENTRY_PART;
        if bytes > share_max {
            return;
        }
        // One entry's callers can name audiences without end, but push out each other's tokens first.
        while let Some(share) = self.by_entry.get(&key.source)
            && share.bytes + bytes > share_max
            && let Some(oldest) = share.by_use.first().copied()
        {
            self.evict(oldest);
        }
        self.shrink(bytes_max - bytes);
        self.last += 1;
        let number = self.last;
        self.by_use.insert(number, key.clone());
        self.by_end.insert((token.expires_at, number), key.clone());
        let share = self.by_entry.entry(key.source).or_default();
        share.bytes += bytes;
        share.by_use.insert(number);
        self.bytes += bytes;
        let cached = Cached {
            token,
            bytes,
            made: number,
            used: number,
            retry_at: UnixTime::EPOCH,
            failures: 0,
        };
        self.tokens.insert(key, cached);
        self.show();
    }

    /// No successor could be had; `retry_at` says when to try again, by how often that happened before.
    pub(super) fn failed(&mut self, key: &JwtKey, retry_at: impl FnOnce(u32) -> UnixTime) {
        if let Some(cached) = self.tokens.get_mut(key) {
            cached.retry_at = retry_at(cached.failures);
            cached.failures = cached.failures.saturating_add(1);
        }
    }

    pub(super) fn remove(&mut self, key: &JwtKey) {
        let Some(cached) = self.tokens.remove(key) else {
            return;
        };
        self.by_use.remove(&cached.used);
        self.by_end.remove(&(cached.token.expires_at, cached.made));
        self.bytes -= cached.bytes;
        if let Some(share) = self.by_entry.get_mut(&key.source) {
            share.bytes -= cached.bytes;
            share.by_use.remove(&cached.used);
            if share.by_use.is_empty() {
                self.by_entry.remove(&key.source);
            }
        }
        self.show();
    }

    /// Forgets the tokens of `entry`.
    pub(super) fn forget(&mut self, entry: EntryId) {
        while let Some(share) = self.by_entry.get(&entry)
            && let Some(key) = share.by_use.first().and_then(|used| self.by_use.get(used))
        {
            let key = key.clone();
            self.remove(&key);
        }
    }

    /// Forgets the tokens that have expired.
    pub(super) fn expire(&mut self, now: UnixTime) {
        while let Some(((end, _), key)) = self.by_end.first_key_value()
            && *end <= now
        {
            let key = key.clone();
            self.remove(&key);
        }
    }

    /// Makes room until what is left takes no more than this.
    pub(super) fn shrink(&mut self, bytes_max: u64) {
        while self.bytes > bytes_max
            && let Some((&oldest, _)) = self.by_use.first_key_value()
        {
            self.evict(oldest);
        }
    }

    /// Forgets all tokens.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.series.clone());
        self.show();
    }

    fn evict(&mut self, used: u64) {
        if let Some(key) = self.by_use.get(&used).cloned() {
            self.remove(&key);
            self.series.evictions.inc();
        }
    }

    fn touch(&mut self, key: &JwtKey) {
        let Some(cached) = self.tokens.get_mut(key).filter(|c| c.used != self.last) else {
            return;
        };
        self.last += 1;
        let before = core::mem::replace(&mut cached.used, self.last);
        if let Some(key) = self.by_use.remove(&before) {
            self.by_use.insert(self.last, key);
        }
        if let Some(share) = self.by_entry.get_mut(&key.source) {
            share.by_use.remove(&before);
            share.by_use.insert(self.last);
        }
    }

    fn show(&self) {
        let shown = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.series.bytes.set(shown(self.bytes));
        self.series.tokens.set(shown(self.tokens.len() as u64));
    }
}

/// What a token takes: its text, its audiences, and what holds them.
fn bytes_of(key: &JwtKey, token: &JwtSvid) -> u64 {
    let audiences = key
        .audiences
        .iter()
        .map(|audience| AUDIENCE_BYTES + audience.len());
    (TOKEN_BYTES + token.token.len() + audiences.sum::<usize>()) as u64
}

/// The tokens of one entry may take this part of the whole.
const ENTRY_PART: u64 = 16;
/// Beside its text: its places in four maps, as empty as those are after they have grown, and what the allocator adds. Of
/// 15,000 to 40,000 tokens, 620 to 795 bytes each were measured.
const TOKEN_BYTES: usize = 800;
/// Beside its text.
const AUDIENCE_BYTES: usize = 40;

#[cfg(test)]
mod tests;
