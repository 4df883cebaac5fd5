use crate::{draft, empty, id, key, open, origin};
use signet_decision::{Action, Verdict};
use signet_registry::{Claims, JoinTokenWish, NewEntry, Registry};
use signet_store::{ChangeLog, Seq};
use signet_testkit::START;
use std::sync::Arc;
use std::time::Duration;

async fn node(registry: &Registry, path: &str) -> signet_id::SpiffeId {
    let wish = JoinTokenWish {
        spiffe_id: Some(id(path).to_string()),
        ..JoinTokenWish::default()
    };
    let (secret, _) = registry.create_join_token(&wish, origin()).await.unwrap();
    registry
        .attest_with_token(&secret.expose(), &key(), START)
        .await
        .unwrap()
        .id
        .clone()
}

fn on(parent: &str, path: &str) -> NewEntry {
    NewEntry {
        parent_id: Some(id(parent).to_string()),
        ..draft(path, "unix:uid:1")
    }
}

fn paths(registry: &Registry, node: &signet_id::SpiffeId, secs: u64) -> Vec<String> {
    let now = START + Duration::from_secs(secs);
    registry.read(|s| {
        s.authorized(node, now)
            .iter()
            .map(|e| e.spiffe_id.path().to_owned())
            .collect()
    })
}

#[tokio::test]
async fn a_node_may_serve_its_own_entries_and_those_of_every_node_oldest_first() {
    let (log, registry) = empty().await;
    let (one, two) = (id("/node/1"), id("/node/2"));
    let expiring = NewEntry {
        expires_at: Some((START + Duration::from_secs(60)).to_string()),
        ..on("/node/1", "/expiring")
    };
    let all = [
        on("/node/1", "/c"),
        draft("/b", "unix:uid:1"),
        expiring,
        on("/node/2", "/elsewhere"),
        on("/node/1", "/a"),
    ];
    for one_by_one in &all {
        registry
            .create(core::slice::from_ref(one_by_one), origin())
            .await
            .unwrap();
    }
    assert_eq!(paths(&registry, &one, 0), ["/c", "/b", "/expiring", "/a"]);
    assert_eq!(paths(&registry, &one, 59), ["/c", "/b", "/expiring", "/a"]);
    assert_eq!(paths(&registry, &one, 60), ["/c", "/b", "/a"]);
    assert_eq!(paths(&registry, &two, 60), ["/b", "/elsewhere"]);
    assert_eq!(paths(&registry, &id("/node/3"), 60), ["/b"]);
    // An update does not make an entry younger, and neither does a restart.
    let first = registry.read(|s| s.entries().next()).unwrap();
    let changed = NewEntry {
        hint: "h".into(),
        ..NewEntry::from(&*first)
    };
    registry.update(first.id, &changed, None, origin()).await.unwrap();
    assert_eq!(paths(&registry, &one, 60), ["/c", "/b", "/a"]);
    assert_eq!(paths(&open(log).await, &one, 60), ["/c", "/b", "/a"]);
    // An entry may move to another node.
    registry
        .update(first.id, &on("/node/2", "/c"), None, origin())
        .await
        .unwrap();
    assert_eq!(paths(&registry, &one, 60), ["/b", "/a"]);
    assert_eq!(paths(&registry, &two, 60), ["/c", "/b", "/elsewhere"]);
}

