use crate::world::{Node, World, chain, reason};
use signet_check::x509::verify_svid;
use signet_crypto::{KeyKind, LocalKey};
use signet_id::SpiffeId;
use signet_proto::agent::v1::issue_answer::Outcome;
use signet_proto::agent::v1::issue_item::Wish;
use signet_proto::agent::v1::{self, IssueItem};
use signet_record::{CredentialKind, Record};
use signet_registry::Entry;
use signet_time::Clock as _;
use signet_trust::TrustView;
use signet_x509::{Certificate, make_csr};
use tonic::{Code, Request};

fn key() -> LocalKey {
    LocalKey::generate(KeyKind::P256).unwrap()
}

fn x509(entry: &Entry, csr: Vec<u8>) -> IssueItem {
    IssueItem {
        entry_id: entry.id.as_bytes().to_vec().into(),
        wish: Some(Wish::X509(v1::X509Wish { csr: csr.into() })),
        ..IssueItem::default()
    }
}

fn jwt(entry: &Entry, audience: &[&str]) -> IssueItem {
    let audience = audience.iter().map(|a| (*a).to_owned()).collect();
    IssueItem {
        entry_id: entry.id.as_bytes().to_vec().into(),
        wish: Some(Wish::Jwt(v1::JwtWish { audience })),
        ..IssueItem::default()
    }
}

fn wit(entry: &Entry, csr: Vec<u8>) -> IssueItem {
    IssueItem {
        entry_id: entry.id.as_bytes().to_vec().into(),
        wish: Some(Wish::Wit(v1::WitWish { csr: csr.into() })),
        ..IssueItem::default()
    }
}

async fn issue(node: &Node, items: Vec<IssueItem>) -> Vec<Outcome> {
    let answers = node
        .client
        .clone()
        .issue(v1::IssueRequest { items })
        .await
        .unwrap();
    let answers = answers.into_inner().answers;
    answers
        .into_iter()
        .map(|answer| answer.outcome.expect("an outcome"))
        .collect()
}

fn code(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Refusal(refusal) => &refusal.code,
        Outcome::X509(_) => "x509",
        Outcome::Jwt(_) => "jwt",
        Outcome::Wit(_) => "wit",
    }
}

#[tokio::test]
async fn all_kinds_are_issued_recorded_and_verify() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let entry = world.entry("/w", None).await;
    let before = world.recorded();
    let workload = key();
    let items = vec![
        x509(&entry, make_csr(&workload, None, &[]).unwrap()),
        jwt(&entry, &["a", "b"]),
        x509(&entry, make_csr(&workload, entry.spiffe_id.one(), &[]).unwrap()),
        wit(&entry, make_csr(&workload, entry.spiffe_id.one(), &[]).unwrap()),
    ];
    let mut request = Request::new(v1::IssueRequest { items });
    request
        .metadata_mut()
        .insert("x-request-id", "from-the-agent".parse().unwrap());
    let answers = node
        .client
        .clone()
        .issue(request)
        .await
        .unwrap()
        .into_inner()
        .answers;
    let view = TrustView::new(world.domain.clone()).with_bundle(world.keys.bundle().unwrap());
    let Some(Outcome::X509(issued)) = &answers[0].outcome else {
        panic!("{answers:?}");
    };
    let verified = verify_svid(&chain(&issued.chain), &view, world.clock.now()).unwrap();
    assert_eq!(verified.id, entry.spiffe_id);
    assert_eq!(issued.not_after_s, verified.not_after.as_secs());
    let Some(Outcome::Jwt(token)) = &answers[1].outcome else {
        panic!("{answers:?}");
    };
    let claims = signet_check::jwt::validate_svid(&token.token, "b", &view, world.clock.now()).unwrap();
    assert_eq!(claims.id, entry.spiffe_id);
    assert_eq!(token.expires_at_s - token.issued_at_s, 300);
    let Some(Outcome::Wit(issued)) = &answers[3].outcome else {
        panic!("{answers:?}");
    };
    let _unproven = signet_check::wit::validate_svid(&issued.token, &view, world.clock.now()).unwrap();
    assert_eq!(issued.expires_at_s - issued.issued_at_s, 3_600);

    let records = world
        .journal
        .range(signet_store::Index(before), 10)
        .await
        .unwrap();
    assert_eq!(records.len(), 4);
    for (_, bytes) in &records {
        let Record::Issue(record) = Record::decode(bytes).unwrap() else {
            panic!("another record");
        };
        assert_eq!(record.requested_by, node.id.as_str());
        assert_eq!(record.entry_id.as_ref(), entry.id.as_bytes());
        assert_eq!(record.request_id, "from-the-agent");
        assert!(
            [
                CredentialKind::X509Svid,
                CredentialKind::JwtSvid,
                CredentialKind::WitSvid
            ]
            .contains(&record.kind())
        );
    }
    let text = world.metrics.text();
    assert!(
        text.contains("signet_issue_total{kind=\"x509\",outcome=\"ok\"} 2"),
        "{text}"
    );
    assert!(
        text.contains("signet_issue_total{kind=\"jwt\",outcome=\"ok\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("signet_issue_total{kind=\"wit\",outcome=\"ok\"} 1"),
        "{text}"
    );
}

