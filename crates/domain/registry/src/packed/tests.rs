//! Random histories against a plain map, and what memory does meanwhile.

use super::*;
use core::time::Duration;
use proptest::prelude::*;
use signet_id::{IdPattern, TrustDomain};
use std::collections::BTreeMap;

/// The entries as a map would hold them.
#[derive(Default)]
struct Model(BTreeMap<EntryId, Entry>);

impl Model {
    fn where_(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        self.0.values().filter(|entry| wanted(entry)).cloned().collect()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Put(Box<Entry>),
    Remove(EntryId),
}

fn id(n: u8) -> EntryId {
    EntryId::new(1_000_000 + u64::from(n / 4), u16::from(n % 4), [n; 8])
}

fn spiffe_id(n: u8) -> SpiffeId {
    let path = [
        "/a",
        "/ns/team-one/sa/a-service-of-this-team/with-a-long-name",
        "/ns/team-one/sa/b",
        "/c",
    ];
    let path = path[usize::from(n) % path.len()];
    SpiffeId::parse(&format!("spiffe://dev.test{path}/{}", n / 2)).unwrap()
}

fn selector(n: u8) -> Selector {
    Selector::parse(&format!("unix:uid:{n}")).unwrap()
}

fn node(n: u8) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://dev.test/node/{n}")).unwrap()
}

