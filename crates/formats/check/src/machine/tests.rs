use super::*;
use core::time::Duration;
use proptest::prelude::*;
use rcgen::{ExtendedKeyUsagePurpose as Eku, KeyUsagePurpose as Ku};
use signet_crypto::{KeyKind, LocalKey};
use signet_fault::Coded as _;
use signet_testkit::START;
use signet_testkit::forge::{Authority, ForgeKey, Recipe};

const BINDING: Binding = Binding([7; 32]);

fn ca() -> Authority {
    Authority::root_from(Recipe::ca("machines").uris(&[]), KeyKind::P256)
}

fn machine() -> Recipe {
    Recipe::web("pump-7.plant.example")
        .subject("pump-7")
        .extended_key_usages(&[Eku::ClientAuth])
}

fn node_key() -> PublicKey {
    LocalKey::generate(KeyKind::P256).unwrap().public_key().clone()
}

/// What happens to a machine of `recipe` that `ca` signed, on its own connection.
fn judge(ca: &Authority, recipe: Recipe, kind: KeyKind, now: UnixTime) -> Result<Machine, MachineError> {
    let key = ForgeKey::generate(kind);
    let leaf = ca.leaf_with_key(recipe, &key);
    let node = node_key();
    let signature = sign(&key.local(), &BINDING, &node).unwrap();
    let trust = MachineTrust::new(core::slice::from_ref(&ca.certificate)).unwrap();
    trust.verify(&[leaf.certificate], &signature, &BINDING, &node, now)
}

fn refused(recipe: Recipe) -> &'static str {
    judge(&ca(), recipe, KeyKind::P256, START).unwrap_err().code()
}

#[test]
fn a_machine_of_every_kind_of_key_proves_itself() {
    let ca = ca();
    for kind in KeyKind::ALL {
        let machine = judge(&ca, machine(), kind, START).unwrap();
        assert_eq!(machine.key.kind(), kind);
        assert!(machine.subject.contains("pump-7"), "{}", machine.subject);
    }
    // As a manufacturer makes it: without extended key usage.
    judge(&ca, machine().extended_key_usages(&[]), KeyKind::P256, START).expect("no usage is any usage");
    judge(
        &ca,
        machine().extended_key_usages(&[Eku::Any]),
        KeyKind::P256,
        START,
    )
    .expect("any usage");
}

#[test]
fn the_fingerprint_is_the_certificates_and_the_key_survives_its_renewal() {
    let (ca, key, node) = (ca(), ForgeKey::generate(KeyKind::P256), node_key());
    let trust = MachineTrust::new(core::slice::from_ref(&ca.certificate)).unwrap();
    let signature = sign(&key.local(), &BINDING, &node).unwrap();
    let seen = |leaf: &Der| {
        let found = trust.verify(&[leaf], &signature, &BINDING, &node, START);
        found.map(|m| (m.fingerprint, m.key.fingerprint())).unwrap()
    };
    let (first, renewed) = (
        ca.leaf_with_key(machine(), &key),
        ca.leaf_with_key(machine(), &key),
    );
    assert_eq!(seen(&first.certificate), seen(&first.certificate));
    assert_eq!(
        seen(&first.certificate).0,
        signet_crypto::digest::sha256(&first.certificate)
    );
    assert_ne!(seen(&first.certificate).0, seen(&renewed.certificate).0);
    assert_eq!(seen(&first.certificate).1, seen(&renewed.certificate).1);
}

#[test]
fn each_rule_of_the_leaf_is_refused_for_its_own_reason() {
    assert_eq!(refused(machine().uris(&["spiffe://a.test/x"])), "SGCK305");
    assert_eq!(refused(machine().uris(&["SPIFFE://a.test/x"])), "SGCK305");
    judge(&ca(), machine().uris(&["urn:uuid:0"]), KeyKind::P256, START)
        .expect("another uri is a name like any");
    assert_eq!(refused(machine().is_ca(true)), "SGCK306");
    assert_eq!(refused(machine().key_usages(&[])), "SGCK307");
    assert_eq!(refused(machine().key_usages(&[Ku::KeyEncipherment])), "SGCK307");
    assert_eq!(
        refused(machine().key_usages(&[Ku::DigitalSignature, Ku::KeyCertSign])),
        "SGCK307"
    );
    assert_eq!(
        refused(machine().key_usages(&[Ku::DigitalSignature, Ku::CrlSign])),
        "SGCK307"
    );
    assert_eq!(
        refused(machine().extended_key_usages(&[Eku::ServerAuth])),
        "SGCK314"
    );
    assert_eq!(refused(machine().unknown_extension(true)), "SGCK315");
}

