use crate::{draft, empty, fields, id, open, origin, own};
use signet_fault::Coded;
use signet_registry::{EntryId, JoinTokenWish, NewEntry, REGISTER, RegistryError, limits};
use signet_store::{ChangeLog, Seq};
use signet_testkit::START;
use std::time::Duration;

#[test]
fn the_register_is_sound() {
    assert_eq!(signet_fault::flaws(&[REGISTER]), []);
}

#[tokio::test]
async fn an_entry_gets_its_defaults() {
    let (_, registry) = empty().await;
    let created = registry
        .create(&[draft("/a", "unix:uid:1")], origin())
        .await
        .unwrap();
    let entry = &created[0];
    assert_eq!(
        (entry.x509_ttl, entry.jwt_ttl),
        (Duration::from_secs(3_600), Duration::from_secs(300))
    );
    assert_eq!(
        (entry.parent_id.clone(), entry.expires_at, entry.seq),
        (None, None, Seq(1))
    );
    assert_eq!(registry.read(|s| s.entry(entry.id)).as_ref(), Some(entry));
}

#[tokio::test]
async fn spiffe_4_ids_of_2048_bytes_are_registered_and_longer_ones_refused() {
    let (_, registry) = empty().await;
    let path = |bytes: usize| format!("/{}", "a".repeat(bytes - "spiffe://dev.test/".len()));
    registry
        .create(&[draft(&path(2048), "unix:uid:1")], origin())
        .await
        .unwrap();
    let error = registry
        .create(&[draft(&path(2049), "unix:uid:1")], origin())
        .await
        .unwrap_err();
    assert_eq!(fields(&error), ["spiffe_id"]);
}

#[tokio::test]
async fn spiffe_5_upper_case_in_a_trust_domain_is_refused_at_registration() {
    let (_, registry) = empty().await;
    for (spiffe_id, parent_id, field) in [
        ("spiffe://DEV.test/a", None, "spiffe_id"),
        ("SPIFFE://dev.test/a", None, "spiffe_id"),
        ("spiffe://dev.test/a", Some("spiffe://Dev.test/n"), "parent_id"),
    ] {
        let bad = NewEntry {
            spiffe_id: spiffe_id.to_owned(),
            parent_id: parent_id.map(str::to_owned),
            ..draft("/a", "unix:uid:1")
        };
        let error = registry.create(&[bad], origin()).await.unwrap_err();
        assert_eq!(fields(&error), [field], "{spiffe_id}");
    }
    // The path keeps its case.
    let created = registry
        .create(&[draft("/A", "unix:uid:1"), draft("/a", "unix:uid:1")], origin())
        .await
        .unwrap();
    assert_ne!(created[0].spiffe_id, created[1].spiffe_id);
}

#[tokio::test]
async fn spiffe_19_a_hint_of_1024_bytes_is_registered_and_a_longer_one_refused() {
    let (_, registry) = empty().await;
    let with_hint = |path: &str, bytes: usize| NewEntry {
        hint: "h".repeat(bytes),
        ..draft(path, "unix:uid:1")
    };
    registry.create(&[with_hint("/a", 1024)], origin()).await.unwrap();
    let error = registry
        .create(&[with_hint("/b", 1025)], origin())
        .await
        .unwrap_err();
    assert_eq!(fields(&error), ["hint"]);
}

#[tokio::test]
async fn every_problem_of_a_draft_is_reported_with_its_field() {
    let (_, registry) = empty().await;
    let bad = NewEntry {
        spiffe_id: "spiffe://other.test/a".to_owned(),
        parent_id: Some("spiffe://dev.test".to_owned()),
        selectors: vec![
            "unix:uid:1".to_owned(),
            "nonsense".to_owned(),
            "unix:uid:1".to_owned(),
        ],
        x509_ttl: Some("7h".to_owned()),
        jwt_ttl: Some("5 minutes".to_owned()),
        dns_names: vec![
            "ok.example".to_owned(),
            "*.example".to_owned(),
            "ok.example".to_owned(),
        ],
        hint: "a\nb".to_owned(),
        owner: "o".repeat(257),
        federates_with: vec!["dev.test".to_owned(), "Upper".to_owned()],
        jwt_audiences: vec![String::new(), "a".repeat(513)],
        expires_at: Some("2020-01-01T00:00:00Z".to_owned()),
    };
    let error = registry.create(&[bad], origin()).await.unwrap_err();
    assert_eq!(
        fields(&error),
        [
            "spiffe_id",
            "parent_id",
            "selectors[1]",
            "selectors[2]",
            "x509_ttl",
            "jwt_ttl",
            "dns_names[1]",
            "dns_names[2]",
            "hint",
            "owner",
            "federates_with[0]",
            "federates_with[1]",
            "jwt_audiences[0]",
            "jwt_audiences[1]",
            "expires_at",
        ]
    );
    assert_eq!(error.code(), "SGRG001");
}

