//! Another implementation as judge, both ways.

use crate::support::*;
use jsonwebtoken::jwk::{Jwk as TheirJwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::Value;
use signet_crypto::{KeyKind, LocalKey};
use signet_jose::*;
use std::str::FromStr as _;

/// What both sides know.
const SHARED: [&str; 9] = [
    "ES256", "ES384", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA",
];

fn their_signing_key(key: &LocalKey) -> EncodingKey {
    let pkcs8 = key.to_pkcs8().unwrap();
    let pem = |label: &str| {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(pkcs8.expose());
        let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            lines.join("\n")
        )
    };
    let pem = pem("PRIVATE KEY");
    match key.public_key().kind() {
        KeyKind::Ed25519 => EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(),
        KeyKind::P256 | KeyKind::P384 => EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(),
        _ => EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(),
    }
}

#[test]
fn what_we_sign_they_take_with_our_jwk() {
    for name in SHARED {
        let algorithm = JwsAlgorithm::parse(name).unwrap();
        let signer = key(kind_for(algorithm));
        let token = Unsigned::new(algorithm, "k", Some("JWT"), &good_claims())
            .unwrap()
            .sign_with(signer)
            .unwrap();
        let ours = jwk(signer, "k", Some(algorithm));
        let theirs: TheirJwk = serde_json::from_value(ours.to_value()).unwrap();
        let mut validation = Validation::new(Algorithm::from_str(name).unwrap());
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        validation.validate_exp = false;
        let decoded =
            jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_jwk(&theirs).unwrap(), &validation);
        assert_eq!(decoded.unwrap().claims, good_claims(), "{name}");
        let thumbprint = theirs.thumbprint(ThumbprintHash::SHA256).unwrap();
        assert_eq!(thumbprint, base64url::encode(&ours.thumbprint()), "{name}");
    }
}

#[test]
fn what_they_sign_we_take() {
    for name in SHARED {
        let algorithm = JwsAlgorithm::parse(name).unwrap();
        let signer = key(kind_for(algorithm));
        let mut header = Header::new(Algorithm::from_str(name).unwrap());
        header.kid = Some("k".to_owned());
        let token = jsonwebtoken::encode(&header, &good_claims(), &their_signing_key(signer)).unwrap();
        let profile = profile().algorithms(AlgorithmSet::of(&JwsAlgorithm::ALL));
        let verified = verify(&token, &profile, &only(signer, Some(algorithm)), NOW).unwrap();
        assert_eq!(Value::Object(verified.claims), good_claims(), "{name}");
    }
}

#[test]
fn what_one_side_refuses_as_forged_the_other_does_too() {
    for name in SHARED {
        let algorithm = JwsAlgorithm::parse(name).unwrap();
        let signer = key(kind_for(algorithm));
        let token = Unsigned::new(algorithm, "k", Some("JWT"), &good_claims())
            .unwrap()
            .sign_with(signer)
            .unwrap();
        let (input, signature) = token.rsplit_once('.').unwrap();
        let mut signature = base64url::decode(signature).unwrap();
        signature[9] ^= 1;
        let forged = format!("{input}.{}", base64url::encode(&signature));
        let profile = profile().algorithms(AlgorithmSet::of(&JwsAlgorithm::ALL));
        assert_eq!(
            verify(&forged, &profile, &only(signer, None), NOW).unwrap_err(),
            JoseError::Signature
        );
        let theirs: TheirJwk = serde_json::from_value(jwk(signer, "k", None).to_value()).unwrap();
        let mut validation = Validation::new(Algorithm::from_str(name).unwrap());
        validation.set_audience(&[AUDIENCE]);
        validation.validate_exp = false;
        let decoding = DecodingKey::from_jwk(&theirs).unwrap();
        assert!(
            jsonwebtoken::decode::<Value>(&forged, &decoding, &validation).is_err(),
            "{name}"
        );
    }
}
