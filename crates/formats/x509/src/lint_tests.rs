//! One fixture per lint, each breaking that rule only: made from the right template with one thing changed.

use super::*;
use crate::issuer::capture;
use crate::template::tests::{END, Fixture, START, ca, leaf};
use crate::{SvidLeaf, X509Error};
use rcgen::{
    CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyUsagePurpose,
    SanType, SerialNumber,
};
use signet_crypto::{KeyKind, LocalKey, SignatureAlgorithm};

const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::Ed25519;

fn expected<'a>(leaf: &'a SvidLeaf, fixture: &'a Fixture) -> Expected<'a> {
    Expected {
        issuer_name: fixture.issuer.certificate().subject().der(),
        issuer_key_id: Some(fixture.issuer.key_id()),
        algorithm: ALGORITHM,
        public_key: &leaf.public_key,
        serial: leaf.serial,
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        subject: Subject::Leaf {
            id: &leaf.id,
            dns_names: &leaf.dns_names,
        },
    }
}

/// What the lints say of a leaf whose template was changed.
fn changed(change: impl FnOnce(&mut CertificateParams)) -> Result<(), LintError> {
    let fixture = Fixture::new(KeyKind::Ed25519);
    let leaf = leaf();
    let mut template = leaf.parameters().unwrap();
    change(&mut template);
    let tbs = capture(
        &template,
        &leaf.public_key,
        fixture.issuer.parameters(),
        fixture.issuer.public_key(),
        ALGORITHM,
    )
    .unwrap();
    check(&tbs, &expected(&leaf, &fixture))
}

/// What the lints say of right bytes that were changed.
fn patched(change: impl FnOnce(&mut Vec<u8>)) -> Result<(), LintError> {
    let fixture = Fixture::new(KeyKind::Ed25519);
    let leaf = leaf();
    let mut tbs = leaf.tbs(&fixture.issuer, ALGORITHM).unwrap().bytes().to_vec();
    change(&mut tbs);
    check(&tbs, &expected(&leaf, &fixture))
}