#[test]
fn what_a_draft_may_not_be() {
    let many = |n: usize, f: fn(usize) -> String| (0..n).map(f).collect::<Vec<_>>();
    let base = || draft("/a", "unix:uid:1");
    let cases: Vec<(&str, NewEntry)> = vec![
        (
            "spiffe_id",
            NewEntry {
                spiffe_id: String::new(),
                ..base()
            },
        ),
        (
            "spiffe_id",
            NewEntry {
                spiffe_id: "spiffe://dev.test".into(),
                ..base()
            },
        ),
        (
            "spiffe_id",
            NewEntry {
                spiffe_id: "spiffe://dev.test/".into(),
                ..base()
            },
        ),
        ("spiffe_id", draft("/signet/node/join/x", "unix:uid:1")),
        ("spiffe_id", draft("/signet/server/a", "unix:uid:1")),
        ("spiffe_id", draft("/signet", "unix:uid:1")),
        ("spiffe_id", draft("/ns/{k8s.ns}", "unix:uid:1")),
        ("selectors[0]", draft("/a", "unix:uid")),
        ("selectors[0]", draft("/a", "unix:sha256:abc")),
        ("selectors[0]", draft("/a", "unix:exe:/bin/a")),
        (
            "parent_id",
            NewEntry {
                parent_id: Some(String::new()),
                ..base()
            },
        ),
        (
            "parent_id",
            NewEntry {
                parent_id: Some("spiffe://other.test/n".into()),
                ..base()
            },
        ),
        (
            "selectors",
            NewEntry {
                selectors: vec![],
                ..base()
            },
        ),
        (
            "selectors",
            NewEntry {
                selectors: many(33, |n| format!("unix:gid:{n}")),
                ..base()
            },
        ),
        (
            "x509_ttl",
            NewEntry {
                x509_ttl: Some("4s".into()),
                ..base()
            },
        ),
        (
            "x509_ttl",
            NewEntry {
                x509_ttl: Some("21601s".into()),
                ..base()
            },
        ),
        (
            "jwt_ttl",
            NewEntry {
                jwt_ttl: Some("25h".into()),
                ..base()
            },
        ),
        (
            "jwt_ttl",
            NewEntry {
                jwt_ttl: Some(String::new()),
                ..base()
            },
        ),
        (
            "dns_names",
            NewEntry {
                dns_names: many(17, |n| format!("h{n}.example")),
                ..base()
            },
        ),
        (
            "dns_names[0]",
            NewEntry {
                dns_names: vec!["10.0.0.1".into()],
                ..base()
            },
        ),
        (
            "dns_names[0]",
            NewEntry {
                dns_names: vec!["UPPER.example".into()],
                ..base()
            },
        ),
        (
            "dns_names[0]",
            NewEntry {
                dns_names: vec!["a..b".into()],
                ..base()
            },
        ),
        (
            "dns_names[0]",
            NewEntry {
                dns_names: vec!["-a".into()],
                ..base()
            },
        ),
        (
            "dns_names[0]",
            NewEntry {
                dns_names: vec!["a.".into()],
                ..base()
            },
        ),
        (
            "federates_with",
            NewEntry {
                federates_with: many(33, |n| format!("td{n}")),
                ..base()
            },
        ),
        (
            "jwt_audiences",
            NewEntry {
                jwt_audiences: many(17, |n| format!("a{n}")),
                ..base()
            },
        ),
        (
            "jwt_audiences[1]",
            NewEntry {
                jwt_audiences: vec!["a".into(), "a".into()],
                ..base()
            },
        ),
        (
            "expires_at",
            NewEntry {
                expires_at: Some("tomorrow".into()),
                ..base()
            },
        ),
        (
            "expires_at",
            NewEntry {
                expires_at: Some(START.to_string()),
                ..base()
            },
        ),
    ];
    for (field, bad) in cases {
        let problems = bad.check(&own(), START).unwrap_err();
        assert_eq!(problems.len(), 1, "{bad:?}: {problems:?}");
        assert_eq!(problems[0].field, field, "{bad:?}");
    }
    let edges = NewEntry {
        x509_ttl: Some("6h".into()),
        jwt_ttl: Some("5s".into()),
        expires_at: Some((START + Duration::from_secs(1)).to_string()),
        ..base()
    };
    assert!(edges.check(&own(), START).is_ok());
}

