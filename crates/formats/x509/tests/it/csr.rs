//! Each bad request breaks one rule; all but the ones about signatures carry a right signature.

use core::slice::from_ref;
use proptest::prelude::*;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData as _, SanType,
};
use signet_crypto::{KeyKind, LocalKey};
use signet_fault::Coded as _;
use signet_x509::{Csr, CsrError, make_csr};

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

/// A request that rcgen makes from a changed template.
fn request(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut template = CertificateParams::default();
    template.distinguished_name = DistinguishedName::new();
    template.subject_alt_names = vec![uri("spiffe://example.org/web")];
    change(&mut template);
    template
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap()
        .der()
        .to_vec()
}

fn refusal(change: impl FnOnce(&mut CertificateParams)) -> CsrError {
    Csr::parse(&request(change)).unwrap_err()
}

macro_rules! assert_refused {
    ($refusal:expr, $pattern:pat) => {
        let refusal = $refusal;
        assert!(matches!(refusal, $pattern), "{refusal:?}");
    };
}

/// A DER element.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        length @ 0..=0x7f => out.push(u8::try_from(length).unwrap()),
        length @ 0x80..=0xff => out.extend_from_slice(&[0x81, u8::try_from(length).unwrap()]),
        length => {
            out.push(0x82);
            out.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(content);
    out
}

/// A request with these attributes, right otherwise: made by hand, signed by a P-256 key.
fn with_attributes(attributes: &[Vec<u8>]) -> Vec<u8> {
    use rcgen::SigningKey as _;
    let key = KeyPair::generate().unwrap();
    let info = [
        vec![0x02, 1, 0, 0x30, 0],
        key.subject_public_key_info(),
        element(0xa0, &attributes.concat()),
    ]
    .concat();
    let info = element(0x30, &info);
    let signature = [vec![0], key.sign(&info).unwrap()].concat();
    let ecdsa_sha256 = element(0x30, &element(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
    element(0x30, &[info, ecdsa_sha256, element(0x03, &signature)].concat())
}

const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];

fn extension_request(extension_lists: &[&[Vec<u8>]]) -> Vec<u8> {
    let lists: Vec<u8> = extension_lists
        .iter()
        .flat_map(|list| element(0x30, &list.concat()))
        .collect();
    element(
        0x30,
        &[element(0x06, EXTENSION_REQUEST), element(0x31, &lists)].concat(),
    )
}

fn alt_name(uri: &str) -> Vec<u8> {
    let names = element(0x30, &element(0x86, uri.as_bytes()));
    element(
        0x30,
        &[element(0x06, &[0x55, 0x1d, 0x11]), element(0x04, &names)].concat(),
    )
}

#[test]
fn our_own_requests_read_back() {
    for kind in KeyKind::ALL {
        let key = LocalKey::generate(kind).unwrap();
        let id = "spiffe://example.org/web".parse().unwrap();
        let der = make_csr(&key, Some(&id), &["web.example.org".to_owned()]).unwrap();
        let csr = Csr::parse(&der).unwrap();
        assert_eq!(&csr.public_key, key.public_key(), "{kind:?}");
        assert_eq!(csr.uri_names, ["spiffe://example.org/web"]);
        assert_eq!(csr.dns_names, ["web.example.org"]);
        let bare = Csr::parse(&make_csr(&key, None, &[]).unwrap()).unwrap();
        assert!(bare.uri_names.is_empty() && bare.dns_names.is_empty());
    }
    assert!(
        make_csr(
            &LocalKey::generate(KeyKind::P256).unwrap(),
            None,
            &["*".to_owned()]
        )
        .is_err()
    );
}

/// Made by `openssl req` 3.0 and, those of ML-DSA, by the PyPI package `cryptography` 50.
#[test]
fn requests_of_other_programs_read_for_every_kind_of_key() {
    for (kind, der) in [
        (KeyKind::P256, &include_bytes!("../csr/p256.der")[..]),
        (KeyKind::P384, include_bytes!("../csr/p384.der")),
        (KeyKind::P521, include_bytes!("../csr/p521.der")),
        (KeyKind::Ed25519, include_bytes!("../csr/ed25519.der")),
        (KeyKind::Rsa2048, include_bytes!("../csr/rsa2048.der")),
        (KeyKind::Rsa3072, include_bytes!("../csr/rsa3072.der")),
        (KeyKind::Rsa4096, include_bytes!("../csr/rsa4096.der")),
        (KeyKind::MlDsa44, include_bytes!("../csr/ml_dsa_44.der")),
        (KeyKind::MlDsa65, include_bytes!("../csr/ml_dsa_65.der")),
        (KeyKind::MlDsa87, include_bytes!("../csr/ml_dsa_87.der")),
    ] {
        let csr = Csr::parse(der).unwrap();
        assert_eq!(csr.public_key.kind(), kind);
        assert_eq!(csr.uri_names, ["spiffe://example.org/web"], "{kind:?}");
    }
}

/// Made by `openssl req` 3.0, which finds each of them right: the key or the hash alone is what we refuse.
#[test]
fn requests_of_weak_and_unknown_keys_are_refused() {
    let keys = [
        ("SGCR002", &include_bytes!("../csr/refused_rsa1024.der")[..]),
        ("SGCR002", include_bytes!("../csr/refused_rsa1536.der")),
        ("SGCR002", include_bytes!("../csr/refused_rsa2056.der")),
        ("SGCR002", include_bytes!("../csr/refused_rsa2048_exponent_3.der")),
        (
            "SGCR002",
            include_bytes!("../csr/refused_rsa2048_exponent_257.der"),
        ),
        ("SGCR003", include_bytes!("../csr/refused_p224.der")),
        ("SGCR003", include_bytes!("../csr/refused_secp256k1.der")),
        ("SGCR003", include_bytes!("../csr/refused_ed448.der")),
        ("SGCR001", include_bytes!("../csr/refused_p256_explicit.der")),
        ("SGCR001", include_bytes!("../csr/refused_p256_compressed.der")),
    ];
    for (index, (code, der)) in keys.into_iter().enumerate() {
        match Csr::parse(der).unwrap_err() {
            CsrError::Key(why) => assert_eq!(why.code(), code, "{index}: {why}"),
            other => panic!("{index}: {other:?}"),
        }
    }
    for der in [
        &include_bytes!("../csr/refused_p384_sha256.der")[..],
        include_bytes!("../csr/refused_p256_sha1.der"),
        include_bytes!("../csr/refused_rsa2048_sha1.der"),
    ] {
        assert_refused!(Csr::parse(der).unwrap_err(), CsrError::Algorithm);
    }
}

#[test]
fn two_uri_names() {
    assert_refused!(
        refusal(|t| t.subject_alt_names.push(uri("spiffe://example.org/other"))),
        CsrError::ManyUriNames { count: 2 }
    );
}

#[test]
fn a_certificate_authority() {
    let ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    assert_refused!(refusal(|t| t.is_ca = ca), CsrError::WantsCa);
    Csr::parse(&request(|t| t.is_ca = IsCa::ExplicitNoCa)).unwrap();
}

#[test]
fn the_right_to_sign_certificates_or_lists() {
    for usage in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign] {
        let usages = vec![KeyUsagePurpose::DigitalSignature, usage];
        assert_refused!(refusal(|t| t.key_usages = usages), CsrError::WantsCertSign);
    }
    Csr::parse(&request(|t| {
        t.key_usages = vec![KeyUsagePurpose::DigitalSignature]
    }))
    .unwrap();
}

