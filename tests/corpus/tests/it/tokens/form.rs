//! Serialisation, sizes, base64url, and the form of signatures.

use super::{EC_TWIN, TWIN, claim, claims, header, header_with, input, nested, parts, signed_text};
use crate::chains::ID;
use crate::collection::{Collection, Row};
use serde_json::{Value, json};
use signet_jose::{JwsAlgorithm, base64url};

pub(super) fn forms(all: &mut Collection) {
    let right = all.find(TWIN).bytes.clone();
    let [head, payload, signature] = parts(&right);
    let json_form = |value: Value| value.to_string().into_bytes();
    let flattened = json_form(json!({"protected": head, "payload": payload, "signature": signature}));
    let general =
        json_form(json!({"payload": payload, "signatures": [{"protected": head, "signature": signature}]}));
    let encrypted = input(
        &json!({"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": "rsa"}).to_string(),
        "key",
    );
    let text = |header: &str, payload: &str| signed_text(header, payload, "token-rsa", JwsAlgorithm::Rs256);
    let (h, c) = (header().to_string(), claims().to_string());
    let twice = |object: &str, member: &str| format!("{},{member}}}", object.strip_suffix('}').unwrap());
    // The last character of 256 bytes holds four bits that say nothing and must be zero.
    let (body, last) = signature.split_at(signature.len() - 1);
    let loose = match last {
        "A" => "B",
        "Q" => "R",
        "g" => "h",
        "w" => "x",
        other => panic!("`{other}` is not the end of 256 bytes"),
    };
    let rows: Vec<Row> = vec![
        (
            "jwt_json_flattened.txt",
            &["spiffe-55", "token-J4"],
            "the flattened JSON serialisation",
            "SGJO003",
            flattened,
        ),
        (
            "jwt_json_general.txt",
            &["spiffe-55", "token-J4"],
            "the general JSON serialisation",
            "SGJO003",
            general,
        ),
        (
            "jwt_encrypted.txt",
            &["spiffe-65", "token-J4"],
            "five parts, as of a JWE",
            "SGJO004",
            format!("{encrypted}.AAAA.AAAA.AAAA").into_bytes(),
        ),
        (
            "jwt_header_member_twice.txt",
            &["token-J5"],
            "the header has `kid` twice",
            "SGJO005",
            text(&twice(&h, "\"kid\":\"rsa\""), &c),
        ),
        (
            "jwt_claim_twice.txt",
            &["token-J5"],
            "the payload has `sub` twice",
            "SGJO005",
            text(&h, &twice(&c, &format!("\"sub\":\"{ID}\""))),
        ),
        (
            "jwt_payload_list.txt",
            &["token-J5"],
            "the payload is a list of the claims",
            "SGJO005",
            text(&h, &format!("[{c}]")),
        ),
        (
            "jwt_padded.txt",
            &["token-J5"],
            "the signature's base64url is padded",
            "SGJO002",
            format!("{head}.{payload}.{signature}==").into_bytes(),
        ),
        (
            "jwt_line_break.txt",
            &["token-J5"],
            "a line break at the end",
            "SGJO002",
            format!("{head}.{payload}.{signature}\n").into_bytes(),
        ),
        (
            "jwt_loose_bits.txt",
            &["token-J5"],
            "a bit of the signature's last character that says nothing is set",
            "SGJO002",
            format!("{head}.{payload}.{body}{loose}").into_bytes(),
        ),
        (
            "jwt_two_parts.txt",
            &["token-J2"],
            "there is no third part",
            "SGJO002",
            format!("{head}.{payload}").into_bytes(),
        ),
    ];
    all.rows(TWIN, rows);
    all.rows(
        "right_token_16_deep.txt",
        vec![(
            "jwt_payload_17_deep.txt",
            &["token-J5"],
            "the payload is nested 17 deep",
            "SGJO005",
            claim("deep", nested(16)),
        )],
    );
    all.rows(
        "right_token_long_header.txt",
        vec![(
            "jwt_header_over_4_kib.txt",
            &["token-J5"],
            "the header has more than 4 KiB",
            "SGJO001",
            header_with("x", json!("x".repeat(4_100))),
        )],
    );
    all.rows(
        "right_token_long.txt",
        vec![(
            "jwt_over_16_kib.txt",
            &["token-J5"],
            "the token has more than 16 KiB",
            "SGJO001",
            claim("x", json!("x".repeat(16_000))),
        )],
    );
}

pub(super) fn signatures(all: &mut Collection) {
    let [head, payload, signature] = parts(&all.find(EC_TWIN).bytes);
    let right = base64url::decode(&signature).unwrap();
    let (r, s) = right.split_at(32);
    let again = |signature: &[u8]| format!("{head}.{payload}.{}", base64url::encode(signature)).into_bytes();
    let zero = [0; 32];
    let integer = |number: &[u8]| {
        let start = number.iter().position(|byte| *byte != 0).unwrap();
        let mut content = number[start..].to_vec();
        if content[0] > 0x7f {
            content.insert(0, 0);
        }
        [vec![2, u8::try_from(content.len()).unwrap()], content].concat()
    };
    let both = [integer(r), integer(s)].concat();
    let asn1 = [vec![0x30, u8::try_from(both.len()).unwrap()], both].concat();
    let mut turned = right.clone();
    turned[63] ^= 1;
    let cases: [(&str, &str, Vec<u8>); 6] = [
        (
            "jwt_es256_asn1_signature.txt",
            "the signature in the form of certificates",
            again(&asn1),
        ),
        (
            "jwt_es256_short_signature.txt",
            "the signature lacks its last byte",
            again(&right[..63]),
        ),
        (
            "jwt_es256_r_zero.txt",
            "r is zero",
            again(&[&zero[..], s].concat()),
        ),
        (
            "jwt_es256_s_zero.txt",
            "s is zero",
            again(&[r, &zero[..]].concat()),
        ),
        (
            "jwt_es256_both_zero.txt",
            "r and s are zero",
            again(&[zero, zero].concat()),
        ),
        (
            "jwt_es256_turned_bit.txt",
            "a bit of the signature is turned",
            again(&turned),
        ),
    ];
    for (file, what, bytes) in cases {
        all.broken(file, EC_TWIN, &["token-J11"], what, "SGJO013", bytes);
    }
    all.broken(
        "jwt_es256_no_signature.txt",
        EC_TWIN,
        &["token-J2"],
        "the signature is empty",
        "SGJO002",
        again(&[]),
    );
}