#[tokio::test]
async fn a_call_creates_all_entries_or_none() {
    let (log, registry) = empty().await;
    let drafts = [
        draft("/a", "unix:uid:1"),
        draft("no slash", "unix:uid:1"),
        draft("/c", "unix:uid:1"),
        draft("/d", "nonsense"),
    ];
    let error = registry.create(&drafts, origin()).await.unwrap_err();
    let RegistryError::InvalidEntries(bad) = &error else {
        panic!("{error}")
    };
    assert_eq!(bad.iter().map(|e| e.index).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(registry.read(|s| s.entry_count()), 0);
    assert_eq!(*log.head().borrow(), Seq(0));
}

#[tokio::test]
async fn ten_thousand_entries_are_one_commit_and_more_are_refused() {
    let (log, registry) = empty().await;
    let max = limits::ENTRIES_PER_COMMIT_MAX;
    let drafts: Vec<_> = (0..=max)
        .map(|n| draft(&format!("/w/{n}"), "unix:uid:1"))
        .collect();
    for wrong in [&drafts[..], &[]] {
        let error = registry.create(wrong, origin()).await.unwrap_err();
        assert!(matches!(error, RegistryError::Count { .. }), "{error}");
    }
    let created = registry.create(&drafts[..max], origin()).await.unwrap();
    assert_eq!((created.len(), *log.head().borrow()), (max, Seq(10_000)));
    // In the order of the call, though all were made in one millisecond.
    assert!(created.windows(2).all(|pair| pair[0].id < pair[1].id));
    let listed: Vec<_> = registry.read(|s| s.entries().map(|e| e.spiffe_id.to_string()).collect());
    assert_eq!(
        listed,
        drafts[..max]
            .iter()
            .map(|d| d.spiffe_id.clone())
            .collect::<Vec<_>>()
    );
    let page: Vec<_> = registry.read(|s| s.entries_after(Some(created[2].id)).take(2).collect());
    assert_eq!(page, created[3..5]);
}

#[tokio::test]
async fn the_same_entry_twice_is_refused_and_the_first_named() {
    let (_, registry) = empty().await;
    let two = NewEntry {
        selectors: vec!["unix:uid:1".into(), "unix:gid:2".into()],
        ..draft("/a", "")
    };
    let reversed = NewEntry {
        selectors: vec!["unix:gid:2".into(), "unix:uid:1".into()],
        hint: "another hint does not make another entry".into(),
        ..two.clone()
    };
    let error = registry
        .create(&[two.clone(), reversed.clone()], origin())
        .await
        .unwrap_err();
    assert!(
        matches!(error, RegistryError::EntryTwice { index: 1, first: 0 }),
        "{error}"
    );
    let first = registry.create(&[two], origin()).await.unwrap()[0].id;
    let error = registry
        .create(std::slice::from_ref(&reversed), origin())
        .await
        .unwrap_err();
    assert!(
        matches!(error, RegistryError::EntryExists { index: 0, existing } if existing == first),
        "{error}"
    );
    let elsewhere = NewEntry {
        parent_id: Some("spiffe://dev.test/node/1".into()),
        ..reversed
    };
    registry.create(&[elsewhere], origin()).await.unwrap();
}

#[tokio::test]
async fn an_update_keeps_id_and_age_and_minds_the_version() {
    let (_, registry) = empty().await;
    let created = registry
        .create(&[draft("/a", "unix:uid:1"), draft("/b", "unix:uid:2")], origin())
        .await
        .unwrap();
    let (first, second) = (&created[0], &created[1]);
    let changed = NewEntry {
        hint: "h".into(),
        ..NewEntry::from(&**first)
    };
    let later = signet_store::Origin::new("x", "y", START + Duration::from_secs(9));
    let updated = registry
        .update(first.id, &changed, Some(first.seq), later)
        .await
        .unwrap();
    assert_eq!((updated.id, updated.created_at), (first.id, first.created_at));
    assert_eq!((updated.hint.as_str(), updated.seq), ("h", Seq(3)));
    let error = registry
        .update(first.id, &changed, Some(first.seq), origin())
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Changed), "{error}");
    let error = registry
        .delete(first.id, Some(first.seq), origin())
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Changed), "{error}");
    let twin = NewEntry::from(&**second);
    let error = registry
        .update(first.id, &twin, None, origin())
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::EntryExists { .. }), "{error}");
    let nobody = EntryId::from_bytes([9; 16]);
    for error in [
        registry
            .update(nobody, &changed, None, origin())
            .await
            .map(drop)
            .unwrap_err(),
        registry.delete(nobody, None, origin()).await.unwrap_err(),
    ] {
        assert!(matches!(error, RegistryError::EntryUnknown { .. }), "{error}");
    }
    registry
        .delete(first.id, Some(updated.seq), origin())
        .await
        .unwrap();
    assert_eq!(registry.read(|s| s.entry_count()), 1);
    // Once gone, it may be said again.
    registry
        .create(&[draft("/a", "unix:uid:1")], origin())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_draft_of_an_entry_gives_the_entry_again() {
    let (_, registry) = empty().await;
    let full = NewEntry {
        parent_id: Some("spiffe://dev.test/node/1".into()),
        x509_ttl: Some("90s".into()),
        dns_names: vec!["b.example".into(), "a.example".into()],
        hint: "hint".into(),
        owner: "team".into(),
        federates_with: vec!["other.test".into()],
        jwt_audiences: vec!["aud".into()],
        expires_at: Some("2030-01-01T00:00:00Z".into()),
        jwt_ttl: Some("2m".into()),
        ..draft("/a", "unix:uid:1")
    };
    let entry = registry
        .create(std::slice::from_ref(&full), origin())
        .await
        .unwrap()[0]
        .clone();
    assert_eq!(NewEntry::from(&*entry), full);
}

