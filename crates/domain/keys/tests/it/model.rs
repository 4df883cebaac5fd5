//! Random lives: whatever happens, one key signs, one is prepared and published, and none signs unseen.

use crate::{DAY, HOUR, World, config, origin};
use proptest::prelude::*;
use signet_keys::{KeyState, Keys, KeysConfig, Purpose, Urgency};
use signet_store::faulty::{Fault, FaultyLog, Op as StoreOp};
use signet_testkit::START;
use signet_time::UnixTime;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Op {
    Wait { hours: u32 },
    Rotate { purpose: Purpose, emergency: bool },
    Taint { nth: usize },
    Revoke { nth: usize },
    Restart,
    Break { fault: Fault },
}

fn op() -> impl Strategy<Value = Op> {
    let purpose = prop_oneof![
        Just(Purpose::X509Root),
        Just(Purpose::X509Svid),
        Just(Purpose::JwtSvid),
        Just(Purpose::WitSvid)
    ];
    prop_oneof![
        4 => (0..50_u32).prop_map(|hours| Op::Wait { hours }),
        2 => (0..40_u32).prop_map(|days| Op::Wait { hours: 24 * days }),
        2 => (purpose, any::<bool>()).prop_map(|(purpose, emergency)| Op::Rotate { purpose, emergency }),
        1 => (0..16_usize).prop_map(|nth| Op::Taint { nth }),
        1 => (0..16_usize).prop_map(|nth| Op::Revoke { nth }),
        1 => Just(Op::Restart),
        1 => prop_oneof![Just(Fault::Refused), Just(Fault::Lost), Just(Fault::Unanswered)]
            .prop_map(|fault| Op::Break { fault }),
    ]
}

/// What was seen of the keys so far.
#[derive(Default)]
struct Watcher {
    /// In the bundle at the last look: name and since when.
    published: BTreeMap<String, UnixTime>,
    states: BTreeMap<String, KeyState>,
    /// When each key last signed.
    signed: BTreeMap<String, UnixTime>,
    revoked: BTreeSet<String>,
    sequence: u64,
}

impl Watcher {
    fn look(&mut self, keys: &Keys, now: UnixTime, emergency: bool) {
        let config = keys.config();
        let first_look = self.states.is_empty();
        for purpose in Purpose::ALL {
            let all: Vec<_> = keys.read(|r| {
                r.keys()
                    .iter()
                    .filter(|k| k.purpose() == purpose)
                    .cloned()
                    .collect()
            });
            let count = |state| all.iter().filter(|key| key.state() == state).count();
            assert_eq!(count(KeyState::Active), 1, "{purpose}: one key signs");
            let published = purpose != Purpose::X509Svid;
            assert_eq!(
                count(KeyState::Prepared),
                usize::from(published),
                "{purpose}: the next is prepared"
            );
            for key in &all {
                let before = self.states.insert(key.kid().to_owned(), key.state());
                assert!(
                    before.is_none_or(|before| before <= key.state()),
                    "states only move down"
                );
                assert_eq!(key.signer().is_ok(), key.state() == KeyState::Active);
            }
            let active = keys.active(purpose).unwrap();
            assert!(!active.is_tainted() && active.not_after().is_none_or(|end| now < end));
            if published && !first_look && !self.signed.contains_key(active.kid()) {
                let since = self
                    .published
                    .get(active.kid())
                    .expect("published before it signs");
                let gate = if purpose == Purpose::X509Root {
                    config.root_gate
                } else {
                    config.jwt_gate
                };
                assert!(
                    emergency || now >= *since + gate,
                    "{purpose}: published long enough"
                );
            }
        }
        let (root, intermediate) = (
            keys.active(Purpose::X509Root).unwrap(),
            keys.active(Purpose::X509Svid).unwrap(),
        );
        let issuer = intermediate
            .issuer()
            .unwrap()
            .certificate()
            .authority_key_id()
            .unwrap()
            .to_vec();
        assert_eq!(
            issuer,
            root.public_key().key_id(),
            "the intermediate is the active root's"
        );
        self.bundle(keys, now);
        for purpose in Purpose::ALL {
            let kid = keys.active(purpose).unwrap().kid().to_owned();
            self.signed.insert(kid, now);
        }
    }

