//! Who holds how many connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts open connections, all together and by user.
pub(crate) struct Places {
    max: usize,
    per_user_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_user: HashMap<u32, usize>,
}

/// A place that one connection holds; dropping gives it back.
pub(crate) struct Place {
    places: Arc<Places>,
    user: Option<u32>,
}

impl Places {
    pub(crate) fn new(max: usize, per_user_max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            per_user_max,
            taken: Mutex::default(),
        })
    }

    /// A place, if there is one, for `user` where users are known.
    pub(crate) fn take(self: &Arc<Self>, user: Option<u32>) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.max {
            return None;
        }
        if let Some(uid) = user {
            let count = taken.by_user.entry(uid).or_default();
            if *count >= self.per_user_max {
                return None;
            }
            *count += 1;
        }
        taken.all += 1;
        Some(Place {
            places: Arc::clone(self),
            user,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(uid) = self.user
            && let Some(count) = taken.by_user.get_mut(&uid)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_user.remove(&uid);
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
        let first = places.take(Some(1)).unwrap();
        let _second = places.take(Some(1)).unwrap();
        assert!(places.take(Some(1)).is_none(), "two are one user's share");
        let _third = places.take(Some(2)).unwrap();
        assert!(places.take(None).is_none(), "three are all");
        drop(first);
        assert!(places.take(Some(1)).is_some());
        assert_eq!(places.taken.lock().unwrap().by_user.len(), 2);
    }
}