#[tokio::test]
async fn no_entry_gets_the_identity_of_a_node() {
    let (log, registry) = empty().await;
    let wish = JoinTokenWish {
        spiffe_id: Some("spiffe://dev.test/node/1".into()),
        ..JoinTokenWish::default()
    };
    let (secret, _) = registry.create_join_token(&wish, origin()).await.unwrap();
    let refused = |error| assert!(matches!(error, RegistryError::IdentityOfNode { .. }), "{error}");
    // While the token is open, and once it is used.
    refused(
        registry
            .create(&[draft("/node/1", "unix:uid:1")], origin())
            .await
            .unwrap_err(),
    );
    registry
        .attest_with_token(&secret.expose(), &crate::key(), START)
        .await
        .unwrap();
    refused(
        registry
            .create(&[draft("/node/1", "unix:uid:1")], origin())
            .await
            .unwrap_err(),
    );
    let other = registry
        .create(&[draft("/a", "unix:uid:1")], origin())
        .await
        .unwrap()[0]
        .id;
    refused(
        registry
            .update(other, &draft("/node/1", "unix:uid:1"), None, origin())
            .await
            .unwrap_err(),
    );
    // A server that has not read of the node yet is stopped by the log itself.
    let behind = open(log.clone()).await;
    let second = JoinTokenWish {
        spiffe_id: Some("spiffe://dev.test/node/2".into()),
        ..JoinTokenWish::default()
    };
    let (secret, _) = registry.create_join_token(&second, origin()).await.unwrap();
    registry
        .attest_with_token(&secret.expose(), &crate::key(), START)
        .await
        .unwrap();
    let error = behind
        .create(&[draft("/node/2", "unix:uid:1")], origin())
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Changed), "{error}");
    // And the other way round.
    let error = registry
        .create_join_token(
            &JoinTokenWish {
                spiffe_id: Some(id("/a").to_string()),
                ..JoinTokenWish::default()
            },
            origin(),
        )
        .await
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, RegistryError::IdentityOfEntry { .. }), "{error}");
}
