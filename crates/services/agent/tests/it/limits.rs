//! `[limits]`: what one process may have of the Workload API.

use crate::world::{Client, World, channel, entry, next, raw_call};
use core::num::NonZeroU32;
use signet_agent::{AgentSettings, LimitSettings};
use signet_proto::sds::envoy::service::discovery::v3::DiscoveryRequest;
use signet_proto::sds::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use signet_proto::workload::{JwtsvidRequest, JwtsvidResponse, X509BundlesRequest};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_types::StatusExt as _;

fn limits(streams: u32, calls_per_s: u32, signing: u32) -> LimitSettings {
    let max = |max| NonZeroU32::new(max).expect("positive");
    LimitSettings {
        process_streams_max: max(streams),
        process_calls_per_s_max: max(calls_per_s),
        process_signing_max: max(signing),
        ..LimitSettings::default()
    }
}

async fn world(limits: LimitSettings, entries: u8) -> World {
    let settings = AgentSettings {
        limits,
        ..AgentSettings::default()
    };
    let mut world = World::with_settings(settings);
    let entries = (1..=entries).map(|n| entry(n, &format!("/{n}"))).collect();
    world.publish(entries).await;
    world
}

async fn token(client: &mut Client, audience: &str) -> Result<usize, Status> {
    let request = JwtsvidRequest {
        audience: vec![audience.to_owned()],
        spiffe_id: String::new(),
    };
    let response = client.fetch_jwtsvid(request).await?;
    Ok(response.into_inner().svids.len())
}

fn assert_limited(world: &World, status: &Status, setting: &str, label: &str) {
    assert_limited_at("workload_api", world, status, setting, label);
}

fn assert_limited_at(surface: &str, world: &World, status: &Status, setting: &str, label: &str) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains(setting), "{status}");
    let info = status.get_details_error_info().expect("details");
    assert_eq!(info.reason, "SGAG027");
    let text = world.metrics.text();
    let counted = format!("signet_agent_limited_total{{limit=\"{label}\",holder=\"process\"}} 1");
    assert!(text.contains(&counted), "{text}");
    let refused = format!("signet_unauthorized_total{{surface=\"{surface}\",reason=\"limited\"}} 1");
    assert!(text.contains(&refused), "{text}");
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_and_those_that_are_open_go_on() {
    let world = world(limits(2, 1_000, 1), 1).await;
    let mut client = world.client().await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let response = client.fetch_x509_bundles(X509BundlesRequest {}).await;
        open.push(response.expect("open").into_inner());
    }
    // Another connection of the same process makes no difference.
    let mut other = world.client().await;
    let status = other
        .fetch_x509_bundles(X509BundlesRequest {})
        .await
        .expect_err("a third");
    assert_limited(&world, &status, "limits.process_streams_max", "streams");
    for stream in &mut open {
        next(stream).await.expect("served");
    }
}

