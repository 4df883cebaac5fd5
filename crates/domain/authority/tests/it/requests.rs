use crate::{HOUR, World, allowed, csr_of, id, jwt, node, x509};
use signet_authority::{Authority, IssueError, JwtRequest, Profile, REGISTER, X509Request};
use signet_crypto::{KeyKind, LocalKey};
use signet_decision::{Action, Decision, Denied, Principal, Request, Resource};
use signet_fault::Coded;
use signet_testkit::START;
use std::time::Duration;

#[test]
fn the_register_is_sound() {
    assert_eq!(signet_fault::flaws(&[REGISTER]), []);
}

#[tokio::test]
async fn nothing_is_issued_without_a_decision_about_exactly_that() {
    let world = World::new().await;
    let request = |action, resource| Request::new(node(), action, resource);
    let (a, b) = (Resource::identity(&id("/a")), Resource::identity(&id("/b")));
    let wrong = [
        (
            Decision::deny(request(Action::ISSUE_X509_SVID, a.clone()), vec![]),
            "SGDE001",
        ),
        (
            Decision::forbid(request(Action::ISSUE_X509_SVID, a.clone()), "p", "no"),
            "SGDE002",
        ),
        (
            Decision::allow(request(Action::ISSUE_X509_SVID, b), "p", "yes"),
            "SGDE004",
        ),
        (
            Decision::allow(request(Action::ISSUE_JWT_SVID, a.clone()), "p", "yes"),
            "SGDE004",
        ),
        (
            Decision::allow(request(Action::ISSUE_NODE_SVID, a.clone()), "p", "yes"),
            "SGDE004",
        ),
        (
            Decision::allow(
                request(Action::ISSUE_X509_SVID, Resource::all("identity")),
                "p",
                "yes",
            ),
            "SGDE004",
        ),
    ];
    for (decision, code) in wrong {
        let error = world
            .authority
            .issue_x509(x509("/a"), Profile::Workload, &decision, START)
            .await
            .unwrap_err();
        assert_eq!(error.code(), code);
    }
    let decision = allowed(Action::ISSUE_X509_SVID, &id("/a"));
    let error = world
        .authority
        .issue_jwt(jwt("/a"), &decision, START)
        .await
        .unwrap_err();
    assert!(
        matches!(error, IssueError::Denied(Denied::OtherRequest)),
        "{error}"
    );
}

#[tokio::test]
async fn paths_below_signet_are_issued_to_their_own_kind_only() {
    let world = World::new().await;
    let paths = [
        "/a",
        "/signets/a",
        "/signet",
        "/signet/a",
        "/signet/node/join/1",
        "/signet/node/join",
        "/signet/node",
        "/signet/server/one",
        "/signet/server",
        "/signet/server/one/two",
    ];
    let fine = |profile, path: &str| match profile {
        Profile::Workload | Profile::Minted => ["/a", "/signets/a"].contains(&path),
        Profile::Node => ["/a", "/signets/a", "/signet/node/join/1"].contains(&path),
        Profile::Server => path == "/signet/server/one",
    };
    for profile in [Profile::Workload, Profile::Minted, Profile::Node, Profile::Server] {
        for path in paths {
            let mut request = x509(path);
            request.context.reason = "for a test".to_owned();
            let decision = match profile {
                Profile::Server => Authority::own_decision(&id(path)),
                _ => allowed(profile.action(), &id(path)),
            };
            match world
                .authority
                .issue_x509(request, profile, &decision, START)
                .await
            {
                Ok(svid) => assert!(fine(profile, path) && svid.id == id(path), "{profile:?} {path}"),
                Err(error) => {
                    assert!(matches!(error, IssueError::Reserved { .. }), "{error}");
                    assert!(!fine(profile, path), "{profile:?} {path}");
                }
            }
        }
    }
    for path in ["/signet/node/join/1", "/signet/server/one", "/signet/a"] {
        let decision = allowed(Action::ISSUE_JWT_SVID, &id(path));
        let error = world
            .authority
            .issue_jwt(jwt(path), &decision, START)
            .await
            .unwrap_err();
        assert!(matches!(error, IssueError::Reserved { .. }), "{error}");
    }
}

#[tokio::test]
async fn nobody_but_the_server_gets_a_servers_identity() {
    let world = World::new().await;
    let server = id("/signet/server/one");
    for principal in [node(), Principal::Local { uid: 0 }] {
        let request = Request::new(principal, Action::ISSUE_SERVER_SVID, Resource::identity(&server));
        let decision = Decision::allow(request, "p", "yes");
        let error = world
            .authority
            .issue_x509(x509("/signet/server/one"), Profile::Server, &decision, START)
            .await
            .unwrap_err();
        assert!(matches!(error, IssueError::NotOurselves), "{error}");
    }
}

