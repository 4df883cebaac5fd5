use super::*;
use proptest::prelude::*;
use signet_proto::agent::v1::JwtIssued;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const BYTES_MAX: u64 = 1 << 20;

fn key(entry: u8, audience: usize) -> JwtKey {
    JwtKey::new([entry; 16], &[audience.to_string()])
}

fn token_of(life_s: u64, bytes: usize) -> Arc<JwtSvid> {
    let issued = JwtIssued {
        token: "t".repeat(bytes),
        issued_at_s: NOW.as_secs(),
        expires_at_s: NOW.as_secs() + life_s,
    };
    Arc::new(JwtSvid::new(issued, NOW))
}

fn token(life_s: u64) -> Arc<JwtSvid> {
    token_of(life_s, 1)
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(NOW.as_secs() + seconds)
}

fn is_fresh(cache: &mut JwtCache, key: &JwtKey) -> bool {
    matches!(cache.find(key, NOW), Found::Fresh(_))
}

#[test]
fn all_that_comes_of_a_template_is_one_entrys() {
    let mut cache = JwtCache::default();
    let of_user = |user: u8, audience| JwtKey {
        source: [1; 16],
        ..key(user, audience)
    };
    let room = 64 * bytes_of(&key(1, 1), &token(100));
    cache.insert(key(2, 0), token(100), room);
    for user in 10..=u8::MAX {
        cache.insert(of_user(user, 0), token(100), room);
    }
    // A sixteenth of the room, however many users there are.
    assert!(
        (1..=4).contains(&(cache.tokens.len() - 1)),
        "{}",
        cache.tokens.len()
    );
    assert!(is_fresh(&mut cache, &key(2, 0)), "nobody else's was pushed out");
    cache.forget([1; 16]);
    assert_eq!(cache.tokens.len(), 1);
}

#[test]
fn a_token_is_fresh_then_ageing_then_gone() {
    let mut cache = JwtCache::default();
    cache.insert(key(1, 1), token(100), BYTES_MAX);
    assert!(matches!(cache.find(&key(1, 1), at(44)), Found::Fresh(_)));
    let Found::Ageing { token, is_due: true } = cache.find(&key(1, 1), at(56)) else {
        panic!("past half its life")
    };
    assert!(token.is_lasting(at(94)) && !token.is_lasting(at(95)) && token.is_valid(at(99)));
    assert!(matches!(cache.find(&key(1, 1), at(100)), Found::Nothing));
    let other = cache.find(&key(2, 1), at(1));
    assert!(matches!(other, Found::Nothing), "another entry's");
    let other = cache.find(&key(1, 2), at(1));
    assert!(matches!(other, Found::Nothing), "for another audience");
}

#[test]
fn little_is_left_of_a_short_life_in_its_last_tenth() {
    let short = token(10);
    assert!(short.is_lasting(at(8)) && !short.is_lasting(at(9)) && short.is_valid(at(9)));
}

#[test]
fn after_a_failure_the_server_is_left_alone_for_a_while() {
    let mut cache = JwtCache::default();
    cache.insert(key(1, 1), token(100), BYTES_MAX);
    let is_due = |cache: &mut JwtCache, second| match cache.find(&key(1, 1), at(second)) {
        Found::Ageing { is_due, .. } => is_due,
        _ => panic!("ageing"),
    };
    assert!(is_due(&mut cache, 60));
    cache.failed(&key(1, 1), |failures| at(70 + u64::from(failures)));
    assert!(!is_due(&mut cache, 69) && is_due(&mut cache, 70));
    cache.failed(&key(1, 1), |failures| at(75 + u64::from(failures)));
    assert!(!is_due(&mut cache, 75) && is_due(&mut cache, 76));
}

#[test]
fn a_flood_of_audiences_pushes_out_its_own_entrys_tokens_only() {
    let mut cache = JwtCache::default();
    cache.insert(key(2, 0), token(10), BYTES_MAX);
    for audience in 0..10_000 {
        cache.insert(key(1, audience), token(100), BYTES_MAX);
    }
    let share = &cache.by_entry[&[1; 16]];
    assert!(share.bytes <= BYTES_MAX / ENTRY_PART, "{}", share.bytes);
    assert!(share.by_use.len() > 50, "{}", share.by_use.len());
    assert!(is_fresh(&mut cache, &key(2, 0)));
    assert!(is_fresh(&mut cache, &key(1, 9_999)) && !is_fresh(&mut cache, &key(1, 0)));
}