prop_compose! {
    fn entry()(
        (n, says, parent) in (any::<u8>(), 0..12_u8, 0..4_u8),
        selectors in prop::collection::vec(0..8_u8, 1..4),
        (seq, ttl) in (any::<u64>(), 1..4_u64),
        expires_at in prop::option::of(1..5_000_u64),
        ages in any::<bool>(),
        rare in prop::option::of("[a-z]{0,9}"),
    ) -> Entry {
        let rare = rare.unwrap_or_default();
        let many = |text: &str| if rare.len() < 4 { Vec::new() } else { vec![text.to_owned(), rare.clone()] };
        Entry {
            id: id(n),
            spiffe_id: spiffe_id(says).into(),
            parent_id: (parent > 0).then(|| node(parent)),
            selectors: selectors.into_iter().map(selector).collect(),
            x509_ttl: Duration::from_secs(ttl * 600),
            jwt_ttl: Duration::from_secs(300),
            dns_names: many("db.internal"),
            hint: rare.clone(),
            owner: if rare.len() > 5 { "team-a".to_owned() } else { String::new() },
            federates_with: if rare.len() > 7 { vec![TrustDomain::parse("b.test").unwrap()] } else { Vec::new() },
            jwt_audiences: many("https://api"),
            expires_at: expires_at.map(UnixTime::from_millis),
            created_at: if ages { id(n).created_at() } else { UnixTime::from_millis(7) },
            seq: Seq(seq),
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => entry().prop_map(|entry| Op::Put(Box::new(entry))),
        2 => any::<u8>().prop_map(|n| Op::Remove(id(n))),
    ]
}

fn says(entry: &Entry) -> (IdPattern, Option<SpiffeId>, Vec<Selector>) {
    (
        entry.spiffe_id.clone(),
        entry.parent_id.clone(),
        entry.selectors.clone(),
    )
}

fn check(packed: &Entries, model: &Model) {
    let names = |entries: &[Entry]| entries.iter().map(|e| (e.id, e.seq)).collect::<Vec<_>>();
    let all = model.where_(|_| true);
    assert_eq!(packed.len(), all.len());
    assert_eq!(packed.after(None).collect::<Vec<_>>(), all);
    assert_eq!(packed.names().collect::<Vec<_>>(), names(&all));
    for n in 0..=u8::MAX {
        assert_eq!(packed.get(id(n)).as_ref(), model.0.get(&id(n)));
        assert_eq!(packed.contains(id(n)), model.0.contains_key(&id(n)));
    }
    let from = id(100);
    assert_eq!(
        packed.after(Some(from)).collect::<Vec<_>>(),
        model.where_(|e| e.id > from)
    );
    for n in 0..5 {
        let here = model.where_(|e| e.parent_id.as_ref().is_none_or(|parent| *parent == node(n)));
        let mut digest = SetHash::default();
        here.iter().for_each(|e| digest.insert(e.id.as_bytes(), e.seq.0));
        assert_eq!(packed.digest(&node(n)), digest);
        assert_eq!(
            packed.assigned_names(&node(n)),
            here.iter().map(|e| e.id).collect::<Vec<_>>()
        );
        assert_eq!(packed.assigned(&node(n)).collect::<Vec<_>>(), here);
    }
    for n in 0..13 {
        let given = !model.where_(|e| e.spiffe_id == spiffe_id(n)).is_empty();
        assert_eq!(packed.is_given(&spiffe_id(n)), given);
    }
    for entry in &all {
        let said = packed.said_by(entry).expect("it says it itself");
        assert_eq!(says(&model.0[&said]), says(entry));
        let other = Entry {
            parent_id: Some(node(9)),
            ..entry.clone()
        };
        assert_eq!(packed.said_by(&other), None);
    }
    for now in [0, 1_000, 4_999].map(UnixTime::from_millis) {
        assert_eq!(packed.over(now), names(&model.where_(|e| !e.is_live_at(now))));
    }
    for facts in [0..1, 0..3, 2..6, 0..9_u8] {
        let facts: Vec<_> = facts.map(selector).collect();
        let fit = model.where_(|e| e.selectors.iter().all(|s| facts.contains(s)));
        assert_eq!(
            packed.matching(&facts),
            fit.iter().map(|e| e.id).collect::<Vec<_>>()
        );
    }
    search(packed, model);
}

fn search(packed: &Entries, model: &Model) {
    let owner = Some("team-a".to_owned());
    for filter in [
        EntryFilter::default(),
        EntryFilter {
            spiffe_id: Some(spiffe_id(3).into()),
            ..EntryFilter::default()
        },
        EntryFilter {
            spiffe_id: Some(spiffe_id(99).into()),
            ..EntryFilter::default()
        },
        EntryFilter {
            selectors: vec![selector(1), selector(2)],
            ..EntryFilter::default()
        },
        EntryFilter {
            owner: Some(String::new()),
            ..EntryFilter::default()
        },
        EntryFilter {
            owner,
            selectors: vec![selector(1)],
            spiffe_id: None,
        },
    ] {
        let expected = model.where_(|e| {
            filter.spiffe_id.as_ref().is_none_or(|id| *id == e.spiffe_id)
                && filter.selectors.iter().all(|s| e.selectors.contains(s))
                && filter.owner.as_ref().is_none_or(|owner| *owner == e.owner)
        });
        for (steps, most) in [(usize::MAX, usize::MAX), (7, 3)] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let Scanned { found: some, last } = packed.scan(after, &filter, steps, most);
                assert!(some.len() <= most);
                found.extend(some.iter().map(|entry| Entry::clone(entry)));
                after = last;
                if last.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected);
        }
    }
}

