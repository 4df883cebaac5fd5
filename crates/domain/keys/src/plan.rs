//! What is to be done with the keys now: a pure function of ring, settings, time and wish.
//!
//! Time gates: a prepared key of a published purpose signs no earlier than its gate after it was published, unless
//! somebody says that it is an emergency. A draining key is retired once the last of what it signed is over.

use crate::config::RETIRED_KEPT;
use crate::{IssuingKey, KeyRing, KeyState, KeysConfig, Purpose};
use signet_time::UnixTime;
use std::sync::Arc;

/// What somebody wants beyond what the time demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish<'a> {
    /// Nothing.
    Upkeep,
    /// The next key of a purpose; `emergency` does not wait for the gate.
    Rotate { purpose: Purpose, emergency: bool },
    /// What this key signed is not to be believed.
    Taint { kid: &'a str },
    /// This key is not accepted any more.
    Revoke { kid: &'a str },
}

/// One change of one key.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A new key, in its first state.
    Create { purpose: Purpose, state: KeyState },
    /// A key changes its state, or only its taint.
    Move {
        key: Arc<IssuingKey>,
        state: KeyState,
        is_tainted: bool,
    },
    /// A retired key is forgotten.
    Forget { key: Arc<IssuingKey> },
}

struct Planner<'a> {
    ring: &'a KeyRing,
    config: &'a KeysConfig,
    now: UnixTime,
    wish: Wish<'a>,
    steps: Vec<Step>,
}

/// The steps that bring `ring` to where it should be at `now`. All of them are committed together.
pub(crate) fn plan(ring: &KeyRing, config: &KeysConfig, now: UnixTime, wish: Wish<'_>) -> Vec<Step> {
    let mut planner = Planner {
        ring,
        config,
        now,
        wish,
        steps: Vec::new(),
    };
    for purpose in Purpose::ALL {
        planner.plan_purpose(purpose);
    }
    planner.steps
}

/// From when on the prepared key of `purpose` may sign, if there is one.
pub(crate) fn usable_from(ring: &KeyRing, config: &KeysConfig, purpose: Purpose) -> Option<UnixTime> {
    let prepared = ring.find(purpose, KeyState::Prepared)?;
    Some(prepared.times().prepared? + config.gate(purpose))
}

