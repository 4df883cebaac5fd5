use crate::{draft, empty, id, key, open, origin};
use signet_crypto::{PublicKey, digest};
use signet_fault::Coded;
use signet_id::SpiffeId;
use signet_registry::{JoinTokenWish, NODE_KEPT, NodeIssue, NodeSvid, RegistryError, Step};
use signet_store::faulty::{Fault, FaultyLog, Op};
use signet_store::{ChangeLog, Origin, Tail, memory::MemoryLog};
use signet_testkit::START;
use signet_time::UnixTime;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;

const TEN_MINUTES: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_token_is_random_shown_once_and_stored_as_hash_only() {
    let (log, registry) = empty().await;
    let start = log.load().await.unwrap().cursor;
    let (secret, token) = registry
        .create_join_token(&JoinTokenWish::default(), origin())
        .await
        .unwrap();
    let (other, _) = registry
        .create_join_token(&JoinTokenWish::default(), origin())
        .await
        .unwrap();
    assert_ne!(secret.expose(), other.expose());
    assert_eq!(
        (secret.expose().len(), format!("{secret:?}").as_str()),
        (32, "JoinTokenSecret")
    );
    assert_eq!(token.expires_at, START + TEN_MINUTES);
    assert_eq!(
        token.node_id(registry.trust_domain()),
        id(&format!("/signet/node/join/{}", token.id))
    );
    let Tail::Changes(changes) = log.tail(start, 100).await.unwrap() else {
        panic!()
    };
    let bits = |text: &str| u128::from_str_radix(text, 16).unwrap().to_be_bytes();
    for entry in changes {
        let stored = [&entry.change.key[..], &entry.change.body.unwrap()].concat();
        let text = secret.expose();
        for secret in [text.as_bytes(), &bits(&text)] {
            assert!(!stored.windows(secret.len()).any(|window| window == secret));
        }
    }
    let hash = digest::hex(&digest::sha256(&bits(&secret.expose())));
    assert_eq!(token.id.to_string(), hash[..32]);
}

#[tokio::test]
async fn a_wish_for_a_token_is_checked() {
    let (_, registry) = empty().await;
    for (ttl, spiffe_id, fields) in [
        (Some("9s"), None, vec!["ttl"]),
        (Some("31d"), None, vec!["ttl"]),
        (
            Some("soon"),
            Some("spiffe://other.test/n"),
            vec!["spiffe_id", "ttl"],
        ),
        (
            None,
            Some("spiffe://dev.test/signet/node/join/x"),
            vec!["spiffe_id"],
        ),
        (None, Some("spiffe://dev.test/signet/server/a"), vec!["spiffe_id"]),
        (None, Some("spiffe://dev.test"), vec!["spiffe_id"]),
    ] {
        let wish = JoinTokenWish {
            ttl: ttl.map(str::to_owned),
            spiffe_id: spiffe_id.map(str::to_owned),
        };
        let error = registry
            .create_join_token(&wish, origin())
            .await
            .map(drop)
            .unwrap_err();
        let RegistryError::InvalidJoinToken(problems) = error else {
            panic!("{error}")
        };
        assert_eq!(
            problems.iter().map(|p| p.field.as_str()).collect::<Vec<_>>(),
            fields
        );
    }
}

