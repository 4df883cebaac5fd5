//! A store that fails, and callers that go away.

use crate::gate::Gate;
use crate::{JSON, World, entry, problem, text_of};
use http::{Method, StatusCode};
use signet_decision::Role;
use signet_fault::Coded as _;
use signet_store::faulty::{Fault, Op};

#[tokio::test]
async fn a_change_that_was_certainly_not_made_is_503_and_reads_go_on() {
    let world = World::new().await;
    world.log.plan(Op::Commit, 1, Fault::Refused);
    let reply = world.post("/api/v1/entries", &entry("/a")).await;
    let refused = problem(&reply, 503, "SGRG016");
    assert_eq!(text_of(&reply, "retry-after"), "1");
    assert!(refused.detail.contains("was not made"), "{}", refused.detail);
    // An administrator learns which part failed and what to do about it.
    let cause = signet_store::Injected;
    for part in [cause.to_string(), format!("[{}: ", cause.code())] {
        assert!(refused.detail.contains(&part), "{part}: {}", refused.detail);
    }
    assert!(world.entries().is_empty());
    world.create(&entry("/a")).await;
    assert_eq!(world.get("/api/v1/entries").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_change_whose_outcome_is_not_known_says_so() {
    let world = World::new().await;
    for nth in 1..=8 {
        world.log.plan(Op::Commit, nth, Fault::Lost);
    }
    let reply = world.post("/api/v1/entries", &entry("/lost")).await;
    let refused = problem(&reply, 504, "SGRG017");
    assert!(refused.detail.contains("may have been made, or may not"));
    assert!(refused.remedy.contains("look whether"), "{}", refused.remedy);
    assert_eq!(text_of(&reply, "retry-after"), "", "not to be sent again unseen");
    // Committed, but the log cannot be read back: the answer is the same, the change is there.
    world.log.plan(Op::Tail, 1, Fault::Refused);
    let reply = world.post("/api/v1/entries", &entry("/landed")).await;
    problem(&reply, 504, "SGRG018");
    world.registry.followed().catch_up().await.unwrap();
    assert_eq!(world.entries().len(), 1);
}

#[tokio::test]
async fn a_change_that_landed_unanswered_is_found() {
    let world = World::new().await;
    world.log.plan(Op::Commit, 1, Fault::Unanswered);
    world.create(&entry("/a")).await;
    assert_eq!(world.entries().len(), 1);
}

#[tokio::test]
async fn a_change_that_was_begun_is_finished_though_the_caller_went_away() {
    let (gate, log) = Gate::new();
    // The making of the keys.
    gate.open.add_permits(1);
    let world = World::over(log, [Role::Administrator]).await;
    gate.arrived.acquire().await.unwrap().forget();
    let body = entry("/a").to_string();
    let asking = world
        .client
        .send(Method::POST, "/api/v1/entries", &[JSON], body.into());
    tokio::select! {
        biased;
        _ = asking => panic!("answered before it was committed"),
        begun = gate.arrived.acquire() => begun.unwrap().forget(),
    }
    // The connection is gone with the future. The next request is answered, so the server has seen that.
    assert_eq!(world.get("/api/v1/health").await.status, StatusCode::OK);
    let mut applied = world.registry.followed().applied();
    applied.mark_unchanged();
    gate.open.add_permits(1);
    applied.changed().await.unwrap();
    assert_eq!(world.entries().len(), 1);
}
