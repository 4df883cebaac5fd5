use crate::{World, origin};
use axum::body::Body;
use http::{Method, Request};
use signet_keys::{Purpose, Urgency};
use signet_surface_publish::routes;
use signet_testkit::START;
use signet_trust::Bundle;
use signet_x509::{Certificate, pem};

#[tokio::test]
async fn spiffe_89_every_document_has_its_type_and_its_age_and_asks_nobody_who_they_are() {
    let world = World::new().await;
    let types = [
        ("/.well-known/openid-configuration", "application/json"),
        ("/.well-known/oauth-authorization-server", "application/json"),
        ("/oauth2/jwks", "application/jwk-set+json"),
        ("/workload/.well-known/openid-configuration", "application/json"),
        (
            "/.well-known/oauth-authorization-server/workload",
            "application/json",
        ),
        ("/workload/jwks", "application/jwk-set+json"),
        ("/bundle", "application/json"),
        ("/ca/root.pem", "application/x-pem-file"),
    ];
    let paths: Vec<_> = routes().iter().map(|route| route.path).collect();
    assert_eq!(paths, types.map(|(path, _)| path));
    for (path, media_type) in types {
        let reply = world.get(path).await;
        assert_eq!(reply.header("content-type"), media_type, "{path}");
        assert_eq!(
            reply.header("cache-control"),
            "public, max-age=300, stale-while-revalidate=60",
            "{path}"
        );
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        assert!(!reply.headers.contains_key("set-cookie") && !reply.headers.contains_key("vary"));
        assert!(String::from_utf8(reply.body).is_ok(), "{path} is UTF-8");
    }
}

#[tokio::test]
async fn token_k2_whoever_has_a_document_is_not_sent_it_again() {
    let world = World::new().await;
    for route in routes() {
        let whole = world.get(route.path).await;
        let etag = whole.header("etag").to_owned();
        assert!(
            etag.starts_with('"') && etag.ends_with('"') && etag.len() == 66,
            "{etag}"
        );
        let listed = format!("\"other\" , W/{etag}");
        for (tags, known) in [
            (etag.as_str(), true),
            ("*", true),
            (&listed, true),
            ("\"other\"", false),
            ("", false),
            (etag.trim_matches('"'), false),
        ] {
            for method in [Method::GET, Method::HEAD] {
                let reply = world
                    .ask(method.clone(), route.path, &[("if-none-match", tags)])
                    .await;
                assert_eq!(
                    reply.status,
                    if known { 304 } else { 200 },
                    "{tags} {}",
                    route.path
                );
                // A cache refreshes what it has by what stands in the answer (RFC 9111 §4.3.4).
                assert_eq!(reply.header("etag"), etag);
                assert_eq!(reply.header("cache-control"), whole.header("cache-control"));
                assert!(!known || reply.body.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let world = World::new().await;
    for route in routes() {
        let whole = world.get(route.path).await;
        let head = world.ask(Method::HEAD, route.path, &[]).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), whole.body.len().to_string());
        for name in ["etag", "content-type", "cache-control"] {
            assert_eq!(head.header(name), whole.header(name));
        }
    }
}

#[tokio::test]
async fn a_page_may_ask_before_it_sends_a_condition() {
    let world = World::new().await;
    let asked = [
        ("origin", "https://page.example"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "if-none-match"),
    ];
    let reply = world.ask(Method::OPTIONS, "/workload/jwks", &asked).await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (204, 0));
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    assert_eq!(reply.header("access-control-allow-headers"), "if-none-match");
    assert_eq!(reply.header("access-control-allow-methods"), "GET, HEAD, OPTIONS");
    assert!(!reply.headers.contains_key("access-control-allow-credentials"));
}

#[tokio::test]
async fn what_is_not_published_is_a_problem_document() {
    let world = World::new().await;
    for path in [
        "/",
        "/api/v1/entries",
        "/api/v1/health",
        "/metrics",
        "/bundle/",
        "//bundle",
        "/Bundle",
        "/ca/root.pem/..",
        "/workload/../bundle",
        "/oauth2/token",
        "/.well-known/openid-configuration/workload/",
    ] {
        let reply = world.ask(Method::GET, path, &[("x-request-id", "r-1")]).await;
        assert_eq!(reply.status, 404, "{path}");
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert_eq!(reply.header("cache-control"), "no-store");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        let problem = reply.json();
        assert_eq!(
            (&problem["code"], &problem["status"]),
            (&"SGPB001".into(), &404.into())
        );
        assert_eq!(
            (&problem["request_id"], reply.header("x-request-id")),
            (&"r-1".into(), "r-1")
        );
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let reply = world.ask(method, "/bundle", &[]).await;
        assert_eq!(reply.status, 405);
        assert_eq!(reply.header("allow"), "GET, HEAD, OPTIONS");
        let problem = reply.json();
        assert_eq!(problem["code"], "SGPB002");
        assert_eq!(
            problem["request_id"],
            reply.header("x-request-id"),
            "one id, drawn once"
        );
    }
    let long = format!("/{}", "x".repeat(5_000));
    let reply = world.ask(Method::GET, &long, &[]).await;
    assert!(reply.body.len() < 1_000, "what a caller wrote is cut");
}

#[tokio::test]
async fn a_body_is_neither_wanted_nor_read() {
    let world = World::new().await;
    let request = Request::get("/bundle").body(Body::from("x")).unwrap();
    let reply = world.send(request).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("connection")),
        (413, "close")
    );
    assert_eq!(reply.json()["code"], "SGPB003");
}

