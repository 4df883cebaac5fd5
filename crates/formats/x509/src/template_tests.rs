use super::*;
use rcgen::{Issuer, KeyPair};
use signet_crypto::{KeyKind, LocalKey, SignatureEncoding};
use std::time::Duration;

pub(crate) const START: UnixTime = UnixTime::from_secs(1_800_000_000);
pub(crate) const END: UnixTime = UnixTime::from_secs(1_800_003_600);

/// A root of `example.org` as issuer, with its key.
pub(crate) struct Fixture {
    pub(crate) key: LocalKey,
    pub(crate) root: CaCert,
    pub(crate) issuer: IssuerCert,
}

pub(crate) struct Ca(CaCert);

impl Ca {
    pub(crate) fn template(&self) -> CaCert {
        self.0.clone()
    }
}

fn ca_template(kind: CaKind, key: &LocalKey) -> CaCert {
    CaCert {
        trust_domain: "example.org".parse().unwrap(),
        common_name: format!("example.org {kind:?} 1"),
        public_key: key.public_key().clone(),
        serial: Serial::new([0x81; 16]).unwrap(),
        not_before: START,
        not_after: END + Duration::from_hours(24),
        path_len: Some(u8::from(kind == CaKind::Root)),
        kind,
    }
}

pub(crate) fn ca() -> Ca {
    Ca(ca_template(
        CaKind::Intermediate,
        &LocalKey::generate(KeyKind::P256).unwrap(),
    ))
}

pub(crate) fn leaf() -> SvidLeaf {
    SvidLeaf {
        id: "spiffe://example.org/web".parse().unwrap(),
        dns_names: vec!["web.example.org".to_owned()],
        public_key: LocalKey::generate(KeyKind::P256).unwrap().public_key().clone(),
        serial: Serial::new([0x12; 16]).unwrap(),
        not_before: START,
        not_after: END,
    }
}

fn sign(key: &LocalKey, tbs: Tbs) -> crate::Der {
    let signature = key
        .sign(tbs.algorithm(), SignatureEncoding::Asn1, tbs.bytes())
        .unwrap();
    tbs.assemble(&signature).unwrap()
}

impl Fixture {
    pub(crate) fn new(kind: KeyKind) -> Self {
        Self::of(LocalKey::generate(kind).unwrap())
    }

    fn of(key: LocalKey) -> Self {
        let kind = key.public_key().kind();
        let root = ca_template(CaKind::Root, &key);
        let tbs = root.tbs_self(kind.default_algorithm()).unwrap();
        let issuer = IssuerCert::parse(&sign(&key, tbs)).unwrap();
        Self { key, root, issuer }
    }

    /// A root whose key rcgen made, and that very key in rcgen's hands.
    fn with_local(kind: KeyKind) -> (Self, KeyPair) {
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        let pair = match kind {
            KeyKind::Rsa2048 => rsa(rcgen::RsaKeySize::_2048),
            KeyKind::Rsa3072 => rsa(rcgen::RsaKeySize::_3072),
            KeyKind::Rsa4096 => rsa(rcgen::RsaKeySize::_4096),
            kind => KeyPair::generate_for(crate::algorithm::signature(kind.default_algorithm()).unwrap()),
        }
        .unwrap();
        let key = LocalKey::from_pkcs8(pair.serialized_der()).unwrap();
        (Self::of(key), pair)
    }
}

fn tbs_of(der: &[u8]) -> Vec<u8> {
    use crate::der::{Reader, SEQUENCE};
    let mut reader = Reader::new(Reader::only(der, SEQUENCE).unwrap().content);
    reader.expect(SEQUENCE).unwrap().raw.to_vec()
}

fn verifies(der: &[u8], key: &LocalKey) {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let (rest, parsed) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    assert_eq!(parsed.signature_algorithm, parsed.tbs_certificate.signature);
    let algorithm = key.public_key().kind().default_algorithm();
    key.public_key()
        .verify(
            algorithm,
            SignatureEncoding::Asn1,
            &tbs_of(der),
            &parsed.signature_value.data,
        )
        .unwrap();
}

