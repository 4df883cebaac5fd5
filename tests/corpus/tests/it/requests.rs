//! Certificate requests (PKCS #10): what a node or a workload may ask for.

use crate::chains::ID;
use crate::collection::{Collection, Row};
use crate::keys;
use signet_corpus::Kind;
use signet_testkit::forge::{Recipe, Usage};

fn wished() -> Recipe {
    Recipe::svid(ID).dns("web.example.org").extended_key_usages(&[])
}

fn request(recipe: Recipe) -> Vec<u8> {
    recipe.request(&keys::forge("request"))
}

/// Made by `openssl req` 3.0: nothing here makes keys so weak.
const RSA_1024: &[u8] = include_bytes!("../../../../crates/formats/x509/tests/csr/refused_rsa1024.der");
const RSA_2048: &[u8] = include_bytes!("../../../../crates/formats/x509/tests/csr/rsa2048.der");

pub(crate) fn forge(all: &mut Collection) {
    const TWIN: &str = "right_request.der";
    const WEAK_TWIN: &str = "right_request_rsa_2048.der";
    all.right(
        Kind::Request,
        TWIN,
        "a request for a SPIFFE ID and a DNS name",
        request(wished()),
    );
    all.right(
        Kind::Request,
        WEAK_TWIN,
        "a request for a SPIFFE ID with an RSA key of 2048 bits, by OpenSSL",
        RSA_2048.to_vec(),
    );
    let many = |count: usize| {
        let one = Recipe::svid(ID).extended_key_usages(&[]);
        (1..count).fold(one, |r, n| r.dns(&format!("n{n}.example.org")))
    };
    let mut broken_signature = request(wished());
    *broken_signature.last_mut().unwrap() ^= 1;
    let trailing = [request(wished()), vec![5, 0]].concat();
    let rows: Vec<Row> = vec![
        (
            "request_two_uri_sans.der",
            &["spiffe-27"],
            "two SPIFFE IDs",
            "SGXC038",
            request(wished().uris(&[ID, "spiffe://example.org/admin"])),
        ),
        (
            "request_ca_true.der",
            &["spiffe-29"],
            "it asks for cA",
            "SGXC036",
            request(wished().is_ca(true)),
        ),
        (
            "request_key_cert_sign.der",
            &["spiffe-29"],
            "it asks for keyCertSign",
            "SGXC037",
            request(wished().key_usages(&[Usage::DigitalSignature, Usage::KeyCertSign])),
        ),
        (
            "request_crl_sign.der",
            &["spiffe-29"],
            "it asks for cRLSign",
            "SGXC037",
            request(wished().key_usages(&[Usage::DigitalSignature, Usage::CrlSign])),
        ),
        (
            "request_mail_name.der",
            &["spiffe-27"],
            "an address of mail among the names",
            "SGXC040",
            request(wished().mail("web@example.org")),
        ),
        (
            "request_network_address.der",
            &["spiffe-27"],
            "a network address among the names",
            "SGXC040",
            request(wished().address([127, 0, 0, 1].into())),
        ),
        (
            "request_dns_wildcard.der",
            &["spiffe-27"],
            "a wildcard among the names",
            "SGXC041",
            request(wished().dns("*.example.org")),
        ),
        (
            "request_unknown_critical_extension.der",
            &["RFC 5280 §4.2"],
            "a critical extension that nobody knows",
            "SGXC043",
            request(wished().unknown_extension(true)),
        ),
        (
            "request_wrong_signature.der",
            &["RFC 2986 §3"],
            "the last byte of the signature is another",
            "SGXC035",
            broken_signature,
        ),
        (
            "request_trailing_bytes.der",
            &["RFC 2986 §4"],
            "two bytes follow the request",
            "SGXC032",
            trailing,
        ),
    ];
    all.rows(TWIN, rows);
    let full = "right_request_64_names.der";
    let what = "a request for as many names as are read";
    all.right(Kind::Request, full, what, request(many(64)));
    let what = "65 names, one more than are read";
    all.broken(
        "request_65_names.der",
        full,
        &["spiffe-27"],
        what,
        "SGXC039",
        request(many(65)),
    );
    all.broken(
        "request_rsa_1024.der",
        WEAK_TWIN,
        &["docs/algorithms.md"],
        "its RSA key has 1024 bits",
        "SGXC033",
        RSA_1024.to_vec(),
    );
    // Form and signature are right, so that it reads; who may have the ID is for the authority to say.
    let bytes = request(wished().uris(&["spiffe://example.com/web"]));
    let what = "a SPIFFE ID of another domain";
    let case = all.broken(
        "request_foreign_domain.der",
        TWIN,
        &["spiffe-28"],
        what,
        "SGAU005",
        bytes,
    );
    case.refused_by_authority = case.refused.take().map(|refused| refused.code);
}