#[tokio::test]
async fn who_is_entitled_to_what() {
    let (_, registry) = empty().await;
    let (one, two) = (node(&registry, "/node/1").await, node(&registry, "/node/2").await);
    let stranger = id("/node/3");
    let expiring = NewEntry {
        expires_at: Some((START + Duration::from_secs(60)).to_string()),
        ..draft("/expiring", "unix:uid:1")
    };
    let drafts = [on("/node/1", "/a"), draft("/b", "unix:uid:1"), expiring];
    let entries = registry.create(&drafts, origin()).await.unwrap();
    use Verdict::{Allow, Deny};
    let action = Action::ISSUE_X509_SVID;
    let verdict = |node: &signet_id::SpiffeId, n: usize, secs: u64| {
        let now = START + Duration::from_secs(secs);
        let entitlement =
            registry.read(|s| s.entitlement(node, entries[n].id, &Claims::default(), action, now));
        assert_eq!(
            entitlement.decision.verdict() == Allow,
            entitlement.entry.is_some()
        );
        if let Some(entry) = &entitlement.entry {
            let identity = signet_decision::Resource::identity(entry.spiffe_id.one().unwrap());
            assert!(entitlement.decision.permit_for(action, &identity).is_ok());
        } else {
            assert!(!entitlement.decision.would_allow().is_empty());
        }
        entitlement.decision.verdict()
    };

    for (node, n, secs, expected) in [
        (&one, 0, 0, Allow),
        (&two, 0, 0, Deny),
        (&stranger, 0, 0, Deny),
        (&one, 1, 0, Allow),
        (&two, 1, 0, Allow),
        (&stranger, 1, 0, Deny),
        (&one, 2, 59, Allow),
        (&one, 2, 60, Deny),
    ] {
        assert_eq!(verdict(node, n, secs), expected, "{node} {n} {secs}");
    }
    let itself = |node: &signet_id::SpiffeId| {
        registry
            .read(|s| s.node_entitlement(node, Action::ISSUE_NODE_SVID))
            .verdict()
    };
    assert_eq!([itself(&one), itself(&stranger)], [Allow, Deny]);
    registry.ban_node(&one, "test", origin()).await.unwrap();
    assert_eq!(
        [verdict(&one, 0, 0), verdict(&one, 1, 0), itself(&one)],
        [Deny, Deny, Deny]
    );
    let nothing = signet_registry::EntryId::from_bytes([1; 16]);
    let decision = registry
        .read(|s| s.entitlement(&two, nothing, &Claims::default(), action, START))
        .decision;
    assert_eq!(decision.verdict(), Deny);
}

/// Two servers that could not see each other's commit: an entry and a node with one identity. Neither gets it.
#[tokio::test]
async fn an_identity_of_both_an_entry_and_a_node_is_given_to_neither() {
    let (log, registry) = empty().await;
    let shared = id("/node/1");
    let entry = registry
        .create(&[draft("/node/1", "unix:uid:1")], origin())
        .await
        .unwrap()[0]
        .clone();
    let with_node = {
        let (other_log, other) = empty().await;
        node(&other, "/node/1").await;
        other_log.load().await.unwrap()
    };
    let mut batch = signet_store::Batch::new(origin());
    batch
        .changes
        .extend(with_node.rows.iter().map(signet_store::Row::to_change));
    log.commit(batch).await.unwrap();
    registry.followed().catch_up().await.unwrap();
    let other = node(&registry, "/node/2").await;
    registry.read(|s| {
        let workload = s
            .entitlement(
                &other,
                entry.id,
                &Claims::default(),
                Action::ISSUE_X509_SVID,
                START,
            )
            .decision;
        let node = s.node_entitlement(&shared, Action::ISSUE_NODE_SVID);
        assert_eq!(
            [workload.verdict(), node.verdict()],
            [Verdict::Deny, Verdict::Deny]
        );
    });
}

#[tokio::test]
async fn a_second_server_follows_the_first() {
    let (log, registry) = empty().await;
    let follower = Arc::new(open(log.clone()).await);
    let task = tokio::spawn({
        let follower = follower.clone();
        async move { follower.followed().follow().await }
    });
    let entry = registry
        .create(&[draft("/a", "unix:uid:1")], origin())
        .await
        .unwrap()[0]
        .clone();
    follower.followed().wait_applied(entry.seq).await.unwrap();
    assert_eq!(follower.read(|s| s.entry(entry.id)), Some(entry));
    // By the task alone, and for a change that does not exist yet when it is waited for.
    let waiting = tokio::spawn({
        let follower = follower.clone();
        async move { follower.followed().wait_applied(Seq(3)).await }
    });
    registry
        .create(&[draft("/b", "unix:uid:1"), draft("/c", "unix:uid:1")], origin())
        .await
        .unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(follower.read(|s| s.entry_count()), 3);
    task.abort();
}

#[tokio::test]
async fn a_reader_that_fell_behind_a_pruned_log_takes_a_snapshot() {
    let (log, registry) = empty().await;
    let behind = open(log.clone()).await;
    let gone = registry
        .create(&[draft("/a", "unix:uid:1")], origin())
        .await
        .unwrap()[0]
        .id;
    registry
        .create(&[draft("/b", "unix:uid:1")], origin())
        .await
        .unwrap();
    registry.delete(gone, None, origin()).await.unwrap();
    log.prune(Seq(3)).await.unwrap();
    behind.followed().catch_up().await.unwrap();
    assert_eq!(
        (behind.read(|s| s.entry_count()), behind.followed().seq()),
        (1, Seq(3))
    );
}