#[test]
fn a_foreign_domain_is_left_to_the_authority_but_shown() {
    let der = request(|t| t.subject_alt_names = vec![uri("spiffe://example.com/web")]);
    assert_eq!(Csr::parse(&der).unwrap().uri_names, ["spiffe://example.com/web"]);
}

#[test]
fn a_huge_list_of_names() {
    let many = (0..64).map(|n| dns(&format!("n{n}.example"))).collect::<Vec<_>>();
    let fits = request(|t| t.subject_alt_names = many.clone());
    assert_eq!(Csr::parse(&fits).unwrap().dns_names.len(), 64);
    let refused = refusal(|t| t.subject_alt_names.extend(many));
    assert_refused!(refused, CsrError::ManyNames { count: 65, max: 64 });
}

#[test]
fn names_that_an_svid_cannot_have() {
    let mail = SanType::Rfc822Name("a@example.org".try_into().unwrap());
    assert_refused!(refusal(|t| t.subject_alt_names.push(mail)), CsrError::NameKind);
    let address = SanType::IpAddress("127.0.0.1".parse().unwrap());
    assert_refused!(refusal(|t| t.subject_alt_names.push(address)), CsrError::NameKind);
    assert_refused!(
        refusal(|t| t.subject_alt_names.push(dns("*.example"))),
        CsrError::DnsName { .. }
    );
    assert_refused!(
        refusal(|t| t.subject_alt_names.push(dns(""))),
        CsrError::DnsName { .. }
    );
}

#[test]
fn extensions_that_are_not_understood() {
    let extension = |critical| {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(critical);
        extension
    };
    assert_refused!(
        refusal(|t| t.custom_extensions.push(extension(true))),
        CsrError::CriticalExtension
    );
    Csr::parse(&request(|t| t.custom_extensions.push(extension(false)))).unwrap();
}

