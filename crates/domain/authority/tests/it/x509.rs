use crate::{HOUR, World, allowed, csr_of, id, origin, x509};
use proptest::prelude::*;
use signet_authority::{IssueError, Profile, X509Request};
use signet_check::x509::{X509SvidError, match_private_key, verify_svid};
use signet_crypto::{KeyKind, LocalKey};
use signet_decision::Action;
use signet_keys::Purpose;
use signet_testkit::START;
use signet_x509::Certificate;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_is_issued_passes_our_own_verifier() {
    let world = World::new().await;
    let svid = world.issue(x509("/a"), START).await.unwrap();
    let verified = verify_svid(&svid.chain, &world.view(), START).unwrap();
    assert_eq!((verified.id, verified.not_after), (id("/a"), svid.not_after));
    assert_eq!(svid.chain.len(), 2, "leaf and intermediate, no root");
}

#[tokio::test]
async fn keys_of_every_usual_kind_are_certified() {
    let world = World::new().await;
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519, KeyKind::Rsa2048] {
        let key = LocalKey::generate(kind).unwrap();
        let request = X509Request {
            csr: csr_of(&key, None, &[]),
            ..x509("/a")
        };
        let svid = world.issue(request, START).await.unwrap();
        match_private_key(&svid.chain[0], &key).unwrap();
        verify_svid(&svid.chain, &world.view(), START).unwrap();
    }
}

#[tokio::test]
async fn spiffe_27_a_leaf_has_one_uri_name_and_the_dns_names_of_its_entry() {
    let world = World::new().await;
    let request = X509Request {
        dns_names: vec!["b.example".to_owned(), "a.example".to_owned()],
        ..x509("/a")
    };
    let svid = world.issue(request, START).await.unwrap();
    let leaf = Certificate::parse(&svid.chain[0]).unwrap();
    assert_eq!(leaf.uri_names(), ["spiffe://dev.test/a"]);
    assert_eq!(leaf.dns_names(), ["b.example", "a.example"]);
    assert_eq!(leaf.name_count(), 3);
}

#[tokio::test]
async fn spiffe_28_a_leaf_without_path_or_of_another_domain_is_not_issued() {
    let world = World::new().await;
    for (text, code) in [
        ("spiffe://dev.test", "SGAU003"),
        ("spiffe://other.test/a", "SGAU002"),
    ] {
        let request = X509Request {
            id: text.parse().unwrap(),
            ..x509("/a")
        };
        let error = world.issue(request, START).await.unwrap_err();
        assert_eq!(signet_fault::Coded::code(&error), code);
    }
}

#[tokio::test]
async fn spiffe_29_a_leaf_is_no_authority_and_signs_digitally_only() {
    let world = World::new().await;
    let svid = world.issue(x509("/a"), START).await.unwrap();
    let leaf = Certificate::parse(&svid.chain[0]).unwrap();
    let usage = leaf.key_usage().unwrap();
    assert!(!leaf.is_ca() && usage.critical && usage.digital_signature);
    assert!(!usage.key_cert_sign && !usage.crl_sign);
    let issuer = Certificate::parse(&svid.chain[1]).unwrap();
    let usage = issuer.key_usage().unwrap();
    assert!(issuer.is_ca() && usage.critical && usage.key_cert_sign);
}

#[tokio::test]
async fn spiffe_30_a_leaf_begins_30_s_back_and_ends_when_asked() {
    let world = World::new().await;
    let now = START + Duration::from_millis(1_234);
    let later = now + HOUR;
    let svid = world.issue(x509("/a"), later).await.unwrap();
    let leaf = Certificate::parse(&svid.chain[0]).unwrap();
    assert_eq!(leaf.not_before(), (later - 30 * SECOND).floor_secs());
    assert_eq!(leaf.not_after(), (later + HOUR).floor_secs());
    assert_eq!(
        (svid.not_before, svid.not_after),
        (leaf.not_before(), leaf.not_after())
    );
    assert_eq!(svid.serial.hex(), leaf.serial_hex());
}

