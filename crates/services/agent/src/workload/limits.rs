//! What one process, one user and all together may have of the agent at once.

use crate::AgentError;
use crate::metrics::{Holder, Limit};
use crate::settings::LimitSettings;
use signet_sys::Peer;
use signet_time::UnixTime;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keeps the accounts of all who call. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Accounts(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    all: Account,
    processes: Table<Process>,
    users: Table<u32>,
}

/// Number and start time: a process, even when its number is used again.
type Process = (u32, u64);

/// Whose accounts a call is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    process: Process,
    user: u32,
}

/// What one holder has now.
#[derive(Clone, Copy, Default)]
struct Account {
    streams: u64,
    requests: u64,
    signing: u64,
    /// A token bucket: the time, in nanoseconds, at which it will be full again.
    full_at_ns: u64,
}

/// The accounts of one kind of holder. Those with nothing in them are swept out each time the table has doubled.
struct Table<K> {
    accounts: HashMap<K, Account>,
    sweep_at: usize,
}

/// The place of a stream, a request or a signature in the accounts; dropping gives it back.
pub(super) struct Place {
    accounts: Accounts,
    caller: Caller,
    limit: Limit,
}

impl From<&Peer> for Caller {
    fn from(peer: &Peer) -> Self {
        Self {
            process: (peer.pid(), peer.start_time()),
            user: peer.uid(),
        }
    }
}

#[cfg(test)]
impl Caller {
    pub(super) fn new(pid: u32, start: u64, user: u32) -> Self {
        Self {
            process: (pid, start),
            user,
        }
    }
}

impl Accounts {
    /// Charges one call.
    ///
    /// # Errors
    /// [`AgentError::Limited`] if the caller, its user or all together made too many lately. Nobody is charged then.
    pub(super) fn call(
        &self,
        caller: Caller,
        limits: &LimitSettings,
        now: UnixTime,
    ) -> Result<(), AgentError> {
        self.charge(caller, Limit::Calls, limits, now)
    }

    /// Takes a place for a stream, a request or a signature.
    ///
    /// # Errors
    /// [`AgentError::Limited`] if the caller, its user or all together have no more.
    pub(super) fn place(
        &self,
        caller: Caller,
        limit: Limit,
        limits: &LimitSettings,
        now: UnixTime,
    ) -> Result<Place, AgentError> {
        self.charge(caller, limit, limits, now)?;
        Ok(Place {
            accounts: self.clone(),
            caller,
            limit,
        })
    }

    fn charge(
        &self,
        caller: Caller,
        limit: Limit,
        limits: &LimitSettings,
        now: UnixTime,
    ) -> Result<(), AgentError> {
        let now_ns = now.as_millis().saturating_mul(1_000_000);
        let max = limits.process_max(limit);
        let Books {
            all,
            processes,
            users,
        } = &mut *self.lock();
        let mut own = processes.find(caller.process);
        let mut of_user = users.find(caller.user);
        let mut sum = *all;
        // The nearest holder first: it is the one that can mend it. Nothing is kept unless all three have room.
        for (account, holder, share) in [
            (&mut own, Holder::Process, 1),
            (&mut of_user, Holder::User, USER_SHARE),
            (&mut sum, Holder::Node, NODE_SHARE),
        ] {
            let max = max.saturating_mul(share);
            if !account.charge(limit, max, now_ns) {
                return Err(AgentError::Limited { limit, holder, max });
            }
        }
        *all = sum;
        processes.put(caller.process, own, now_ns);
        users.put(caller.user, of_user, now_ns);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        // INVARIANT: what is done under this lock does not panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Books {
            all,
            processes,
            users,
        } = &mut *self.accounts.lock();
        let accounts = [
            Some(all),
            processes.accounts.get_mut(&self.caller.process),
            users.accounts.get_mut(&self.caller.user),
        ];
        for account in accounts.into_iter().flatten() {
            account.give_back(self.limit);
        }
    }
}

impl Account {
    /// Whether there was room.
    fn charge(&mut self, limit: Limit, max: u64, now_ns: u64) -> bool {
        let held = match limit {
            Limit::Calls => return self.draw(max, now_ns),
            Limit::Streams => &mut self.streams,
            Limit::Requests => &mut self.requests,
            Limit::Signing => &mut self.signing,
        };
        let has_room = *held < max;
        *held += u64::from(has_room);
        has_room
    }