#[test]
fn what_was_used_lately_stays_and_what_was_not_makes_room() {
    let mut cache = JwtCache::default();
    for entry in 0..=u8::MAX {
        for audience in 0..40 {
            cache.insert(key(entry, audience), token(100), BYTES_MAX);
            assert!(is_fresh(&mut cache, &key(0, 0)), "used all the time");
            assert!(cache.bytes <= BYTES_MAX, "{}", cache.bytes);
        }
    }
    assert!(!is_fresh(&mut cache, &key(0, 1)));
    assert!(is_fresh(&mut cache, &key(u8::MAX, 0)));
    assert!(cache.bytes > BYTES_MAX - 2_000, "{}: it is full", cache.bytes);
    assert!(cache.series.evictions.get() > 5_000);
    cache.shrink(10_000);
    assert!((8_000..=10_000).contains(&cache.bytes), "{}", cache.bytes);
    assert!(is_fresh(&mut cache, &key(u8::MAX, 39)));
    cache.clear();
    assert_eq!((cache.bytes, cache.series.tokens.get()), (0, 0));
}

#[test]
fn the_same_token_again_takes_the_old_ones_place() {
    let mut cache = JwtCache::default();
    cache.insert(key(1, 1), token(10), BYTES_MAX);
    cache.failed(&key(1, 1), |_| at(1_000));
    cache.insert(key(1, 1), token(100), BYTES_MAX);
    assert_eq!((cache.tokens.len(), cache.by_end.len()), (1, 1));
    assert!(matches!(cache.find(&key(1, 1), at(20)), Found::Fresh(_)));
    let found = cache.find(&key(1, 1), at(60));
    assert!(
        matches!(found, Found::Ageing { is_due: true, .. }),
        "a new beginning"
    );
}

#[test]
fn a_token_that_is_too_large_is_not_kept_and_pushes_nothing_out() {
    let mut cache = JwtCache::default();
    cache.insert(key(1, 1), token(100), BYTES_MAX);
    let share_max = usize::try_from(BYTES_MAX / ENTRY_PART).expect("small");
    cache.insert(key(1, 2), token_of(100, share_max), BYTES_MAX);
    assert!(!is_fresh(&mut cache, &key(1, 2)) && is_fresh(&mut cache, &key(1, 1)));
    cache.insert(key(1, 2), token(100), 0);
    assert!(
        !is_fresh(&mut cache, &key(1, 2)),
        "a bound of nothing keeps nothing"
    );
}

/// What can happen to the cache.
#[derive(Clone, Debug)]
enum Act {
    Insert {
        entry: u8,
        audience: usize,
        bytes: usize,
        life_s: u64,
    },
    Find {
        entry: u8,
        audience: usize,
    },
    Remove {
        entry: u8,
        audience: usize,
    },
    Forget {
        entry: u8,
    },
    Pass {
        seconds: u64,
    },
    Shrink {
        bytes_max: u64,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let (entry, audience) = (0..40_u8, 0..3_usize);
    let act = prop_oneof![
        8 => (entry.clone(), audience.clone(), 0..6_000_usize, 1..200_u64).prop_map(
            |(entry, audience, bytes, life_s)| Act::Insert { entry, audience, bytes, life_s }
        ),
        4 => (entry.clone(), audience.clone()).prop_map(|(entry, audience)| Act::Find { entry, audience }),
        1 => (entry.clone(), audience).prop_map(|(entry, audience)| Act::Remove { entry, audience }),
        1 => entry.prop_map(|entry| Act::Forget { entry }),
        1 => (0..50_u64).prop_map(|seconds| Act::Pass { seconds }),
        1 => (0..60_000_u64).prop_map(|bytes_max| Act::Shrink { bytes_max }),
    ];
    proptest::collection::vec(act, 1..400)
}

/// The cache as one would write it if it could be slow: tokens in the order of their last use.
#[derive(Default)]
struct Plain(Vec<(JwtKey, u64, UnixTime)>);

impl Plain {
    fn bytes(&self, of: impl Fn(&JwtKey) -> bool) -> u64 {
        self.0
            .iter()
            .filter(|(key, ..)| of(key))
            .map(|(_, bytes, _)| bytes)
            .sum()
    }

