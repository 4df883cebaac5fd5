//! Entries that are templates: agents that know of them, agents that do not, and agents that lie.

use crate::sync::{open, open_with, paths};
use crate::world::{Node, World};
use signet_crypto::{KeyKind, LocalKey, SetHash, digest};
use signet_feed::{Event, FeedEntry, hello};
use signet_id::{Selector, SpiffeId};
use signet_proto::agent::v1::issue_answer::Outcome;
use signet_proto::agent::v1::issue_item::Wish;
use signet_proto::agent::v1::{self, IssueItem};
use signet_record::{CredentialKind, Record};
use signet_registry::NewEntry;
use signet_store::Index;
use signet_time::Clock as _;
use signet_x509::make_csr;
use std::sync::Arc;

const USER: &str = "/host/{node.id}/user/{unix.user}";

fn node_id(node: &Node) -> String {
    digest::hex(&digest::sha256(node.id.as_str().as_bytes()))[..32].to_owned()
}

fn found(user: &str) -> Vec<Selector> {
    vec![Selector::parse(&format!("unix:user:{user}")).unwrap()]
}

async fn issue(node: &Node, items: Vec<IssueItem>) -> Vec<Outcome> {
    let answers = node
        .client
        .clone()
        .issue(v1::IssueRequest { items })
        .await
        .unwrap();
    answers
        .into_inner()
        .answers
        .into_iter()
        .map(|answer| answer.outcome.unwrap())
        .collect()
}

fn code(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Refusal(refusal) => {
            assert!(!refusal.retry);
            &refusal.code
        }
        Outcome::X509(_) => "x509",
        Outcome::Jwt(_) => "jwt",
        Outcome::Wit(_) => "wit",
    }
}

fn jwt() -> Wish {
    Wish::Jwt(v1::JwtWish {
        audience: vec!["a".to_owned()],
    })
}

/// The entries that a stream brings.
async fn known(world: &World, node: &Node) -> Vec<Arc<FeedEntry>> {
    let mut stream = open(world, node).await.greeted().await;
    stream.state().await.entries.iter().cloned().collect()
}

#[tokio::test]
async fn a_template_comes_filled_in_and_all_kinds_are_issued_for_what_it_gives() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let template = world.entry(USER, None).await;
    world.entry("/exporter/{node.id}", None).await;
    let entries = known(&world, &node).await;
    let (host, exporter) = (node_id(&node), format!("/exporter/{}", node_id(&node)));
    assert_eq!(
        entries[0].spiffe_id.path(),
        format!("/host/{host}/user/{{unix.user}}")
    );
    assert_eq!(entries[1].spiffe_id.one().unwrap().path(), exporter);

    let ann = entries[0].for_process(&found("ann")).unwrap();
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let csr = || make_csr(&key, ann.spiffe_id.one(), &[]).unwrap();
    let items = vec![
        ann.item(Wish::X509(v1::X509Wish { csr: csr().into() })),
        ann.item(jwt()),
        ann.item(Wish::Wit(v1::WitWish { csr: csr().into() })),
        // One that only the node's facts make is asked for as any other.
        entries[1].item(jwt()),
    ];
    let before = world.recorded();
    let outcomes = issue(&node, items).await;
    assert_eq!(
        outcomes.iter().map(code).collect::<Vec<_>>(),
        ["x509", "jwt", "wit", "jwt"]
    );
    let records = world.journal.range(Index(before), 10).await.unwrap();
    let mut subjects = Vec::new();
    for (_, bytes) in records {
        let Record::Issue(record) = Record::decode(&bytes).unwrap() else {
            panic!("a record of another kind");
        };
        assert!(CredentialKind::try_from(record.kind).is_ok());
        subjects.push((record.subject, record.entry_id.to_vec()));
    }
    subjects.sort();
    let expected = format!("spiffe://dev.test/host/{host}/user/ann");
    let own = subjects
        .iter()
        .filter(|(subject, entry)| *subject == expected && entry == template.id.as_bytes());
    assert_eq!(own.count(), 3, "{subjects:?}");
}