#[tokio::test]
async fn names_in_a_request_are_the_admitted_ones_or_it_is_refused() {
    let world = World::new().await;
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let dns = ["a.example".to_owned(), "b.example".to_owned()];
    let foreign = "spiffe://other.test/a".parse().unwrap();
    let cases: [(Option<signet_id::SpiffeId>, &[&str], Option<&str>); 9] = [
        (None, &[], None),
        (Some(id("/a")), &[], None),
        (Some(id("/a")), &["a.example", "b.example"], None),
        (None, &["b.example", "a.example"], None),
        (Some(id("/b")), &[], Some("SGAU005")),
        (Some(foreign), &[], Some("SGAU005")),
        (Some(id("/signet/server/one")), &[], Some("SGAU005")),
        (None, &["a.example"], Some("SGAU006")),
        (None, &["a.example", "b.example", "evil.example"], Some("SGAU006")),
    ];
    for (named, names, code) in cases {
        let request = X509Request {
            dns_names: dns.to_vec(),
            csr: csr_of(&key, named.as_ref(), names),
            ..x509("/a")
        };
        let issued = world.issue(request, START).await;
        assert_eq!(
            issued.as_ref().err().map(Coded::code),
            code,
            "{named:?} {names:?}"
        );
        if let Ok(svid) = issued {
            let leaf = signet_x509::Certificate::parse(&svid.chain[0]).unwrap();
            assert_eq!(leaf.dns_names(), dns);
        }
    }
}

#[tokio::test]
async fn a_request_with_one_of_our_own_keys_is_refused() {
    let world = World::new().await;
    for key in world.keys.read(|ring| ring.keys().to_vec()) {
        let mut request = x509("/a");
        request.csr.public_key = key.public_key().clone();
        let error = world.issue(request, START).await.unwrap_err();
        assert!(matches!(error, IssueError::CsrIssuerKey), "{error}");
    }
}

#[tokio::test]
async fn without_keys_nothing_is_issued() {
    use signet_authority::NoneReserved;
    use signet_keys::{Keys, KeysConfig, MemorySeal};
    use signet_record::Recorder;
    use signet_store::memory::{MemoryJournal, MemoryLog};
    use std::sync::Arc;
    let recorder = Recorder::new(Arc::new(MemoryJournal::new()));
    let config = KeysConfig::new("dev.test".parse().unwrap());
    let seal = Arc::new(MemorySeal::random().unwrap());
    let keys = Keys::open(Arc::new(MemoryLog::new()), seal, recorder.clone(), config)
        .await
        .unwrap();
    let authority = Authority::new(Arc::new(keys), recorder, "iss", Arc::new(NoneReserved));
    let decision = allowed(Action::ISSUE_X509_SVID, &id("/a"));
    let error = authority
        .issue_x509(x509("/a"), Profile::Workload, &decision, START)
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("SGKY006", true));
    let decision = allowed(Action::ISSUE_JWT_SVID, &id("/a"));
    let error = authority
        .issue_jwt(jwt("/a"), &decision, START + HOUR)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SGKY006");
}

/// A key is accepted for so long after it last signed as its settings say: what would live longer would die early, at
/// a rotation that nobody expects.
#[tokio::test]
async fn nothing_is_issued_for_longer_than_its_key_drains() {
    let world = World::with(|config| {
        config.token_life_max = HOUR;
        config.leaf_life_max = HOUR;
    })
    .await;
    let longer = HOUR + Duration::from_secs(1);
    let world = &world;
    let token = |ttl| async move {
        let request = JwtRequest { ttl, ..jwt("/a") };
        let decision = allowed(Action::ISSUE_JWT_SVID, &request.id);
        world
            .authority
            .issue_jwt(request, &decision, START)
            .await
            .map(drop)
    };
    let leaf = |ttl| X509Request { ttl, ..x509("/a") };
    assert!(world.issue(leaf(HOUR), START).await.is_ok());
    let refused = world.issue(leaf(longer), START).await;
    assert!(matches!(refused, Err(IssueError::Lifetime { .. })), "{refused:?}");
    assert!(token(HOUR).await.is_ok());
    assert!(matches!(token(longer).await, Err(IssueError::Lifetime { .. })));
}
