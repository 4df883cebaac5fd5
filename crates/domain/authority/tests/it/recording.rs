//! Nothing leaves unrecorded.

use crate::{World, allowed, id, jwt, wit, x509};
use signet_authority::{Authority, Context, IssueError, Profile, X509Request};
use signet_crypto::{KeyKind, LocalKey, digest};
use signet_decision::Action;
use signet_record::{CredentialKind, RecordError};
use signet_store::Seq;
use signet_store::faulty::{Fault, Op};
use signet_testkit::START;
use signet_x509::Certificate;

#[tokio::test]
async fn a_journal_that_fails_lets_nothing_out_however_it_fails() {
    let world = World::new().await;
    for fault in Fault::ALL {
        for profile in [Profile::Workload, Profile::Minted, Profile::Node, Profile::Server] {
            let path = match profile {
                Profile::Workload | Profile::Minted => "/a",
                Profile::Node => "/signet/node/join/1",
                Profile::Server => "/signet/server/one",
            };
            let decision = match profile {
                Profile::Server => Authority::own_decision(&id(path)),
                _ => allowed(profile.action(), &id(path)),
            };
            let request = |path| {
                let mut request = x509(path);
                request.context.reason = "for a test".to_owned();
                request
            };
            world.journal.plan(Op::Append, 1, fault);
            let issued = world
                .authority
                .issue_x509(request(path), profile, &decision, START)
                .await;
            let error = issued.map(drop).unwrap_err();
            assert!(
                matches!(&error, IssueError::Record(RecordError::Journal(_))),
                "{error}"
            );
            assert!(error.is_transient());
            world
                .authority
                .issue_x509(request(path), profile, &decision, START)
                .await
                .unwrap();
        }
        let decision = allowed(Action::ISSUE_JWT_SVID, &id("/a"));
        world.journal.plan(Op::Append, 1, fault);
        let issued = world.authority.issue_jwt(jwt("/a"), &decision, START).await;
        assert!(matches!(issued.map(drop), Err(IssueError::Record(_))));
        world
            .authority
            .issue_jwt(jwt("/a"), &decision, START)
            .await
            .unwrap();
        let key = LocalKey::generate(KeyKind::P256).unwrap();
        let decision = allowed(Action::ISSUE_WIT_SVID, &id("/a"));
        world.journal.plan(Op::Append, 1, fault);
        let issued = world.authority.issue_wit(wit("/a", &key), &decision, START).await;
        assert!(matches!(issued.map(drop), Err(IssueError::Record(_))));
        world
            .authority
            .issue_wit(wit("/a", &key), &decision, START)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn of_many_released_together_only_the_recorded_leave() {
    let world = World::new().await;
    let authority = &world.authority;
    let mut signed = Vec::new();
    for n in 0..8 {
        let path = format!("/{n}");
        let decision = allowed(Action::ISSUE_X509_SVID, &id(&path));
        let slot = authority.recorder().reserve().unwrap();
        let admitted = authority
            .admit_x509(x509(&path), Profile::Workload, &decision, slot, START)
            .unwrap();
        signed.push(authority.sign(admitted).await.unwrap());
    }
    for (nth, fault) in [(2, Fault::Refused), (5, Fault::Lost), (7, Fault::Unanswered)] {
        world.journal.plan(Op::Append, nth, fault);
    }
    let released = authority.recorder().release_all(signed).await;
    let left: Vec<_> = released.iter().map(Result::is_ok).collect();
    assert_eq!(left, [true, false, true, true, false, true, false, true]);
    for (n, svid) in released.iter().enumerate() {
        if let Ok(svid) = svid {
            assert_eq!(svid.id, id(&format!("/{n}")), "in order");
        }
    }
}

#[tokio::test]
async fn the_record_says_what_was_issued() {
    let world = World::new().await;
    let context = Context {
        entry_id: Some([9; 16]),
        state_seq: Seq(17),
        request_id: "req-9".to_owned(),
        reason: String::new(),
    };
    let request = X509Request {
        context,
        ..x509("/a")
    };
    let key = request.csr.public_key.clone();
    let svid = world.issue(request, START).await.unwrap();
    let decision = allowed(Action::ISSUE_JWT_SVID, &id("/a"));
    let token = world
        .authority
        .issue_jwt(jwt("/a"), &decision, START)
        .await
        .unwrap();
    let records = world.records().await;
    let [.., x509, jwt] = records.as_slice() else {
        panic!()
    };
    let leaf = Certificate::parse(&svid.chain[0]).unwrap();
    assert_eq!(x509.kind(), CredentialKind::X509Svid);
    assert_eq!(x509.subject, "spiffe://dev.test/a");
    assert_eq!(x509.identifier[..], svid.serial.as_bytes()[..]);
    assert_eq!(
        (x509.issued_at_ms, x509.not_after_ms),
        (START.as_millis(), leaf.not_after().as_millis())
    );
    assert_eq!(x509.not_before_ms, leaf.not_before().as_millis());
    assert_eq!(x509.public_key_sha256[..], key.fingerprint()[..]);
    assert_eq!(x509.credential_sha256[..], digest::sha256(&svid.chain[0])[..]);
    assert_eq!(x509.requested_by, "spiffe://dev.test/signet/node/join/1");
    assert_eq!(
        (&x509.entry_id[..], x509.state_seq, x509.request_id.as_str()),
        (&[9; 16][..], 17, "req-9")
    );
    assert_eq!(jwt.kind(), CredentialKind::JwtSvid);
    assert_eq!(digest::hex(&jwt.identifier), token.jti);
    assert_eq!(jwt.audience_sha256, [digest::sha256(b"aud").to_vec()]);
    assert_eq!(
        jwt.credential_sha256[..],
        digest::sha256(token.token.as_bytes())[..]
    );
    assert_eq!((jwt.public_key_sha256.len(), jwt.state_seq), (0, 42));
    // The record never holds the token itself.
    assert!(!format!("{jwt:?}").contains(&token.token));
    let kinds: Vec<_> = [CredentialKind::Node, CredentialKind::Server]
        .into_iter()
        .map(|kind| kind as i32)
        .collect();
    assert!(records.iter().all(|record| !kinds.contains(&record.kind)));
}