#[tokio::test]
async fn spiffe_30_a_leaf_never_outlives_its_issuer() {
    let world = World::new().await;
    let end = world.keys.active(Purpose::X509Svid).unwrap().not_after().unwrap();
    let at = |left: Duration| end - left;
    // Six hours asked, less is left: it is shortened to the issuer's end, down to ten minutes.
    let long = || X509Request {
        ttl: 6 * HOUR,
        ..x509("/a")
    };
    for left in [6 * HOUR, 5 * HOUR, Duration::from_secs(600)] {
        let svid = world.issue(long(), at(left)).await.unwrap();
        assert_eq!(svid.not_after, end);
    }
    let error = world
        .issue(long(), at(Duration::from_secs(599)))
        .await
        .unwrap_err();
    assert!(
        matches!(error, IssueError::IssuerEnds { left, needed } if left < needed && needed == Duration::from_secs(600)),
        "{error}"
    );
    // Short lives that are asked for are fine, as long as they are not shortened.
    let short = || X509Request {
        ttl: Duration::from_secs(20),
        ..x509("/a")
    };
    let svid = world.issue(short(), at(Duration::from_secs(20))).await.unwrap();
    assert_eq!(svid.not_after, end);
    let error = world
        .issue(short(), at(Duration::from_secs(19)))
        .await
        .unwrap_err();
    assert!(
        matches!(error, IssueError::IssuerEnds { .. }) && error.is_transient(),
        "{error}"
    );
    let error = world.issue(short(), end + HOUR).await.unwrap_err();
    assert!(matches!(error, IssueError::IssuerEnds { .. }), "{error}");
    // Upkeep mends it.
    world.keys.maintain(at(HOUR)).await.unwrap();
    world.issue(long(), at(HOUR)).await.unwrap();
}

#[tokio::test]
async fn spiffe_30_lives_have_bounds() {
    let world = World::new().await;
    for (ttl, fine) in [
        (Duration::from_secs(4), false),
        (Duration::from_secs(5), true),
        (6 * HOUR, true),
        (6 * HOUR + SECOND, false),
        (Duration::MAX, false),
    ] {
        let issued = world.issue(X509Request { ttl, ..x509("/a") }, START).await;
        match issued {
            Ok(_) => assert!(fine, "{ttl:?}"),
            Err(error) => assert!(
                !fine && matches!(error, IssueError::Lifetime { .. }),
                "{ttl:?} {error}"
            ),
        }
    }
}

#[tokio::test]
async fn serial_numbers_differ() {
    let world = World::new().await;
    let mut serials = std::collections::BTreeSet::new();
    for _ in 0..64 {
        assert!(serials.insert(world.issue(x509("/a"), START).await.unwrap().serial));
    }
}

#[tokio::test]
async fn a_tainted_issuer_signs_nothing_more() {
    let world = World::new().await;
    let first = world.keys.active(Purpose::X509Svid).unwrap();
    let decision = allowed(Action::ISSUE_X509_SVID, &id("/a"));
    let slot = world.authority.recorder().reserve().unwrap();
    let early = world
        .authority
        .admit_x509(x509("/a"), Profile::Workload, &decision, slot, START)
        .unwrap();
    world.keys.taint(first.kid(), origin(START)).await.unwrap();
    let svid = world.issue(x509("/a"), START).await.unwrap();
    let issuer = Certificate::parse(&svid.chain[1]).unwrap();
    assert_ne!(issuer.public_key().unwrap(), *first.public_key());
    // What was admitted before is bound to its issuer, and so not signed any more.
    let error = world.authority.sign(early).await.map(drop).unwrap_err();
    assert!(
        matches!(error, IssueError::Tainted { .. }) && error.is_transient(),
        "{error}"
    );
}

#[tokio::test]
async fn spiffe_51_what_a_called_off_intermediate_signed_is_refused_from_the_next_bundle_on() {
    for is_revoked in [false, true] {
        let world = World::new().await;
        let first = world.keys.active(Purpose::X509Svid).unwrap();
        let old = world.issue(x509("/a"), START).await.unwrap();
        verify_svid(&old.chain, &world.view(), START).unwrap();
        if is_revoked {
            world.keys.revoke(first.kid(), origin(START)).await.unwrap();
        } else {
            world.keys.taint(first.kid(), origin(START)).await.unwrap();
        }
        let refused = verify_svid(&old.chain, &world.view(), START).unwrap_err();
        assert!(
            matches!(refused, X509SvidError::TaintedAuthority { index: 1 }),
            "{refused}"
        );
        let new = world.issue(x509("/a"), START).await.unwrap();
        verify_svid(&new.chain, &world.view(), START).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn spiffe_30_whatever_is_asked_whenever(ttl_ms in 0..30_000_000_u64, at_ms in 0..800_000_000_u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let end = world.keys.active(Purpose::X509Svid).unwrap().not_after().unwrap();
            let (now, ttl) = (START + Duration::from_millis(at_ms), Duration::from_millis(ttl_ms));
            if let Ok(svid) = world.issue(X509Request { ttl, ..x509("/a") }, now).await {
                assert!(svid.not_after <= end && svid.not_after <= now + ttl);
                assert!(svid.not_before <= now && now.since(svid.not_before) <= Duration::from_secs(31));
                let life = svid.not_after.since(now) + SECOND;
                assert!(life >= ttl.min(Duration::from_secs(600)), "never dead on arrival");
                assert!(ttl <= 6 * HOUR && ttl >= 5 * SECOND);
            }
        });
    }
}