#[test]
fn captured_bytes_are_those_of_a_local_build() {
    for kind in KeyKind::ALL {
        let (fixture, local) = Fixture::with_local(kind);
        let algorithm = kind.default_algorithm();
        let root_parameters = fixture.root.parameters().unwrap();
        let issuer = Issuer::from_params(&root_parameters, &local);

        let built = root_parameters.self_signed(&local).unwrap();
        let tbs = fixture.root.tbs_self(algorithm).unwrap();
        assert_eq!(tbs.bytes(), tbs_of(built.der()), "root {kind:?}");
        let root = sign(&fixture.key, tbs);
        verifies(&root, &fixture.key);

        let intermediate = ca().template();
        let mut parameters = intermediate.parameters().unwrap();
        parameters.use_authority_key_identifier_extension = true;
        let subject = crate::algorithm::SubjectKey::new(&intermediate.public_key).unwrap();
        let built_intermediate = parameters.signed_by(&subject, &issuer).unwrap();
        let tbs = intermediate.tbs(&fixture.issuer, algorithm).unwrap();
        assert_eq!(
            tbs.bytes(),
            tbs_of(built_intermediate.der()),
            "intermediate {kind:?}"
        );
        let intermediate = sign(&fixture.key, tbs);
        verifies(&intermediate, &fixture.key);

        let leaf = leaf();
        let subject = crate::algorithm::SubjectKey::new(&leaf.public_key).unwrap();
        let built_leaf = leaf.parameters().unwrap().signed_by(&subject, &issuer).unwrap();
        let tbs = leaf.tbs(&fixture.issuer, algorithm).unwrap();
        assert_eq!(tbs.bytes(), tbs_of(built_leaf.der()), "leaf {kind:?}");
        let leaf = sign(&fixture.key, tbs);
        verifies(&leaf, &fixture.key);

        let is_rsa = matches!(kind, KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096);
        if kind == KeyKind::Ed25519 || is_rsa {
            // The algorithms here that sign the same bytes the same way twice.
            assert_eq!(&root, built.der());
            assert_eq!(&intermediate, built_intermediate.der());
            assert_eq!(&leaf, built_leaf.der());
        }
    }
}

#[test]
fn every_key_kind_can_be_a_leafs() {
    let fixture = Fixture::new(KeyKind::P256);
    for kind in KeyKind::ALL {
        let mut leaf = leaf();
        leaf.public_key = LocalKey::generate(kind).unwrap().public_key().clone();
        let tbs = leaf
            .tbs(&fixture.issuer, KeyKind::P256.default_algorithm())
            .unwrap();
        let certificate = crate::Certificate::parse(&sign(&fixture.key, tbs)).unwrap();
        assert_eq!(certificate.public_key().unwrap(), leaf.public_key, "{kind:?}");
    }
}

#[test]
fn a_leaf_reads_back() {
    let fixture = Fixture::new(KeyKind::P256);
    let mut template = leaf();
    template.not_before = START + Duration::from_millis(900);
    let tbs = template
        .tbs(&fixture.issuer, KeyKind::P256.default_algorithm())
        .unwrap();
    let leaf = crate::Certificate::parse(&sign(&fixture.key, tbs)).unwrap();
    assert_eq!(leaf.uri_names(), ["spiffe://example.org/web"]);
    assert_eq!(leaf.dns_names(), ["web.example.org"]);
    assert_eq!(leaf.serial_hex(), template.serial.hex());
    assert_eq!((leaf.not_before(), leaf.not_after()), (START, END));
    assert!(!leaf.is_ca() && leaf.basic_constraints().is_some());
    assert_eq!(leaf.subject_key_id(), Some(&template.public_key.key_id()[..]));
    assert_eq!(leaf.authority_key_id(), Some(fixture.issuer.key_id()));
    assert_eq!(leaf.issuer(), fixture.issuer.certificate().subject());
}

#[test]
fn the_chain_leaves_the_root_out() {
    let fixture = Fixture::new(KeyKind::Ed25519);
    assert!(fixture.issuer.chain().is_empty());
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    let tbs = ca_template(CaKind::Intermediate, &key)
        .tbs(&fixture.issuer, KeyKind::Ed25519.default_algorithm())
        .unwrap();
    let certificate = sign(&fixture.key, tbs);
    let issuer = IssuerCert::parse(&certificate).unwrap();
    assert_eq!(issuer.chain(), [certificate]);
    assert_eq!(issuer.trust_domain().unwrap().as_str(), "example.org");
}

#[test]
fn spiffe_28_a_leaf_has_a_path() {
    let fixture = Fixture::new(KeyKind::P256);
    let mut leaf = leaf();
    leaf.id = "spiffe://example.org".parse().unwrap();
    let refused = leaf
        .tbs(&fixture.issuer, KeyKind::P256.default_algorithm())
        .unwrap_err();
    assert!(matches!(refused, X509Error::IdWithoutPath { .. }), "{refused}");
}

#[test]
fn spiffe_30_no_one_outlives_its_issuer() {
    let fixture = Fixture::new(KeyKind::P256);
    let algorithm = KeyKind::P256.default_algorithm();
    let mut leaf = leaf();
    leaf.not_after = fixture.issuer.not_after();
    leaf.tbs(&fixture.issuer, algorithm).unwrap();
    leaf.not_after = fixture.issuer.not_after() + Duration::from_secs(1);
    let refused = leaf.tbs(&fixture.issuer, algorithm).unwrap_err();
    assert!(matches!(refused, X509Error::OutlivesIssuer { .. }), "{refused}");
    let mut ca = ca().template();
    ca.not_after = leaf.not_after;
    let refused = ca.tbs(&fixture.issuer, algorithm).unwrap_err();
    assert!(matches!(refused, X509Error::OutlivesIssuer { .. }), "{refused}");
}