#[test]
fn time_is_looked_at_for_leaf_and_authority() {
    let hour = Duration::from_secs(3600);
    let at = |now| {
        judge(&ca(), machine(), KeyKind::P256, now)
            .map(drop)
            .map_err(|e| e.code())
    };
    assert_eq!(at(START), Ok(()));
    assert_eq!(at(START + hour * 2), Err("SGCK311"));
    assert_eq!(at(START - hour), Err("SGCK312"));
    let old = Authority::root_from(
        Recipe::ca("machines")
            .uris(&[])
            .valid(START - hour * 9, START - hour),
        KeyKind::P256,
    );
    let error = judge(&old, machine(), KeyKind::P256, START).unwrap_err();
    assert_eq!(
        error.code(),
        "SGCK313",
        "an authority that is over anchors nothing"
    );
}

#[test]
fn another_authority_is_refused_though_it_has_the_same_name() {
    let (ca, key, node) = (ca(), ForgeKey::generate(KeyKind::P256), node_key());
    let trust = MachineTrust::new(core::slice::from_ref(&ca.certificate)).unwrap();
    let signature = sign(&key.local(), &BINDING, &node).unwrap();
    let verify = |chain: &[Der]| trust.verify(chain, &signature, &BINDING, &node, START).map(drop);
    let other = Authority::root_from(Recipe::ca("others").uris(&[]), KeyKind::P256);
    let leaf = other.leaf_with_key(machine(), &key).certificate;
    assert_eq!(
        verify(core::slice::from_ref(&leaf)).unwrap_err().code(),
        "SGCK313"
    );
    assert_eq!(
        verify(&[leaf, other.certificate.clone()]).unwrap_err().code(),
        "SGCK313"
    );
    let forged = other
        .pretending_to_be(&ca)
        .leaf_with_key(machine(), &key)
        .certificate;
    assert_eq!(verify(&[forged]).unwrap_err().code(), "SGCK315");
    let own = machine().request(&key);
    assert_eq!(
        verify(&[Der::from(own)]).unwrap_err().code(),
        "SGCK304",
        "no certificate at all"
    );
}

#[test]
fn intermediates_lead_to_the_authority_within_bounds() {
    let (ca, key, node) = (ca(), ForgeKey::generate(KeyKind::P256), node_key());
    let trust = MachineTrust::new(core::slice::from_ref(&ca.certificate)).unwrap();
    let signature = sign(&key.local(), &BINDING, &node).unwrap();
    let verify = |chain: &[Der]| {
        let verified = trust.verify(chain, &signature, &BINDING, &node, START);
        verified.map(drop).map_err(|e| e.code())
    };
    let plain = || Recipe::ca("machines").uris(&[]);
    let one = ca.intermediate_from(plain(), KeyKind::P256);
    let two = one.intermediate_from(plain(), KeyKind::P384);
    let three = two.intermediate_from(plain(), KeyKind::P256);
    let leaf = three.leaf_with_key(machine(), &key).certificate;
    let certificates = [&leaf, &three.certificate, &two.certificate, &one.certificate].map(Clone::clone);
    assert_eq!(verify(&certificates), Ok(()));
    assert_eq!(verify(&certificates[..3]), Err("SGCK313"), "one is missing");
    let mut long = certificates.to_vec();
    long.push(ca.certificate.clone());
    assert_eq!(verify(&long), Err("SGCK303"));
    assert_eq!(verify(&[]), Err("SGCK302"));
    let another = three
        .leaf_with_key(machine(), &ForgeKey::generate(KeyKind::P256))
        .certificate;
    assert_eq!(verify(&[leaf.clone(), another]), Err("SGCK309"), "a leaf between");
    let vast = Der::from(vec![0x30; CERTIFICATE_BYTES_MAX + 1]);
    assert_eq!(verify(&[leaf, vast]), Err("SGCK303"));
}