#[tokio::test]
async fn a_token_binds_to_its_first_key_which_may_come_again_until_it_expires() {
    let (log, registry) = empty().await;
    let (secret, token) = registry
        .create_join_token(&JoinTokenWish::default(), origin())
        .await
        .unwrap();
    let (first, second) = (key(), key());
    let text = secret.expose();
    let node = registry.attest_with_token(&text, &first, START).await.unwrap();
    assert_eq!(
        (node.public_key_sha256, node.join_token),
        (first.fingerprint(), Some(token.id))
    );
    let head = *log.head().borrow();
    let again = registry
        .attest_with_token(&text, &first, START + Duration::from_secs(599))
        .await
        .unwrap();
    assert_eq!(again, node);
    assert_eq!(*log.head().borrow(), head, "nothing is written for it");
    let error = registry
        .attest_with_token(&text, &second, START)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SGRG012");
    for key in [&first, &second] {
        let error = registry
            .attest_with_token(&text, key, START + TEN_MINUTES)
            .await
            .unwrap_err();
        assert!(
            matches!(error, RegistryError::JoinTokenExpired { late_s: 0 }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let (_, registry) = empty().await;
    let (secret, _) = registry
        .create_join_token(&JoinTokenWish::default(), origin())
        .await
        .unwrap();
    let text = secret.expose();
    let upper = text.to_uppercase();
    for wrong in ["", "x", &"0".repeat(32), &format!("{text} "), &text[1..], &upper] {
        if wrong == text {
            continue; // 32 decimal digits have no upper case
        }
        let error = registry
            .attest_with_token(wrong, &key(), START)
            .await
            .unwrap_err();
        assert!(
            matches!(error, RegistryError::JoinTokenUnknown),
            "{wrong}: {error}"
        );
    }
}

/// Sixteen keys at the same instant, on two servers over one log, many times over: exactly one wins each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_keys_at_the_same_instant_exactly_one_wins() {
    const KEYS: usize = 16;
    let log = MemoryLog::new();
    let servers = [
        Arc::new(open(log.clone()).await),
        Arc::new(open(log.clone()).await),
    ];
    for _ in 0..50 {
        let (secret, token) = servers[0]
            .create_join_token(&JoinTokenWish::default(), origin())
            .await
            .unwrap();
        for server in &servers {
            server.followed().catch_up().await.unwrap();
        }
        let barrier = Arc::new(Barrier::new(KEYS));
        let tasks: Vec<_> = (0..KEYS)
            .map(|n| {
                let (server, barrier) = (servers[n % 2].clone(), barrier.clone());
                let text = secret.expose();
                tokio::spawn(async move {
                    let key = key();
                    barrier.wait().await;
                    let outcome = server.attest_with_token(&text, &key, START).await;
                    (key.fingerprint(), outcome)
                })
            })
            .collect();
        let mut winners = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                (key, Ok(node)) => winners.push((key, node)),
                (_, Err(error)) => assert!(matches!(error, RegistryError::JoinTokenBound), "{error}"),
            }
        }
        assert_eq!(winners.len(), 1);
        let (key, node) = &winners[0];
        assert_eq!(node.public_key_sha256, *key);
        for server in &servers {
            server.followed().catch_up().await.unwrap();
            let bound = server.read(|s| s.join_token(token.id).unwrap().bound);
            assert_eq!(bound.map(|(key, _)| key), Some(*key));
        }
    }
}

#[tokio::test]
async fn a_lost_or_unanswered_binding_succeeds_when_the_same_key_tries_again() {
    for fault in Fault::ALL {
        let log = FaultyLog::new(Arc::new(MemoryLog::new()));
        let registry = open(log.clone()).await;
        let (secret, _) = registry
            .create_join_token(&JoinTokenWish::default(), origin())
            .await
            .unwrap();
        let (first, second) = (key(), key());
        let text = secret.expose();
        log.plan(Op::Commit, 1, fault);
        let outcome = registry.attest_with_token(&text, &first, START).await;
        match fault {
            // It certainly was not written, so the caller is told; it may try again.
            Fault::Refused => assert!(matches!(outcome, Err(RegistryError::Commit(_))), "{outcome:?}"),
            Fault::Lost | Fault::Unanswered => assert!(outcome.is_ok(), "{fault:?}: {outcome:?}"),
        }
        let node = registry.attest_with_token(&text, &first, START).await.unwrap();
        assert_eq!(node.public_key_sha256, first.fingerprint());
        let error = registry
            .attest_with_token(&text, &second, START)
            .await
            .unwrap_err();
        assert!(matches!(error, RegistryError::JoinTokenBound), "{error}");
    }
}