/// What the lints say of a right leaf when something else was admitted.
fn admitted(change: impl FnOnce(&mut Expected<'_>)) -> Result<(), LintError> {
    let fixture = Fixture::new(KeyKind::Ed25519);
    let leaf = leaf();
    let tbs = leaf.tbs(&fixture.issuer, ALGORITHM).unwrap();
    let mut expected = expected(&leaf, &fixture);
    change(&mut expected);
    check(tbs.bytes(), &expected)
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn replace(bytes: &mut Vec<u8>, from: &[u8], to: &[u8]) {
    let at = bytes
        .windows(from.len())
        .position(|w| w == from)
        .expect("fixture holds the bytes");
    bytes.splice(at..at + from.len(), to.iter().copied());
}

#[test]
fn the_right_leaf_is_clean() {
    assert_eq!(changed(|_| {}), Ok(()));
}

#[test]
fn malformed_and_trailing_bytes() {
    assert_eq!(patched(|tbs| tbs.truncate(60)), Err(LintError::Malformed));
    assert_eq!(patched(|tbs| tbs.push(0)), Err(LintError::Trailing));
}

#[test]
fn version() {
    let v2 = |tbs: &mut Vec<u8>| replace(tbs, &[0xa0, 3, 2, 1, 2], &[0xa0, 3, 2, 1, 1]);
    assert_eq!(patched(v2), Err(LintError::Version));
}

#[test]
fn serial() {
    for wrong in [&[0_u8][..], &[1], &[1; 21]] {
        let number = SerialNumber::from_slice(wrong);
        assert_eq!(
            changed(|t| t.serial_number = Some(number)),
            Err(LintError::Serial),
            "{wrong:?}"
        );
    }
    // The same digits as a negative number: the first bit set without a zero byte before it.
    assert!(!serial_is(
        &[0x80, 1],
        Serial::new(0x8001_u128.to_be_bytes()).unwrap()
    ));
    assert!(serial_is(
        &[0, 0x80, 1],
        Serial::new(0x8001_u128.to_be_bytes()).unwrap()
    ));
    assert!(
        !serial_is(&[0, 0x70, 1], Serial::new(0x7001_u128.to_be_bytes()).unwrap()),
        "longer than need be"
    );
    assert!(!serial_is(&[], Serial::new([1; 16]).unwrap()));
}

#[test]
fn issuer_name() {
    assert_eq!(
        admitted(|e| e.issuer_name = &[0x30, 0]),
        Err(LintError::IssuerName)
    );
}

#[test]
fn validity() {
    assert_eq!(
        admitted(|e| e.not_before = START + core::time::Duration::from_secs(1)),
        Err(LintError::Validity)
    );
    assert_eq!(
        admitted(|e| e.not_after = END + core::time::Duration::from_secs(1)),
        Err(LintError::Validity)
    );
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    assert_eq!(changed(|t| t.not_after = epoch), Err(LintError::Validity));
}

#[test]
fn subject() {
    assert_eq!(
        changed(|t| t.distinguished_name.push(DnType::CommonName, "x")),
        Err(LintError::Subject)
    );
}

#[test]
fn public_key() {
    let fixture = Fixture::new(KeyKind::Ed25519);
    let (mine, mut other) = (leaf(), leaf());
    let tbs = mine.tbs(&fixture.issuer, ALGORITHM).unwrap();
    assert_eq!(check(tbs.bytes(), &expected(&mine, &fixture)), Ok(()));
    other.id = mine.id.clone();
    assert_eq!(
        check(tbs.bytes(), &expected(&other, &fixture)),
        Err(LintError::PublicKey)
    );
}

#[test]
fn duplicate_unknown_and_missing_extensions() {
    let null = |oid: &[u64]| CustomExtension::from_oid_content(oid, vec![5, 0]);
    assert_eq!(
        changed(|t| t.custom_extensions.push(null(&[2, 5, 29, 56]))),
        Err(LintError::DuplicateExtension)
    );
    assert_eq!(
        changed(|t| t.custom_extensions.push(null(&[1, 2, 3, 4]))),
        Err(LintError::UnknownExtension)
    );
    assert_eq!(
        changed(|t| t.custom_extensions.clear()),
        Err(LintError::MissingExtension)
    );
    assert_eq!(
        changed(|t| t.extended_key_usages.clear()),
        Err(LintError::MissingExtension)
    );
    assert_eq!(
        changed(|t| t.key_usages.clear()),
        Err(LintError::MissingExtension)
    );
    assert_eq!(
        changed(|t| t.subject_alt_names.clear()),
        Err(LintError::MissingExtension)
    );
    assert_eq!(
        changed(|t| t.is_ca = IsCa::NoCa),
        Err(LintError::MissingExtension)
    );
    assert_eq!(
        changed(|t| t.use_authority_key_identifier_extension = false),
        Err(LintError::MissingExtension)
    );
}

#[test]
fn spiffe_27_exactly_one_uri_name() {
    assert_eq!(
        changed(|t| t.subject_alt_names.push(uri("spiffe://example.org/other"))),
        Err(LintError::UriName)
    );
    assert_eq!(
        changed(|t| t.subject_alt_names = vec![SanType::DnsName("a.example".try_into().unwrap())]),
        Err(LintError::UriName)
    );
    assert_eq!(
        changed(|t| t.subject_alt_names[0] = uri("spiffe://example.org/other")),
        Err(LintError::UriName)
    );
}

#[test]
fn names_beside_the_uri() {
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    assert_eq!(
        changed(|t| t.subject_alt_names.push(dns("b.example"))),
        Err(LintError::OtherName)
    );
    let mail = SanType::Rfc822Name("a@example.org".try_into().unwrap());
    assert_eq!(
        changed(|t| t.subject_alt_names.push(mail)),
        Err(LintError::OtherName)
    );
}

#[test]
fn spiffe_28_the_uri_name_is_critical_without_subject() {
    // OID, BOOLEAN TRUE: the critical flag of the subjectAltName, turned to FALSE.
    let plain = |tbs: &mut Vec<u8>| {
        replace(tbs, &[0x55, 0x1d, 0x11, 1, 1, 0xff], &[0x55, 0x1d, 0x11, 1, 1, 0]);
    };
    assert_eq!(patched(plain), Err(LintError::AltNameCritical));
}

#[test]
fn spiffe_29_key_usage() {
    use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyCertSign, KeyEncipherment};
    for wrong in [KeyCertSign, CrlSign, KeyEncipherment] {
        assert_eq!(
            changed(|t| t.key_usages = vec![DigitalSignature, wrong]),
            Err(LintError::KeyUsage),
            "{wrong:?}"
        );
    }
    let plain = |tbs: &mut Vec<u8>| {
        replace(tbs, &[0x55, 0x1d, 0x0f, 1, 1, 0xff], &[0x55, 0x1d, 0x0f, 1, 1, 0]);
    };
    assert_eq!(patched(plain), Err(LintError::KeyUsageCritical));
}

/// What the lints say of an ML-DSA leaf whose template and bytes were changed.
fn ml_dsa(
    kind: KeyKind,
    template: impl FnOnce(&mut CertificateParams),
    bytes: impl FnOnce(&mut Vec<u8>, &[u8]),
) -> Result<(), LintError> {
    let fixture = Fixture::new(KeyKind::Ed25519);
    let mut leaf = leaf();
    leaf.public_key = LocalKey::generate(kind).unwrap().public_key().clone();
    let mut parameters = leaf.parameters().unwrap();
    template(&mut parameters);
    let issuer = &fixture.issuer;
    let mut tbs = capture(
        &parameters,
        &leaf.public_key,
        issuer.parameters(),
        issuer.public_key(),
        ALGORITHM,
    )
    .unwrap();
    bytes(&mut tbs, leaf.public_key.spki_der());
    check(&tbs, &expected(&leaf, &fixture))
}

const ML_DSA: [KeyKind; 3] = [KeyKind::MlDsa44, KeyKind::MlDsa65, KeyKind::MlDsa87];

/// RFC 9881 §5.
#[test]
fn an_ml_dsa_key_is_for_signatures_only() {
    use KeyUsagePurpose as U;
    for kind in ML_DSA {
        assert_eq!(ml_dsa(kind, |_| {}, |_, _| {}), Ok(()));
        for wrong in [
            U::KeyEncipherment,
            U::DataEncipherment,
            U::KeyAgreement,
            U::EncipherOnly,
            U::DecipherOnly,
        ] {
            let usages = vec![U::DigitalSignature, wrong];
            let linted = ml_dsa(kind, |t| t.key_usages = usages, |_, _| {});
            assert_eq!(linted, Err(LintError::MlDsaKeyUsage), "{wrong:?}");
        }
        // Those that the RFC allows and the profile does not.
        for wrong in [U::ContentCommitment, U::KeyCertSign, U::CrlSign] {
            let usages = vec![U::DigitalSignature, wrong];
            let linted = ml_dsa(kind, |t| t.key_usages = usages, |_, _| {});
            assert_eq!(linted, Err(LintError::KeyUsage), "{wrong:?}");
        }
    }
}

/// RFC 9881 §2: the parameters are absent, not NULL.
#[test]
fn an_ml_dsa_key_has_no_parameters() {
    for kind in ML_DSA {
        let with_null = |tbs: &mut Vec<u8>, spki: &[u8]| {
            // SEQUENCE of 4 + n bytes, SEQUENCE of 11 bytes, OID of 9 bytes, key: two bytes more on the way.
            assert_eq!((spki[0], spki[1], spki[4], spki[5]), (0x30, 0x82, 0x30, 11));
            let length = u16::from_be_bytes([spki[2], spki[3]]) + 2;
            let mut changed = spki.to_vec();
            changed[2..4].copy_from_slice(&length.to_be_bytes());
            changed[5] += 2;
            changed.splice(17..17, [5, 0]);
            replace(tbs, spki, &changed);
            lengthen(tbs, 2);
        };
        let linted = ml_dsa(kind, |_| {}, with_null);
        assert_eq!(linted, Err(LintError::PublicKey), "{kind:?}");
    }
}

/// Adds `by` to the length of the outermost element, which has two bytes.
fn lengthen(der: &mut [u8], by: u16) {
    assert_eq!(der[1], 0x82);
    let length = u16::from_be_bytes([der[2], der[3]]) + by;
    der[2..4].copy_from_slice(&length.to_be_bytes());
}

#[test]
fn the_signature_algorithm_is_the_issuers_in_its_one_form() {
    let other = SignatureAlgorithm::MlDsa65;
    assert_eq!(
        admitted(|e| e.algorithm = other),
        Err(LintError::SignatureAlgorithm)
    );
    // Ed25519 with NULL: the first AlgorithmIdentifier of the bytes is the signature's.
    let with_null = |tbs: &mut Vec<u8>| {
        replace(
            tbs,
            &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70],
            &[0x30, 7, 6, 3, 0x2b, 0x65, 0x70, 5, 0],
        );
        lengthen(tbs, 2);
    };
    assert_eq!(patched(with_null), Err(LintError::SignatureAlgorithm));
}