#[tokio::test]
async fn requests_with_any_kind_of_key_are_taken_and_weak_ones_refused_one_by_one() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let entry = world.entry("/w", None).await;
    let requests = KeyKind::ALL.map(|kind| make_csr(&LocalKey::generate(kind).unwrap(), None, &[]).unwrap());
    let weak = [
        &include_bytes!("../../../../formats/x509/tests/csr/refused_rsa1024.der")[..],
        include_bytes!("../../../../formats/x509/tests/csr/refused_rsa2048_exponent_3.der"),
        include_bytes!("../../../../formats/x509/tests/csr/refused_secp256k1.der"),
    ];
    // All in one call: those that are refused do not spoil the others.
    let all = weak.map(<[u8]>::to_vec).into_iter().chain(requests);
    let outcomes = issue(&node, all.map(|csr| x509(&entry, csr)).collect()).await;
    let view = TrustView::new(world.domain.clone()).with_bundle(world.keys.bundle().unwrap());
    let (refused, issued) = outcomes.split_at(weak.len());
    for outcome in refused {
        assert_eq!(code(outcome), "SGXC033");
    }
    assert_eq!(issued.len(), KeyKind::ALL.len());
    for (kind, outcome) in KeyKind::ALL.iter().zip(issued) {
        let Outcome::X509(issued) = outcome else {
            panic!("{kind:?}: {outcome:?}");
        };
        let chain = chain(&issued.chain);
        verify_svid(&chain, &view, world.clock.now()).unwrap();
        let key = Certificate::parse(&chain[0]).unwrap().public_key().unwrap();
        assert_eq!(key.kind(), *kind);
    }
}

/// WIT-SVIDs are not bound to keys of this kind.
fn ed25519_csr() -> Vec<u8> {
    make_csr(&LocalKey::generate(KeyKind::Ed25519).unwrap(), None, &[]).unwrap()
}

#[tokio::test]
async fn one_bad_item_fails_alone() {
    let world = World::new("dev.test").await;
    let (node, other) = (world.join().await, world.join().await);
    let entry = world.entry("/w", None).await;
    let elsewhere = world.entry("/elsewhere", Some(&other.id)).await;
    let foreign = SpiffeId::parse("spiffe://other.test/w").unwrap();
    let csr = |id: Option<&SpiffeId>, dns: &[String]| make_csr(&key(), id, dns).unwrap();
    let short_id = IssueItem {
        entry_id: vec![1, 2, 3].into(),
        ..jwt(&entry, &["a"])
    };
    let unknown = IssueItem {
        entry_id: vec![7; 16].into(),
        ..jwt(&entry, &["a"])
    };
    let no_wish = IssueItem {
        wish: None,
        ..jwt(&entry, &["a"])
    };
    let many = vec!["a"; 17];
    let items = vec![
        jwt(&entry, &["a"]),
        short_id,
        unknown,
        no_wish,
        jwt(&elsewhere, &["a"]),
        x509(&entry, Vec::new()),
        x509(&entry, vec![0x30; 17 << 10]),
        x509(&entry, csr(Some(&foreign), &[])),
        x509(&entry, csr(elsewhere.spiffe_id.one(), &[])),
        x509(&entry, csr(None, &["w.dev.test".to_owned()])),
        x509(
            &entry,
            strange_csr(&["spiffe://dev.test/w", "spiffe://dev.test/x"], false),
        ),
        x509(&entry, strange_csr(&["spiffe://dev.test/w"], true)),
        x509(&entry, many_names_csr()),
        jwt(&entry, &[]),
        jwt(&entry, &many),
        jwt(&entry, &[""]),
        wit(&elsewhere, csr(None, &[])),
        wit(&entry, Vec::new()),
        wit(&entry, csr(Some(&foreign), &[])),
        wit(&entry, ed25519_csr()),
        x509(&entry, csr(None, &[])),
    ];
    let count = items.len();
    let before = world.recorded();
    let outcomes = issue(&node, items).await;
    let codes: Vec<_> = outcomes.iter().map(code).collect();
    assert_eq!(codes.len(), count);
    assert_eq!(
        (codes[0], codes[count - 1]),
        ("jwt", "x509"),
        "the good ones are served"
    );
    assert_eq!(codes[1..4], ["SGAS011", "SGDE001", "SGAS011"]);
    assert_eq!(
        codes[4], codes[2],
        "another node's entry is answered like one that is not there"
    );
    for (index, outcome) in outcomes.iter().enumerate().take(count - 1).skip(1) {
        let Outcome::Refusal(refusal) = outcome else {
            panic!("item {index}: {outcome:?}");
        };
        assert!(!refusal.retry, "item {index} will never do: {refusal:?}");
        assert!(signet_fault::is_well_formed(&refusal.code), "{refusal:?}");
    }
    assert_eq!(world.recorded(), before + 2, "what was refused was not issued");
}