#[test]
fn the_signature_is_for_one_connection_one_node_key_and_one_certificate() {
    let (ca, key, node) = (ca(), ForgeKey::generate(KeyKind::P256), node_key());
    let trust = MachineTrust::new(core::slice::from_ref(&ca.certificate)).unwrap();
    let (mine, theirs) = (ca.leaf_with_key(machine(), &key), ca.leaf_from(machine()));
    let signature = sign(&key.local(), &BINDING, &node).unwrap();
    let verify = |leaf: &Der, signature: &[u8], binding: Binding, node: &PublicKey| {
        let verified = trust.verify(&[leaf], signature, &binding, node, START);
        verified.map(drop).map_err(|e| e.code())
    };
    let mine = mine.certificate;
    assert_eq!(verify(&mine, &signature, BINDING, &node), Ok(()));
    assert_eq!(
        verify(&mine, &signature, Binding([8; 32]), &node),
        Err("SGCK310"),
        "another connection"
    );
    assert_eq!(
        verify(&mine, &signature, BINDING, &node_key()),
        Err("SGCK310"),
        "another node key"
    );
    assert_eq!(
        verify(&theirs.certificate, &signature, BINDING, &node),
        Err("SGCK310"),
        "another machine's"
    );
    assert_eq!(verify(&mine, &[], BINDING, &node), Err("SGCK310"));
    assert_eq!(
        verify(&mine, &vec![0; SIGNATURE_BYTES_MAX + 1], BINDING, &node),
        Err("SGCK310")
    );
    let mut words = statement(&BINDING, &node);
    words[64] ^= 1;
    let other = key.local().sign(
        signet_crypto::SignatureAlgorithm::EcdsaP256Sha256,
        signet_crypto::SignatureEncoding::Asn1,
        &words,
    );
    assert_eq!(
        verify(&mine, &other.unwrap(), BINDING, &node),
        Err("SGCK310"),
        "other words"
    );
}

#[test]
fn concatenated_certificates_are_cut_where_they_end() {
    let ca = ca();
    let leaf = ca.leaf_from(machine()).certificate;
    let code = |chain: &[u8]| split(chain).map(|found| found.len()).map_err(|e| e.code());
    let both = [leaf.as_ref(), ca.certificate.as_ref()].concat();
    assert_eq!(split(&both).unwrap(), [leaf.as_ref(), ca.certificate.as_ref()]);
    assert_eq!(code(&[]), Ok(0));
    assert_eq!(code(&both.repeat(2)), Ok(4));
    assert_eq!(code(&leaf.repeat(5)), Err("SGCK303"));
    assert_eq!(code(&[0x30, 0].repeat(1 << 20)), Err("SGCK303"), "however many");
    assert_eq!(code(&both[..both.len() - 1]), Err("SGCK304"));
    assert_eq!(code(&[both.as_slice(), &[0]].concat()), Err("SGCK304"));
    assert_eq!(
        code(&[0x30, 0x83, 1, 0, 0]),
        Err("SGCK304"),
        "longer than any certificate is"
    );
}

#[test]
fn only_authorities_can_be_trusted_and_there_must_be_some() {
    let ca = ca();
    let code = |certificates: &[Der]| MachineTrust::new(certificates).map(drop).map_err(|e| e.code());
    assert_eq!(code(&[]), Err("SGCK301"));
    assert_eq!(code(&[ca.leaf_from(machine()).certificate]), Err("SGCK301"));
    assert_eq!(code(&[Der::from(vec![1, 2, 3])]), Err("SGCK301"));
    assert_eq!(code(&vec![ca.certificate.clone(); AUTHORITIES_MAX]), Ok(()));
    assert_eq!(
        code(&vec![ca.certificate.clone(); AUTHORITIES_MAX + 1]),
        Err("SGCK301")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_panic_and_none_pass(
        noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..6),
        at: prop::sample::Index, bit in 0_u8..8, signature in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let ca = ca();
        let trust = MachineTrust::new(core::slice::from_ref(&ca.certificate)).unwrap();
        let key = ForgeKey::generate(KeyKind::P256);
        let leaf = ca.leaf_with_key(machine(), &key).certificate;
        let node = node_key();
        let good = sign(&key.local(), &BINDING, &node).unwrap();
        if let Ok(cut) = split(&noise.concat()) {
            prop_assert_eq!(cut.concat(), noise.concat());
        }
        prop_assert!(trust.verify(&noise, &good, &BINDING, &node, START).is_err());
        prop_assert!(trust.verify(&[&leaf], &signature, &BINDING, &node, START).is_err());
        // One bit of the certificate or of the signature.
        let (mut bytes, mut spoiled) = (leaf.to_vec(), good.clone());
        bytes[at.index(leaf.len())] ^= 1 << bit;
        spoiled[at.index(good.len())] ^= 1 << bit;
        prop_assert!(trust.verify(&[bytes], &good, &BINDING, &node, START).is_err());
        prop_assert!(trust.verify(&[&leaf], &spoiled, &BINDING, &node, START).is_err());
        prop_assert!(trust.verify(&[&leaf], &good, &BINDING, &node, START).is_ok());
    }
}
