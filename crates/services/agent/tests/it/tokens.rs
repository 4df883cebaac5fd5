//! JWT-SVIDs in memory: until when they are handed out, how they are replaced, what room they take.

use crate::jwt::fetch;
use crate::world::{Client, DOMAIN, Domain, World, entry};
use signet_agent::{AgentSettings, LimitSettings};
use signet_proto::agent::v1::Refusal;
use signet_proto::workload::JwtsvidResponse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tonic::{Code, Status};

/// Past half of 300 s and a tenth more.
const AGEING: Duration = Duration::from_secs(166);

/// Fetches until another token comes than `old`.
async fn renewed(client: &mut Client, old: &JwtsvidResponse) -> JwtsvidResponse {
    loop {
        let now = fetch(client, &["b"], "").await.expect("served all the time");
        if now != *old {
            return now;
        }
        tokio::task::yield_now().await;
    }
}

/// Fetches until it is refused.
async fn refused(client: &mut Client, old: &JwtsvidResponse) -> Status {
    loop {
        match fetch(client, &["b"], "").await {
            Ok(now) => assert_eq!(now, *old),
            Err(status) => return status,
        }
        tokio::task::yield_now().await;
    }
}

async fn asked_more_often_than(world: &World, times: usize) {
    while world.server.asked.load(Ordering::SeqCst) <= times {
        tokio::task::yield_now().await;
    }
}

/// Waits until the metrics have this line.
async fn shows(world: &World, line: &str) {
    while !world.metrics.text().lines().any(|l| l == line) {
        tokio::task::yield_now().await;
    }
}

/// The line of so many tokens that could not be had.
fn failed(times: usize) -> String {
    format!("signet_issue_total{{kind=\"jwt\",outcome=\"error\"}} {times}")
}

fn gauge(world: &World, name: &str) -> u64 {
    let text = world.metrics.text();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.expect(name).parse().expect("number")
}

#[tokio::test]
async fn tokens_are_cached_until_half_of_their_life_and_then_replaced_without_making_anybody_wait() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut client = world.client().await;
    let issued = || world.server.jwt_issued.load(Ordering::SeqCst);
    let first = fetch(&mut client, &["b", "two"], "").await.expect("first");
    let again = fetch(&mut world.client().await, &["two", "b"], "")
        .await
        .expect("from memory");
    assert_eq!(
        (&first, issued()),
        (&again, 1),
        "in whichever order the audiences are named"
    );
    let other = fetch(&mut client, &["b"], "").await.expect("another set");
    assert_eq!(issued(), 2);
    world.pass(AGEING);
    assert_eq!(
        fetch(&mut client, &["b"], "").await.expect("at once"),
        other,
        "what is there"
    );
    let next = renewed(&mut client, &other).await;
    assert_eq!(
        issued(),
        3,
        "one for all who asked meanwhile, and none that nobody asked for"
    );
    assert_eq!(fetch(&mut client, &["b"], "").await.expect("from memory"), next);
    assert_eq!(issued(), 3);
    // The last seconds are no time to set out with a token.
    world.pass(Duration::from_secs(296));
    let after = fetch(&mut client, &["b"], "").await.expect("waited for");
    assert!(after != next && issued() == 4);
}