    /// Takes one from a bucket that holds a second's worth and is filled at `per_s`.
    fn draw(&mut self, per_s: u64, now_ns: u64) -> bool {
        let each_ns = (SECOND_NS / per_s.max(1)).max(1);
        let full_at_ns = if self.is_full(now_ns) {
            now_ns
        } else {
            self.full_at_ns
        };
        self.full_at_ns = full_at_ns.saturating_add(each_ns);
        self.full_at_ns <= now_ns.saturating_add(SECOND_NS)
    }

    fn give_back(&mut self, limit: Limit) {
        match limit {
            Limit::Streams => self.streams = self.streams.saturating_sub(1),
            Limit::Requests => self.requests = self.requests.saturating_sub(1),
            Limit::Signing => self.signing = self.signing.saturating_sub(1),
            Limit::Calls => {}
        }
    }

    fn is_empty(&self, now_ns: u64) -> bool {
        self.streams == 0 && self.requests == 0 && self.signing == 0 && self.is_full(now_ns)
    }

    /// A bucket is never further than a second from being full, unless the clock was set back: then it counts as full,
    /// since nobody should wait until that time comes again.
    fn is_full(&self, now_ns: u64) -> bool {
        self.full_at_ns <= now_ns || self.full_at_ns > now_ns.saturating_add(SECOND_NS)
    }
}

impl<K: Copy + Eq + Hash> Table<K> {
    fn find(&self, key: K) -> Account {
        self.accounts.get(&key).copied().unwrap_or_default()
    }

    /// Each account that stays after a sweep holds a place, or was charged within the last second; all
    /// of these are bounded for the node, and so is the table.
    fn put(&mut self, key: K, account: Account, now_ns: u64) {
        self.accounts.insert(key, account);
        if self.accounts.len() > self.sweep_at {
            self.accounts.retain(|_, account| !account.is_empty(now_ns));
            self.sweep_at = (2 * self.accounts.len()).max(SWEEP_MIN);
        }
    }
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            accounts: HashMap::new(),
            sweep_at: SWEEP_MIN,
        }
    }
}

