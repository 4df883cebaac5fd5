use crate::support::*;
use serde_json::json;
use signet_crypto::{KeyKind, LocalKey};
use signet_jose::*;

/// The `typ` that a token of this kind is made with.
fn typ_of(kind: TokenKind) -> Option<&'static str> {
    match kind.typ() {
        TypRule::Verbatim(typ) | TypRule::Exactly(typ) | TypRule::ExactlyOrGeneric(typ) => Some(typ),
        TypRule::Generic | TypRule::Svid => Some("JWT"),
    }
}

fn token(typ: Option<&str>) -> String {
    es256(&with(good_header(), "typ", json!(typ)), &good_claims())
}

fn offer(token: &str, kind: TokenKind) -> Result<Verified, JoseError> {
    verify(token, &profile_of(kind), &only(p256(), None), NOW)
}

/// Kinds whose tokens say no more of themselves than `JWT`.
fn is_generic(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::JwtSvid | TokenKind::IdToken | TokenKind::Jwt)
}

/// The worst case: all kinds share one issuer and one key, so that `typ` alone must tell them apart.
#[test]
fn token_j8_every_kind_at_every_verifier_only_the_diagonal_passes() {
    for made in TokenKind::ALL {
        let token = token(typ_of(made));
        for verifier in TokenKind::ALL {
            let passes = offer(&token, verifier).is_ok();
            let told_apart_by_keys =
                is_generic(made) && (is_generic(verifier) || verifier == TokenKind::ClientAssertion);
            assert_eq!(
                passes,
                made == verifier || told_apart_by_keys,
                "{made:?} at {verifier:?}"
            );
        }
    }
}

/// Kinds without a `typ` of their own have an issuer and keys that sign nothing else.
#[test]
fn token_j8_kinds_without_typ_are_told_apart_by_issuer_and_keys() {
    let kinds = [
        (TokenKind::JwtSvid, "https://issuer.test/workload"),
        (TokenKind::IdToken, "https://people.test"),
        (TokenKind::Jwt, "https://ci.test"),
        (TokenKind::ClientAssertion, "client-1"),
    ];
    let signers: Vec<LocalKey> = kinds
        .iter()
        .map(|_| LocalKey::generate(KeyKind::P256).unwrap())
        .collect();
    for ((_, made_by), signer) in kinds.iter().zip(&signers) {
        let claims = with(good_claims(), "iss", json!(made_by));
        let token = sign_text(
            &good_header().to_string(),
            &claims.to_string(),
            signer,
            JwsAlgorithm::Es256,
        );
        for ((kind, issuer), own) in kinds.iter().zip(&signers) {
            let mut keys = IssuerKeys::new();
            keys.insert(issuer, JwkSet::new(vec![jwk(own, "k", None)]).unwrap());
            let profile = Profile::new(
                *kind,
                IssuerRule::Exactly((*issuer).to_owned()),
                AudienceRule::Contains(AUDIENCE.to_owned()),
            );
            let passes = verify(&token, &profile, &keys, NOW).is_ok();
            assert_eq!(passes, issuer == made_by, "{made_by} at {issuer}");
            // Even with the issuer's name right, the key is another.
            if issuer != made_by {
                let claims = with(good_claims(), "iss", json!(issuer));
                let header = good_header().to_string();
                let forged = sign_text(&header, &claims.to_string(), signer, JwsAlgorithm::Es256);
                assert_eq!(
                    verify(&forged, &profile, &keys, NOW).unwrap_err(),
                    JoseError::Signature
                );
            }
        }
    }
}

#[test]
fn token_j8_the_ten_types_are_spelled_as_registered() {
    let spelled: Vec<_> = TokenKind::ALL
        .into_iter()
        .filter(|kind| !is_generic(*kind))
        .filter_map(typ_of)
        .collect();
    assert_eq!(
        spelled,
        [
            "at+jwt",
            "dpop+jwt",
            "wit+jwt",
            "wpt+jwt",
            "txntoken+jwt",
            "oauth-id-jag+jwt",
            "secevent+jwt",
            "statuslist+jwt",
            "token-introspection+jwt",
            "client-authentication+jwt"
        ]
    );
}

#[test]
fn token_j8_a_prefix_and_case_do_not_matter_and_everything_else_does() {
    for typ in [
        "at+jwt",
        "AT+JWT",
        "At+Jwt",
        "application/at+jwt",
        "APPLICATION/AT+jwt",
    ] {
        assert!(offer(&token(Some(typ)), TokenKind::AccessToken).is_ok(), "{typ}");
    }
    for typ in [
        "",
        "jwt",
        "JWT",
        "at",
        "at+jw",
        "at+jwt ",
        " at+jwt",
        "xat+jwt",
        "at+jwt;x",
        "application/",
        "application/application/at+jwt",
        "text/at+jwt",
        "/at+jwt",
        "at+jwt\u{0}",
    ] {
        let error = offer(&token(Some(typ)), TokenKind::AccessToken).unwrap_err();
        assert!(matches!(error, JoseError::Typ { .. }), "{typ:?}: {error}");
    }
    assert!(matches!(
        offer(&token(None), TokenKind::AccessToken),
        Err(JoseError::Typ { .. })
    ));
}

#[test]
fn token_j8_client_assertions_may_be_plain_but_of_no_other_kind() {
    for typ in [None, Some("JWT"), Some("jwt"), Some("client-authentication+jwt")] {
        assert!(offer(&token(typ), TokenKind::ClientAssertion).is_ok(), "{typ:?}");
    }
    for typ in ["at+jwt", "JOSE", "wit+jwt", "dpop+jwt", ""] {
        assert!(
            offer(&token(Some(typ)), TokenKind::ClientAssertion).is_err(),
            "{typ}"
        );
    }
}

#[test]
fn token_j8_jwt_svids_are_jwt_jose_or_nothing() {
    for typ in [None, Some("JWT"), Some("JOSE"), Some("jose")] {
        assert!(offer(&token(typ), TokenKind::JwtSvid).is_ok(), "{typ:?}");
    }
    for typ in ["wit+jwt", "at+jwt", "JWS", ""] {
        assert!(offer(&token(Some(typ)), TokenKind::JwtSvid).is_err(), "{typ}");
    }
    assert!(offer(&token(Some("JOSE")), TokenKind::Jwt).is_err());
}