#[test]
fn every_identifier_has_one_form() {
    use crate::algorithm::{from_identifier, is_identifier};
    let rsa = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
    let algorithm = SignatureAlgorithm::RsaPkcs1Sha256;
    let with_null = [&rsa[..], &[5, 0]].concat();
    assert!(is_identifier(&with_null, algorithm) && !is_identifier(&rsa, algorithm));
    assert_eq!(from_identifier(&rsa), Some(algorithm), "read without NULL");
    let ml_dsa = [6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 0x12];
    let algorithm = SignatureAlgorithm::MlDsa65;
    let with_null = [&ml_dsa[..], &[5, 0]].concat();
    assert!(is_identifier(&ml_dsa, algorithm) && !is_identifier(&with_null, algorithm));
    assert_eq!(from_identifier(&with_null), None);
}

#[test]
fn spiffe_29_extended_key_usage() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
    for wrong in [
        vec![ServerAuth],
        vec![ClientAuth],
        vec![ServerAuth, ClientAuth, CodeSigning],
        vec![Any],
    ] {
        assert_eq!(
            changed(|t| t.extended_key_usages = wrong),
            Err(LintError::ExtendedKeyUsage)
        );
    }
}

#[test]
fn spiffe_29_a_leaf_is_no_ca() {
    let ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    assert_eq!(changed(|t| t.is_ca = ca), Err(LintError::BasicConstraints));
}

