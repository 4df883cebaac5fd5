//! WIT-SVIDs as they are issued.

use crate::{World, allowed, csr_of, id, origin, wit};
use serde_json::{Value, json};
use signet_authority::{Authority, IssueError, WitRequest, WitSvid};
use signet_check::jwt;
use signet_check::wit::{SeenProofs, WitSvidError, validate_svid};
use signet_crypto::{KeyKind, LocalKey, digest};
use signet_decision::Action;
use signet_fault::Coded;
use signet_jose::{Confirmation, JwsAlgorithm, Unsigned, base64url};
use signet_keys::{JwtAlgorithm, Purpose};
use signet_record::CredentialKind;
use signet_testkit::START;
use std::time::Duration;

const AUDIENCE: &str = "https://service.dev.test/orders";

async fn issue(authority: &Authority, request: WitRequest) -> Result<WitSvid, IssueError> {
    let decision = allowed(Action::ISSUE_WIT_SVID, &request.id);
    authority
        .issue_wit(request, &decision, START + Duration::from_millis(999))
        .await
}

fn key() -> LocalKey {
    LocalKey::generate(KeyKind::P256).unwrap()
}

fn part(token: &str, n: usize) -> Value {
    let bytes = base64url::decode(token.split('.').nth(n).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// A proof of `key` about `token`.
fn proof(key: &LocalKey, token: &str) -> String {
    let algorithm = JwsAlgorithm::for_key(key.public_key().kind());
    let claims = json!({
        "aud": AUDIENCE,
        "exp": START.as_secs() + 30,
        "jti": "one",
        "wth": base64url::encode(&digest::sha256(token.as_bytes())),
    });
    let unsigned = Unsigned::new(algorithm, "own", Some("wpt+jwt"), &claims).unwrap();
    unsigned.sign_with(key).unwrap()
}

#[tokio::test]
async fn spiffe_75_what_is_issued_is_an_identity_for_the_holder_of_its_key_alone() {
    let world = World::new().await;
    let (own, thief) = (key(), key());
    let svid = issue(&world.authority, wit("/a", &own)).await.unwrap();
    let check = |by: &LocalKey| {
        let mut seen = SeenProofs::new(8);
        validate_svid(&svid.token, &world.view(), START).unwrap().prove(
            &proof(by, &svid.token),
            AUDIENCE,
            &mut seen,
            START,
        )
    };
    let verified = check(&own).unwrap();
    assert_eq!((verified.id, verified.exp), (id("/a"), svid.expires_at));
    assert!(matches!(check(&thief), Err(WitSvidError::Proof(_))));
    assert!(!format!("{svid:?}").contains(&svid.token));
}

#[tokio::test]
async fn spiffe_68_the_header_has_alg_kid_and_typ_and_nothing_else() {
    let world = World::new().await;
    let svid = issue(&world.authority, wit("/a", &key())).await.unwrap();
    let kid = world.keys.active(Purpose::WitSvid).unwrap().kid().to_owned();
    assert_eq!(
        part(&svid.token, 0),
        json!({"alg": "ES256", "kid": kid, "typ": "wit+jwt"})
    );
}

/// Neither an audience nor an issuer that somebody could discover keys by.
#[tokio::test]
async fn spiffe_69_70_71_74_the_claims_are_subject_times_name_and_key_and_nothing_else() {
    let world = World::new().await;
    let own = key();
    let svid = issue(&world.authority, wit("/a", &own)).await.unwrap();
    let confirmation = Confirmation::new(own.public_key(), JwsAlgorithm::Es256).unwrap();
    let claims = part(&svid.token, 1);
    assert_eq!(
        claims,
        json!({
            "sub": "spiffe://dev.test/a",
            "iat": START.as_secs(),
            "exp": START.as_secs() + 3_600,
            "jti": svid.jti,
            "cnf": confirmation.to_value(),
        })
    );
    let jwk = &claims["cnf"]["jwk"];
    assert_eq!((&jwk["alg"], jwk.get("d")), (&json!("ES256"), None));
    assert_eq!(svid.issued_at, START);
}

#[tokio::test]
async fn a_wit_svid_is_bound_to_the_kinds_of_key_that_the_nine_algorithms_have() {
    let world = World::new().await;
    for (kind, alg) in [
        (KeyKind::P256, Some("ES256")),
        (KeyKind::P384, Some("ES384")),
        (KeyKind::P521, Some("ES512")),
        (KeyKind::Rsa2048, Some("RS256")),
        (KeyKind::Ed25519, None),
        (KeyKind::MlDsa44, None),
    ] {
        let own = LocalKey::generate(kind).unwrap();
        let issued = issue(&world.authority, wit("/a", &own)).await;
        match (issued, alg) {
            (Ok(svid), Some(alg)) => {
                assert_eq!(part(&svid.token, 1)["cnf"]["jwk"]["alg"], alg);
                let mut seen = SeenProofs::new(8);
                validate_svid(&svid.token, &world.view(), START)
                    .unwrap()
                    .prove(&proof(&own, &svid.token), AUDIENCE, &mut seen, START)
                    .unwrap();
            }
            (Err(error), None) => assert_eq!(error.code(), "SGAU018", "{error}"),
            (issued, _) => panic!("{kind:?}: {issued:?}"),
        }
    }
}

#[tokio::test]
async fn token_j2_every_algorithm_for_tokens_signs_wit_svids_too() {
    for algorithm in JwtAlgorithm::ALL {
        let world = World::with(|config| config.jwt = algorithm).await;
        let svid = issue(&world.authority, wit("/a", &key())).await.unwrap();
        let signer = world.keys.active(Purpose::WitSvid).unwrap();
        assert_eq!(part(&svid.token, 0)["alg"], signer.jws_algorithm().as_str());
        let _unproven = validate_svid(&svid.token, &world.view(), START).unwrap();
    }
}

/// Neither kind of token passes for the other: not by its form and not by the key that signed it.
#[tokio::test]
async fn spiffe_56_78_a_wit_svid_is_no_jwt_svid_and_the_other_way_round() {
    let world = World::new().await;
    let wit = issue(&world.authority, wit("/a", &key())).await.unwrap();
    let refused = jwt::validate_svid(&wit.token, "aud", &world.view(), START);
    assert!(refused.is_err());
    let decision = allowed(Action::ISSUE_JWT_SVID, &id("/a"));
    let token = world
        .authority
        .issue_jwt(crate::jwt("/a"), &decision, START)
        .await
        .unwrap();
    assert!(validate_svid(&token.token, &world.view(), START).is_err());
    assert_ne!(part(&wit.token, 0)["kid"], part(&token.token, 0)["kid"]);
}

#[tokio::test]
async fn the_decision_must_be_about_this_very_thing() {
    let world = World::new().await;
    let own = key();
    for decision in [
        allowed(Action::ISSUE_WIT_SVID, &id("/b")),
        allowed(Action::ISSUE_X509_SVID, &id("/a")),
        allowed(Action::ISSUE_JWT_SVID, &id("/a")),
    ] {
        let issued = world.authority.issue_wit(wit("/a", &own), &decision, START).await;
        assert!(
            matches!(issued.map(drop), Err(IssueError::Denied(_))),
            "{decision:?}"
        );
    }
}

#[tokio::test]
async fn lives_identities_and_keys_have_bounds() {
    let world = World::new().await;
    let own = key();
    for (secs, fine) in [(4, false), (5, true), (21_600, true), (21_601, false)] {
        let request = WitRequest {
            ttl: Duration::from_secs(secs),
            ..wit("/a", &own)
        };
        assert_eq!(issue(&world.authority, request).await.is_ok(), fine, "{secs}");
    }
    for (text, code) in [
        ("spiffe://dev.test", "SGAU003"),
        ("spiffe://other.test/a", "SGAU002"),
        ("spiffe://dev.test/signet/node/join/1", "SGAU004"),
    ] {
        let request = WitRequest {
            id: text.parse().unwrap(),
            ..wit("/a", &own)
        };
        assert_eq!(issue(&world.authority, request).await.unwrap_err().code(), code);
    }
    let named = WitRequest {
        csr: csr_of(&own, Some(&id("/b")), &[]),
        ..wit("/a", &own)
    };
    assert_eq!(
        issue(&world.authority, named).await.unwrap_err().code(),
        "SGAU005"
    );
    let mut ours = wit("/a", &own);
    ours.csr.public_key = world.keys.active(Purpose::WitSvid).unwrap().public_key().clone();
    assert_eq!(issue(&world.authority, ours).await.unwrap_err().code(), "SGAU007");
    // The longest identity and the largest key still make a token that verifiers read.
    let long = format!("/{}", "a".repeat(2_048 - "spiffe://dev.test/".len()));
    let largest = LocalKey::generate(KeyKind::Rsa4096).unwrap();
    let svid = issue(&world.authority, wit(&long, &largest)).await.unwrap();
    let _unproven = validate_svid(&svid.token, &world.view(), START).unwrap();
}

#[tokio::test]
async fn nothing_is_signed_with_a_key_that_was_called_off() {
    let world = World::new().await;
    let own = key();
    let decision = allowed(Action::ISSUE_WIT_SVID, &id("/a"));
    let slot = world.authority.recorder().reserve().unwrap();
    let admitted = world
        .authority
        .admit_wit(wit("/a", &own), &decision, slot, START)
        .unwrap();
    let kid = world.keys.active(Purpose::WitSvid).unwrap().kid().to_owned();
    world.keys.taint(&kid, origin(START)).await.unwrap();
    let signed = world.authority.sign(admitted).await;
    assert!(matches!(signed.map(drop), Err(IssueError::Tainted { .. })));
    let next = issue(&world.authority, wit("/a", &own)).await.unwrap();
    assert_ne!(part(&next.token, 0)["kid"], kid);
}

#[tokio::test]
async fn the_record_says_what_was_issued_and_for_which_key() {
    let world = World::new().await;
    let own = key();
    let svid = issue(&world.authority, wit("/a", &own)).await.unwrap();
    let records = world.records().await;
    let record = records.last().unwrap();
    assert_eq!(record.kind(), CredentialKind::WitSvid);
    assert_eq!(record.subject, "spiffe://dev.test/a");
    assert_eq!(digest::hex(&record.identifier), svid.jti);
    assert_eq!(record.public_key_sha256[..], own.public_key().fingerprint()[..]);
    assert_eq!(
        record.credential_sha256[..],
        digest::sha256(svid.token.as_bytes())[..]
    );
    assert_eq!(record.not_after_ms, svid.expires_at.as_millis());
    assert_eq!(
        (&record.entry_id[..], record.state_seq, record.request_id.as_str()),
        (&[7; 16][..], 42, "req-1")
    );
    assert!(record.audience_sha256.is_empty());
}