/// Who may have it has changed with what it is: a token of the new identity must not reach those who had the old one.
#[tokio::test]
async fn an_agent_that_has_not_heard_of_a_change_is_not_given_the_new_identity() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let entry = world.entry("/team-a", None).await;
    let stale = Arc::clone(&known(&world, &node).await[0]);
    let changed = NewEntry {
        spiffe_id: "spiffe://dev.test/payments".to_owned(),
        selectors: vec!["unix:uid:1002".to_owned()],
        ..NewEntry::default()
    };
    world
        .registry
        .update(entry.id, &changed, None, world.origin())
        .await
        .unwrap();
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let csr = make_csr(&key, stale.spiffe_id.one(), &[]).unwrap();
    let before = world.recorded();
    let wishes = [
        jwt(),
        Wish::X509(v1::X509Wish {
            csr: csr.clone().into(),
        }),
        Wish::Wit(v1::WitWish { csr: csr.into() }),
    ];
    let items = wishes.into_iter().map(|wish| stale.item(wish)).collect();
    for outcome in issue(&node, items).await {
        assert_eq!(code(&outcome), "SGRG024", "{outcome:?}");
    }
    assert_eq!(world.recorded(), before);
    let fresh = Arc::clone(&known(&world, &node).await[0]);
    let outcomes = issue(&node, vec![fresh.item(jwt())]).await;
    assert_eq!(code(&outcomes[0]), "jwt");
}

/// An agent that lies is refused by the server, whatever the wish, and the rest of its call is served.
#[tokio::test]
async fn an_agent_that_lies_is_refused_and_nothing_of_it_is_recorded() {
    let world = World::new("dev.test").await;
    let (node, other) = (world.join().await, world.join().await);
    world.entry(USER, None).await;
    let plain = world.entry("/plain", None).await;
    let entries = known(&world, &node).await;
    let honest = entries[0].for_process(&found("ann")).unwrap();
    let lie = |spiffe_id: String, facts: &[(&str, &str)]| IssueItem {
        spiffe_id,
        facts: facts
            .iter()
            .map(|(name, value)| v1::Fact {
                name: (*name).to_owned(),
                value: (*value).to_owned(),
            })
            .collect(),
        ..honest.item(jwt())
    };
    let of = |host: &str, user: &str| format!("spiffe://dev.test/host/{host}/user/{user}");
    let (here, there) = (node_id(&node), node_id(&other));
    let mut lies = vec![
        lie(of(&there, "ann"), &[("unix.user", "ann")]),
        lie(of(&there, "ann"), &[("unix.user", "ann"), ("node.id", &there)]),
        lie(of(&here, "bob"), &[("unix.user", "ann")]),
        lie(of(&here, ""), &[("unix.user", "")]),
        lie(of(&here, ".."), &[("unix.user", "..")]),
        lie(of(&here, "a/b"), &[("unix.user", "a/b")]),
        lie(of(&here, "%2f"), &[("unix.user", "%2f")]),
        lie(
            of(&here, &"a".repeat(3_000)),
            &[("unix.user", &"a".repeat(3_000))],
        ),
        lie(of(&here, "ann"), &[("unix.user", "ann"), ("unix.user", "ann")]),
        lie(of(&here, "ann"), &[("unix.user", "ann"), ("unix.uid", "0")]),
        lie(of(&here, "ann"), &[("k8s.sa", "ann")]),
        lie(of(&here, "ann"), &[]),
        lie(
            "spiffe://dev.test/signet/server/one".to_owned(),
            &[("unix.user", "signet")],
        ),
        lie(node.id.to_string(), &[("unix.user", "ann")]),
        lie(String::new(), &[]),
    ];
    let mut of_plain = lie(of(&here, "ann"), &[("unix.user", "ann")]);
    of_plain.entry_id = plain.id.as_bytes().to_vec().into();
    lies.push(of_plain);
    let count = lies.len();
    lies.push(honest.item(jwt()));
    let before = world.recorded();
    let outcomes = issue(&node, lies).await;
    for (n, outcome) in outcomes.iter().take(count).enumerate() {
        assert_eq!(code(outcome), "SGRG024", "lie {n}: {outcome:?}");
    }
    assert_eq!(code(&outcomes[count]), "jwt");
    assert_eq!(world.recorded(), before + 1, "the honest one alone");
    // A certificate request for another identity is no way around either.
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let theirs = SpiffeId::parse(&of(&there, "ann")).unwrap();
    let csr = make_csr(&key, Some(&theirs), &[]).unwrap();
    let outcomes = issue(
        &node,
        vec![honest.item(Wish::X509(v1::X509Wish { csr: csr.into() }))],
    )
    .await;
    assert!(matches!(&outcomes[0], Outcome::Refusal(_)), "{outcomes:?}");
}

