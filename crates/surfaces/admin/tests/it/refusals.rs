use crate::{JSON, World, entry, problem, text_of};
use http::Method;
use signet_net::client::Endpoint;
use signet_surface_admin::BODY_BYTES_MAX;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let world = World::new().await;
    for path in [
        "/",
        "/api/v1",
        "/api/v1/",
        "/api/v2/entries",
        "/api/v1/entries/",
        "/api/v1/entries/a/b",
        "/metrics",
    ] {
        let refused = problem(&world.get(path).await, 404, "SGAD004");
        assert_eq!(refused.instance, path);
    }
    let reply = world.send(Method::PATCH, "/api/v1/entries", &[], "").await;
    problem(&reply, 405, "SGAD005");
    let mut allowed: Vec<_> = text_of(&reply, "allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    let reply = world.send(Method::POST, "/api/v1/ca", &[], "").await;
    problem(&reply, 405, "SGAD005");
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused_in_words() {
    let world = World::new().await;
    let long = "x".repeat(9 << 10);
    for path in [
        "/api/v1/entries".to_owned(),
        "/nothing".to_owned(),
        format!("/{long}"),
    ] {
        let header = if path.len() > long.len() { "" } else { &long };
        let reply = world.send(Method::GET, &path, &[("x-long", header)], "").await;
        let refused = problem(&reply, 431, "SGNE020");
        assert!(path.starts_with(&refused.instance) && refused.instance.len() <= 256);
        assert!(
            refused.detail.contains("at most 8192 bytes"),
            "{}",
            refused.detail
        );
    }
    assert_eq!(world.get("/api/v1/entries").await.status, 200);
}

#[tokio::test]
async fn names_that_are_none() {
    let world = World::new().await;
    for path in [
        "/api/v1/entries/x",
        "/api/v1/entries/ABCDEF00000000000000000000000000",
        "/api/v1/nodes/x",
        "/api/v1/nodes/spiffe%3A%2F%2FDev.test%2Fa",
        "/api/v1/entries/%FF",
    ] {
        problem(&world.get(path).await, 400, "SGAD012");
    }
}

#[tokio::test]
async fn parameters_are_read_strictly() {
    let world = World::new().await;
    for path in [
        "/api/v1/entries?limit=0",
        "/api/v1/entries?limit=1001",
        "/api/v1/entries?limit=+5",
        "/api/v1/entries?limit=",
        "/api/v1/entries?limit=10&limit=10",
        "/api/v1/entries?limit=99999999999999999999999",
        "/api/v1/entries?cursor=abc",
        "/api/v1/entries?cursor=",
        "/api/v1/entries?spiffe_id=dev.test",
        "/api/v1/entries?selector=unix",
        "/api/v1/entries?selector=unix:uid:1&selector=unix",
        "/api/v1/entries?spiffeid=x",
        "/api/v1/nodes?owner=x",
        "/api/v1/nodes?cursor=x",
        "/api/v1/ca?x=1",
        "/api/v1/bundle?format=der",
    ] {
        problem(&world.get(path).await, 400, "SGAD012");
    }
    let refused = problem(&world.get("/api/v1/entries?spiffeid=x").await, 400, "SGAD012");
    assert!(refused.detail.contains("`spiffeid`") && refused.detail.contains("spiffe_id"));
    let long = format!("/api/v1/entries?{}=x", "n".repeat(4_000));
    let refused = problem(&world.get(&long).await, 400, "SGAD012");
    assert!(
        refused.detail.len() < 600,
        "what a caller wrote is cut: {}",
        refused.detail.len()
    );
}

#[tokio::test]
async fn bodies_of_another_type_or_length() {
    let world = World::new().await;
    let body = entry("/a").to_string();
    for kind in [
        vec![],
        vec![("content-type", "application/x-www-form-urlencoded")],
        vec![("content-type", "text/plain")],
        vec![("content-type", "application/x-ndjson")],
        vec![("content-type", "application/jsonp")],
        vec![("content-type", "")],
    ] {
        let reply = world
            .send(Method::POST, "/api/v1/entries", &kind, body.clone())
            .await;
        problem(&reply, 415, "SGAD009");
        let reply = world.send(Method::POST, "/api/v1/join-tokens", &kind, "{}").await;
        problem(&reply, 415, "SGAD009");
    }
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        let path = format!("/{}", kind.len());
        let body = entry(&path).to_string();
        let reply = world
            .send(Method::POST, "/api/v1/entries", &[("content-type", kind)], body)
            .await;
        assert_eq!(reply.status, 201, "{kind}");
    }
    let most = vec![b' '; BODY_BYTES_MAX];
    let reply = world
        .send(Method::POST, "/api/v1/join-tokens", &[JSON], most.clone())
        .await;
    problem(&reply, 400, "SGAD010");
    let more = [most, vec![b' ']].concat();
    let reply = world
        .send(Method::POST, "/api/v1/join-tokens", &[JSON], more)
        .await;
    problem(&reply, 413, "SGAD006");
    let reply = world.send(Method::GET, "/api/v1/ca", &[JSON], "{}").await;
    let refused = problem(&reply, 413, "SGAD006");
    assert_eq!(refused.detail, "this route takes no body");
}

