use signet_check::x509::{VerifiedX509Svid, X509SvidError, match_private_key, verify_svid};
use signet_crypto::{KeyKind, LocalKey};
use signet_testkit::START;
use signet_testkit::forge::{Authority, Der, ExtendedUsage, ForgeKey, Recipe, Usage};
use signet_time::UnixTime;
use signet_trust::{Bundle, TrustView, X509Authority};
use std::time::Duration;

const ID: &str = "spiffe://example.org/web";
const HOUR: Duration = Duration::from_hours(1);

fn bundle_of(domain: &str, authorities: &[(&Der, bool)]) -> Bundle {
    let authority = |(certificate, tainted): &(&Der, bool)| X509Authority {
        certificate: (*certificate).clone(),
        tainted: *tainted,
    };
    let authorities = authorities.iter().map(authority).collect();
    Bundle::new(domain.parse().unwrap(), 1, None, authorities, Vec::new()).unwrap()
}

fn view_of(roots: &[&Authority]) -> TrustView {
    let roots: Vec<_> = roots.iter().map(|root| (&root.certificate, false)).collect();
    TrustView::new("example.org".parse().unwrap()).with_bundle(bundle_of("example.org", &roots))
}

fn verify(chain: &[&Der], view: &TrustView) -> Result<VerifiedX509Svid, X509SvidError> {
    verify_at(chain, view, START)
}

fn verify_at(chain: &[&Der], view: &TrustView, now: UnixTime) -> Result<VerifiedX509Svid, X509SvidError> {
    let chain: Vec<Der> = chain.iter().map(|der| (*der).clone()).collect();
    verify_svid(&chain, view, now)
}

/// What is said of a leaf from `recipe` that is right otherwise.
fn leaf_refusal(recipe: Recipe) -> X509SvidError {
    let root = Authority::root("example.org");
    verify(&[&root.leaf_from(recipe).certificate], &view_of(&[&root])).unwrap_err()
}

/// What is said of a right leaf below an intermediate from `recipe`.
fn intermediate_refusal(recipe: Recipe) -> X509SvidError {
    let root = Authority::root("example.org");
    let intermediate = root.intermediate_from(recipe, KeyKind::P256);
    let leaf = intermediate.leaf(ID);
    verify(
        &[&leaf.certificate, &intermediate.certificate],
        &view_of(&[&root]),
    )
    .unwrap_err()
}

macro_rules! assert_refused {
    ($refusal:expr, $pattern:pat) => {
        let refusal = $refusal;
        assert!(matches!(refusal, $pattern), "{refusal:?}");
    };
}

/// Odd numbers of so many bits that nobody knows the factors of: what a certificate says, not what signs.
fn modulus(bits: usize) -> Vec<u8> {
    vec![0xff; bits / 8]
}

