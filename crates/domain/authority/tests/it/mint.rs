//! Credentials on the word of an operator: the same rules, another action, and a reason in the record.

use crate::{World, allowed, id, jwt, wit, x509};
use signet_authority::{IssueError, JwtRequest, Profile, WitRequest, X509Request, limits};
use signet_crypto::{KeyKind, LocalKey};
use signet_decision::{Action, Caller, Decision, Principal, Resource, Role};
use signet_record::CredentialKind;
use signet_testkit::START;

fn with_reason(path: &str, reason: &str) -> (X509Request, JwtRequest) {
    let (mut x509, mut jwt) = (x509(path), jwt(path));
    x509.context.reason = reason.to_owned();
    jwt.context = x509.context.clone();
    (x509, jwt)
}

fn wit_with_reason(path: &str, reason: &str) -> WitRequest {
    let mut wit = wit(path, &LocalKey::generate(KeyKind::P256).unwrap());
    wit.context = with_reason(path, reason).0.context;
    wit
}

fn decided(role: Role, action: Action, path: &str) -> Decision {
    Caller::new(Principal::Local { uid: 7 }, [role]).may(action, Resource::identity(&id(path)))
}

#[tokio::test]
async fn the_record_of_a_minted_credential_says_who_asked_and_why() {
    let world = World::new().await;
    for role in [Role::Minter, Role::Administrator] {
        let (x509, jwt) = with_reason("/ci", "smoke test");
        let decision = decided(role, Action::MINT_X509_SVID, "/ci");
        let authority = &world.authority;
        let issued = authority
            .issue_x509(x509, Profile::Minted, &decision, START)
            .await;
        let svid = issued.unwrap();
        let decision = decided(role, Action::MINT_JWT_SVID, "/ci");
        let token = authority.issue_jwt(jwt, &decision, START).await.unwrap();
        let decision = decided(role, Action::MINT_WIT_SVID, "/ci");
        let bound = wit_with_reason("/ci", "smoke test");
        let key = bound.csr.public_key.fingerprint();
        let bound = authority.issue_wit(bound, &decision, START).await.unwrap();
        let ids = [&svid.id, &token.id, &bound.id];
        assert_eq!(ids, [&id("/ci"); 3]);
        let records = world.records().await;
        let [.., x509, jwt, wit] = records.as_slice() else {
            panic!("too few records");
        };
        assert_eq!(
            [x509.kind(), jwt.kind(), wit.kind()],
            [
                CredentialKind::X509Svid,
                CredentialKind::JwtSvid,
                CredentialKind::WitSvid
            ]
        );
        assert_eq!(wit.public_key_sha256[..], key[..]);
        for record in [x509, jwt, wit] {
            assert_eq!(
                (record.requested_by.as_str(), record.reason.as_str()),
                ("local:uid:7", "smoke test")
            );
            assert!(record.entry_id.is_empty());
        }
    }
}

#[tokio::test]
async fn nothing_is_minted_without_a_reason_or_with_another_decision() {
    let world = World::new().await;
    let before = world.records().await.len();
    let long = "x".repeat(limits::REASON_BYTES_MAX + 1);
    for reason in ["", "  ", "two\nlines", &long] {
        let (x509, jwt) = with_reason("/ci", reason);
        let decision = decided(Role::Minter, Action::MINT_X509_SVID, "/ci");
        let refused = world
            .authority
            .issue_x509(x509, Profile::Minted, &decision, START)
            .await;
        assert!(matches!(refused, Err(IssueError::Reason)), "{reason}");
        let decision = decided(Role::Minter, Action::MINT_JWT_SVID, "/ci");
        let refused = world.authority.issue_jwt(jwt, &decision, START).await;
        assert!(matches!(refused, Err(IssueError::Reason)), "{reason}");
        let decision = decided(Role::Minter, Action::MINT_WIT_SVID, "/ci");
        let wit = wit_with_reason("/ci", reason);
        let refused = world.authority.issue_wit(wit, &decision, START).await;
        assert!(matches!(refused, Err(IssueError::Reason)), "{reason}");
    }
    // An entry's decision does not mint, an operator's does not stand in for an entry, and each is for one kind.
    let (x509, jwt) = with_reason("/ci", "why");
    for (profile, decision) in [
        (Profile::Minted, allowed(Action::ISSUE_X509_SVID, &id("/ci"))),
        (
            Profile::Minted,
            decided(Role::Minter, Action::MINT_JWT_SVID, "/ci"),
        ),
        (
            Profile::Minted,
            decided(Role::Minter, Action::MINT_X509_SVID, "/other"),
        ),
        (
            Profile::Minted,
            decided(Role::Auditor, Action::MINT_X509_SVID, "/ci"),
        ),
        (
            Profile::Workload,
            decided(Role::Administrator, Action::MINT_X509_SVID, "/ci"),
        ),
        (
            Profile::Node,
            decided(Role::Administrator, Action::MINT_X509_SVID, "/ci"),
        ),
    ] {
        let refused = world
            .authority
            .issue_x509(x509.clone(), profile, &decision, START)
            .await;
        assert!(matches!(refused, Err(IssueError::Denied(_))), "{profile:?}");
    }
    for decision in [
        decided(Role::Minter, Action::MINT_X509_SVID, "/ci"),
        decided(Role::Minter, Action::MINT_JWT_SVID, "/other"),
        decided(Role::Auditor, Action::MINT_JWT_SVID, "/ci"),
    ] {
        let refused = world.authority.issue_jwt(jwt.clone(), &decision, START).await;
        assert!(matches!(refused, Err(IssueError::Denied(_))));
    }
    for decision in [
        decided(Role::Minter, Action::MINT_JWT_SVID, "/ci"),
        decided(Role::Minter, Action::MINT_WIT_SVID, "/other"),
        decided(Role::Auditor, Action::MINT_WIT_SVID, "/ci"),
        allowed(Action::ISSUE_JWT_SVID, &id("/ci")),
    ] {
        let wit = wit_with_reason("/ci", "why");
        let refused = world.authority.issue_wit(wit, &decision, START).await;
        assert!(matches!(refused, Err(IssueError::Denied(_))));
    }
    assert_eq!(world.records().await.len(), before);
}

#[tokio::test]
async fn no_identity_of_our_own_processes_is_minted() {
    let world = World::new().await;
    for path in ["/signet/server/one", "/signet/node/join/1", "/signet"] {
        let (x509, jwt) = with_reason(path, "why");
        let decision = decided(Role::Administrator, Action::MINT_X509_SVID, path);
        let refused = world
            .authority
            .issue_x509(x509, Profile::Minted, &decision, START)
            .await;
        assert!(matches!(refused, Err(IssueError::Reserved { .. })), "{path}");
        let decision = decided(Role::Administrator, Action::MINT_JWT_SVID, path);
        let refused = world.authority.issue_jwt(jwt, &decision, START).await;
        assert!(matches!(refused, Err(IssueError::Reserved { .. })), "{path}");
        let decision = decided(Role::Administrator, Action::MINT_WIT_SVID, path);
        let wit = wit_with_reason(path, "why");
        let refused = world.authority.issue_wit(wit, &decision, START).await;
        assert!(matches!(refused, Err(IssueError::Reserved { .. })), "{path}");
    }
}
