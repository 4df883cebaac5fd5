//! Every algorithm of the authority with every kind of key that a workload may have.

use crate::{World, allowed, csr_of, id, jwt, x509};
use signet_authority::X509Request;
use signet_check::jwt::validate_svid;
use signet_check::x509::verify_svid;
use signet_crypto::{KeyKind, LocalKey};
use signet_decision::Action;
use signet_jose::base64url;
use signet_keys::{JwtAlgorithm, Purpose, X509Algorithm};
use signet_testkit::START;
use signet_x509::Certificate;

#[tokio::test]
async fn every_x509_algorithm_certifies_every_kind_of_key_and_our_own_verifier_takes_it() {
    let keys: Vec<_> = KeyKind::ALL
        .into_iter()
        .map(|kind| LocalKey::generate(kind).unwrap())
        .collect();
    for algorithm in X509Algorithm::ALL {
        let world = World::with(|config| config.x509 = algorithm).await;
        let issuer = world.keys.active(Purpose::X509Svid).unwrap();
        for key in &keys {
            let kind = key.public_key().kind();
            let request = X509Request {
                csr: csr_of(key, Some(&id("/a")), &[]),
                ..x509("/a")
            };
            let svid = world.issue(request, START).await.unwrap();
            let verified = verify_svid(&svid.chain, &world.view(), START);
            assert_eq!(verified.unwrap().id, id("/a"), "{algorithm:?} {kind:?}");
            let leaf = Certificate::parse(&svid.chain[0]).unwrap();
            assert_eq!(&leaf.public_key().unwrap(), key.public_key());
            leaf.verify_signed_by(issuer.public_key()).unwrap();
        }
    }
}

#[tokio::test]
async fn token_j2_every_jwt_algorithm_signs_what_its_key_says_and_our_own_verifier_takes_it() {
    for algorithm in JwtAlgorithm::ALL {
        let world = World::with(|config| config.jwt = algorithm).await;
        let request = jwt("/a");
        let decision = allowed(Action::ISSUE_JWT_SVID, &request.id);
        let svid = world
            .authority
            .issue_jwt(request, &decision, START)
            .await
            .unwrap();
        let header = base64url::decode(svid.token.split('.').next().unwrap()).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        let key = world.keys.active(Purpose::JwtSvid).unwrap();
        assert_eq!(header["alg"], key.jws_algorithm().as_str());
        let name = algorithm.as_str();
        assert!(
            name.starts_with(&key.jws_algorithm().as_str().to_lowercase()),
            "{name}"
        );
        let verified = validate_svid(&svid.token, "aud", &world.view(), START).unwrap();
        assert_eq!(verified.id, id("/a"));
    }
}