#[test]
fn spiffe_31_an_authority_has_an_id_without_path() {
    let fixture = Fixture::new(KeyKind::P256);
    assert_eq!(fixture.issuer.certificate().uri_names(), ["spiffe://example.org"]);
    assert!(fixture.issuer.certificate().is_ca());
    let usage = fixture.issuer.certificate().key_usage().unwrap();
    assert!(
        usage.critical && usage.key_cert_sign && !usage.digital_signature,
        "spiffe-29"
    );
}

#[test]
fn templates_that_break_a_rule_are_refused() {
    let fixture = Fixture::new(KeyKind::P256);
    let refusal = |change: &dyn Fn(&mut SvidLeaf)| {
        let mut leaf = leaf();
        change(&mut leaf);
        leaf.tbs(&fixture.issuer, KeyKind::P256.default_algorithm())
            .unwrap_err()
    };
    let refused = refusal(&|leaf| leaf.id = "spiffe://example.com/web".parse().unwrap());
    assert!(matches!(refused, X509Error::OtherTrustDomain { .. }), "{refused}");
    let refused = refusal(&|leaf| leaf.not_after = leaf.not_before + Duration::from_millis(10));
    assert!(matches!(refused, X509Error::Validity { .. }), "{refused}");
    let refused = refusal(&|leaf| leaf.dns_names = vec!["*.example.org".to_owned()]);
    assert!(matches!(refused, X509Error::DnsName { .. }), "{refused}");
    let refused = refusal(&|leaf| leaf.dns_names = vec!["a.example".to_owned(); 65]);
    assert!(
        matches!(refused, X509Error::ManyNames { count: 65, .. }),
        "{refused}"
    );
    let refused = leaf()
        .tbs(&fixture.issuer, SignatureAlgorithm::Ed25519)
        .unwrap_err();
    assert!(matches!(refused, X509Error::Algorithm { .. }), "{refused}");

    let mut root = fixture.root.clone();
    root.common_name = String::new();
    let refused = root.tbs_self(KeyKind::P256.default_algorithm()).unwrap_err();
    assert!(matches!(refused, X509Error::CommonName { .. }), "{refused}");
    root.common_name = "x".to_owned();
    root.not_after = UnixTime::from_secs(LAST_SECOND + 1);
    let refused = root.tbs_self(KeyKind::P256.default_algorithm()).unwrap_err();
    assert!(matches!(refused, X509Error::Validity { .. }), "{refused}");
    root.not_after = UnixTime::from_secs(LAST_SECOND);
    root.tbs_self(KeyKind::P256.default_algorithm()).unwrap();
}

#[test]
fn what_cannot_issue_is_no_issuer() {
    let (fixture, local) = Fixture::with_local(KeyKind::P256);
    let tbs = leaf()
        .tbs(&fixture.issuer, KeyKind::P256.default_algorithm())
        .unwrap();
    let refused = IssuerCert::parse(&sign(&fixture.key, tbs)).unwrap_err();
    assert!(matches!(refused, X509Error::NotAnIssuer { .. }), "{refused}");

    let refusal = |change: &dyn Fn(&mut CertificateParams)| {
        let mut parameters = fixture.root.parameters().unwrap();
        change(&mut parameters);
        IssuerCert::parse(parameters.self_signed(&local).unwrap().der())
            .unwrap_err()
            .to_string()
    };
    assert!(refusal(&|p| p.key_usages.clear()).contains("keyCertSign"));
    assert!(refusal(&|p| p.distinguished_name = DistinguishedName::new()).contains("name"));
    assert!(refusal(&|p| p.subject_alt_names = vec![uri("spiffe://a/b").unwrap()]).contains("URI name"));
    let bmp = rcgen::string::BmpString::try_from("x").unwrap();
    assert!(
        refusal(&|p| p
            .distinguished_name
            .push(DnType::LocalityName, rcgen::DnValue::BmpString(bmp.clone())))
        .contains("name")
    );
    assert!(IssuerCert::parse(b"").is_err());
}

#[test]
fn a_signature_of_no_size_is_none() {
    let fixture = Fixture::new(KeyKind::P256);
    for size in [0, SIGNATURE_TOO_LONG] {
        let tbs = leaf()
            .tbs(&fixture.issuer, KeyKind::P256.default_algorithm())
            .unwrap();
        assert!(tbs.assemble(&vec![1; size]).is_err());
    }
}

const SIGNATURE_TOO_LONG: usize = (5 << 10) + 1;
