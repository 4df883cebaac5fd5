//! The Workload Endpoint: transport, metadata, codes, reflection.

use crate::world::{World, channel, entry, first, raw_call};
use signet_proto::workload::{
    JwtBundlesRequest, JwtsvidRequest, ValidateJwtsvidRequest, X509BundlesRequest, X509svidRequest,
};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::Ordering;
use tonic::{Code, Request, Status};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

const METHODS: [&str; 7] = [
    "FetchX509SVID",
    "FetchX509Bundles",
    "FetchJWTSVID",
    "FetchJWTBundles",
    "ValidateJWTSVID",
    "FetchWITSVID",
    "FetchWITBundles",
];

/// All five methods of the client, in the order of the standard; the status of each that failed.
async fn call_all(world: &World) -> Vec<Option<Status>> {
    let mut client = world.client().await;
    let fetch = JwtsvidRequest {
        audience: vec!["b".to_owned()],
        spiffe_id: String::new(),
    };
    let validate = ValidateJwtsvidRequest {
        audience: "b".to_owned(),
        svid: "x.y.z".to_owned(),
    };
    let x509 = match client.fetch_x509svid(X509svidRequest {}).await {
        Ok(stream) => first(stream).await.err(),
        Err(status) => Some(status),
    };
    let x509_bundles = match client.fetch_x509_bundles(X509BundlesRequest {}).await {
        Ok(stream) => first(stream).await.err(),
        Err(status) => Some(status),
    };
    let jwt_bundles = match client.fetch_jwt_bundles(JwtBundlesRequest {}).await {
        Ok(stream) => first(stream).await.err(),
        Err(status) => Some(status),
    };
    vec![
        x509,
        x509_bundles,
        client.fetch_jwtsvid(fetch).await.err(),
        jwt_bundles,
        client.validate_jwtsvid(validate).await.err(),
    ]
}

fn codes(outcomes: Vec<Option<Status>>) -> Vec<Option<Code>> {
    outcomes.into_iter().map(|o| o.map(|s| s.code())).collect()
}

#[tokio::test]
async fn spiffe_7_the_socket_speaks_grpc_without_tls_to_everybody_on_the_node() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mode = std::fs::metadata(world.socket())
        .expect("socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o666);
    world.fetch_x509().await.expect("in clear text");
}

#[tokio::test]
async fn spiffe_8_wrong_metadata_is_refused_by_every_method_before_anybody_is_attested() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let channel = channel(world.socket()).await;
    let wrong: [&[(&str, &str)]; 9] = [
        &[],
        &[("workload.spiffe.io", "True")],
        &[("workload.spiffe.io", "TRUE")],
        &[("workload.spiffe.io", "1")],
        &[("workload.spiffe.io", "")],
        &[("workload.spiffe.io", "true,true")],
        &[("workload.spiffe.io", "true"), ("workload.spiffe.io", "true")],
        &[("workload.spiffe.io", "true"), ("workload.spiffe.io", "false")],
        &[("workload-spiffe-io", "true"), ("spiffe.io", "true")],
    ];
    // A method that does not exist is no way around either.
    for method in METHODS.into_iter().chain(["Nonsense"]) {
        for metadata in wrong {
            let path = format!("/SpiffeWorkloadAPI/{method}");
            let status = raw_call(channel.clone(), &path, metadata)
                .await
                .expect_err(method);
            assert_eq!(
                status.code(),
                Code::InvalidArgument,
                "{method} {metadata:?}: {status}"
            );
        }
    }
    assert_eq!(
        world.attestor.calls.load(Ordering::SeqCst),
        0,
        "nobody was attested"
    );
}

