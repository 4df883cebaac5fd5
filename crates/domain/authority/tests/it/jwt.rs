use crate::{ISSUER, World, allowed, id, jwt};
use serde_json::Value;
use signet_authority::{Authority, IssueError, JwtRequest, JwtSvid, ReservedAudiences};
use signet_check::jwt::validate_svid;
use signet_decision::Action;
use signet_fault::Coded;
use signet_jose::base64url;
use signet_keys::Purpose;
use signet_testkit::START;
use std::sync::Arc;
use std::time::Duration;

async fn issue(authority: &Authority, request: JwtRequest) -> Result<JwtSvid, IssueError> {
    let decision = allowed(Action::ISSUE_JWT_SVID, &request.id);
    authority
        .issue_jwt(request, &decision, START + Duration::from_millis(999))
        .await
}

fn part(token: &str, n: usize) -> Value {
    let bytes = base64url::decode(token.split('.').nth(n).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn what_is_issued_passes_our_own_verifier() {
    let world = World::new().await;
    let svid = issue(&world.authority, jwt("/a")).await.unwrap();
    let verified = validate_svid(&svid.token, "aud", &world.view(), START).unwrap();
    assert_eq!((verified.id, verified.exp), (id("/a"), svid.expires_at));
    assert!(
        !format!("{svid:?}").contains(&svid.token),
        "a bearer secret is not shown"
    );
}

#[tokio::test]
async fn spiffe_66_the_header_has_alg_kid_and_typ_and_nothing_else() {
    let world = World::new().await;
    let svid = issue(&world.authority, jwt("/a")).await.unwrap();
    let kid = world.keys.active(Purpose::JwtSvid).unwrap().kid().to_owned();
    assert_eq!(
        part(&svid.token, 0),
        serde_json::json!({"alg": "ES256", "kid": kid, "typ": "JWT"})
    );
}

#[tokio::test]
async fn spiffe_67_the_claims_say_when_it_was_issued_and_when_it_ends() {
    let world = World::new().await;
    let svid = issue(&world.authority, jwt("/a")).await.unwrap();
    assert_eq!(
        part(&svid.token, 1),
        serde_json::json!({
            "iss": ISSUER,
            "sub": "spiffe://dev.test/a",
            "aud": ["aud"],
            "iat": START.as_secs(),
            "exp": START.as_secs() + 300,
            "jti": svid.jti,
        })
    );
    assert_eq!(
        (svid.issued_at, svid.expires_at),
        (START, START + Duration::from_secs(300))
    );
    assert_eq!(svid.jti.len(), 32);
    let other = issue(&world.authority, jwt("/a")).await.unwrap();
    assert_ne!(other.jti, svid.jti);
}

#[tokio::test]
async fn spiffe_22_all_audiences_stand_in_the_token_each_once() {
    let world = World::new().await;
    let request = JwtRequest {
        audiences: ["b", "a", "b"].map(str::to_owned).to_vec(),
        ..jwt("/a")
    };
    let svid = issue(&world.authority, request).await.unwrap();
    assert_eq!(part(&svid.token, 1)["aud"], serde_json::json!(["b", "a"]));
    for audience in ["a", "b"] {
        validate_svid(&svid.token, audience, &world.view(), START).unwrap();
    }
}

#[tokio::test]
async fn audiences_have_bounds() {
    let world = World::new().await;
    let texts = |count: usize, bytes: usize| (0..count).map(|n| format!("{n:0>bytes$}")).collect::<Vec<_>>();
    for (audiences, code) in [
        (vec![], Some("SGAU010")),
        (texts(16, 512), None),
        (texts(17, 4), Some("SGAU010")),
        (texts(1, 513), Some("SGAU011")),
        (vec![String::new()], Some("SGAU011")),
        (vec!["a\nb".to_owned()], Some("SGAU011")),
        (vec!["a".to_owned(), "b\0".to_owned()], Some("SGAU011")),
    ] {
        let request = JwtRequest {
            audiences: audiences.clone(),
            ..jwt("/a")
        };
        let issued = issue(&world.authority, request).await;
        assert_eq!(issued.as_ref().err().map(Coded::code), code, "{audiences:?}");
        if let Ok(svid) = issued {
            validate_svid(&svid.token, &audiences[0], &world.view(), START).unwrap();
        }
    }
}

#[tokio::test]
async fn an_entry_may_bind_its_tokens_to_audiences() {
    let world = World::new().await;
    let ask = |audiences: &[&str]| JwtRequest {
        audiences: audiences.iter().map(|a| (*a).to_owned()).collect(),
        allowed_audiences: vec!["a".to_owned(), "b".to_owned()],
        ..jwt("/a")
    };
    issue(&world.authority, ask(&["b"])).await.unwrap();
    issue(&world.authority, ask(&["b", "a"])).await.unwrap();
    for wrong in [&["c"][..], &["a", "c"], &["A"], &["a "]] {
        let error = issue(&world.authority, ask(wrong)).await.unwrap_err();
        assert!(matches!(error, IssueError::AudienceNotAllowed { .. }), "{error}");
    }
}

/// A workload picks the audience of its JWT-SVID, so it must not be able to pick one that takes access tokens.
#[tokio::test]
async fn an_audience_that_is_an_oauth_resource_is_refused() {
    struct Resources;
    impl ReservedAudiences for Resources {
        fn is_reserved(&self, audience: &str) -> bool {
            audience == "https://api.example"
        }
    }
    let world = World::new().await;
    let authority = Authority::new(
        world.keys.clone(),
        world.authority.recorder().clone(),
        ISSUER,
        Arc::new(Resources),
    );
    for audiences in [&["https://api.example"][..], &["fine", "https://api.example"]] {
        let request = JwtRequest {
            audiences: audiences.iter().map(|a| (*a).to_owned()).collect(),
            allowed_audiences: audiences.iter().map(|a| (*a).to_owned()).collect(),
            ..jwt("/a")
        };
        let error = issue(&authority, request).await.unwrap_err();
        assert!(matches!(error, IssueError::AudienceReserved { .. }), "{error}");
    }
    issue(&authority, jwt("/a")).await.unwrap();
}

#[tokio::test]
async fn lives_and_identities_have_bounds() {
    let world = World::new().await;
    for (secs, fine) in [(4, false), (5, true), (86_400, true), (86_401, false)] {
        let request = JwtRequest {
            ttl: Duration::from_secs(secs),
            ..jwt("/a")
        };
        let issued = issue(&world.authority, request).await;
        assert_eq!(issued.is_ok(), fine, "{secs}");
    }
    for (text, code) in [
        ("spiffe://dev.test", "SGAU003"),
        ("spiffe://other.test/a", "SGAU002"),
    ] {
        let request = JwtRequest {
            id: text.parse().unwrap(),
            ..jwt("/a")
        };
        assert_eq!(issue(&world.authority, request).await.unwrap_err().code(), code);
    }
    // The longest of everything still makes a token that verifiers read.
    let longest = JwtRequest {
        id: id(&format!("/{}", "a".repeat(2_048 - "spiffe://dev.test/".len()))),
        audiences: (0..16).map(|n| format!("{n:0>512}")).collect(),
        ..jwt("/a")
    };
    let audience = longest.audiences[15].clone();
    let svid = issue(&world.authority, longest).await.unwrap();
    validate_svid(&svid.token, &audience, &world.view(), START).unwrap();
}