/// The commit lands, neither it nor the reading after it is answered; the server restarts.
#[tokio::test]
async fn a_binding_that_landed_unseen_is_found_after_a_restart() {
    let memory = MemoryLog::new();
    let log = FaultyLog::new(Arc::new(memory.clone()));
    let registry = open(log.clone()).await;
    let (secret, _) = registry
        .create_join_token(&JoinTokenWish::default(), origin())
        .await
        .unwrap();
    let (first, text) = (key(), secret.expose());
    log.plan(Op::Commit, 1, Fault::Unanswered);
    log.plan(Op::Tail, 1, Fault::Lost);
    let error = registry
        .attest_with_token(&text, &first, START)
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Follow(_)), "{error}");
    let restarted = open(memory).await;
    let error = restarted
        .attest_with_token(&text, &key(), START)
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::JoinTokenBound), "{error}");
    restarted.attest_with_token(&text, &first, START).await.unwrap();
    // And the old process recovers by itself.
    registry.attest_with_token(&text, &first, START).await.unwrap();
}

fn issue(attested_at: UnixTime, key: &PublicKey, svid: NodeSvid) -> NodeIssue<'_> {
    NodeIssue {
        attested_at,
        key,
        svid,
        step: Step::Unsaid,
    }
}

#[tokio::test]
async fn a_banned_node_stays_out_until_it_is_evicted() {
    let (_, registry) = empty().await;
    let (secret, _) = registry
        .create_join_token(&JoinTokenWish::default(), origin())
        .await
        .unwrap();
    let (key, text) = (key(), secret.expose());
    let node = registry.attest_with_token(&text, &key, START).await.unwrap();
    for reason in ["", &"r".repeat(1025)] {
        let error = registry.ban_node(&node.id, reason, origin()).await.unwrap_err();
        assert!(matches!(error, RegistryError::Reason { .. }), "{error}");
    }
    registry.ban_node(&node.id, "stolen", origin()).await.unwrap();
    let svid = NodeSvid {
        serial: "01".into(),
        not_after: START + TEN_MINUTES,
    };
    for error in [
        registry.attest_with_token(&text, &key, START).await.unwrap_err(),
        registry
            .record_node_svid(&node.id, issue(START, &key, svid.clone()), START)
            .await
            .unwrap_err(),
    ] {
        assert!(matches!(error, RegistryError::NodeBanned { .. }), "{error}");
    }
    registry.evict_node(&node.id, origin()).await.unwrap();
    let error = registry.evict_node(&node.id, origin()).await.unwrap_err();
    assert!(matches!(error, RegistryError::NodeUnknown { .. }), "{error}");
    // What it joined with went with it: only somebody who may make tokens lets it in again.
    let error = registry.attest_with_token(&text, &key, START).await.unwrap_err();
    assert!(matches!(error, RegistryError::JoinTokenUnknown), "{error}");
    let wish = JoinTokenWish {
        spiffe_id: Some(id("/hosts/one").to_string()),
        ttl: None,
    };
    let (secret, _) = registry.create_join_token(&wish, origin()).await.unwrap();
    let node = registry
        .attest_with_token(&secret.expose(), &key, START)
        .await
        .unwrap();
    let known = registry
        .record_node_svid(&node.id, issue(START, &key, svid.clone()), START)
        .await
        .unwrap();
    assert_eq!(known.svid, Some(svid));
}

#[tokio::test]
async fn a_node_comes_back_by_its_newest_key_and_by_no_other() {
    let (_, registry) = empty().await;
    let (secret, _) = registry
        .create_join_token(&JoinTokenWish::default(), origin())
        .await
        .unwrap();
    let (first, newest, foreign) = (key(), key(), key());
    let node = registry
        .attest_with_token(&secret.expose(), &first, START)
        .await
        .unwrap();
    // Before it had any SVID, too: the answer with the first one may have been lost.
    assert_eq!(registry.attest_with_key(&node.id, &first).unwrap().id, node.id);
    let svid = NodeSvid {
        serial: "01".into(),
        not_after: START + TEN_MINUTES,
    };
    let renewed = registry
        .record_node_svid(&node.id, issue(START, &newest, svid), START)
        .await
        .unwrap();
    assert_eq!(registry.attest_with_key(&node.id, &newest).unwrap(), renewed);
    let unknown = |id: &SpiffeId, key: &PublicKey| {
        let error = registry.attest_with_key(id, key).unwrap_err();
        assert!(matches!(error, RegistryError::NodeKeyUnknown { .. }), "{error}");
        error.to_string().replace(id.as_str(), "ID")
    };
    // An older key, another's key, and a node that does not exist are answered alike.
    let words = unknown(&node.id, &first);
    assert_eq!(unknown(&node.id, &foreign), words);
    assert_eq!(unknown(&id("/hosts/nowhere"), &newest), words);
    // That it is banned is for the node alone to know; an eviction is final.
    registry.ban_node(&node.id, "stolen", origin()).await.unwrap();
    assert_eq!(unknown(&node.id, &foreign), words);
    let error = registry.attest_with_key(&node.id, &newest).unwrap_err();
    assert!(matches!(error, RegistryError::NodeBanned { .. }), "{error}");
    registry.evict_node(&node.id, origin()).await.unwrap();
    assert_eq!(unknown(&node.id, &newest), words);
}