#[test]
fn weak_rsa_keys_are_refused_wherever_they_stand() {
    const USUAL: &[u8] = &[1, 0, 1];
    let root = Authority::root("example.org");
    let intermediate = root.intermediate("example.org");
    let good = intermediate.leaf(ID);
    for bits in [2048, 3072, 4096] {
        let leaf = root.certify_rsa(Recipe::svid(ID), &modulus(bits), USUAL);
        verify(&[&leaf], &view_of(&[&root])).unwrap();
    }
    for (bits, exponent) in [
        (1024, USUAL),
        (2040, USUAL),
        (2056, USUAL),
        (8192, USUAL),
        (2048, &[3][..]),
        (2048, &[1, 1]),
        (2048, &[1, 0, 0]),
    ] {
        let name = format!("{bits} bits, exponent {exponent:?}");
        let leaf = root.certify_rsa(Recipe::svid(ID), &modulus(bits), exponent);
        let refused = verify(&[&leaf], &view_of(&[&root])).unwrap_err();
        assert!(
            matches!(refused, X509SvidError::Key { index: 0, .. }),
            "{name}: {refused:?}"
        );

        let authority = root.certify_rsa(Recipe::ca("example.org"), &modulus(bits), exponent);
        let chain = [&good.certificate, &intermediate.certificate, &authority];
        let refused = verify(&chain, &view_of(&[&root])).unwrap_err();
        assert!(
            matches!(refused, X509SvidError::Key { index: 2, .. }),
            "{name}: {refused:?}"
        );

        let weak_only = bundle_of("example.org", &[(&authority, false)]);
        let view = TrustView::new("example.org".parse().unwrap()).with_bundle(weak_only);
        let refused = verify(&chain[..2], &view).unwrap_err();
        assert!(
            matches!(refused, X509SvidError::EmptyBundle { .. }),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn a_path_of_any_kinds_of_key_is_taken() {
    let kinds = KeyKind::ALL;
    let leaves = kinds.map(ForgeKey::generate);
    for (index, kind) in kinds.into_iter().enumerate() {
        let root = Authority::root_from(Recipe::ca("example.org"), kind);
        // Each kind signs an intermediate of the next kind, so that each kind signs leaves too.
        let next = kinds[(index + 1) % kinds.len()];
        let intermediate = root.intermediate_from(Recipe::ca("example.org"), next);
        let view = view_of(&[&root]);
        for (leaf_kind, key) in kinds.iter().zip(&leaves) {
            let leaf = intermediate.leaf_with_key(Recipe::svid(ID), key);
            let verified = verify(&[&leaf.certificate, &intermediate.certificate], &view);
            assert!(verified.is_ok(), "{kind:?} {next:?} {leaf_kind:?}: {verified:?}");
        }
    }
}

#[test]
fn right_chains_verify_with_every_kind_of_authority() {
    for kind in KeyKind::ALL {
        let root = Authority::root_from(Recipe::ca("example.org"), kind);
        let intermediate = root.intermediate("example.org");
        let view = view_of(&[&root]);
        let direct = root.leaf(ID);
        let verified = verify(&[&direct.certificate], &view).unwrap();
        assert_eq!(verified.id.as_str(), ID, "{kind:?}");
        assert_eq!(verified.leaf, direct.certificate);
        assert_eq!(verified.not_after, START + HOUR);
        let leaf = intermediate.leaf(ID);
        verify(&[&leaf.certificate, &intermediate.certificate], &view).unwrap();
        // A root in the chain is of no use, and no harm.
        verify(
            &[&leaf.certificate, &intermediate.certificate, &root.certificate],
            &view,
        )
        .unwrap();
    }
}

#[test]
fn a_leaf_may_have_dns_names_and_a_subject_beside_its_id() {
    let root = Authority::root("example.org");
    let leaf = root.leaf_from(Recipe::svid(ID).dns("web.example.org").subject("web"));
    verify(&[&leaf.certificate], &view_of(&[&root])).unwrap();
}

#[test]
fn spiffe_32_no_certificates() {
    assert_refused!(
        verify(&[], &view_of(&[])).unwrap_err(),
        X509SvidError::NoCertificates
    );
}

#[test]
fn spiffe_33_no_uri_name() {
    assert_refused!(leaf_refusal(Recipe::svid(ID).uris(&[])), X509SvidError::NoUriName);
    assert_refused!(
        leaf_refusal(Recipe::web("web.example.org")),
        X509SvidError::NoUriName
    );
}

#[test]
fn spiffe_34_two_uri_names() {
    let two = Recipe::svid(ID).uris(&[ID, "spiffe://example.org/other"]);
    assert_refused!(leaf_refusal(two), X509SvidError::ManyUriNames { count: 2 });
    let with_web = Recipe::svid(ID).uris(&[ID, "https://example.org/"]);
    assert_refused!(leaf_refusal(with_web), X509SvidError::ManyUriNames { count: 2 });
    let same = Recipe::svid(ID).uris(&[ID, ID]);
    assert_refused!(leaf_refusal(same), X509SvidError::ManyUriNames { count: 2 });
}

#[test]
fn spiffe_35_uri_name_that_is_no_spiffe_id() {
    for wrong in [
        "https://example.org/web",
        "spiffe://EXAMPLE.org/web",
        "SPIFFE://example.org/web",
        "spiffe://example.org/a//b",
        "spiffe://example.org/web?x",
        "spiffe://example.org:80/web",
        "spiffe:///web",
        "",
    ] {
        assert_refused!(
            leaf_refusal(Recipe::svid(ID).uris(&[wrong])),
            X509SvidError::NotSpiffeId(_)
        );
    }
}

#[test]
fn spiffe_36_id_without_path_on_a_leaf() {
    let root_path = Recipe::svid(ID).uris(&["spiffe://example.org"]);
    assert_refused!(leaf_refusal(root_path), X509SvidError::RootPath { .. });
    let slash = Recipe::svid(ID).uris(&["spiffe://example.org/"]);
    assert_refused!(leaf_refusal(slash), X509SvidError::NotSpiffeId(_));
}

#[test]
fn spiffe_37_leaf_that_is_a_ca() {
    assert_refused!(
        leaf_refusal(Recipe::svid(ID).is_ca(true)),
        X509SvidError::LeafIsCa
    );
}

#[test]
fn spiffe_38_leaf_with_key_cert_sign() {
    let usages = [Usage::DigitalSignature, Usage::KeyCertSign];
    assert_refused!(
        leaf_refusal(Recipe::svid(ID).key_usages(&usages)),
        X509SvidError::LeafSignsCertificates
    );
}

#[test]
fn spiffe_39_leaf_with_crl_sign() {
    let usages = [Usage::DigitalSignature, Usage::CrlSign];
    assert_refused!(
        leaf_refusal(Recipe::svid(ID).key_usages(&usages)),
        X509SvidError::LeafSignsLists
    );
}

#[test]
fn spiffe_40_leaf_without_digital_signature() {
    let usages = [Usage::KeyAgreement];
    assert_refused!(
        leaf_refusal(Recipe::svid(ID).key_usages(&usages)),
        X509SvidError::NoDigitalSignature
    );
    assert_refused!(
        leaf_refusal(Recipe::svid(ID).key_usages(&[])),
        X509SvidError::NoDigitalSignature
    );
}

#[test]
fn spiffe_41_intermediate_that_is_no_ca_or_lacks_key_cert_sign() {
    let no_ca = Recipe::ca("example.org").is_ca(false);
    assert_refused!(
        intermediate_refusal(no_ca),
        X509SvidError::NotAnAuthority { index: 1 }
    );
    let no_sign = Recipe::ca("example.org").key_usages(&[Usage::DigitalSignature, Usage::CrlSign]);
    assert_refused!(
        intermediate_refusal(no_sign),
        X509SvidError::NotAnAuthority { index: 1 }
    );
    let none = Recipe::ca("example.org").key_usages(&[]);
    assert_refused!(
        intermediate_refusal(none),
        X509SvidError::NotAnAuthority { index: 1 }
    );
}

#[test]
fn spiffe_41_a_leaf_cannot_issue() {
    let root = Authority::root("example.org");
    let impostor = root.intermediate_from(Recipe::svid(ID).subject("web"), KeyKind::P256);
    let forged = impostor.leaf("spiffe://example.org/admin");
    let refused = verify(&[&forged.certificate, &impostor.certificate], &view_of(&[&root])).unwrap_err();
    assert_refused!(refused, X509SvidError::NotAnAuthority { index: 1 });
}

#[test]
fn spiffe_42_leaf_outside_its_validity() {
    let root = Authority::root("example.org");
    let leaf = root
        .leaf_from(Recipe::svid(ID).valid(START, START + HOUR))
        .certificate;
    let view = view_of(&[&root]);
    verify_at(&[&leaf], &view, START).unwrap();
    verify_at(&[&leaf], &view, START + HOUR).unwrap();
    let late = verify_at(&[&leaf], &view, START + HOUR + Duration::from_secs(1)).unwrap_err();
    assert_refused!(late, X509SvidError::Expired { .. });
    let early = verify_at(&[&leaf], &view, START - Duration::from_secs(1)).unwrap_err();
    assert_refused!(early, X509SvidError::NotYetValid { .. });
}

#[test]
fn spiffe_42_intermediate_outside_its_validity() {
    let expired = Recipe::ca("example.org").valid(START - 2 * HOUR, START - HOUR);
    assert_refused!(intermediate_refusal(expired), X509SvidError::Expired { .. });
    let early = Recipe::ca("example.org").valid(START + HOUR, START + 2 * HOUR);
    assert_refused!(intermediate_refusal(early), X509SvidError::NotYetValid { .. });
}

#[test]
fn spiffe_42_an_authority_outside_its_validity_anchors_nothing() {
    for (from, to) in [(START - 2 * HOUR, START - HOUR), (START + HOUR, START + 2 * HOUR)] {
        let root = Authority::root_from(Recipe::ca("example.org").valid(from, to), KeyKind::P256);
        let refused = verify(&[&root.leaf(ID).certificate], &view_of(&[&root])).unwrap_err();
        assert_refused!(refused, X509SvidError::EmptyBundle { .. });
    }
}

#[test]
fn spiffe_43_no_bundle_for_the_trust_domain() {
    let root = Authority::root("example.com");
    let leaf = root.leaf("spiffe://example.com/web");
    let refused = verify(&[&leaf.certificate], &view_of(&[&root])).unwrap_err();
    assert!(
        matches!(&refused, X509SvidError::NoBundle { trust_domain } if trust_domain.as_str() == "example.com")
    );
}

#[test]
fn spiffe_44_chain_valid_only_under_another_domains_bundle() {
    let ours = Authority::root("example.org");
    let theirs = Authority::root("example.com");
    let between = theirs.intermediate("example.com");
    let view = view_of(&[&ours]).with_bundle(bundle_of("example.com", &[(&theirs.certificate, false)]));
    verify(&[&theirs.leaf("spiffe://example.com/web").certificate], &view).unwrap();

    // Their authority, alone and over an intermediate, and even with its root in the chain, signs for our domain.
    let direct = theirs.leaf(ID).certificate;
    let below = between.leaf(ID).certificate;
    for chain in [
        &[&direct][..],
        &[&direct, &theirs.certificate],
        &[&below, &between.certificate],
        &[&below, &between.certificate, &theirs.certificate],
    ] {
        let refused = verify(chain, &view).unwrap_err();
        assert!(
            matches!(&refused, X509SvidError::UnknownAuthority { trust_domain } if trust_domain.as_str() == "example.org"),
            "{refused:?}"
        );
    }
    // And ours for theirs.
    let refused = verify(&[&ours.leaf("spiffe://example.com/web").certificate], &view).unwrap_err();
    assert_refused!(refused, X509SvidError::UnknownAuthority { .. });
}

#[test]
fn spiffe_44_an_authority_that_names_itself_like_ours_is_still_not_ours() {
    let ours = Authority::root_from(Recipe::ca("example.org").subject("root"), KeyKind::P256);
    let theirs = Authority::root_from(Recipe::ca("example.org").subject("root"), KeyKind::P256);
    let view = view_of(&[&ours]).with_bundle(bundle_of("example.com", &[(&theirs.certificate, false)]));
    let refused = verify(&[&theirs.leaf(ID).certificate, &theirs.certificate], &view).unwrap_err();
    assert_refused!(
        refused,
        X509SvidError::Signature | X509SvidError::UnknownAuthority { .. }
    );
}

#[test]
fn spiffe_45_empty_bundle() {
    let root = Authority::root("example.org");
    let refused = verify(&[&root.leaf(ID).certificate], &view_of(&[])).unwrap_err();
    assert_refused!(refused, X509SvidError::EmptyBundle { .. });
}

#[test]
fn spiffe_46_wrong_signature() {
    let root = Authority::root("example.org");
    let impostor = Authority::root("example.org").pretending_to_be(&root);
    let refused = verify(&[&impostor.leaf(ID).certificate], &view_of(&[&root])).unwrap_err();
    assert_refused!(refused, X509SvidError::Signature);

    let mut broken = root.leaf(ID).certificate.to_vec();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    let refused = verify(&[&Der::from(broken)], &view_of(&[&root])).unwrap_err();
    assert_refused!(refused, X509SvidError::Signature);
}

#[test]
fn spiffe_47_unknown_critical_extension() {
    let root = Authority::root("example.org");
    let harmless = root.leaf_from(Recipe::svid(ID).unknown_extension(false));
    verify(&[&harmless.certificate], &view_of(&[&root])).unwrap();
    assert_refused!(
        leaf_refusal(Recipe::svid(ID).unknown_extension(true)),
        X509SvidError::CriticalExtension
    );
    let intermediate = Recipe::ca("example.org").unknown_extension(true);
    assert_refused!(
        intermediate_refusal(intermediate),
        X509SvidError::CriticalExtension
    );
}

/// The path builder cannot evaluate constraints on URI names, so it refuses every URI name below one: a violated
/// constraint never passes, and a kept one does not either.
#[test]
fn spiffe_48_any_uri_name_constraint_refuses() {
    for host in ["example.com", "example.org", ".example.org"] {
        let constrained = Recipe::ca("example.org").uri_constraint(host);
        assert_refused!(
            intermediate_refusal(constrained.clone()),
            X509SvidError::NameConstraint
        );
        let root = Authority::root_from(constrained, KeyKind::P256);
        let refused = verify(&[&root.leaf(ID).certificate], &view_of(&[&root])).unwrap_err();
        assert_refused!(refused, X509SvidError::NameConstraint);
    }
}

#[test]
fn spiffe_49_private_key_of_another_certificate() {
    let root = Authority::root("example.org");
    let leaf = root.leaf(ID);
    match_private_key(&leaf.certificate, &leaf.key).unwrap();
    for kind in [KeyKind::P256, KeyKind::Ed25519] {
        let other = LocalKey::generate(kind).unwrap();
        assert_refused!(
            match_private_key(&leaf.certificate, &other).unwrap_err(),
            X509SvidError::PrivateKey
        );
    }
}

#[test]
fn spiffe_50_chain_longer_than_a_path_length_allows() {
    // An intermediate that allows none below it.
    let root = Authority::root("example.org");
    let upper = root.intermediate_from(Recipe::ca("example.org").path_len(0), KeyKind::P256);
    let lower = upper.intermediate("example.org");
    let view = view_of(&[&root]);
    verify(&[&upper.leaf(ID).certificate, &upper.certificate], &view).unwrap();
    let leaf = lower.leaf(ID).certificate;
    let refused = verify(&[&leaf, &lower.certificate, &upper.certificate], &view).unwrap_err();
    assert_refused!(refused, X509SvidError::PathLength);

    // The anchor's own path length, of which the path builder knows nothing.
    let root = Authority::root_from(Recipe::ca("example.org").path_len(0), KeyKind::P256);
    let intermediate = root.intermediate("example.org");
    let view = view_of(&[&root]);
    verify(&[&root.leaf(ID).certificate], &view).unwrap();
    let leaf = intermediate.leaf(ID).certificate;
    let refused = verify(&[&leaf, &intermediate.certificate], &view).unwrap_err();
    assert_refused!(refused, X509SvidError::PathLength);
}

#[test]
fn spiffe_51_a_tainted_authority_neither_anchors_nor_stands_between() {
    let old = Authority::root("example.org");
    let new = Authority::root("example.org");
    let bundle = bundle_of(
        "example.org",
        &[(&old.certificate, true), (&new.certificate, false)],
    );
    let view = TrustView::new("example.org".parse().unwrap()).with_bundle(bundle);
    verify(&[&new.leaf(ID).certificate], &view).unwrap();

    let stolen = old.leaf(ID).certificate;
    assert_refused!(
        verify(&[&stolen], &view).unwrap_err(),
        X509SvidError::UnknownAuthority { .. }
    );
    let refused = verify(&[&stolen, &old.certificate], &view).unwrap_err();
    assert_refused!(refused, X509SvidError::TaintedAuthority { index: 1 });
    // The new root once vouched for the old: the way by which a stolen SVID would get past a pool of intermediates.
    let cross = old.cross_signed_by(&new);
    let refused = verify(&[&stolen, &cross], &view).unwrap_err();
    assert_refused!(refused, X509SvidError::TaintedAuthority { index: 1 });
}

#[test]
fn spiffe_51_a_tainted_intermediate_is_refused_under_a_sound_root() {
    let root = Authority::root("example.org");
    let (stolen, sound) = (root.intermediate("example.org"), root.intermediate("example.org"));
    let bundle = bundle_of(
        "example.org",
        &[(&root.certificate, false), (&stolen.certificate, true)],
    );
    let view = TrustView::new("example.org".parse().unwrap()).with_bundle(bundle);
    verify(&[&sound.leaf(ID).certificate, &sound.certificate], &view).unwrap();
    let leaf = stolen.leaf(ID).certificate;
    for behind in [&stolen.certificate, &stolen.cross_signed_by(&root)] {
        let refused = verify(&[&leaf, behind], &view).unwrap_err();
        assert_refused!(refused, X509SvidError::TaintedAuthority { index: 1 });
    }
    assert_refused!(
        verify(&[&leaf], &view).unwrap_err(),
        X509SvidError::UnknownAuthority { .. }
    );
}

#[test]
fn spiffe_51_a_removed_authority_offered_as_intermediate_is_no_authority() {
    let (old, new) = (Authority::root("example.org"), Authority::root("example.org"));
    let refused = verify(&[&old.leaf(ID).certificate, &old.certificate], &view_of(&[&new])).unwrap_err();
    assert_refused!(refused, X509SvidError::UnknownAuthority { .. });
}

#[test]
fn spiffe_51_taint_follows_the_key_into_other_certificates() {
    let recipe = || Recipe::ca("example.org").subject("root");
    let key = ForgeKey::generate(KeyKind::P256);
    let again = ForgeKey::from_pkcs8(&key.pkcs8());
    let (first, second) = (
        Authority::root_with_key(recipe(), key),
        Authority::root_with_key(recipe(), again),
    );
    let bundle = bundle_of(
        "example.org",
        &[(&first.certificate, true), (&second.certificate, false)],
    );
    let view = TrustView::new("example.org".parse().unwrap()).with_bundle(bundle);
    let refused = verify(&[&second.leaf(ID).certificate], &view).unwrap_err();
    assert_refused!(refused, X509SvidError::EmptyBundle { .. });
}

#[test]
fn an_authority_that_is_no_ca_anchors_nothing() {
    let root = Authority::root_from(Recipe::ca("example.org").is_ca(false), KeyKind::P256);
    let refused = verify(&[&root.leaf(ID).certificate], &view_of(&[&root])).unwrap_err();
    assert_refused!(refused, X509SvidError::EmptyBundle { .. });
}

#[test]
fn a_self_signed_svid_is_nobodys() {
    let own = Recipe::svid(ID).self_signed();
    let refused = verify(&[&own.certificate], &view_of(&[&Authority::root("example.org")])).unwrap_err();
    assert_refused!(refused, X509SvidError::UnknownAuthority { .. });
}

#[test]
fn extended_key_usage_must_allow_tls_if_there_is_any() {
    let root = Authority::root("example.org");
    let with = |usages: &[ExtendedUsage]| {
        let leaf = root.leaf_from(Recipe::svid(ID).extended_key_usages(usages));
        verify(&[&leaf.certificate], &view_of(&[&root]))
    };
    with(&[]).unwrap();
    with(&[ExtendedUsage::Any]).unwrap();
    with(&[ExtendedUsage::ServerAuth]).unwrap();
    assert_refused!(
        with(&[ExtendedUsage::CodeSigning]).unwrap_err(),
        X509SvidError::ExtendedKeyUsage
    );
}

#[test]
fn chains_are_bounded_and_whole() {
    let root = Authority::root("example.org");
    let view = view_of(&[&root]);
    let leaf = root.leaf(ID).certificate;
    let long = vec![&leaf; 9];
    assert_refused!(
        verify(&long, &view).unwrap_err(),
        X509SvidError::LongChain { count: 9, max: 8 }
    );
    let trailing = Der::from([&leaf[..], &[0]].concat());
    assert_refused!(
        verify(&[&trailing], &view).unwrap_err(),
        X509SvidError::Malformed { index: 0, .. }
    );
    let garbage = Der::from(vec![0x30, 0]);
    assert_refused!(
        verify(&[&leaf, &garbage], &view).unwrap_err(),
        X509SvidError::Malformed { index: 1, .. }
    );
}
