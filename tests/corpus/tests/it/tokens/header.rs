//! Algorithms and header members.

use super::{TWIN, claims, header, header_with, input, signed_text, with};
use crate::bundles::jwk;
use crate::collection::{Collection, Row};
use crate::keys;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use signet_crypto::Components;
use signet_jose::JwsAlgorithm;

/// An attacker's secret that everybody has: the public key in one of its forms.
fn hmac(secret: &[u8]) -> Vec<u8> {
    let input = input(
        &with(header(), "alg", json!("HS256")).to_string(),
        &claims().to_string(),
    );
    let key = EncodingKey::from_secret(secret);
    let mac = jsonwebtoken::crypto::sign(input.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{input}.{mac}").into_bytes()
}

pub(super) fn algorithms(all: &mut Collection) {
    let unsigned = |alg: Value| {
        let input = input(&with(header(), "alg", alg).to_string(), &claims().to_string());
        format!("{input}.").into_bytes()
    };
    let key = keys::local("token-rsa");
    let spki = key.public_key().spki_der().to_vec();
    let body = STANDARD.encode(&spki);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        lines.join("\n")
    );
    let modulus = match key.public_key().components() {
        Components::Rsa { n, .. } => n.to_vec(),
        _ => panic!("an RSA key"),
    };
    let ed25519 = signed_text(
        &json!({"alg": "EdDSA", "kid": "ed25519", "typ": "JWT"}).to_string(),
        &claims().to_string(),
        "token-ed25519",
        JwsAlgorithm::EdDsa,
    );
    const NINE: &[&str] = &["spiffe-53", "token-J2"];
    let rows: Vec<Row> = vec![
        (
            "jwt_alg_none.txt",
            NINE,
            "`alg` is `none`, and so the signature is empty, which is seen first",
            "SGJO002",
            unsigned(json!("none")),
        ),
        (
            "jwt_alg_none_mixed_case.txt",
            NINE,
            "`alg` is `nOnE`, and so the signature is empty, which is seen first",
            "SGJO002",
            unsigned(json!("nOnE")),
        ),
        (
            "jwt_alg_none_signed.txt",
            NINE,
            "`alg` is `none` above a right signature",
            "SGJO008",
            header_with("alg", json!("none")),
        ),
        (
            "jwt_alg_missing.txt",
            NINE,
            "there is no `alg`",
            "SGJO008",
            header_with("alg", Value::Null),
        ),
        (
            "jwt_alg_hs256_public_pem.txt",
            NINE,
            "HS256 with the public key's PEM as secret",
            "SGJO008",
            hmac(pem.as_bytes()),
        ),
        (
            "jwt_alg_hs256_public_der.txt",
            NINE,
            "HS256 with the public key's DER as secret",
            "SGJO008",
            hmac(&spki),
        ),
        (
            "jwt_alg_hs256_public_jwk.txt",
            NINE,
            "HS256 with the public key's JWK as secret",
            "SGJO008",
            hmac(jwk("token-rsa", "rsa", None, "jwt-svid").to_string().as_bytes()),
        ),
        (
            "jwt_alg_hs256_public_modulus.txt",
            NINE,
            "HS256 with the public key's modulus as secret",
            "SGJO008",
            hmac(&modulus),
        ),
        (
            "jwt_alg_of_another_key_type.txt",
            &["spiffe-54", "token-J2"],
            "`alg` is ES256 where the key is RSA",
            "SGJO009",
            header_with("alg", json!("ES256")),
        ),
    ];
    all.rows(TWIN, rows);
    let declared = signed_text(
        &json!({"alg": "RS384", "kid": "rs256", "typ": "JWT"}).to_string(),
        &claims().to_string(),
        "token-rs256",
        JwsAlgorithm::Rs384,
    );
    all.broken(
        "jwt_alg_not_the_declared.txt",
        "right_token_declared_alg.txt",
        &["spiffe-54", "token-J2"],
        "RS384 by a key that declares RS256",
        "SGJO009",
        declared,
    );
    all.broken(
        "jwt_alg_eddsa.txt",
        TWIN,
        &["spiffe-53"],
        "signed with Ed25519, by a key of the bundle",
        "SGJO008",
        ed25519,
    );
}

pub(super) fn headers(all: &mut Collection) {
    let own = jwk("token-rsa", "rsa", None, "jwt-svid");
    let rows: Vec<Row> = vec![
        (
            "jwt_typ_wit.txt",
            &["spiffe-56", "token-J8"],
            "`typ` is that of a WIT-SVID",
            "SGJO010",
            header_with("typ", json!("wit+jwt")),
        ),
        (
            "jwt_typ_access_token.txt",
            &["spiffe-56", "token-J8"],
            "`typ` is that of an access token",
            "SGJO010",
            header_with("typ", json!("at+jwt")),
        ),
        (
            "jwt_typ_list.txt",
            &["spiffe-56", "token-J8"],
            "`typ` is a list",
            "SGJO007",
            header_with("typ", json!(["JWT"])),
        ),
        (
            "jwt_kid_missing.txt",
            &["spiffe-61", "token-J10"],
            "there is no `kid`",
            "SGJO011",
            header_with("kid", Value::Null),
        ),
        (
            "jwt_kid_unknown.txt",
            &["spiffe-62", "token-J10"],
            "the bundle has no key of this `kid`",
            "SGCK106",
            header_with("kid", json!("rsa2")),
        ),
        (
            "jwt_kid_path.txt",
            &["spiffe-62", "token-J10"],
            "`kid` is a path of a file",
            "SGCK106",
            header_with("kid", json!("../../keys/rsa")),
        ),
        (
            "jwt_kid_other_case.txt",
            &["spiffe-62", "token-J10"],
            "`kid` in upper case",
            "SGCK106",
            header_with("kid", json!("RSA")),
        ),
        (
            "jwt_header_jwk.txt",
            &["spiffe-66", "token-J3"],
            "the header brings a key, though it is the right one",
            "SGJO006",
            header_with("jwk", own),
        ),
        (
            "jwt_header_jku.txt",
            &["spiffe-66", "token-J3"],
            "the header says where keys are",
            "SGJO006",
            header_with("jku", json!("https://example.org/keys")),
        ),
        (
            "jwt_header_x5u.txt",
            &["spiffe-66", "token-J3"],
            "the header says where a certificate is",
            "SGJO006",
            header_with("x5u", json!("https://example.org/chain")),
        ),
        (
            "jwt_header_x5c.txt",
            &["spiffe-66", "token-J3"],
            "the header brings a certificate",
            "SGJO006",
            header_with("x5c", json!(["AAAA"])),
        ),
        (
            "jwt_crit.txt",
            &["spiffe-66", "token-J4"],
            "a critical header that nobody knows",
            "SGJO006",
            header_with("crit", json!(["color"])),
        ),
        (
            "jwt_b64_false.txt",
            &["token-J4"],
            "`b64` is false",
            "SGJO006",
            header_with("b64", json!(false)),
        ),
        (
            "jwt_zip.txt",
            &["token-J4"],
            "`zip` is there",
            "SGJO006",
            header_with("zip", json!("DEF")),
        ),
        (
            "jwt_nested_type.txt",
            &["spiffe-65", "token-J4"],
            "`cty` says that the payload is a token",
            "SGJO004",
            header_with("cty", json!("JWT")),
        ),
    ];
    all.rows(TWIN, rows);
}