    fn bundle(&mut self, keys: &Keys, now: UnixTime) {
        let config = keys.config();
        let bundle = keys.bundle().unwrap();
        let roots: Vec<_> = bundle
            .x509()
            .iter()
            .map(|root| root.certificate.clone())
            .collect();
        let mut published = BTreeSet::new();
        for purpose in [Purpose::X509Root, Purpose::JwtSvid, Purpose::WitSvid] {
            for key in keys.published(purpose) {
                match key.certificate() {
                    Some(der) => assert!(roots.contains(der)),
                    None if purpose == Purpose::JwtSvid => {
                        assert!(bundle.jwt().iter().any(|jwt| jwt.kid == key.kid()));
                    }
                    None => assert!(bundle.wit().iter().any(|wit| wit.kid == key.kid())),
                }
                published.insert(key.kid().to_owned());
            }
        }
        // Intermediates are told only where they were called off.
        let called_off =
            |key: &&Arc<signet_keys::IssuingKey>| key.purpose() == Purpose::X509Svid && key.is_tainted();
        for key in keys.read(|ring| ring.keys().iter().filter(called_off).cloned().collect::<Vec<_>>()) {
            let told = bundle
                .x509()
                .iter()
                .find(|a| Some(&a.certificate) == key.certificate());
            assert!(told.is_some_and(|told| told.tainted));
            published.insert(key.kid().to_owned());
        }
        assert_eq!(
            published.len(),
            bundle.x509().len() + bundle.jwt().len() + bundle.wit().len()
        );
        for (purpose, life) in [
            (Purpose::X509Root, config.intermediate_life),
            (Purpose::JwtSvid, config.token_life_max),
            (Purpose::WitSvid, config.token_life_max),
        ] {
            for (kid, last) in &self.signed {
                let key = keys.read(|ring| ring.key(kid).cloned());
                let Some(key) = key.filter(|key| key.purpose() == purpose) else {
                    continue;
                };
                let needed = now < *last + life && !self.revoked.contains(kid);
                assert!(
                    !needed || published.contains(key.kid()),
                    "{purpose}: accepted while its work lives"
                );
            }
        }
        let known: BTreeSet<_> = self.published.keys().cloned().collect();
        if known != published {
            assert!(
                bundle.sequence() > self.sequence,
                "the sequence rises with every change"
            );
        }
        assert!(bundle.sequence() >= self.sequence);
        self.sequence = bundle.sequence();
        self.published.retain(|kid, _| published.contains(kid));
        for kid in published {
            self.published.entry(kid).or_insert(now);
        }
    }
}

async fn live(ops: &[Op]) {
    let world = World::new();
    let config = KeysConfig {
        root_life: 400 * DAY,
        ..config()
    };
    let log = FaultyLog::new(Arc::new(world.log.clone()));
    let open = || async {
        world
            .open_with(Arc::new(log.clone()), config.clone())
            .await
            .unwrap()
    };
    let mut keys = open().await;
    let (mut now, mut watcher) = (START, Watcher::default());
    keys.ensure(now).await.unwrap();
    watcher.look(&keys, now, false);
    for op in ops {
        let nth = |nth: usize| keys.read(|ring| ring.keys().get(nth).map(|key| key.kid().to_owned()));
        let mut emergency = false;
        // Refusals are part of life; what matters is the state that is left.
        match op {
            Op::Wait { hours } => now = now + HOUR * *hours + Duration::from_secs(7),
            Op::Rotate {
                purpose,
                emergency: now_or_never,
            } => {
                emergency = *now_or_never;
                let urgency = if emergency {
                    Urgency::Emergency
                } else {
                    Urgency::Gated
                };
                drop(keys.rotate(*purpose, urgency, origin(now)).await);
            }
            Op::Taint { nth: n } => {
                if let Some(kid) = nth(*n) {
                    emergency = true;
                    drop(keys.taint(&kid, origin(now)).await);
                }
            }
            Op::Revoke { nth: n } => {
                if let Some(kid) = nth(*n) {
                    emergency = true;
                    if keys.revoke(&kid, origin(now)).await.is_ok() {
                        watcher.revoked.insert(kid);
                    }
                }
            }
            Op::Restart => keys = open().await,
            Op::Break { fault } => log.plan(StoreOp::Commit, 1, *fault),
        }
        // A commit may be refused once; the next round of upkeep makes up for it.
        if keys.maintain(now).await.is_err() {
            keys.maintain(now).await.unwrap();
        }
        watcher.look(&keys, now, emergency);
    }
    let reopened = open().await;
    let shown = |keys: &Keys| keys.read(|ring| format!("{:?} {:?}", ring.keys(), ring.sequence()));
    assert_eq!(shown(&keys), shown(&reopened));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn one_key_signs_one_is_prepared_and_none_signs_unseen(ops in proptest::collection::vec(op(), 0..40)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(live(&ops));
    }
}