    fn insert(&mut self, key: JwtKey, bytes: u64, end: UnixTime, bytes_max: u64) {
        self.0.retain(|(other, ..)| *other != key);
        if bytes > bytes_max / ENTRY_PART {
            return;
        }
        while self.bytes(|other| other.entry == key.entry) + bytes > bytes_max / ENTRY_PART {
            let oldest = self.0.iter().position(|(other, ..)| other.entry == key.entry);
            self.0.remove(oldest.expect("it has some"));
        }
        self.shrink(bytes_max - bytes);
        self.0.push((key, bytes, end));
    }

    fn shrink(&mut self, bytes_max: u64) {
        while self.bytes(|_| true) > bytes_max {
            self.0.remove(0);
        }
    }

    fn find(&mut self, key: &JwtKey, now: UnixTime) -> bool {
        let found = self
            .0
            .iter()
            .position(|(other, _, end)| other == key && now < *end);
        if let Some(place) = found {
            let used = self.0.remove(place);
            self.0.push(used);
        }
        found.is_some()
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_cache_is_bounded_and_keeps_what_was_used_last(acts in acts()) {
        // Room for some tokens of each entry, and not for those of all.
        let bytes_max = 100_000;
        let (mut cache, mut plain, mut now) = (JwtCache::default(), Plain::default(), NOW);
        for act in acts {
            match act {
                Act::Insert { entry, audience, bytes, life_s } => {
                    let (key, end) = (key(entry, audience), now + core::time::Duration::from_secs(life_s));
                    let issued = JwtIssued {
                        token: "t".repeat(bytes),
                        issued_at_s: now.as_secs(),
                        expires_at_s: end.as_secs(),
                    };
                    let token = Arc::new(JwtSvid::new(issued, now));
                    plain.insert(key.clone(), bytes_of(&key, &token), end, bytes_max);
                    cache.insert(key, token, bytes_max);
                }
                Act::Find { entry, audience } => {
                    let key = key(entry, audience);
                    let found = !matches!(cache.find(&key, now), Found::Nothing);
                    prop_assert_eq!(found, plain.find(&key, now));
                }
                Act::Remove { entry, audience } => {
                    let key = key(entry, audience);
                    plain.0.retain(|(other, ..)| *other != key);
                    cache.remove(&key);
                }
                Act::Forget { entry } => {
                    plain.0.retain(|(key, ..)| key.entry != [entry; 16]);
                    cache.forget([entry; 16]);
                }
                Act::Pass { seconds } => {
                    now = now + core::time::Duration::from_secs(seconds);
                    plain.0.retain(|(_, _, end)| now < *end);
                    cache.expire(now);
                }
                Act::Shrink { bytes_max } => {
                    plain.shrink(bytes_max);
                    cache.shrink(bytes_max);
                }
            }
            prop_assert!(cache.bytes <= bytes_max);
            let by_use: Vec<_> = cache.by_use.values().cloned().collect();
            let expected: Vec<_> = plain.0.iter().map(|(key, ..)| key.clone()).collect();
            prop_assert_eq!(by_use, expected);
            prop_assert_eq!(cache.bytes, plain.bytes(|_| true));
            prop_assert_eq!(cache.series.bytes.get(), i64::try_from(cache.bytes).expect("small"));
            prop_assert_eq!(cache.tokens.len(), plain.0.len());
            prop_assert_eq!(cache.by_end.len(), plain.0.len());
            for (entry, share) in &cache.by_entry {
                prop_assert!(share.bytes <= bytes_max / ENTRY_PART);
                prop_assert_eq!(share.bytes, plain.bytes(|key| key.entry == *entry));
                prop_assert!(!share.by_use.is_empty());
            }
        }
    }
}
