//! Claims: names and times.

use super::{AUDIENCE, TWIN, claim, claims, header, now, signed_text};
use crate::collection::{Collection, Row};
use serde_json::{Value, json};
use signet_jose::JwsAlgorithm;

pub(super) fn claim_rules(all: &mut Collection) {
    let rows: Vec<Row> = vec![
        (
            "jwt_sub_missing.txt",
            &["spiffe-57"],
            "there is no `sub`",
            "SGCK102",
            claim("sub", Value::Null),
        ),
        (
            "jwt_sub_no_spiffe_id.txt",
            &["spiffe-57"],
            "`sub` is a name",
            "SGCK103",
            claim("sub", json!("web")),
        ),
        (
            "jwt_sub_no_path.txt",
            &["spiffe-57"],
            "`sub` is the trust domain's own ID",
            "SGCK104",
            claim("sub", json!("spiffe://example.org")),
        ),
        (
            "jwt_sub_number.txt",
            &["spiffe-57", "token-J6"],
            "`sub` is a number",
            "SGJO015",
            claim("sub", json!(7)),
        ),
        (
            "jwt_sub_of_unknown_domain.txt",
            &["spiffe-43"],
            "`sub` is of a domain without a bundle",
            "SGCK105",
            claim("sub", json!("spiffe://example.net/web")),
        ),
        (
            "jwt_aud_missing.txt",
            &["spiffe-58", "token-J9"],
            "there is no `aud`",
            "SGJO014",
            claim("aud", Value::Null),
        ),
        (
            "jwt_aud_empty.txt",
            &["spiffe-58", "token-J9"],
            "`aud` is an empty list",
            "SGJO018",
            claim("aud", json!([])),
        ),
        (
            "jwt_aud_other.txt",
            &["spiffe-58", "token-J9"],
            "`aud` names somebody else",
            "SGJO018",
            claim("aud", json!(["spiffe://example.org/other"])),
        ),
        (
            "jwt_aud_prefix.txt",
            &["spiffe-58", "token-J9"],
            "`aud` begins like ours and goes on",
            "SGJO018",
            claim("aud", json!([format!("{AUDIENCE}/2")])),
        ),
    ];
    all.rows(TWIN, rows);
}

pub(super) fn times(all: &mut Collection) {
    let exp_null = claims()
        .to_string()
        .replace(&format!("\"exp\":{}", now() + 300), "\"exp\":null");
    let exp_null = signed_text(&header().to_string(), &exp_null, "token-rsa", JwsAlgorithm::Rs256);
    let rows: Vec<Row> = vec![
        (
            "jwt_exp_missing.txt",
            &["spiffe-59", "token-J7"],
            "there is no `exp`",
            "SGJO014",
            claim("exp", Value::Null),
        ),
        (
            "jwt_exp_null.txt",
            &["spiffe-59", "token-J6"],
            "`exp` is null",
            "SGJO015",
            exp_null,
        ),
        (
            "jwt_exp_text.txt",
            &["spiffe-59", "token-J6"],
            "`exp` is a number in quotes",
            "SGJO015",
            claim("exp", json!((now() + 300).to_string())),
        ),
        (
            "jwt_exp_2_to_the_53.txt",
            &["token-J6"],
            "`exp` is 2^53",
            "SGJO015",
            claim("exp", json!(1_u64 << 53)),
        ),
        (
            "jwt_exp_negative.txt",
            &["token-J6"],
            "`exp` is below zero",
            "SGJO015",
            claim("exp", json!(-1)),
        ),
        (
            "jwt_expired.txt",
            &["spiffe-60", "token-J7"],
            "`exp` was 5 seconds ago, as long as the leeway",
            "SGJO019",
            claim("exp", json!(now() - 5)),
        ),
        (
            "jwt_iat_future.txt",
            &["spiffe-67", "token-J7"],
            "`iat` is 6 seconds ahead, one more than the leeway",
            "SGJO020",
            claim("iat", json!(now() + 6)),
        ),
        (
            "jwt_nbf_future.txt",
            &["spiffe-67", "token-J7"],
            "`nbf` is 6 seconds ahead, one more than the leeway",
            "SGJO020",
            claim("nbf", json!(now() + 6)),
        ),
        (
            "jwt_nbf_text.txt",
            &["token-J6"],
            "`nbf` is text",
            "SGJO015",
            claim("nbf", json!("yesterday")),
        ),
    ];
    all.rows(TWIN, rows);
}