#[tokio::test]
async fn a_server_that_hangs_keeps_nobody_waiting_who_has_a_token() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let client = world.client().await;
    let first = fetch(&mut client.clone(), &["b"], "").await.expect("first");
    let asked = world.server.asked.load(Ordering::SeqCst);
    let held = world.server.gate.write().await;
    world.pass(AGEING);
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { fetch(&mut client, &["b"], "").await.expect("at once") })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.expect("join"), first);
    }
    asked_more_often_than(&world, asked).await;
    assert_eq!(
        world.server.asked.load(Ordering::SeqCst),
        asked + 1,
        "once for all of them"
    );
    world.pass(Duration::from_secs(100));
    let mut client = client.clone();
    assert_eq!(fetch(&mut client, &["b"], "").await.expect("still"), first);
    drop(held);
    // Should the agent have lost its patience, it tries again by then.
    world.pass(Duration::from_secs(10));
    renewed(&mut client, &first).await;
    assert_eq!(world.server.jwt_issued.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_server_that_is_away_is_asked_again_after_pauses_and_not_at_each_call() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut client = world.client().await;
    let first = fetch(&mut client, &["b"], "").await.expect("first");
    let asked = world.server.asked.load(Ordering::SeqCst);
    world.server.away.send_replace(true);
    world.pass(AGEING);
    for failures in 1..=4 {
        assert_eq!(fetch(&mut client, &["b"], "").await.expect("at once"), first);
        shows(&world, &failed(failures)).await;
        for _ in 0..50 {
            assert_eq!(fetch(&mut client, &["b"], "").await.expect("at once"), first);
        }
        assert_eq!(world.server.asked.load(Ordering::SeqCst), asked + failures);
        // The first pause is 0.2 s, give or take a tenth; each further one is twice as long.
        let pause = Duration::from_millis(200) * 2_u32.pow(u32::try_from(failures).expect("few") - 1);
        world.pass(pause.mul_f64(0.89));
        fetch(&mut client, &["b"], "").await.expect("at once");
        assert_eq!(world.server.asked.load(Ordering::SeqCst), asked + failures);
        world.pass(pause.mul_f64(0.22));
    }
    world.server.away.send_replace(false);
    renewed(&mut client, &first).await;
}

#[tokio::test]
async fn callers_that_ask_at_once_share_one_signature() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let client = world.client().await;
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { fetch(&mut client, &["b"], "").await.expect("fetch") })
        })
        .collect();
    let mut tokens = std::collections::HashSet::new();
    for task in tasks {
        tokens.insert(task.await.expect("join").svids.remove(0).svid);
    }
    assert_eq!(tokens.len(), 1);
    assert_eq!(world.server.jwt_issued.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_server_that_is_away_is_covered_by_the_cache_until_the_token_ends() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut client = world.client().await;
    let first = fetch(&mut client, &["b"], "").await.expect("first");
    world.server.away.send_replace(true);
    assert_eq!(
        fetch(&mut client, &["c"], "")
            .await
            .expect_err("not in memory")
            .code(),
        Code::Unavailable
    );
    world.pass(Duration::from_secs(299));
    assert_eq!(
        fetch(&mut client, &["b"], "").await.expect("past half its life"),
        first
    );
    world.pass(Duration::from_secs(1));
    assert_eq!(
        fetch(&mut client, &["b"], "").await.expect_err("ended").code(),
        Code::Unavailable
    );
    world.server.away.send_replace(false);
    assert_ne!(fetch(&mut client, &["b"], "").await.expect("back"), first);
}

#[tokio::test]
async fn a_refusal_by_the_server_is_handed_on_and_beats_the_cache() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut client = world.client().await;
    let first = fetch(&mut client, &["b"], "").await.expect("first");
    world.pass(AGEING);
    *world.server.refusal.lock().expect("lock") = Some(Refusal {
        code: "SGAU001".to_owned(),
        message: "audience is a resource".to_owned(),
        retry: false,
    });
    // Whoever comes first hears of it too late, everybody else in time.
    assert_eq!(fetch(&mut client, &["b"], "").await.expect("at once"), first);
    let status = refused(&mut client, &first).await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("SGAU001"), "{status}");
    assert_eq!(gauge(&world, "signet_agent_jwt_cache_tokens"), 0);
    // The token would be valid for two minutes more, and is gone for good.
    world.server.away.send_replace(true);
    let status = fetch(&mut client, &["b"], "").await.expect_err("away");
    assert_eq!(status.code(), Code::Unavailable);
    *world.server.refusal.lock().expect("lock") = None;
    world.server.away.send_replace(false);
    assert_ne!(
        fetch(&mut client, &["b"], "").await.expect("allowed again"),
        first
    );
}

#[tokio::test]
async fn a_server_that_cannot_issue_now_takes_nothing_away() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut client = world.client().await;
    let first = fetch(&mut client, &["b"], "").await.expect("first");
    *world.server.refusal.lock().expect("lock") = Some(Refusal {
        code: "SGAS001".to_owned(),
        message: "the server cannot do this now".to_owned(),
        retry: true,
    });
    for (failures, seconds) in [(1, 166), (2, 100), (3, 33)] {
        world.pass(Duration::from_secs(seconds));
        assert_eq!(fetch(&mut client, &["b"], "").await.expect("valid"), first);
        shows(&world, &failed(failures)).await;
    }
    world.pass(Duration::from_secs(1));
    let status = fetch(&mut client, &["b"], "").await.expect_err("it ended");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