impl Planner<'_> {
    fn plan_purpose(&mut self, purpose: Purpose) {
        let active = self.ring.find(purpose, KeyState::Active).cloned();
        let prepared = self
            .ring
            .find(purpose, KeyState::Prepared)
            .filter(|key| !self.is_bad(key) && !self.is_over(key))
            .cloned();
        let next = self.next(purpose, active.as_ref(), prepared.as_ref());
        let replaced = next.is_some();
        let is_used = matches!(&next, Some(Step::Move { .. }));
        self.steps.extend(next);
        if purpose.is_published() && (prepared.is_none() || is_used) {
            let state = KeyState::Prepared;
            self.steps.push(Step::Create { purpose, state });
        }
        for key in self.ring.of(purpose) {
            let is_active = active.as_ref().is_some_and(|a| a.kid() == key.kid());
            let is_next = is_used && prepared.as_ref().is_some_and(|p| p.kid() == key.kid());
            let state = match key.state() {
                KeyState::Retired => {
                    let since = key.times().retired.unwrap_or(UnixTime::EPOCH);
                    // An intermediate that was called off must be remembered until its certificate is over.
                    let is_needed = purpose == Purpose::X509Svid && key.is_tainted() && !self.is_over(key);
                    if self.now >= since + RETIRED_KEPT && !is_needed {
                        self.steps.push(Step::Forget { key: key.clone() });
                    }
                    continue;
                }
                _ if self.is_revoked(key) => KeyState::Retired,
                KeyState::Prepared if self.is_bad(key) || self.is_over(key) => KeyState::Retired,
                KeyState::Prepared if is_next => continue,
                KeyState::Active if is_active && replaced => KeyState::Draining,
                KeyState::Draining if self.is_drained(key) => KeyState::Retired,
                state => state,
            };
            let is_tainted = key.is_tainted() || self.is_tainted_now(key);
            if (state, is_tainted) != (key.state(), key.is_tainted()) {
                let key = key.clone();
                self.steps.push(Step::Move {
                    key,
                    state,
                    is_tainted,
                });
            }
        }
    }

    /// The step that gives `purpose` another active key, where it needs one and can have it.
    fn next(
        &self,
        purpose: Purpose,
        active: Option<&Arc<IssuingKey>>,
        prepared: Option<&Arc<IssuingKey>>,
    ) -> Option<Step> {
        let create = Step::Create {
            purpose,
            state: KeyState::Active,
        };
        let Some(active) = active else {
            // The first key of a purpose is active at once: nobody knows another.
            return Some(prepared.map_or(create, activate));
        };
        if !self.is_due(active) {
            return None;
        }
        if !purpose.is_published() {
            return Some(create);
        }
        let from = usable_from(self.ring, self.config, purpose);
        let may_sign = self.is_emergency(active) || from.is_some_and(|from| self.now >= from);
        match prepared {
            Some(prepared) if may_sign => Some(activate(prepared)),
            // A key that is not accepted any more must go, though nobody knows the next one yet.
            None if self.is_revoked(active) || self.is_over(active) => Some(create),
            _ => None,
        }
    }

    fn is_due(&self, key: &Arc<IssuingKey>) -> bool {
        let wished = matches!(self.wish, Wish::Rotate { purpose, .. } if purpose == key.purpose());
        if wished || self.is_bad(key) {
            return true;
        }
        let activated = key.times().activated.unwrap_or(UnixTime::EPOCH);
        match key.purpose() {
            Purpose::JwtSvid | Purpose::WitSvid => self.now >= activated + self.config.jwt_active,
            Purpose::X509Root => {
                // A prepared root has waited, so the time it signs counts, and its end.
                let life = key.validity().unwrap_or_default();
                let end = key.not_after().unwrap_or(UnixTime::EPOCH);
                self.now >= activated + life / 2 || self.now + life / 4 >= end
            }
            Purpose::X509Svid => {
                let life = key.validity().unwrap_or_default();
                let end = key.not_after().unwrap_or(UnixTime::EPOCH);
                self.now + life / 2 >= end || !self.is_issued_by_the_root(key)
            }
        }
    }

    /// Whether the root that signs after these steps is the one that signed `key`.
    fn is_issued_by_the_root(&self, key: &IssuingKey) -> bool {
        let becomes_active = self.steps.iter().find_map(|step| match step {
            Step::Move { key, state, .. }
                if key.purpose() == Purpose::X509Root && *state == KeyState::Active =>
            {
                Some(key.clone())
            }
            _ => None,
        });
        let created = self.steps.iter().any(|step| {
            matches!(
                step,
                Step::Create {
                    purpose: Purpose::X509Root,
                    state: KeyState::Active
                }
            )
        });
        let root = becomes_active.or_else(|| self.ring.find(Purpose::X509Root, KeyState::Active).cloned());
        !created && root.is_some_and(|root| key.is_issued_by(&root))
    }

    fn is_emergency(&self, active: &IssuingKey) -> bool {
        matches!(self.wish, Wish::Rotate { emergency: true, .. })
            || self.is_bad(active)
            || self.is_over(active)
    }

    fn is_tainted_now(&self, key: &IssuingKey) -> bool {
        matches!(self.wish, Wish::Taint { kid } | Wish::Revoke { kid } if kid == key.kid())
    }

    fn is_revoked(&self, key: &IssuingKey) -> bool {
        matches!(self.wish, Wish::Revoke { kid } if kid == key.kid())
    }

    fn is_bad(&self, key: &IssuingKey) -> bool {
        key.is_tainted() || self.is_tainted_now(key)
    }

    fn is_over(&self, key: &IssuingKey) -> bool {
        key.not_after().is_some_and(|end| self.now >= end)
    }

    fn is_drained(&self, key: &IssuingKey) -> bool {
        let since = key.times().draining.unwrap_or(UnixTime::EPOCH);
        self.now >= since + self.config.drain(key.purpose())
    }
}

fn activate(key: &Arc<IssuingKey>) -> Step {
    Step::Move {
        key: key.clone(),
        state: KeyState::Active,
        is_tainted: key.is_tainted(),
    }
}