#[test]
fn extensions_and_attributes_that_stand_twice() {
    let null = || CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    assert_refused!(
        refusal(|t| t.custom_extensions = vec![null(), null()]),
        CsrError::Duplicate
    );

    let (one, other) = (
        alt_name("spiffe://example.org/web"),
        alt_name("spiffe://example.org/admin"),
    );
    let right = with_attributes(&[extension_request(&[from_ref(&one)])]);
    assert_eq!(
        Csr::parse(&right).unwrap().uri_names,
        ["spiffe://example.org/web"]
    );
    let same_list = with_attributes(&[extension_request(&[&[one.clone(), other.clone()]])]);
    assert_refused!(Csr::parse(&same_list).unwrap_err(), CsrError::Duplicate);
    let two_requests = with_attributes(&[
        extension_request(&[from_ref(&one)]),
        extension_request(&[from_ref(&other)]),
    ]);
    assert_refused!(Csr::parse(&two_requests).unwrap_err(), CsrError::Duplicate);
    let two_values = with_attributes(&[extension_request(&[from_ref(&one), from_ref(&other)])]);
    assert_refused!(Csr::parse(&two_values).unwrap_err(), CsrError::Malformed { .. });
}

#[test]
fn attributes_are_bounded() {
    let attribute = |n: u8| element(0x30, &[element(0x06, &[0x2a, n]), element(0x31, &[])].concat());
    let some: Vec<_> = (1..=16).map(attribute).collect();
    Csr::parse(&with_attributes(&some)).unwrap();
    let many: Vec<_> = (1..=17).map(attribute).collect();
    assert_refused!(
        Csr::parse(&with_attributes(&many)).unwrap_err(),
        CsrError::Malformed { .. }
    );
}

#[test]
fn bytes_after_the_request() {
    let mut der = request(|_| {});
    der.extend_from_slice(&[0, 0]);
    assert_refused!(Csr::parse(&der).unwrap_err(), CsrError::Trailing { bytes: 2 });
}

#[test]
fn oversize() {
    let refused = Csr::parse(&vec![0x30; Csr::BYTES_MAX + 1]).unwrap_err();
    assert_refused!(refused, CsrError::TooLong { .. });
    let at_the_limit = Csr::parse(&vec![0x30; Csr::BYTES_MAX]).unwrap_err();
    assert_refused!(at_the_limit, CsrError::Trailing { .. });
}

#[test]
fn a_signature_of_another_key() {
    let mut der = request(|_| {});
    let last = der.len() - 1;
    der[last] ^= 1;
    assert_refused!(Csr::parse(&der).unwrap_err(), CsrError::Signature(_));
    // The key replaced by another under the old signature: possession is claimed, not proved.
    let der = request(|_| {});
    let mine = Csr::parse(&der).unwrap().public_key;
    let theirs = LocalKey::generate(KeyKind::P256).unwrap();
    let at = der
        .windows(mine.spki_der().len())
        .position(|window| window == mine.spki_der())
        .unwrap();
    let mut swapped = der.clone();
    swapped[at..at + mine.spki_der().len()].copy_from_slice(theirs.public_key().spki_der());
    assert_refused!(Csr::parse(&swapped).unwrap_err(), CsrError::Signature(_));
}

#[test]
fn a_signature_algorithm_of_another_kind_of_key() {
    // ecdsa-with-SHA256 turned into ecdsa-with-SHA384, which is P-384's here.
    let oid = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let mut der = request(|_| {});
    let at = der.windows(oid.len()).rposition(|window| window == oid).unwrap();
    der[at + 7] = 3;
    assert_refused!(Csr::parse(&der).unwrap_err(), CsrError::Algorithm);
    der[at + 7] = 1;
    assert_refused!(Csr::parse(&der).unwrap_err(), CsrError::Algorithm);
}

#[test]
fn every_refusal_has_a_code_and_a_next_step() {
    let refused = refusal(|t| t.subject_alt_names.push(uri("spiffe://example.org/other")));
    assert_eq!(refused.code(), "SGXC038");
    assert!(!refused.remedy().is_empty());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Csr::parse(&bytes);
        let _ = signet_x509::Certificate::parse(&bytes);
        let _ = signet_x509::IssuerCert::parse(&bytes);
    }

    /// A bit turned anywhere in a request never yields another request.
    #[test]
    fn a_turned_bit_is_noticed(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let der = with_attributes(&[extension_request(&[&[alt_name("spiffe://example.org/web")]])]);
        let right = Csr::parse(&der).unwrap();
        let mut turned = der.clone();
        turned[at.index(der.len())] ^= 1 << bit;
        if let Ok(read) = Csr::parse(&turned) {
            prop_assert_eq!(read.uri_names, right.uri_names);
            prop_assert_eq!(read.public_key, right.public_key);
        }
    }
}
