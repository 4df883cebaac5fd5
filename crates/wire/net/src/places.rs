//! Who holds how many connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts open connections, all together and by whom they are.
pub(crate) struct Places {
    max: usize,
    per_holder_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_holder: HashMap<Holder, usize>,
}

/// Whose share a connection counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// A user of this machine.
    User(u32),
    /// An IPv4 address, or the first 64 bits of an IPv6 address: the rest is the peer's to choose.
    Network(u64),
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
        })
    }

    /// A place, if there is one, for `holder` where shares are counted.
    pub(crate) fn take(self: &Arc<Self>, holder: Option<Holder>) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
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
        Some(Place {
            places: Arc::clone(self),
            holder,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
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

#[cfg(test)]
mod tests {
    use super::*;

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
