//! Certificate chains (X509-SVID §5).

use crate::collection::Collection;
use crate::keys;
use signet_corpus::Kind;
use signet_testkit::START;
use signet_testkit::forge::{Authority, Der, ExtendedUsage, Recipe, Usage};
use std::time::Duration;

pub(crate) const ID: &str = "spiffe://example.org/web";
const HOUR: Duration = Duration::from_hours(1);
const OURS: &str = "trust/example.org.json";
const THEIRS: &str = "trust/example.com.json";

/// The authorities, the same each time.
pub(crate) fn root() -> Authority {
    Authority::root_with_key(ca("example.org", "Root", 1), keys::forge("root"))
}

pub(crate) fn other_root() -> Authority {
    Authority::root_with_key(ca("example.com", "Other Root", 2), keys::forge("other-root"))
}

pub(crate) fn former_root() -> Authority {
    Authority::root_with_key(ca("example.org", "Former Root", 3), keys::forge("former-root"))
}

fn ca(domain: &str, name: &str, serial: u64) -> Recipe {
    Recipe::ca(domain)
        .subject(&format!("Corpus {name}"))
        .serial(serial)
}

fn intermediate_recipe() -> Recipe {
    ca("example.org", "Intermediate", 4)
}

fn intermediate() -> Authority {
    root().intermediate_with_key(intermediate_recipe(), keys::forge("intermediate"))
}

fn svid() -> Recipe {
    Recipe::svid(ID).dns("web.example.org").serial(5)
}

fn chain(certificates: &[&Der]) -> Vec<u8> {
    certificates.iter().flat_map(|der| der.iter().copied()).collect()
}

fn leaf_below(issuer: &Authority, recipe: Recipe) -> Der {
    issuer.leaf_with_key(recipe, &keys::forge("leaf")).certificate
}

/// A leaf from `recipe` below the usual intermediate.
fn with_leaf(recipe: Recipe) -> Vec<u8> {
    let intermediate = intermediate();
    chain(&[&leaf_below(&intermediate, recipe), &intermediate.certificate])
}

/// The usual leaf below an intermediate from `recipe`, which has the usual name and key.
fn with_intermediate(recipe: Recipe) -> Vec<u8> {
    let intermediate = root().intermediate_with_key(recipe, keys::forge("intermediate"));
    chain(&[&leaf_below(&intermediate, svid()), &intermediate.certificate])
}

/// The usual leaf below two intermediates, of which the upper one permits so many below it.
fn with_path_length(length: u8) -> Vec<u8> {
    let upper = root().intermediate_with_key(
        intermediate_recipe().path_len(length),
        keys::forge("intermediate"),
    );
    let lower = upper.intermediate_with_key(ca("example.org", "Lower Intermediate", 6), keys::forge("lower"));
    chain(&[
        &leaf_below(&lower, svid()),
        &lower.certificate,
        &upper.certificate,
    ])
}

/// The last byte of the first certificate's signature, turned.
fn with_broken_signature() -> Vec<u8> {
    let intermediate = intermediate();
    let mut leaf = leaf_below(&intermediate, svid()).to_vec();
    *leaf.last_mut().unwrap() ^= 1;
    chain(&[&leaf.into(), &intermediate.certificate])
}

/// A leaf with an RSA key of so many bits that nobody has the private half of.
fn with_rsa_leaf(bits: usize) -> Vec<u8> {
    let intermediate = intermediate();
    let leaf = intermediate.certify_rsa(svid(), &vec![0xff; bits / 8], &[1, 0, 1]);
    chain(&[&leaf, &intermediate.certificate])
}

pub(crate) fn forge(all: &mut Collection) {
    right_ones(all);
    names(all);
    leaves(all);
    intermediates(all);
    trust(all);
}

fn right_ones(all: &mut Collection) {
    let ours = |all: &mut Collection, file, what, bytes| {
        let case = all.right(Kind::Chain, file, what, bytes);
        case.bundles.insert("example.org".into(), OURS.into());
    };
    ours(
        all,
        "right_chain.der",
        "a leaf of `example.org` below an intermediate",
        with_leaf(svid()),
    );
    ours(
        all,
        "right_chain_with_subject.der",
        "a leaf that has a subject beside its ID",
        with_leaf(svid().subject("web")),
    );
    ours(
        all,
        "right_chain_of_three.der",
        "a leaf below two intermediates, the upper one with path length 1",
        with_path_length(1),
    );
    ours(
        all,
        "right_chain_rsa_leaf.der",
        "a leaf with an RSA key of 2048 bits",
        with_rsa_leaf(2048),
    );
    let own = with_leaf(svid());
    let case = all.right(
        Kind::Chain,
        "right_chain_with_key.der",
        "a leaf with its private key",
        own,
    );
    case.bundles.insert("example.org".into(), OURS.into());
    case.key = Some(keys::file("leaf"));

    let theirs = other_intermediate();
    let leaf = leaf_below(&theirs, svid().uris(&["spiffe://example.com/web"]));
    let bytes = chain(&[&leaf, &theirs.certificate]);
    let what = "a leaf of `example.com` below its own authorities, whose bundle the verifier has too";
    let case = all.right(Kind::Chain, "right_chain_of_another_domain.der", what, bytes);
    case.bundles = [("example.org", OURS), ("example.com", THEIRS)]
        .map(|(domain, file)| (domain.to_owned(), file.to_owned()))
        .into();

    let former = former_root();
    let bytes = chain(&[&leaf_below(&former, svid()), &former.certificate]);
    let what = "a leaf below a root that is still in the bundle and stands in the chain too";
    let case = all.right(Kind::Chain, "right_chain_of_former_root.der", what, bytes);
    case.bundles.insert("example.org".into(), FORMER.into());
}