#[test]
fn key_identifiers() {
    assert_eq!(
        admitted(|e| e.issuer_key_id = Some(&[1; 20])),
        Err(LintError::AuthorityKeyId)
    );
    assert_eq!(
        admitted(|e| e.issuer_key_id = None),
        Err(LintError::AuthorityKeyId)
    );
    assert_eq!(
        changed(|t| t.key_identifier_method = KeyIdMethod::Sha256),
        Err(LintError::SubjectKeyId),
        "method 4 of RFC 7093"
    );
}

#[test]
fn no_rev_avail() {
    assert_eq!(
        changed(|t| t.custom_extensions[0].set_criticality(true)),
        Err(LintError::NoRevAvail)
    );
    let content = CustomExtension::from_oid_content(&[2, 5, 29, 56], vec![4, 0]);
    assert_eq!(
        changed(|t| t.custom_extensions[0] = content),
        Err(LintError::NoRevAvail)
    );
}

#[test]
fn a_ca_is_held_to_its_own_profile() {
    let fixture = Fixture::new(KeyKind::Ed25519);
    let ca = ca();
    let intermediate = ca.template();
    let lint = |change: &dyn Fn(&mut CertificateParams)| {
        let mut template = intermediate.parameters().unwrap();
        template.use_authority_key_identifier_extension = true;
        change(&mut template);
        let issuer = &fixture.issuer;
        let tbs = capture(
            &template,
            &intermediate.public_key,
            issuer.parameters(),
            issuer.public_key(),
            ALGORITHM,
        )
        .unwrap();
        check(
            &tbs,
            &Expected {
                issuer_name: issuer.certificate().subject().der(),
                issuer_key_id: Some(issuer.key_id()),
                algorithm: ALGORITHM,
                public_key: &intermediate.public_key,
                serial: intermediate.serial,
                not_before: intermediate.not_before,
                not_after: intermediate.not_after,
                subject: Subject::Ca {
                    trust_domain: &intermediate.trust_domain,
                    path_len: intermediate.path_len,
                    kind: intermediate.kind,
                },
            },
        )
    };
    assert_eq!(lint(&|_| {}), Ok(()));
    assert_eq!(
        lint(&|t| t.key_usages.push(KeyUsagePurpose::DigitalSignature)),
        Err(LintError::KeyUsage)
    );
    assert_eq!(lint(&|t| t.key_usages.clear()), Err(LintError::MissingExtension));
    let unbounded = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    assert_eq!(lint(&|t| t.is_ca = unbounded), Err(LintError::BasicConstraints));
    assert_eq!(
        lint(&|t| t.subject_alt_names = vec![uri("spiffe://example.org/path")]),
        Err(LintError::UriName),
        "spiffe-31"
    );
    assert_eq!(
        lint(&|t| t
            .custom_extensions
            .push(CustomExtension::from_oid_content(&[2, 5, 29, 56], vec![5, 0]))),
        Err(LintError::UnknownExtension),
        "noRevAvail is for leaves (RFC 9608 §2)"
    );
    assert_eq!(
        lint(&|t| t.distinguished_name = rcgen::DistinguishedName::new()),
        Err(LintError::Subject)
    );
}

#[test]
fn a_finding_carries_the_code_of_lints() {
    use signet_fault::Coded as _;
    assert_eq!(X509Error::from(LintError::Version).code(), "SGXC020");
}
