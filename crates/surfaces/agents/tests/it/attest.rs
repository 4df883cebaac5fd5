use crate::world::{World, chain, reason};
use core::time::Duration;
use signet_check::x509::verify_svid;
use signet_crypto::{KeyKind, LocalKey};
use signet_feed::FeedError;
use signet_time::Clock as _;
use signet_x509::make_csr;
use tonic::Code;

fn key() -> LocalKey {
    LocalKey::generate(KeyKind::P256).unwrap()
}

#[tokio::test]
async fn a_token_gives_a_node_its_svid() {
    let world = World::new("dev.test").await;
    let (key, token) = (key(), world.token().await);
    let before = world.recorded();
    let request = world.attest_request(&key, &token);
    let answer = world
        .prover(&key, world.root_hashes())
        .attest(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.hello.unwrap().protocol, 1);
    let svid = answer.svid.unwrap();
    assert!(
        svid.spiffe_id.starts_with("spiffe://dev.test/signet/node/join/"),
        "{}",
        svid.spiffe_id
    );
    let view = world.view_of(svid.bundle.as_ref().unwrap());
    let verified = verify_svid(&chain(&svid.chain), &view, world.clock.now()).unwrap();
    assert_eq!(verified.id.as_str(), svid.spiffe_id);
    assert_eq!(verified.not_after.as_secs(), svid.not_after_s);
    assert_eq!(world.recorded(), before + 1, "nothing leaves unrecorded");
    let node = world
        .registry
        .read(|state| state.node(&verified.id).cloned())
        .unwrap();
    assert_eq!(node.public_key_sha256, key.public_key().fingerprint());
    assert_eq!(node.svid.as_ref().unwrap().not_after, verified.not_after);
}

#[tokio::test]
async fn tokens_that_are_not_good_are_refused() {
    let world = World::new("dev.test").await;
    let (key, token) = (key(), world.token().await);
    let mut client = world.prover(&key, world.root_hashes());
    for wrong in ["", "x", "0123456789abcdef0123456789abcdef"] {
        let status = client
            .attest(world.attest_request(&key, wrong))
            .await
            .unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::PermissionDenied, "SGRG010"),
            "{wrong}"
        );
        assert!(
            !status.message().contains("0123456789abcdef"),
            "a token is a secret"
        );
    }
    world.clock.advance(Duration::from_secs(601));
    let status = client
        .attest(world.attest_request(&key, &token))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::PermissionDenied, "SGRG011")
    );
}

#[tokio::test]
async fn of_two_keys_at_the_same_instant_one_gets_the_token() {
    let world = World::new("dev.test").await;
    for _ in 0..8 {
        let token = world.token().await;
        let (one, two) = (key(), key());
        let (mut first, mut second) = (
            world.prover(&one, world.root_hashes()),
            world.prover(&two, world.root_hashes()),
        );
        let (a, b) = tokio::join!(
            first.attest(world.attest_request(&one, &token)),
            second.attest(world.attest_request(&two, &token)),
        );
        assert_ne!(a.is_ok(), b.is_ok(), "exactly one: {a:?} {b:?}");
        let (lost, winner, mut again) = match (&a, &b) {
            (Ok(_), Err(status)) => (status, &one, first),
            (Err(status), _) => (status, &two, second),
            _ => unreachable!(),
        };
        assert_eq!(
            (lost.code(), reason(lost).as_str()),
            (Code::PermissionDenied, "SGRG012")
        );
        // Its answer may have got lost: the same key may come again, over a new connection, too.
        let repeated = again.attest(world.attest_request(winner, &token)).await.unwrap();
        let anew = world.prover(winner, world.root_hashes());
        let once_more = anew
            .clone()
            .attest(world.attest_request(winner, &token))
            .await
            .unwrap();
        let id = |answer: &tonic::Response<signet_proto::agent::v1::AttestResponse>| {
            answer.get_ref().svid.as_ref().unwrap().spiffe_id.clone()
        };
        assert_eq!(id(&repeated), id(&once_more));
    }
}

#[tokio::test]
async fn the_request_must_be_for_the_key_that_the_connection_proves() {
    let world = World::new("dev.test").await;
    let (mine, theirs, token) = (key(), key(), world.token().await);
    let mut client = world.prover(&mine, world.root_hashes());
    let status = client
        .attest(world.attest_request(&theirs, &token))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::PermissionDenied, "SGAS007")
    );
    // The token was not touched.
    client.attest(world.attest_request(&mine, &token)).await.unwrap();
}

#[tokio::test]
async fn malformed_requests_are_told_apart() {
    let world = World::new("dev.test").await;
    let (key, token) = (key(), world.token().await);
    let mut client = world.prover(&key, world.root_hashes());
    let good = world.attest_request(&key, &token);

    let mut no_hello = good.clone();
    no_hello.hello = None;
    let status = client.attest(no_hello).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "SGAS009")
    );

    let mut newer = good.clone();
    newer.hello.as_mut().unwrap().protocol = 2;
    let status = client.attest(newer).await.unwrap_err();
    let expected = FeedError::Protocol {
        theirs: 2,
        oldest: 1,
        newest: 1,
        software: "agent test".into(),
    };
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, expected.to_string().as_str())
    );

    let mut no_evidence = good.clone();
    no_evidence.evidence = None;
    let status = client.attest(no_evidence).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "SGAS008")
    );

    let mut no_csr = good.clone();
    no_csr.csr = vec![0x30, 0].into();
    assert_eq!(
        client.attest(no_csr).await.unwrap_err().code(),
        Code::InvalidArgument
    );

    // An identity that the node would like is not what its token says.
    let wanted = signet_id::SpiffeId::parse("spiffe://dev.test/signet/node/join/me").unwrap();
    let mut wishful = good.clone();
    wishful.csr = make_csr(&key, Some(&wanted), &[]).unwrap().into();
    assert_eq!(
        client.attest(wishful).await.unwrap_err().code(),
        Code::InvalidArgument
    );

    client.attest(good).await.unwrap();
}

#[tokio::test]
async fn a_server_with_another_root_is_not_joined() {
    let world = World::new("dev.test").await;
    let other = World::new("dev.test").await;
    let (key, token) = (key(), world.token().await);
    let mut misled = world.prover(&key, other.root_hashes());
    let status = misled
        .attest(world.attest_request(&key, &token))
        .await
        .unwrap_err();
    let cause = signet_net::client::channel::transport_cause(&status);
    assert!(
        matches!(cause, Some(signet_net::NetError::Handshake { .. })),
        "{status:?}"
    );
    // The token never left: it still binds to the first key that brings it to the right server.
    world.join_with(&token).await;
}

#[tokio::test]
async fn a_node_of_another_domain_is_not_let_in() {
    let world = World::new("dev.test").await;
    let other = World::new("other.test").await;
    let node = other.join().await;
    let mut stranger = world.connect(node.chain.clone(), &node.key);
    let request = signet_proto::agent::v1::RenewRequest {
        csr: make_csr(&node.key, None, &[]).unwrap().into(),
        step: None,
    };
    let status = stranger.renew(request).await.unwrap_err();
    assert!(
        format!("{status:?}").contains("fatal alert"),
        "the handshake fails: {status:?}"
    );
}

#[tokio::test]
async fn the_server_sends_its_root_along() {
    let world = World::new("dev.test").await;
    let last = signet_crypto::digest::sha256(world.shown.last().unwrap());
    assert!(world.root_hashes().contains(&last));
}