/// An agent from before templates is not told of them, whatever becomes of them, and its digest holds.
#[tokio::test]
async fn an_agent_of_before_is_told_of_no_template() {
    for without in [&["id-templates"][..], &["id-templates", "delta", "chunks"]] {
        let world = World::new("dev.test").await;
        let node = world.join().await;
        world.entry("/plain", None).await;
        let template = world.entry(USER, Some(&node.id)).await;
        let mut said = hello("agent from before", world.clock.now());
        said.capabilities.retain(|name| !without.contains(&name.as_str()));
        let mut stream = open_with(&world, &node, said).await.unwrap().greeted().await;
        assert_eq!(paths(&*stream.state().await), ["/plain"]);
        let set = async |selector: &str, path: &str| {
            let draft = NewEntry {
                spiffe_id: format!("spiffe://dev.test{path}"),
                parent_id: Some(node.id.to_string()),
                selectors: vec![selector.to_owned()],
                ..NewEntry::default()
            };
            world
                .registry
                .update(template.id, &draft, None, world.origin())
                .await
                .unwrap();
        };
        // It says something else, becomes an entry of one identity, and a template again.
        set("unix:uid:7", "/other/{node.id}/{unix.user}").await;
        world.entry("/more", None).await;
        let mut shown = Vec::new();
        while shown != ["/plain", "/more"] {
            let state = stream.state().await;
            shown = paths(&state).into_iter().map(str::to_owned).collect();
            assert!(!shown.iter().any(|path| path.contains('{')), "{shown:?}");
        }
        set("unix:uid:7", "/now-one").await;
        let mut last = stream.state().await;
        while last.entries.len() < 3 {
            last = stream.state().await;
        }
        set("unix:uid:7", "/other/{node.id}/{unix.user}").await;
        while last.entries.len() > 2 {
            last = stream.state().await;
        }
        world
            .registry
            .delete(template.id, None, world.origin())
            .await
            .unwrap();
        world.entry("/last", None).await;
        while last.entries.len() < 3 {
            last = stream.state().await;
        }
        let mut digest = SetHash::default();
        for entry in world
            .registry
            .read(|state| state.assigned(&node.id).collect::<Vec<_>>())
        {
            digest.insert(entry.id.as_bytes(), entry.seq.0);
        }
        assert_eq!(last.entries.digest(), digest);
    }
}

/// What an agent of before is told by heartbeats is what it holds.
#[tokio::test]
async fn the_digest_of_an_agent_of_before_is_of_what_it_was_told() {
    let pace = signet_surface_agents::FeedPace {
        heartbeat: core::time::Duration::from_millis(5),
        digest: core::time::Duration::ZERO,
    };
    let world = World::with_pace("dev.test", pace).await;
    let node = world.join().await;
    world.entry(USER, None).await;
    world.entry("/plain", None).await;
    for knows in [true, false] {
        let mut said = hello("agent", world.clock.now());
        said.capabilities.retain(|name| knows || name != "id-templates");
        let mut stream = open_with(&world, &node, said).await.unwrap().greeted().await;
        let (mut beats, mut entries) = (0, 0);
        while beats < 3 {
            match stream.any().await.unwrap() {
                Event::Alive { .. } => beats += 1,
                Event::State(state) => entries = state.entries.len(),
                Event::Piece => {}
                // A digest of something else would be a drift.
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(entries, if knows { 2 } else { 1 });
    }
}