#[tokio::test]
async fn a_copied_key_shows_when_its_second_holder_renews_and_is_remembered() {
    let (log, registry) = empty().await;
    let (secret, _) = registry
        .create_join_token(&JoinTokenWish::default(), origin())
        .await
        .unwrap();
    let key = key();
    let node = registry
        .attest_with_token(&secret.expose(), &key, START)
        .await
        .unwrap();
    let svid = NodeSvid {
        serial: "01".into(),
        not_after: START + TEN_MINUTES,
    };
    let renew = async |registry: &signet_registry::Registry, step| {
        let issue = NodeIssue {
            step,
            ..issue(START, &key, svid.clone())
        };
        let known = registry.record_node_svid(&node.id, issue, START).await.unwrap();
        (known.renewals.count, known.renewals.copies)
    };
    let next = |from: u8, to: u8| Step::Next {
        from: Some([from; 16]),
        to: [to; 16],
    };
    assert_eq!(renew(&registry, Step::Begin([1; 16])).await, (1, 0));
    assert_eq!(renew(&registry, next(1, 2)).await, (2, 0));
    assert_eq!(renew(&registry, next(1, 9)).await, (3, 1));
    // Another server, or this one after a restart, goes on from there.
    let other = open(log).await;
    assert_eq!(renew(&other, next(9, 8)).await, (4, 1));
    assert_eq!(renew(&other, next(2, 3)).await, (5, 2));
    let shown = other.read(|state| state.node(&node.id).cloned()).unwrap();
    assert_eq!(shown.renewals.copied_at, Some(START));
}

#[tokio::test]
async fn an_svid_begun_before_the_node_joined_anew_is_not_recorded() {
    let (_, registry) = empty().await;
    let wish = JoinTokenWish {
        spiffe_id: Some(id("/hosts/one").to_string()),
        ttl: None,
    };
    let (old, new) = (key(), key());
    let (secret, _) = registry.create_join_token(&wish, origin()).await.unwrap();
    let before = registry
        .attest_with_token(&secret.expose(), &old, START)
        .await
        .unwrap();
    registry.evict_node(&before.id, origin()).await.unwrap();
    let (secret, _) = registry.create_join_token(&wish, origin()).await.unwrap();
    let later = START + Duration::from_millis(1);
    let after = registry
        .attest_with_token(&secret.expose(), &new, later)
        .await
        .unwrap();
    let svid = NodeSvid {
        serial: "01".into(),
        not_after: START + TEN_MINUTES,
    };
    let error = registry
        .record_node_svid(&before.id, issue(before.attested_at, &old, svid), later)
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::NodeKeyUnknown { .. }), "{error}");
    assert_eq!(registry.attest_with_key(&after.id, &new).unwrap(), after);
}

