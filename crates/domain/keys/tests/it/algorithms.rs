use crate::seals::{field, log_with};
use crate::{DAY, HOUR, World, active, config, origin};
use signet_crypto::{KeyKind, SignatureEncoding};
use signet_jose::JwsAlgorithm;
use signet_keys::{IssuingKey, JwtAlgorithm, Keys, KeysConfig, KeysError, Purpose, Urgency, X509Algorithm};
use signet_store::Change;
use signet_testkit::START;
use signet_x509::Certificate;
use std::sync::Arc;

impl World {
    async fn with(&self, config: KeysConfig) -> Keys {
        let keys = self.open_with(Arc::new(self.log.clone()), config).await.unwrap();
        keys.ensure(START).await.unwrap();
        keys
    }
}

fn x509(algorithm: X509Algorithm) -> KeysConfig {
    KeysConfig {
        x509: algorithm,
        ..config()
    }
}

fn jwt(algorithm: JwtAlgorithm) -> KeysConfig {
    KeysConfig {
        jwt: algorithm,
        ..config()
    }
}

fn certificate(key: &IssuingKey) -> Certificate {
    Certificate::parse(key.certificate().unwrap()).unwrap()
}

/// The algorithm and the kind of each published key for tokens, as the bundle has them, in the order of their names.
fn in_bundle(keys: &Keys) -> Vec<(Option<JwsAlgorithm>, KeyKind)> {
    let bundle = keys.bundle().unwrap();
    let keys = bundle.jwt().iter();
    keys.map(|key| (key.jwk.alg(), key.jwk.public_key().kind()))
        .collect()
}

#[tokio::test]
async fn every_x509_algorithm_makes_a_chain_that_verifies_and_opens_again() {
    for (algorithm, kind) in X509Algorithm::ALL.into_iter().zip([
        KeyKind::P256,
        KeyKind::P384,
        KeyKind::Ed25519,
        KeyKind::MlDsa44,
        KeyKind::MlDsa65,
        KeyKind::MlDsa87,
    ]) {
        let world = World::new();
        world.with(x509(algorithm)).await;
        // Again, from what lies in the log.
        let keys = world.with(x509(algorithm)).await;
        let root = keys.active(Purpose::X509Root).unwrap();
        let svid = keys.active(Purpose::X509Svid).unwrap();
        for key in keys.read(|ring| ring.keys().to_vec()) {
            // The standards for tokens know neither Ed25519 nor ML-DSA.
            let wanted = match key.purpose() {
                Purpose::JwtSvid | Purpose::WitSvid => KeyKind::P256,
                _ => kind,
            };
            assert_eq!(key.public_key().kind(), wanted);
        }
        certificate(&root).verify_signed_by(root.public_key()).unwrap();
        certificate(&svid).verify_signed_by(root.public_key()).unwrap();
        let (algorithm, encoding) = (kind.default_algorithm(), SignatureEncoding::Asn1);
        let signature = svid
            .signer()
            .unwrap()
            .sign(algorithm, encoding, b"m")
            .await
            .unwrap();
        svid.public_key()
            .verify(algorithm, encoding, b"m", &signature)
            .unwrap();
    }
}

#[tokio::test]
async fn another_x509_algorithm_comes_with_the_next_intermediate_below_the_root_that_stands() {
    let world = World::new();
    let keys = world.with(x509(X509Algorithm::P256)).await;
    let root = keys.active(Purpose::X509Root).unwrap();
    drop(keys);
    let keys = world.with(x509(X509Algorithm::MlDsa65)).await;
    assert_eq!(
        keys.active(Purpose::X509Svid).unwrap().public_key().kind(),
        KeyKind::P256
    );
    keys.maintain(START + 4 * DAY).await.unwrap();
    let svid = keys.active(Purpose::X509Svid).unwrap();
    assert_eq!(svid.public_key().kind(), KeyKind::MlDsa65);
    assert_eq!(keys.active(Purpose::X509Root).unwrap().kid(), root.kid());
    certificate(&svid).verify_signed_by(root.public_key()).unwrap();
}

