//! Who holds how many connections.

use core::time::Duration;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Counts open connections, all together and by whom they are.
pub(crate) struct Places {
    max: usize,
    per_holder_max: usize,
    taken: Mutex<Taken>,
    /// So many have ended that their memory is worth giving back.
    spare: Notify,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// The most that were taken at once since memory was last given back.
    peak: usize,
    /// All that ended.
    ended: u64,
    by_holder: HashMap<Holder, usize>,
}

/// Whose share a connection counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// A user of this machine.
    User(u32),
    /// An IPv4 address, or the first 64 bits of an IPv6 address: the rest is the peer's to choose.
    Network(u64),
    /// A member.
    Member(u64),
}

impl Holder {
    pub(crate) fn network(address: IpAddr) -> Self {
        Self::Network(network(address))
    }
}

/// A number for an IPv4 address, or for the network of an IPv6 address.
pub(crate) fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        // No address of the internet lies in the network of the first 2^32 numbers.
        IpAddr::V6(address) => u64::try_from(u128::from(address) >> 64).unwrap_or(u64::MAX),
    }
}

/// A place that one connection holds; dropping gives it back.
pub(crate) struct Place {
    places: Arc<Places>,
    holder: Option<Holder>,
}

impl Places {
    pub(crate) fn new(max: usize, per_holder_max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            per_holder_max,
            taken: Mutex::default(),
            spare: Notify::new(),
        })
    }

    /// A place, if there is one, for `holder` where shares are counted.
    pub(crate) fn take(self: &Arc<Self>, holder: Option<Holder>) -> Option<Place> {
        let mut taken = self.lock();
        if taken.all >= self.max {
            return None;
        }
        if let Some(holder) = holder {
            let count = taken.by_holder.entry(holder).or_default();
            if *count >= self.per_holder_max {
                return None;
            }
            *count += 1;
        }
        taken.all += 1;
        taken.peak = taken.peak.max(taken.all);
        Some(Place {
            places: Arc::clone(self),
            holder,
        })
    }

    /// Gives back, by `trim`, the memory of connections that have ended, each time that is much: once others come and go no
    /// more, because those need it. Does not return.
    pub(crate) async fn give_back<F: Future<Output = ()>>(&self, trim: impl Fn() -> F) {
        loop {
            self.spare.notified().await;
            let mut before = self.lock().ended;
            loop {
                tokio::time::sleep(QUIET_FOR).await;
                let ended = self.lock().ended;
                if ended - before < QUIET_ENDED_MAX {
                    break;
                }
                before = ended;
            }
            if self.lock().begin_anew() {
                trim().await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Counts from now on, if much can be given back now.
    fn begin_anew(&mut self) -> bool {
        let much = is_much(self.peak, self.all);
        if much {
            self.peak = self.all;
        }
        much
    }
}

/// Whether the memory of those that ended is worth looking for, where `peak` were open at once and `open` are now.
const fn is_much(peak: usize, open: usize) -> bool {
    let ended = peak.saturating_sub(open);
    // Looking for it takes the longer the more is kept.
    ended >= SPARE_MIN && ended >= peak / 4
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all = taken.all.saturating_sub(1);
        taken.ended += 1;
        if is_much(taken.peak, taken.all) {
            self.places.spare.notify_one();
        }
        if let Some(holder) = self.holder
            && let Some(count) = taken.by_holder.get_mut(&holder)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_holder.remove(&holder);
            }
        }
    }
}

/// Connections whose memory is not worth the work: some 5 MB on a UNIX socket.
const SPARE_MIN: usize = 256;
/// Without others that end, for so long.
const QUIET_FOR: Duration = Duration::from_secs(10);
/// So many in that time are nothing.
const QUIET_ENDED_MAX: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn memory_is_spare_where_many_of_those_that_were_open_have_ended() {
        assert!(is_much(1_000, 0) && is_much(256, 0) && is_much(1_024, 768));
        assert!(!is_much(255, 0), "a few");
        assert!(!is_much(1_000, 1_000) && !is_much(0, 0), "nobody has ended");
        assert!(!is_much(10_000, 9_000), "little beside what is in use");
        assert!(!is_much(10, 20));
    }

    /// Time is a paused clock: it goes on when all wait.
    #[tokio::test(start_paused = true)]
    async fn memory_is_given_back_once_many_have_ended_and_none_do_any_more() {
        let places = Places::new(usize::MAX, usize::MAX);
        let trimmed = AtomicUsize::new(0);
        let count = || trimmed.load(Ordering::Relaxed);
        let take = |number: usize| -> Vec<_> { (0..number).map(|_| places.take(None).unwrap()).collect() };
        let giving_back = places.give_back(|| {
            trimmed.fetch_add(1, Ordering::Relaxed);
            core::future::ready(())
        });
        let come_and_go = async {
            let mut open = take(1_000);
            tokio::time::sleep(QUIET_FOR * 10).await;
            assert_eq!(count(), 0, "all are open");
            open.truncate(100);
            tokio::time::sleep(QUIET_FOR * 2).await;
            assert_eq!(count(), 1);
            tokio::time::sleep(QUIET_FOR * 100).await;
            assert_eq!(count(), 1, "what was given back is not looked for again");
            // Who comes and goes without end needs what it leaves.
            open.extend(take(900));
            for _ in 0..100 {
                open.truncate(100);
                tokio::time::sleep(QUIET_FOR / 2).await;
                open.extend(take(900));
                tokio::time::sleep(QUIET_FOR / 2).await;
            }
            assert_eq!(count(), 1);
            drop(open);
            tokio::time::sleep(QUIET_FOR * 3).await;
            assert_eq!(count(), 2);
        };
        tokio::select! {
            () = giving_back => unreachable!("it does not return"),
            () = come_and_go => {}
        }
    }

    #[test]
    fn places_end_at_the_bound_and_at_each_users_bound() {
        let places = Places::new(3, 2);
        let first = places.take(Some(Holder::User(1))).unwrap();
        let _second = places.take(Some(Holder::User(1))).unwrap();
        assert!(
            places.take(Some(Holder::User(1))).is_none(),
            "two are one user's share"
        );
        let _third = places.take(Some(Holder::User(2))).unwrap();
        assert!(places.take(None).is_none(), "three are all");
        drop(first);
        assert!(places.take(Some(Holder::User(1))).is_some());
        assert_eq!(places.taken.lock().unwrap().by_holder.len(), 2);
    }

    #[test]
    fn an_ipv6_network_is_one_holder_and_an_ipv4_address_is_one() {
        let holder = |text: &str| Holder::network(text.parse().unwrap());
        assert_eq!(holder("2001:db8::1"), holder("2001:db8::ffff:1"));
        assert_ne!(holder("2001:db8::1"), holder("2001:db8:0:1::1"));
        assert_eq!(holder("192.0.2.1"), holder("::ffff:192.0.2.1"));
        assert_ne!(holder("192.0.2.1"), holder("192.0.2.2"));
    }
}