#[tokio::test]
async fn spiffe_78_79_83_84_the_bundle_is_the_trust_domains_and_follows_it() {
    let world = World::new().await;
    let read = |body: &[u8]| Bundle::parse_spiffe("dev.test".parse().unwrap(), body).unwrap();
    let before = world.get("/bundle").await;
    let bundle = read(&before.body);
    assert_eq!(bundle.sequence(), world.keys.bundle().unwrap().sequence());
    assert_eq!(
        (bundle.x509().len(), bundle.jwt().len(), bundle.wit().len()),
        (2, 2, 2),
        "an active and a prepared one"
    );
    let document = before.json();
    assert_eq!(document["spiffe_refresh_hint"], 300);
    for key in document["keys"].as_array().unwrap() {
        match key["use"].as_str().unwrap() {
            "x509-svid" => {
                assert_eq!(key["x5c"].as_array().unwrap().len(), 1);
                assert!(key.get("kid").is_none());
            }
            "jwt-svid" | "wit-svid" => assert!(!key["kid"].as_str().unwrap().is_empty()),
            other => panic!("a key for {other}"),
        }
    }

    assert!(!world.publisher.refresh().unwrap(), "nothing changed");
    let etag = before.header("etag").to_owned();
    world
        .keys
        .rotate(Purpose::JwtSvid, Urgency::Emergency, origin(START))
        .await
        .unwrap();
    // Requests do not encode: until the publisher looks, the bytes are those from before.
    assert_eq!(world.get("/bundle").await.body, before.body);
    assert!(world.publisher.refresh().unwrap());
    let after = world
        .ask(Method::GET, "/bundle", &[("if-none-match", &etag)])
        .await;
    assert_eq!(after.status, 200);
    assert!(read(&after.body).sequence() > bundle.sequence());
    assert_eq!(read(&after.body).jwt().len(), 3, "and the one that drains");
    assert_eq!(
        after.header("x-signet-seq"),
        read(&after.body).sequence().to_string()
    );
}

#[tokio::test]
async fn a_change_of_trust_is_published_by_itself() {
    let world = World::new().await;
    let keeping = tokio::spawn(world.publisher.clone().keep());
    let before = world.get("/workload/jwks").await.header("etag").to_owned();
    let rotated = world
        .keys
        .rotate(Purpose::JwtSvid, Urgency::Emergency, origin(START));
    rotated.await.unwrap();
    let signer = world.keys.active(Purpose::JwtSvid).unwrap();
    while world.get("/workload/jwks").await.header("etag") == before {
        tokio::task::yield_now().await;
    }
    let now = world.get("/workload/jwks").await;
    assert!(String::from_utf8(now.body).unwrap().contains(signer.kid()));
    // Nothing is left to do, and nothing is encoded again for nothing.
    assert!(!world.publisher.refresh().unwrap());
    keeping.abort();
}

#[tokio::test]
async fn all_documents_stay_the_same_bytes_while_trust_does() {
    let world = World::new().await;
    for route in routes() {
        let (first, second) = (world.get(route.path).await, world.get(route.path).await);
        assert_eq!(first.body, second.body);
        assert_eq!(first.header("etag"), second.header("etag"));
    }
}

#[tokio::test]
async fn the_roots_are_those_that_may_be_relied_on() {
    let world = World::new().await;
    let read = |body: Vec<u8>| pem::parse_certs(&body).unwrap();
    let roots = read(world.get("/ca/root.pem").await.body);
    assert_eq!(roots.len(), 2);
    assert!(
        roots
            .iter()
            .all(|root| Certificate::parse(root).unwrap().is_self_issued())
    );
    let active = world.keys.active(Purpose::X509Root).unwrap();
    world.keys.taint(active.kid(), origin(START)).await.unwrap();
    world.publisher.refresh().unwrap();
    let left = read(world.get("/ca/root.pem").await.body);
    assert!(!left.contains(active.certificate().unwrap()));
    assert_eq!(left.len(), 2, "the next one took over, and another was prepared");
}

#[tokio::test]
async fn requests_are_counted_by_document_and_outcome() {
    let world = World::new().await;
    let etag = world.get("/bundle").await.header("etag").to_owned();
    world
        .ask(Method::GET, "/bundle", &[("if-none-match", &etag)])
        .await;
    world.ask(Method::POST, "/bundle", &[]).await;
    world.ask(Method::GET, "/x", &[]).await;
    let text = world.metrics.text();
    for (document, outcome) in [
        ("bundle", "ok"),
        ("bundle", "not_modified"),
        ("bundle", "invalid"),
        ("none", "invalid"),
    ] {
        let line = format!("signet_publish_request_total{{document=\"{document}\",outcome=\"{outcome}\"}} 1");
        assert!(text.contains(&line), "{line} in:\n{text}");
    }
}