#[tokio::test]
async fn token_j2_every_jwt_algorithm_is_published_with_its_key_and_is_the_only_one_of_it() {
    for algorithm in JwtAlgorithm::ALL {
        let world = World::new();
        world.with(jwt(algorithm)).await;
        // Again, from what lies in the log, with other settings: a key keeps the algorithm that it was made for.
        let keys = world.with(jwt(JwtAlgorithm::default())).await;
        let key = keys.active(Purpose::JwtSvid).unwrap();
        let expected = match algorithm {
            JwtAlgorithm::Es256 => (JwsAlgorithm::Es256, KeyKind::P256),
            JwtAlgorithm::Es384 => (JwsAlgorithm::Es384, KeyKind::P384),
            JwtAlgorithm::Rs256 => (JwsAlgorithm::Rs256, KeyKind::Rsa2048),
            JwtAlgorithm::Rs256With3072 => (JwsAlgorithm::Rs256, KeyKind::Rsa3072),
            JwtAlgorithm::Ps256 => (JwsAlgorithm::Ps256, KeyKind::Rsa2048),
            JwtAlgorithm::Ps256With3072 => (JwsAlgorithm::Ps256, KeyKind::Rsa3072),
        };
        assert_eq!((key.jws_algorithm(), key.public_key().kind()), expected);
        assert_eq!(in_bundle(&keys), [(Some(expected.0), expected.1); 2]);
    }
}

#[tokio::test]
async fn another_jwt_algorithm_comes_with_the_key_that_is_prepared_next() {
    let world = World::new();
    world.with(jwt(JwtAlgorithm::Es256)).await;
    let keys = world.with(jwt(JwtAlgorithm::Ps256)).await;
    let signs = |keys: &Keys| keys.active(Purpose::JwtSvid).unwrap().jws_algorithm();
    // The one that everybody knows already goes first.
    keys.rotate(Purpose::JwtSvid, Urgency::Gated, origin(START + 2 * HOUR))
        .await
        .unwrap();
    assert_eq!(signs(&keys), JwsAlgorithm::Es256);
    keys.rotate(Purpose::JwtSvid, Urgency::Gated, origin(START + 4 * HOUR))
        .await
        .unwrap();
    assert_eq!(signs(&keys), JwsAlgorithm::Ps256);
    // Both stand in the bundle with their own, also where the old one is retired.
    let old = in_bundle(&keys)
        .iter()
        .filter(|(alg, _)| *alg == Some(JwsAlgorithm::Es256))
        .count();
    assert_eq!((in_bundle(&keys).len(), old), (4, 2));
    let retired = active(&keys, Purpose::JwtSvid);
    keys.revoke(&retired, origin(START + 5 * HOUR)).await.unwrap();
    let keys = world.with(jwt(JwtAlgorithm::Es256)).await;
    let algorithm = keys.read(|ring| ring.key(&retired).map(|key| key.jws_algorithm()));
    assert_eq!(algorithm, Some(JwsAlgorithm::Ps256));
}

/// Whoever can write to the log but not open the seal must not make a key sign with another algorithm.
#[tokio::test]
async fn token_j2_a_sealed_key_is_bound_to_its_algorithm() {
    let world = World::new();
    let keys = world.with(jwt(JwtAlgorithm::Rs256)).await;
    let kid = active(&keys, Purpose::JwtSvid);
    let rows = keys.followed().log().load().await.unwrap().rows;
    let row = rows
        .iter()
        .find(|row| row.kind == signet_keys::SEALED_KEY && row.key == kid)
        .unwrap();
    for algorithm in ["PS256", "RS512", "ES256", "none"] {
        // The last of two values of one field counts.
        let body = [&row.body[..], &field(7, algorithm.as_bytes())].concat();
        let swapped = Change::put(signet_keys::SEALED_KEY, 1, kid.clone(), body);
        let log = log_with(&world, vec![swapped]).await;
        let opened = world.open_with(log, config()).await;
        assert!(
            matches!(opened.map(drop), Err(KeysError::Follow(_))),
            "{algorithm}"
        );
    }
}