fn apply(packed: &mut Entries, model: &mut Model, op: Op) {
    match op {
        Op::Put(entry) => {
            packed.remove(entry.id);
            packed.insert(&entry).unwrap();
            model.0.insert(entry.id, *entry);
        }
        Op::Remove(id) => assert_eq!(packed.remove(id), model.0.remove(&id).is_some()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_history_leaves_what_a_map_would_hold(ops in prop::collection::vec(op(), 0..300)) {
        let (mut packed, mut model) = (Entries::default(), Model::default());
        for (n, op) in ops.into_iter().enumerate() {
            apply(&mut packed, &mut model, op);
            if n % 100 == 50 {
                check(&packed, &model);
            }
        }
        check(&packed, &model);
        let all: Vec<_> = model.0.keys().copied().collect();
        for id in all {
            apply(&mut packed, &mut model, Op::Remove(id));
        }
        check(&packed, &model);
        assert_eq!((packed.rows.len(), packed.ids.len(), packed.parents.len()), (0, 0, 0));
        assert_eq!((packed.selectors.len(), packed.details.len(), packed.sayings.len()), (0, 0, 0));
        assert_eq!((packed.ends.len(), packed.births.len(), packed.longest_home()), (0, 0, 0));
    }
}

/// Entry number `n` of a fleet: one selector that all have, one of its own.
fn of_fleet(n: u32) -> Entry {
    let text = |text: String| Selector::parse(&text).unwrap();
    Entry {
        id: EntryId::new(1_000_000 + u64::from(n), 0, [7; 8]),
        spiffe_id: IdPattern::parse(&format!("spiffe://dev.test/ns/t-{}/sa/{n}", n % 50)).unwrap(),
        parent_id: Some(node(u8::try_from(n % 100).unwrap())),
        selectors: vec![
            text(format!("unix:path:/bin/{n}")),
            text("unix:uid:1000".to_owned()),
        ],
        x509_ttl: Duration::from_secs(3_600),
        jwt_ttl: Duration::from_secs(300),
        dns_names: Vec::new(),
        hint: String::new(),
        owner: format!("team-{}", n % 50),
        federates_with: Vec::new(),
        jwt_audiences: Vec::new(),
        expires_at: None,
        created_at: UnixTime::from_millis(1_000_000 + u64::from(n)),
        seq: Seq(n.into()),
    }
}

#[test]
fn memory_is_bounded_however_often_entries_come_and_go() {
    const LIVE: u32 = 2_000;
    let mut packed = Entries::default();
    for n in 0..10 * LIVE {
        packed.insert(&of_fleet(n)).unwrap();
        if let Some(old) = n.checked_sub(LIVE) {
            assert!(packed.remove(of_fleet(old).id));
        }
        // Every second one is also changed, with a seldom expiry.
        if n % 2 == 0 {
            let changed = Entry {
                hint: "h".to_owned(),
                expires_at: (n % 16 == 0).then_some(UnixTime::from_millis(9)),
                ..of_fleet(n)
            };
            assert!(packed.remove(changed.id));
            packed.insert(&changed).unwrap();
        }
    }
    let live = usize::try_from(LIVE).unwrap();
    assert_eq!(packed.len(), live);
    assert!(packed.rows.len() <= live + 1, "{}", packed.rows.len());
    assert!(packed.pool.len() <= 4 * live + 9_000, "{}", packed.pool.len());
    assert!(packed.ids.bytes() <= 60 * live + 40_000, "{}", packed.ids.bytes());
    assert!(
        packed.selectors.bytes() <= 60 * live + 40_000,
        "{}",
        packed.selectors.bytes()
    );
    assert!(
        packed.ends.capacity() <= 4 * (live / 16) + 128,
        "{}",
        packed.ends.capacity()
    );
    assert!(size_of::<Row>() <= 56, "{}", size_of::<Row>());
    assert_eq!(packed.details.len(), 50, "one for each team");
}

#[test]
fn an_entry_stands_under_its_rarest_selector_and_moves_there_when_a_list_grows() {
    let mut packed = Entries::default();
    for n in 0..1_000 {
        packed.insert(&of_fleet(n)).unwrap();
    }
    assert!(packed.longest_home() <= 1, "{}", packed.longest_home());
    // These come while both of their selectors are rare, and are found under the one that turns out common.
    let pair = |n: u32, common: &str| Entry {
        id: EntryId::new(9_000_000 + u64::from(n), 0, [7; 8]),
        selectors: vec![
            Selector::parse(common).unwrap(),
            Selector::parse(&format!("unix:gid:{n}")).unwrap(),
        ],
        ..of_fleet(n)
    };
    for n in 0..500 {
        // The second selector of each stands in another entry, too, so that the common one is the rarer at first.
        let twin = Entry {
            id: EntryId::new(5_000_000 + u64::from(n), 0, [7; 8]),
            ..pair(n, "unix:user:twin")
        };
        packed.insert(&twin).unwrap();
        packed.insert(&pair(n, "unix:user:late")).unwrap();
    }
    assert!(
        packed.longest_home() < 3 * homes::LONG,
        "{}",
        packed.longest_home()
    );
    let facts = ["unix:user:late", "unix:gid:7"].map(|text| Selector::parse(text).unwrap());
    assert_eq!(packed.matching(&facts), [pair(7, "unix:user:late").id]);
}