#[tokio::test]
async fn an_eviction_removes_every_token_that_the_node_used_and_no_other() {
    for fault in [None, Some(Fault::Lost), Some(Fault::Unanswered)] {
        let log = FaultyLog::new(Arc::new(MemoryLog::new()));
        let registry = open(log.clone()).await;
        let wish = JoinTokenWish {
            spiffe_id: Some(id("/hosts/one").to_string()),
            ttl: None,
        };
        let mut used = Vec::new();
        for _ in 0..2 {
            let (secret, _) = registry.create_join_token(&wish, origin()).await.unwrap();
            let key = key();
            registry
                .attest_with_token(&secret.expose(), &key, START)
                .await
                .unwrap();
            used.push((secret.expose(), key));
        }
        let (unused, _) = registry.create_join_token(&wish, origin()).await.unwrap();
        let (other, _) = registry
            .create_join_token(&JoinTokenWish::default(), origin())
            .await
            .unwrap();
        let others_key = key();
        registry
            .attest_with_token(&other.expose(), &others_key, START)
            .await
            .unwrap();
        if let Some(fault) = fault {
            log.plan(Op::Commit, 1, fault);
        }
        registry.evict_node(&id("/hosts/one"), origin()).await.unwrap();
        for (text, key) in &used {
            let error = registry.attest_with_token(text, key, START).await.unwrap_err();
            assert!(matches!(error, RegistryError::JoinTokenUnknown), "{error}");
        }
        registry
            .attest_with_token(&unused.expose(), &key(), START)
            .await
            .unwrap();
        registry
            .attest_with_token(&other.expose(), &others_key, START)
            .await
            .unwrap();
    }
}

/// A token that binds while its node is evicted: the one that comes second finds the node changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_used_during_the_eviction_does_not_outlive_it_unseen() {
    let log = MemoryLog::new();
    let servers = [
        Arc::new(open(log.clone()).await),
        Arc::new(open(log.clone()).await),
    ];
    let wish = JoinTokenWish {
        spiffe_id: Some(id("/hosts/one").to_string()),
        ttl: None,
    };
    for _ in 0..50 {
        let (first, _) = servers[0].create_join_token(&wish, origin()).await.unwrap();
        let (second, token) = servers[0].create_join_token(&wish, origin()).await.unwrap();
        servers[0]
            .attest_with_token(&first.expose(), &key(), START)
            .await
            .unwrap();
        for server in &servers {
            server.followed().catch_up().await.unwrap();
        }
        let barrier = Arc::new(Barrier::new(2));
        let (server, waits) = (servers[1].clone(), barrier.clone());
        let joining = tokio::spawn(async move {
            let key = key();
            waits.wait().await;
            server.attest_with_token(&second.expose(), &key, START).await
        });
        barrier.wait().await;
        let evicted = servers[0].evict_node(&id("/hosts/one"), origin()).await;
        joining.await.unwrap().unwrap();
        servers[0].followed().catch_up().await.unwrap();
        // Joined last, whichever came first, unless the eviction saw that and says so.
        assert!(
            matches!(evicted, Ok(()) | Err(RegistryError::Changed)),
            "{evicted:?}"
        );
        let node = servers[0].read(|s| s.node(&id("/hosts/one")).cloned());
        let bound = servers[0].read(|s| s.join_token(token.id).unwrap().bound);
        assert_eq!(node.map(|n| n.public_key_sha256), bound.map(|(key, _)| key));
    }
}

#[tokio::test]
async fn a_sweep_removes_what_is_over_and_nothing_else() {
    let (_, registry) = empty().await;
    let until = |path: &str, secs: u64| signet_registry::NewEntry {
        expires_at: Some((START + Duration::from_secs(secs)).to_string()),
        ..draft(path, "unix:uid:1")
    };
    let drafts = [until("/a", 10), until("/b", 20), draft("/c", "unix:uid:1")];
    registry.create(&drafts, origin()).await.unwrap();
    let (secret, token) = registry
        .create_join_token(&JoinTokenWish::default(), origin())
        .await
        .unwrap();
    let node = registry
        .attest_with_token(&secret.expose(), &key(), START)
        .await
        .unwrap();
    assert_eq!(registry.sweep(START + Duration::from_secs(9)).await.unwrap(), 0);
    assert_eq!(registry.sweep(START + Duration::from_secs(10)).await.unwrap(), 1);
    assert_eq!(registry.sweep(START + TEN_MINUTES).await.unwrap(), 2);
    registry.read(|s| {
        assert_eq!(
            s.entries()
                .map(|e| e.spiffe_id.path().to_owned())
                .collect::<Vec<_>>(),
            ["/c"]
        );
        assert_eq!((s.join_token(token.id), s.node(&node.id)), (None, Some(&node)));
    });
    registry
        .ban_node(&node.id, "kept", Origin::new("x", "y", START))
        .await
        .unwrap();
    assert_eq!(
        registry.sweep(START + NODE_KEPT).await.unwrap(),
        0,
        "a ban is kept"
    );
    registry.evict_node(&node.id, origin()).await.unwrap();
    let (secret, _) = registry
        .create_join_token(&JoinTokenWish::default(), origin())
        .await
        .unwrap();
    registry
        .attest_with_token(&secret.expose(), &key(), START)
        .await
        .unwrap();
    assert_eq!(registry.sweep(START + NODE_KEPT).await.unwrap(), 2);
    assert!(registry.read(|s| s.nodes().is_empty()));
}