/// The processes of one user together have this many times what one process has: a user cannot get more by forking.
const USER_SHARE: u64 = 4;
/// All processes of the node together: at 1,000 streams of about 25 KiB for one process, some 1.6 GiB.
const NODE_SHARE: u64 = 64;
const SECOND_NS: u64 = 1_000_000_000;
/// Fewer accounts are not worth a sweep.
const SWEEP_MIN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use core::num::NonZeroU32;
    use std::time::Duration;

    const NOW: UnixTime = UnixTime::from_secs(1_000_000);

    fn limits(max: u32) -> LimitSettings {
        let max = NonZeroU32::new(max).expect("positive");
        LimitSettings {
            process_streams_max: max,
            process_calls_per_s_max: max,
            process_requests_max: max,
            process_signing_max: max,
            ..LimitSettings::default()
        }
    }

    fn caller(pid: u32, start: u64, user: u32) -> Caller {
        Caller::new(pid, start, user)
    }

    fn holder<T>(result: Result<T, AgentError>) -> Option<Holder> {
        match result {
            Ok(_) => None,
            Err(AgentError::Limited { holder, .. }) => Some(holder),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn spiffe_26_a_process_at_its_limit_leaves_the_places_of_others_alone() {
        for limit in [Limit::Streams, Limit::Requests, Limit::Signing] {
            let accounts = Accounts::default();
            let take = |caller| accounts.place(caller, limit, &limits(3), NOW);
            let mut greedy: Vec<_> = (0..3).map(|_| take(caller(1, 1, 7)).expect("place")).collect();
            assert_eq!(holder(take(caller(1, 1, 7))), Some(Holder::Process));
            // The same number, another process; another number; another user.
            for other in [caller(1, 2, 7), caller(2, 1, 7), caller(3, 1, 8)] {
                drop(take(other).expect("place"));
            }
            greedy.pop();
            greedy.push(take(caller(1, 1, 7)).expect("given back"));
            assert_eq!(holder(take(caller(1, 1, 7))), Some(Holder::Process));
        }
    }

    #[test]
    fn a_user_with_many_processes_is_bounded_and_does_not_shut_others_out() {
        for limit in [Limit::Streams, Limit::Requests, Limit::Signing] {
            let accounts = Accounts::default();
            let take = |caller| accounts.place(caller, limit, &limits(2), NOW);
            let forks: Vec<_> = (0..8)
                .map(|pid| take(caller(pid, 1, 7)).expect("place"))
                .collect();
            assert_eq!(holder(take(caller(8, 1, 7))), Some(Holder::User));
            drop(take(caller(9, 1, 8)).expect("another user"));
            drop(forks);
            drop(take(caller(8, 1, 7)).expect("given back"));
        }
    }

    #[test]
    fn all_together_are_bounded() {
        let accounts = Accounts::default();
        let take = |user| accounts.place(caller(user, 1, user), Limit::Streams, &limits(1), NOW);
        let taken: Vec<_> = (0..64).map(|user| take(user).expect("place")).collect();
        assert_eq!(holder(take(64)), Some(Holder::Node));
        drop(taken);
        drop(take(64).expect("given back"));
    }

    #[test]
    fn calls_come_from_a_bucket_that_holds_a_seconds_worth() {
        let accounts = Accounts::default();
        let call = |pid, now| accounts.call(caller(pid, 1, 7), &limits(10), now);
        (0..10).for_each(|_| call(1, NOW).expect("burst"));
        assert_eq!(holder(call(1, NOW)), Some(Holder::Process));
        call(2, NOW).expect("another process");
        // A tenth of a second gives one back, and no time that passed unused gives more than a second's worth.
        let later = NOW + Duration::from_millis(100);
        call(1, later).expect("one");
        assert_eq!(holder(call(1, later)), Some(Holder::Process));
        let much_later = NOW + Duration::from_secs(3600);
        (0..10).for_each(|_| call(1, much_later).expect("burst"));
        assert_eq!(holder(call(1, much_later)), Some(Holder::Process));
    }

    #[test]
    fn refused_calls_cost_nobody_anything() {
        let accounts = Accounts::default();
        let call = |pid| accounts.call(caller(pid, 1, 7), &limits(10), NOW);
        for _ in 0..1000 {
            let _ = call(1);
        }
        (0..10).for_each(|_| call(2).expect("the user's bucket has what process 1 did not get"));
    }

    #[test]
    fn a_user_cannot_call_more_often_by_forking() {
        let accounts = Accounts::default();
        let call = |pid| accounts.call(caller(pid, 1, 7), &limits(10), NOW);
        (0..40).for_each(|pid| call(pid).expect("four times the process's"));
        assert_eq!(holder(call(40)), Some(Holder::User));
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out() {
        let accounts = Accounts::default();
        let call = |now| accounts.call(caller(1, 1, 7), &limits(10), now);
        (0..10).for_each(|_| call(NOW).expect("burst"));
        let earlier = UnixTime::from_secs(NOW.as_secs() - 3600);
        (0..10).for_each(|_| call(earlier).expect("burst"));
        assert_eq!(
            holder(call(earlier)),
            Some(Holder::Process),
            "and bounds as before"
        );
    }

    #[test]
    fn accounts_go_when_there_is_nothing_in_them() {
        let accounts = Accounts::default();
        let open = accounts
            .place(caller(u32::MAX, 1, 7), Limit::Streams, &limits(10), NOW)
            .expect("place");
        for pid in 0..100_000_u32 {
            let now = NOW + Duration::from_millis(u64::from(pid) * 100);
            accounts
                .call(caller(pid, 1, pid), &limits(10), now)
                .expect("call");
            let books = accounts.lock();
            assert!(books.processes.accounts.len() <= SWEEP_MIN, "{pid}");
            assert!(books.users.accounts.len() <= SWEEP_MIN, "{pid}");
        }
        assert_eq!(
            accounts.lock().processes.find((u32::MAX, 1)).streams,
            1,
            "one that is used stays"
        );
        drop(open);
    }
}