#[tokio::test]
async fn envoys_streams_and_calls_count_with_those_of_the_workload_api() {
    let one = world(limits(2, 1_000, 1), 1).await;
    let mut envoy = SecretDiscoveryServiceClient::new(channel(one.socket()).await);
    // A stream lasts as long as both of its ends.
    let asks = || {
        let (sender, requests) = mpsc::unbounded_channel::<DiscoveryRequest>();
        (sender, UnboundedReceiverStream::new(requests))
    };
    let (sender, requests) = asks();
    let secrets = envoy.stream_secrets(requests).await.expect("open");
    let mut client = one.client().await;
    let bundles = client.fetch_x509_bundles(X509BundlesRequest {}).await;
    let mut bundles = bundles.expect("open").into_inner();
    let status = envoy.stream_secrets(asks().1).await.expect_err("a third");
    assert_limited_at("sds", &one, &status, "limits.process_streams_max", "streams");
    drop((sender, secrets));
    while !one.metrics.text().contains("signet_streams{kind=\"sds\"} 0") {
        tokio::task::yield_now().await;
    }
    envoy.stream_secrets(asks().1).await.expect("given back");
    next(&mut bundles).await.expect("served");

    let other = world(limits(10, 2, 1), 1).await;
    token(&mut other.client().await, "b").await.expect("one");
    let mut envoy = SecretDiscoveryServiceClient::new(channel(other.socket()).await);
    let _open = envoy.stream_secrets(asks().1).await.expect("two");
    let status = envoy.stream_secrets(asks().1).await.expect_err("three");
    assert_limited_at("sds", &other, &status, "limits.process_calls_per_s_max", "calls");
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_until_time_has_passed() {
    let world = world(limits(10, 3, 1), 1).await;
    let mut client = world.client().await;
    for _ in 0..3 {
        token(&mut client, "b").await.expect("within the limit");
    }
    let status = token(&mut client, "b").await.expect_err("a fourth");
    assert_limited(&world, &status, "limits.process_calls_per_s_max", "calls");
    world.pass(Duration::from_millis(334));
    token(&mut client, "b").await.expect("a third of a second later");
    token(&mut client, "b").await.expect_err("and no more than that");
}

#[tokio::test]
async fn reflection_counts_as_calls_do() {
    let world = world(limits(10, 2, 1), 1).await;
    let ask = async || {
        let channel = channel(world.socket()).await;
        let status = raw_call(channel, "/grpc.reflection.v1.ServerReflection/None", &[]).await;
        status.expect_err("there is no such method")
    };
    for _ in 0..2 {
        assert_eq!(ask().await.code(), Code::Unimplemented);
    }
    assert_limited(&world, &ask().await, "limits.process_calls_per_s_max", "calls");
}

#[tokio::test]
async fn only_what_the_server_is_asked_for_counts_as_being_signed() {
    let world = world(limits(10, 1_000, 1), 1).await;
    let mut client = world.client().await;
    token(&mut client, "cached").await.expect("signed");
    let asked_before = world.server.asked.load(Ordering::SeqCst);
    let held = world.server.gate.write().await;
    let mut waiting = client.clone();
    let asked = tokio::spawn(async move { token(&mut waiting, "slow").await });
    while world.server.asked.load(Ordering::SeqCst) == asked_before {
        tokio::task::yield_now().await;
    }
    let status = token(&mut client, "more").await.expect_err("two at once");
    assert_limited(&world, &status, "limits.process_signing_max", "signing");
    token(&mut client, "cached").await.expect("from memory");
    drop(held);
    asked.await.expect("join").expect("answered");
    token(&mut client, "more").await.expect("the place is free again");
    assert_eq!(world.server.jwt_issued.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_process_at_its_limit_of_signatures_is_served_a_token_that_is_still_valid() {
    let world = world(limits(10, 1_000, 1), 1).await;
    let mut client = world.client().await;
    token(&mut client, "cached").await.expect("signed");
    let asked_before = world.server.asked.load(Ordering::SeqCst);
    let held = world.server.gate.write().await;
    let mut waiting = client.clone();
    let asked = tokio::spawn(async move { token(&mut waiting, "slow").await });
    while world.server.asked.load(Ordering::SeqCst) == asked_before {
        tokio::task::yield_now().await;
    }
    // Past half of its life, so that it is to be replaced, for which there is no place.
    world.pass(Duration::from_secs(200));
    token(&mut client, "cached").await.expect("valid");
    assert!(!world.metrics.text().contains("signet_agent_limited_total{"));
    world.pass(Duration::from_secs(101));
    let status = token(&mut client, "cached").await.expect_err("expired");
    assert_limited(&world, &status, "limits.process_signing_max", "signing");
    drop(held);
    asked.await.expect("join").expect("answered");
    token(&mut client, "cached").await.expect("replaced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_is_free_again_when_its_answer_comes() {
    let world = world(limits(10, 1_000, 1), 1).await;
    let mut client = world.client().await;
    for audience in 0..500 {
        token(&mut client, &audience.to_string())
            .await
            .expect("one at a time");
    }
}

#[tokio::test]
async fn one_call_for_more_identities_than_may_be_signed_at_once_is_answered() {
    let world = world(limits(10, 1_000, 2), 7).await;
    assert_eq!(token(&mut world.client().await, "b").await.expect("all"), 7);
}

/// Begins a call and never sends its message.
async fn half(channel: Channel, method: &'static str) {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.expect("ready");
    let mut request = tonic::Request::new(tokio_stream::pending::<JwtsvidRequest>());
    let metadata = request.metadata_mut();
    metadata.insert("workload.spiffe.io", "true".parse().expect("value"));
    let codec = signet_proto::codec::Small::<JwtsvidRequest, JwtsvidResponse>::default();
    let path = http::uri::PathAndQuery::from_static(method);
    let answer = grpc.streaming(request, path, codec).await;
    panic!("an answer to half a request: {answer:?}");
}

#[tokio::test]
async fn requests_that_do_not_arrive_whole_are_bounded() {
    for method in [
        "/SpiffeWorkloadAPI/FetchJWTSVID",
        "/SpiffeWorkloadAPI/ValidateJWTSVID",
        "/SpiffeWorkloadAPI/FetchX509SVID",
    ] {
        let limits = LimitSettings {
            process_requests_max: NonZeroU32::new(2).expect("positive"),
            process_calls_per_s_max: NonZeroU32::new(1_000_000).expect("positive"),
            ..LimitSettings::default()
        };
        let world = world(limits, 1).await;
        let mut client = world.client().await;
        let halves: Vec<_> = (0..2)
            .map(|_| {
                let socket = world.socket().to_owned();
                tokio::spawn(async move { half(channel(&socket).await, method).await })
            })
            .collect();
        let status = loop {
            match token(&mut client, "a").await {
                Ok(_) => tokio::task::yield_now().await,
                Err(status) => break status,
            }
        };
        assert_limited(&world, &status, "limits.process_requests_max", "requests");
        for half in halves {
            half.abort();
            assert!(half.await.expect_err("called off").is_cancelled());
        }
        while token(&mut client, "a").await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn reflection_is_a_stream_like_any_other_and_takes_short_questions() {
    let world = world(limits(2, 1_000_000, 1), 1).await;
    let mut client = ServerReflectionClient::new(channel(world.socket()).await);
    let mut open = Vec::new();
    for _ in 0..2 {
        let (sender, silent) = mpsc::unbounded_channel::<ServerReflectionRequest>();
        let silent = UnboundedReceiverStream::new(silent);
        open.push((sender, client.server_reflection_info(silent).await.expect("open")));
    }
    let ask = |bytes| {
        let message = MessageRequest::ListServices(String::new());
        tokio_stream::iter([ServerReflectionRequest {
            host: "h".repeat(bytes),
            message_request: Some(message),
        }])
    };
    let status = client.server_reflection_info(ask(9)).await.expect_err("a third");
    assert_limited(&world, &status, "limits.process_streams_max", "streams");
    drop(open);
    for (bytes, is_answered) in [(9, true), (4 << 10, false)] {
        let answers = loop {
            match client.server_reflection_info(ask(bytes)).await {
                Ok(answers) => break answers,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let answer = answers.into_inner().message().await.expect("no error");
        assert_eq!(answer.is_some(), is_answered, "{bytes}");
    }
}