const FINGERPRINT: &str = "/signet/node/x509pop/0123";

#[tokio::test]
async fn a_machine_is_the_same_node_with_the_same_key_and_takes_its_place_with_another() {
    let (log, registry) = empty().await;
    let (id, first, second) = (id(FINGERPRINT), key(), key());
    let later = START + TEN_MINUTES;
    let node = registry
        .attest_with_certificate(&id, &first, "test", START)
        .await
        .unwrap();
    assert_eq!((node.attestor.as_str(), node.join_token), ("x509pop", None));
    let head = log.load().await.unwrap().cursor;
    let again = registry
        .attest_with_certificate(&id, &first, "test", later)
        .await
        .unwrap();
    assert_eq!(again, node);
    assert_eq!(log.load().await.unwrap().cursor, head, "nothing was written");
    let other = registry
        .attest_with_certificate(&id, &second, "test", later)
        .await
        .unwrap();
    assert_eq!(
        (other.attested_at, other.public_key_sha256),
        (later, second.fingerprint())
    );

    registry.ban_node(&id, "stolen", origin()).await.unwrap();
    for key in [&first, &second] {
        let error = registry
            .attest_with_certificate(&id, key, "test", later)
            .await
            .unwrap_err();
        assert!(matches!(error, RegistryError::NodeBanned { .. }), "{error}");
    }
    registry.evict_node(&id, origin()).await.unwrap();
    registry
        .attest_with_certificate(&id, &second, "test", later)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_machine_takes_no_identity_that_is_somebody_elses() {
    let (_, registry) = empty().await;
    let made = registry
        .create_join_token(&JoinTokenWish::default(), origin())
        .await
        .unwrap();
    let joined = registry
        .attest_with_token(&made.0.expose(), &key(), START)
        .await
        .unwrap();
    let error = registry
        .attest_with_certificate(&joined.id, &key(), "test", START)
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::IdentityOfNode { .. }), "{error}");
    registry
        .create(&[draft("/a", "unix:uid:1")], origin())
        .await
        .unwrap();
    let error = registry
        .attest_with_certificate(&id("/a"), &key(), "test", START)
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::IdentityOfEntry { .. }), "{error}");
}

#[tokio::test]
async fn a_machine_is_attested_once_whatever_becomes_of_the_commit() {
    for fault in [Fault::Refused, Fault::Lost, Fault::Unanswered] {
        let log = FaultyLog::new(Arc::new(MemoryLog::new()));
        let registry = open(log.clone()).await;
        let (id, key) = (id(FINGERPRINT), key());
        log.plan(Op::Commit, 1, fault);
        let outcome = registry.attest_with_certificate(&id, &key, "test", START).await;
        match fault {
            Fault::Refused => assert!(matches!(outcome, Err(RegistryError::Commit(_))), "{outcome:?}"),
            Fault::Lost | Fault::Unanswered => assert!(outcome.is_ok(), "{fault:?}: {outcome:?}"),
        }
        let node = registry
            .attest_with_certificate(&id, &key, "test", START)
            .await
            .unwrap();
        assert_eq!(node.public_key_sha256, key.fingerprint());
    }
}