#[tokio::test]
async fn a_body_that_does_not_say_its_length_has_the_same_bound() {
    let world = World::new().await;
    let Endpoint::Unix(path) = world.client.endpoint() else {
        panic!("a socket");
    };
    let mut stream = UnixStream::connect(path).await.unwrap();
    let head = "POST /api/v1/join-tokens HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // Far more than lies between two ends of a socket: who does not read it takes the answer away.
    for _ in 0..=16 * BODY_BYTES_MAX / 4_096 {
        let chunk = format!("1000\r\n{}\r\n", " ".repeat(4_096));
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("SGAD006"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing() {
    let world = World::new().await;
    let Endpoint::Unix(path) = world.client.endpoint() else {
        panic!("a socket");
    };
    let mut stream = UnixStream::connect(path).await.unwrap();
    let body = entry("/a").to_string();
    let head = format!(
        "POST /api/v1/entries HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len() + 1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // Whether an answer still comes is the listener's affair.
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!(world.get("/api/v1/health").await.status, 200);
    assert!(world.entries().is_empty());
}

#[tokio::test]
async fn malformed_json_is_told_with_its_place() {
    let world = World::new().await;
    let post = async |path: &str, body: &str| {
        let reply = world.send(Method::POST, path, &[JSON], body).await;
        problem(&reply, 400, "SGAD010").detail
    };
    let detail = post(
        "/api/v1/entries",
        "{\n  \"spiffe_id\": \"spiffe://dev.test/a\",\n  \"selectors\": [,]\n}",
    )
    .await;
    assert!(detail.contains("line 3, column 17"), "{detail}");
    let detail = post("/api/v1/join-tokens", "{\n \"ttl\": 5 }").await;
    assert!(detail.contains("line 2"), "{detail}");
    let detail = post("/api/v1/join-tokens", "{\"tll\": \"5m\"}").await;
    assert!(
        detail.contains("tll") && detail.contains("line 1, column 6"),
        "{detail}"
    );
    for list in ["[]", "[\"5m\", null]"] {
        let detail = post("/api/v1/join-tokens", &format!("\n {list}")).await;
        assert!(detail.contains("line 2, column 2: an array"), "{detail}");
    }
    for bad in ["", "nul", "[]", "{} {}", "\u{feff}{}", "{\"a\":1,\"a\":2}x"] {
        let detail = post("/api/v1/entries", bad).await;
        assert!(detail.contains("line 1"), "{bad}: {detail}");
    }
    // As deep as a stack can be made to go.
    let deep = "[".repeat(60_000);
    assert!(post("/api/v1/entries", &deep).await.contains("line 1"));
    // A field's fault has its place as well.
    let body =
        "{\n \"spiffe_id\": \"spiffe://dev.test/a\",\n \"selectors\": [\"unix:uid:1\"],\n \"hint\": 7\n}";
    let reply = world.send(Method::POST, "/api/v1/entries", &[JSON], body).await;
    let refused = problem(&reply, 422, "SGAD011");
    let fault = &refused.errors[0].fault;
    assert_eq!(
        (fault.line, fault.column, fault.field.as_deref()),
        (4, Some(10), Some("hint"))
    );
}