const FORMER: &str = "trust/example.org.former.json";

fn other_intermediate() -> Authority {
    other_root().intermediate_with_key(
        ca("example.com", "Other Intermediate", 7),
        keys::forge("other-intermediate"),
    )
}

fn names(all: &mut Collection) {
    const HTTPS: &str = "https://example.org/web";
    let cases: [(&str, &str, &str, &str, &[&str]); 13] = [
        ("leaf_no_uri_san.der", "spiffe-33", "no URI name", "SGCK004", &[]),
        (
            "leaf_two_uri_sans.der",
            "spiffe-34",
            "two SPIFFE IDs",
            "SGCK005",
            &[ID, "spiffe://example.org/admin"],
        ),
        (
            "leaf_two_uri_sans_one_https.der",
            "spiffe-34",
            "a second URI name, not a SPIFFE ID",
            "SGCK005",
            &[ID, HTTPS],
        ),
        (
            "leaf_uri_san_https.der",
            "spiffe-35",
            "the URI name is an https URL",
            "SGCK006",
            &[HTTPS],
        ),
        (
            "leaf_id_domain_upper_case.der",
            "spiffe-35",
            "upper case in the trust domain",
            "SGCK006",
            &["spiffe://Example.org/web"],
        ),
        (
            "leaf_id_port.der",
            "spiffe-35",
            "a port in the ID",
            "SGCK006",
            &["spiffe://example.org:443/web"],
        ),
        (
            "leaf_id_user.der",
            "spiffe-35",
            "a user in the ID",
            "SGCK006",
            &["spiffe://web@example.org/web"],
        ),
        (
            "leaf_id_query.der",
            "spiffe-35",
            "a query in the ID",
            "SGCK006",
            &["spiffe://example.org/web?a=b"],
        ),
        (
            "leaf_id_empty_segment.der",
            "spiffe-35",
            "an empty segment in the ID's path",
            "SGCK006",
            &["spiffe://example.org//web"],
        ),
        (
            "leaf_id_dot_segment.der",
            "spiffe-35",
            "a segment `..` in the ID's path",
            "SGCK006",
            &["spiffe://example.org/a/../web"],
        ),
        (
            "leaf_id_no_path.der",
            "spiffe-36",
            "the trust domain's own ID",
            "SGCK007",
            &["spiffe://example.org"],
        ),
        (
            "leaf_id_slash_only.der",
            "spiffe-36",
            "the trust domain's own ID with a slash",
            "SGCK006",
            &["spiffe://example.org/"],
        ),
        (
            "leaf_id_of_unknown_domain.der",
            "spiffe-43",
            "the ID is of a domain without a bundle",
            "SGCK015",
            &["spiffe://example.net/web"],
        ),
    ];
    for (file, rule, what, code, uris) in cases {
        let bytes = with_leaf(svid().uris(uris));
        all.broken(file, "right_chain.der", &[rule], what, code, bytes);
    }
}