#[tokio::test]
async fn spiffe_10_callers_show_no_credential_and_are_told_apart_by_the_kernel() {
    let mut other = entry(2, "/other");
    other.selectors = vec!["unix:uid:4000000123".parse().expect("selector")];
    let world = World::with(vec![entry(1, "/a"), other]).await;
    let message = world.fetch_x509().await.expect("fetch");
    assert_eq!(crate::world::ids(&message), ["spiffe://a.test/a"]);
    assert!(world.attestor.calls.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn spiffe_11_an_agent_without_a_state_is_unavailable() {
    let world = World::initialising();
    assert_eq!(codes(call_all(&world).await), [Some(Code::Unavailable); 5]);
}

#[tokio::test]
async fn spiffe_11_a_failed_attestation_is_unavailable() {
    let world = World::with(vec![entry(1, "/a")]).await;
    world.attestor.fails.store(true, Ordering::SeqCst);
    assert_eq!(codes(call_all(&world).await), [Some(Code::Unavailable); 5]);
    // It is not remembered: the next call is attested anew.
    world.attestor.fails.store(false, Ordering::SeqCst);
    world.fetch_x509().await.expect("fetch");
}

#[tokio::test]
async fn spiffe_11_a_caller_without_identity_is_denied() {
    let mut other = entry(1, "/other");
    other
        .selectors
        .push("unix:uid:4000000123".parse().expect("selector"));
    let world = World::with(vec![other]).await;
    assert_eq!(codes(call_all(&world).await), [Some(Code::PermissionDenied); 5]);
}

#[tokio::test]
async fn spiffe_11_an_unknown_method_is_unimplemented() {
    let world = World::new().await;
    let channel = channel(world.socket()).await;
    for path in [
        "/SpiffeWorkloadAPI/Nonsense",
        "/SpiffeWorkloadAPI/",
        "/Other/FetchX509SVID",
        "/",
    ] {
        let status = raw_call(channel.clone(), path, &[("workload.spiffe.io", "true")])
            .await
            .expect_err(path);
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn spiffe_12_reflection_names_the_api_and_finds_its_description() {
    let world = World::initialising();
    let ask = |message| {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(message),
        };
        Request::new(tokio_stream::iter([request]))
    };
    let channel = channel(world.socket()).await;
    let mut client = ServerReflectionClient::new(channel.clone());
    let list = client
        .server_reflection_info(ask(MessageRequest::ListServices(String::new())))
        .await
        .expect("call");
    let list = first(list)
        .await
        .expect("answer")
        .message_response
        .expect("message");
    let MessageResponse::ListServicesResponse(list) = list else {
        panic!("{list:?}")
    };
    let names: Vec<_> = list.service.iter().map(|s| s.name.as_str()).collect();
    assert!(names.contains(&"SpiffeWorkloadAPI"), "{names:?}");
    let secrets = "envoy.service.secret.v3.SecretDiscoveryService";
    assert!(names.contains(&secrets), "{names:?}");
    for service in ["SpiffeWorkloadAPI", secrets] {
        let symbol = MessageRequest::FileContainingSymbol(service.to_owned());
        let file = client.server_reflection_info(ask(symbol)).await.expect("call");
        let file = first(file)
            .await
            .expect("answer")
            .message_response
            .expect("message");
        let MessageResponse::FileDescriptorResponse(file) = file else {
            panic!("{file:?}")
        };
        assert!(!file.file_descriptor_proto.is_empty());
    }

    use tonic_reflection::pb::v1alpha;
    let mut older = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let answer = older
        .server_reflection_info(Request::new(tokio_stream::iter([request])))
        .await
        .expect("call");
    first(answer).await.expect("answer");
}

#[test]
fn spiffe_12_the_api_has_the_standards_methods_and_no_others() {
    use prost::Message as _;
    let files =
        prost_types::FileDescriptorSet::decode(signet_proto::workload::DESCRIPTOR).expect("descriptor");
    let services: Vec<_> = files.file.iter().flat_map(|f| &f.service).collect();
    assert_eq!(services.len(), 1);
    let mut methods: Vec<_> = services[0].method.iter().map(|m| m.name()).collect();
    methods.sort_unstable();
    let mut wanted = METHODS;
    wanted.sort_unstable();
    assert_eq!(methods, wanted);
    let package = files
        .file
        .iter()
        .find(|f| !f.service.is_empty())
        .expect("file")
        .package();
    assert_eq!(package, "", "the path is /SpiffeWorkloadAPI/…");
}

#[tokio::test]
async fn spiffe_25_wit_methods_are_unimplemented_while_the_server_issues_none() {
    let metadata = [("workload.spiffe.io", "true")];
    let mut world = World::new().await;
    let domain = &world.server.domain;
    let own = domain.bundle_of(vec![domain.x509_authority()], vec![domain.jwt_authority()]);
    world.set_own_bundle(own).await;
    for round in 0..2 {
        let channel = channel(world.socket()).await;
        for method in ["FetchWITSVID", "FetchWITBundles"] {
            let path = format!("/SpiffeWorkloadAPI/{method}");
            let status = raw_call(channel.clone(), &path, &metadata)
                .await
                .expect_err(method);
            assert_eq!(status.code(), Code::Unimplemented, "{method} in round {round}");
        }
        world.publish(vec![entry(1, "/a")]).await;
    }
}

#[tokio::test]
async fn a_refusal_says_which_code_of_ours_it_is() {
    use tonic_types::StatusExt as _;
    let world = World::new().await;
    let status = world.fetch_x509().await.expect_err("no identity");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        status.get_details_error_info().expect("details").reason,
        "SGAG009"
    );
    assert!(
        world
            .metrics
            .text()
            .contains("surface=\"workload_api\",reason=\"no_identity\"")
    );
}