#[tokio::test]
async fn tokens_are_forgotten_with_their_entry_and_with_the_key_that_signed_them() {
    let mut world = World::with(vec![entry(1, "/a")]).await;
    let mut client = world.client().await;
    let first = fetch(&mut client, &["b"], "").await.expect("first");
    // The entry changes.
    let mut changed = entry(1, "/a");
    changed.seq = 2;
    changed.jwt_ttl = Duration::from_secs(60);
    world.publish(vec![changed]).await;
    let second = fetch(&mut client, &["b"], "").await.expect("second");
    assert_ne!(first, second);
    // Another key comes: what was signed stands.
    let (ours, coming) = (world.server.domain.jwt_authority(), Domain::new(DOMAIN));
    let mut next = coming.jwt_authority();
    next.kid = "other".to_owned();
    let params = signet_jose::JwkParams {
        kid: Some("other".to_owned()),
        alg: None,
        use_: Some("jwt-svid".to_owned()),
    };
    next.jwk = signet_jose::Jwk::from_public_key(coming.jwt.public_key(), params).expect("jwk");
    let roots = vec![world.server.domain.x509_authority()];
    let bundle = world
        .server
        .domain
        .bundle_of(roots.clone(), vec![ours.clone(), next.clone()]);
    world.set_own_bundle(bundle).await;
    assert_eq!(fetch(&mut client, &["b"], "").await.expect("third"), second);
    // The key that signed is tainted: nobody would take the token any more.
    let tainted = signet_trust::JwtAuthority {
        tainted: true,
        ..ours
    };
    let bundle = world.server.domain.bundle_of(roots, vec![tainted, next]);
    world.set_own_bundle(bundle).await;
    assert_ne!(fetch(&mut client, &["b"], "").await.expect("fourth"), second);
}

#[tokio::test]
async fn an_answer_that_a_change_of_its_entry_overtook_is_not_kept() {
    let mut world = World::with(vec![entry(1, "/a")]).await;
    let server = Arc::clone(&world.server);
    let held = server.gate.write().await;
    let mut client = world.client().await;
    let mut early = client.clone();
    let first = tokio::spawn(async move { fetch(&mut early, &["b"], "").await.expect("first") });
    asked_more_often_than(&world, 0).await;
    let mut changed = entry(1, "/a");
    changed.seq = 2;
    changed.jwt_ttl = Duration::from_secs(60);
    world.publish(vec![changed]).await;
    drop(held);
    let first = first.await.expect("join");
    let second = fetch(&mut client, &["b"], "").await.expect("second");
    assert_ne!(first, second);
    assert_eq!(fetch(&mut client, &["b"], "").await.expect("from memory"), second);
    assert_eq!(server.jwt_issued.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn tokens_in_memory_take_no_more_than_they_may_and_the_metrics_say_so() {
    const BYTES_MAX: u64 = 64 << 10;
    let mut limits = LimitSettings::default();
    limits.jwt_cache_bytes_max.0 = BYTES_MAX;
    let mut world = World::with_settings(AgentSettings {
        limits,
        ..AgentSettings::default()
    });
    world.publish(vec![entry(1, "/a")]).await;
    shows(&world, "signet_agent_jwt_cache_bytes_max 65536").await;
    let mut client = world.client().await;
    let issued = || world.server.jwt_issued.load(Ordering::SeqCst);
    for audience in 0..100 {
        let audience = format!("audience-{audience}");
        fetch(&mut client, &[&audience], "").await.expect("served");
        let bytes = gauge(&world, "signet_agent_jwt_cache_bytes");
        assert!((1..=BYTES_MAX / 16).contains(&bytes), "{bytes}: one entry's part");
    }
    let tokens = gauge(&world, "signet_agent_jwt_cache_tokens");
    let evicted = gauge(&world, "signet_agent_jwt_cache_evictions_total");
    assert!(tokens > 1 && tokens + evicted == 100, "{tokens} {evicted}");
    assert_eq!(issued(), 100);
    fetch(&mut client, &["audience-99"], "")
        .await
        .expect("from memory");
    assert_eq!(issued(), 100);
    fetch(&mut client, &["audience-0"], "").await.expect("anew");
    assert_eq!(issued(), 101);
}