fn leaves(all: &mut Collection) {
    let signs_and = |usage| svid().key_usages(&[Usage::DigitalSignature, usage]);
    let cases = [
        (
            "leaf_key_cert_sign.der",
            "spiffe-38",
            "the leaf has keyCertSign",
            "SGCK009",
            signs_and(Usage::KeyCertSign),
        ),
        (
            "leaf_no_digital_signature.der",
            "spiffe-40",
            "the leaf's key usage is keyAgreement alone",
            "SGCK011",
            svid().key_usages(&[Usage::KeyAgreement]),
        ),
        (
            "leaf_no_key_usage.der",
            "spiffe-40",
            "the leaf has no key usage",
            "SGCK011",
            svid().key_usages(&[]),
        ),
        (
            "leaf_expired.der",
            "spiffe-42",
            "the leaf ended an hour ago",
            "SGCK013",
            svid().valid(START - 2 * HOUR, START - HOUR),
        ),
        (
            "leaf_not_yet_valid.der",
            "spiffe-42",
            "the leaf begins in an hour",
            "SGCK014",
            svid().valid(START + HOUR, START + 2 * HOUR),
        ),
        (
            "leaf_unknown_critical_extension.der",
            "spiffe-47",
            "the leaf has a critical extension that nobody knows",
            "SGCK019",
            svid().unknown_extension(true),
        ),
        (
            "leaf_eku_code_signing.der",
            "spiffe-29",
            "the leaf is for signing code and not for TLS",
            "SGCK021",
            svid().extended_key_usages(&[ExtendedUsage::CodeSigning]),
        ),
    ];
    for (file, rule, what, code, recipe) in cases {
        all.broken(file, "right_chain.der", &[rule], what, code, with_leaf(recipe));
    }
    // Issuers of certificates and of lists must have a subject (RFC 5280 §4.1.2.6): so that this is not broken too.
    let named = svid().subject("web");
    let lists = [Usage::DigitalSignature, Usage::CrlSign];
    for (file, rule, what, code, recipe) in [
        (
            "leaf_ca_true.der",
            "spiffe-37",
            "the leaf has cA",
            "SGCK008",
            named.clone().is_ca(true),
        ),
        (
            "leaf_crl_sign.der",
            "spiffe-39",
            "the leaf has cRLSign",
            "SGCK010",
            named.key_usages(&lists),
        ),
    ] {
        let twin = "right_chain_with_subject.der";
        all.broken(file, twin, &[rule], what, code, with_leaf(recipe));
    }
    all.broken(
        "leaf_wrong_signature.der",
        "right_chain.der",
        &["spiffe-46"],
        "the last byte of the leaf's signature is another",
        "SGCK018",
        with_broken_signature(),
    );
    all.broken(
        "leaf_rsa_1024.der",
        "right_chain_rsa_leaf.der",
        &["docs/algorithms.md"],
        "the leaf's RSA key has 1024 bits",
        "SGCK026",
        with_rsa_leaf(1024),
    );
    let own = with_leaf(svid());
    let what = "the private key is another certificate's";
    all.broken(
        "leaf_private_key_of_another.der",
        "right_chain_with_key.der",
        &["spiffe-49"],
        what,
        "SGCK024",
        own,
    )
    .key = Some(keys::file("stranger"));
}

fn intermediates(all: &mut Collection) {
    let cases = [
        (
            "intermediate_ca_false.der",
            "spiffe-41",
            "the intermediate has no cA",
            "SGCK012",
            intermediate_recipe().is_ca(false),
        ),
        (
            "intermediate_no_key_cert_sign.der",
            "spiffe-41",
            "the intermediate lacks keyCertSign",
            "SGCK012",
            intermediate_recipe().key_usages(&[Usage::DigitalSignature, Usage::CrlSign]),
        ),
        (
            "intermediate_expired.der",
            "spiffe-42",
            "the intermediate ended an hour ago",
            "SGCK013",
            intermediate_recipe().valid(START - 2 * HOUR, START - HOUR),
        ),
        (
            "intermediate_not_yet_valid.der",
            "spiffe-42",
            "the intermediate begins in an hour",
            "SGCK014",
            intermediate_recipe().valid(START + HOUR, START + 2 * HOUR),
        ),
        (
            "intermediate_unknown_critical_extension.der",
            "spiffe-47",
            "the intermediate has a critical extension that nobody knows",
            "SGCK019",
            intermediate_recipe().unknown_extension(true),
        ),
        (
            "intermediate_uri_constraint_violated.der",
            "spiffe-48",
            "the intermediate may sign for URIs of `example.com` only",
            "SGCK020",
            intermediate_recipe().uri_constraint("example.com"),
        ),
    ];
    for (file, rule, what, code, recipe) in cases {
        all.broken(
            file,
            "right_chain.der",
            &[rule],
            what,
            code,
            with_intermediate(recipe),
        );
    }
    all.broken(
        "intermediate_path_length_exceeded.der",
        "right_chain_of_three.der",
        &["spiffe-50"],
        "the upper intermediate has path length 0 and one below it",
        "SGCK022",
        with_path_length(0),
    );
}

/// The same bytes, or nearly, under other trust.
fn trust(all: &mut Collection) {
    let theirs = other_intermediate();
    all.broken(
        "chain_of_another_domains_root.der",
        "right_chain_of_another_domain.der",
        &["spiffe-44"],
        "an ID of `example.org` below the authorities of `example.com`",
        "SGCK017",
        chain(&[&leaf_below(&theirs, svid()), &theirs.certificate]),
    );
    all.broken(
        "chain_none.der",
        "right_chain.der",
        &["spiffe-32"],
        "no certificates",
        "SGCK001",
        Vec::new(),
    );
    let former = former_root();
    let bytes = chain(&[&leaf_below(&former, svid()), &former.certificate]);
    let what = "the root that is shown was taken out of the bundle";
    all.broken(
        "chain_of_removed_root.der",
        "right_chain_of_former_root.der",
        &["spiffe-51"],
        what,
        "SGCK017",
        bytes,
    )
    .bundles
    .insert("example.org".into(), OURS.into());
    let tainted = "trust/tainted_intermediate.der";
    all.extra
        .insert(tainted.into(), intermediate().certificate.to_vec());
    let what = "the intermediate is tainted";
    all.broken(
        "chain_through_tainted_intermediate.der",
        "right_chain.der",
        &["spiffe-51"],
        what,
        "SGCK023",
        with_leaf(svid()),
    )
    .tainted = vec![tainted.into()];
}
