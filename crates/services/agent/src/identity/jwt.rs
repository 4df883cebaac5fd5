use super::EntryId;
use super::slot::SET_BACK;
use super::svid::half_life;
use signet_feed::FeedEntry;
use signet_proto::agent::v1::JwtIssued;
use signet_time::UnixTime;
use std::sync::Arc;
use std::time::Duration;

/// A JWT-SVID.
pub(crate) struct JwtSvid {
    /// In compact serialization.
    pub(crate) token: String,
    pub(super) expires_at: UnixTime,
    /// A clock that shows less was set back since, or is another one than the server's.
    begins_at: UnixTime,
    renew_at: UnixTime,
    /// From then on little is left of it.
    lasts_until: UnixTime,
}

/// Which token: of an entry, for a set of audiences (sorted, without repetition).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct JwtKey {
    pub(super) entry: EntryId,
    /// The entry as the server knows it: of all that comes of a template, the template.
    pub(super) source: EntryId,
    pub(super) audiences: Arc<[String]>,
}

impl JwtSvid {
    pub(super) fn new(issued: JwtIssued, now: UnixTime) -> Self {
        let expires_at = UnixTime::from_secs(issued.expires_at_s);
        Self {
            token: issued.token,
            expires_at,
            begins_at: UnixTime::from_secs(issued.issued_at_s) - SET_BACK,
            renew_at: half_life(now, expires_at),
            lasts_until: expires_at - LEFT_MIN.min(expires_at.since(now) / 10),
        }
    }

    /// Whether it is in the first half of its life, more or less.
    pub(super) fn is_fresh(&self, now: UnixTime) -> bool {
        now < self.renew_at
    }

    /// Whether enough is left of it to reach whom it is for.
    pub(super) fn is_lasting(&self, now: UnixTime) -> bool {
        now < self.lasts_until
    }

    pub(super) fn is_valid(&self, now: UnixTime) -> bool {
        self.begins_at <= now && !self.has_ended(now)
    }

    pub(super) fn has_ended(&self, now: UnixTime) -> bool {
        self.expires_at <= now
    }
}

impl JwtKey {
    /// In whichever order and however often the audiences are named.
    pub(super) fn new(entry: EntryId, audiences: &[String]) -> Self {
        let mut sorted = audiences.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        Self {
            entry,
            source: entry,
            audiences: sorted.into(),
        }
    }

    /// For what `entry` gives.
    pub(super) fn of(entry: &FeedEntry, audiences: &[String]) -> Self {
        Self {
            source: entry.source(),
            ..Self::new(entry.id, audiences)
        }
    }
}

/// A token with less than this, or than a tenth of its life if that is shorter, is only handed out if no other can be
/// had: it might end on its way.
const LEFT_MIN: Duration = Duration::from_secs(5);