#[tokio::test]
async fn a_batch_has_its_bounds() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let entry = world.entry("/w", None).await;
    for count in [0, 257] {
        let items = vec![jwt(&entry, &["a"]); count];
        let status = node
            .client
            .clone()
            .issue(v1::IssueRequest { items })
            .await
            .unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::InvalidArgument, "SGAS010"),
            "{count}"
        );
    }
    let outcomes = issue(&node, vec![jwt(&entry, &["a"]); 256]).await;
    assert!(outcomes.iter().all(|outcome| code(outcome) == "jwt"));
    // Longer than any batch can be: refused before it is read whole, and the connection lives on.
    let items = vec![x509(&entry, vec![0; 6 << 20])];
    let status = node
        .client
        .clone()
        .issue(v1::IssueRequest { items })
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::OutOfRange, "SGAS023")
    );
    assert_eq!(code(&issue(&node, vec![jwt(&entry, &["a"])]).await[0]), "jwt");
}

#[tokio::test]
async fn audiences_that_the_entry_does_not_allow_are_refused() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let draft = signet_registry::NewEntry {
        spiffe_id: "spiffe://dev.test/w".into(),
        selectors: vec!["unix:uid:1".into()],
        jwt_audiences: vec!["allowed".into()],
        ..Default::default()
    };
    let entry = world
        .registry
        .create(&[draft], world.origin())
        .await
        .unwrap()
        .remove(0);
    let items = vec![jwt(&entry, &["allowed"]), jwt(&entry, &["allowed", "other"])];
    let outcomes = issue(&node, items).await;
    assert_eq!(code(&outcomes[0]), "jwt");
    assert!(
        matches!(&outcomes[1], Outcome::Refusal(r) if r.message.contains("`other`")),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn an_expired_entry_gives_nothing() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let end = world.clock.now() + core::time::Duration::from_secs(60);
    let draft = signet_registry::NewEntry {
        spiffe_id: "spiffe://dev.test/w".into(),
        selectors: vec!["unix:uid:1".into()],
        expires_at: Some(end.to_string()),
        ..Default::default()
    };
    let entry = world
        .registry
        .create(&[draft], world.origin())
        .await
        .unwrap()
        .remove(0);
    assert_eq!(code(&issue(&node, vec![jwt(&entry, &["a"])]).await[0]), "jwt");
    world.clock.set(end);
    assert_eq!(code(&issue(&node, vec![jwt(&entry, &["a"])]).await[0]), "SGDE001");
}

/// A request that our own `make_csr` would not write.
fn strange_csr(uris: &[&str], is_ca: bool) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = uris
        .iter()
        .map(|uri| rcgen::SanType::URI((*uri).try_into().unwrap()))
        .collect();
    if is_ca {
        // What rcgen writes for a request has no basic constraints of its own.
        let mut constraints =
            rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x03, 0x01, 0x01, 0xff]);
        constraints.set_criticality(true);
        params.custom_extensions.push(constraints);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    params.serialize_request(&key).unwrap().der().to_vec()
}

fn many_names_csr() -> Vec<u8> {
    let names: Vec<String> = (0..100).map(|n| format!("n{n}.dev.test")).collect();
    let params = rcgen::CertificateParams::new(names).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    params.serialize_request(&key).unwrap().der().to_vec()
}

#[tokio::test]
async fn what_was_signed_for_an_entry_is_a_use_of_it_and_what_was_refused_is_none() {
    let world = World::new("dev.test").await;
    let node = world.join().await;
    let (x, j, w) = (
        world.entry("/x", None).await,
        world.entry("/j", None).await,
        world.entry("/w", None).await,
    );
    let refused = world.entry("/refused", None).await;
    let items = vec![
        x509(&refused, b"no request".to_vec()),
        x509(&x, make_csr(&key(), None, &[]).unwrap()),
        jwt(&j, &["a"]),
        wit(&w, make_csr(&key(), None, &[]).unwrap()),
    ];
    let outcomes = issue(&node, items).await;
    assert_eq!(
        outcomes.iter().map(code).skip(1).collect::<Vec<_>>(),
        ["x509", "jwt", "wit"]
    );
    let today = Some(signet_time::Day::of(world.clock.now()));
    let used = [&x, &j, &w, &refused].map(|entry| world.registry.last_used(entry.id));
    assert_eq!(used, [today, today, today, None]);
}
