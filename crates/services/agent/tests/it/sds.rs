//! Envoy's secret discovery service.

use crate::callers::{await_accepted, await_exec, inherit, quick};
use crate::helper::Giver;
use crate::world::{Domain, World, channel, entry, ids, next};
use prost::Message as _;
use prost_types::{Struct, Value, value::Kind};
use signet_agent::SdsSettings;
use signet_feed::FeedEntry;
use signet_proto::agent::v1::Refusal;
use signet_proto::sds::envoy::config::core::v3::{DataSource, Node, data_source::Specifier};
use signet_proto::sds::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate, secret::Type,
};
use signet_proto::sds::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use signet_proto::sds::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use signet_proto::sds::google;
use signet_x509::pem;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

pub(crate) type Client = SecretDiscoveryServiceClient<Channel>;

pub(crate) const SECRET_TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// Without any metadata.
pub(crate) async fn client(world: &World) -> Client {
    Client::new(channel(world.socket()).await)
}

/// A client's end of a stream: it answers as Envoy does.
pub(crate) struct Stream {
    requests: mpsc::UnboundedSender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
    /// Of the last response that was taken.
    accepted: String,
    nonce: String,
}

impl Stream {
    async fn open(client: &mut Client) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let responses = client
            .stream_secrets(UnboundedReceiverStream::new(receiver))
            .await?
            .into_inner();
        Ok(Self {
            requests,
            responses,
            accepted: String::new(),
            nonce: String::new(),
        })
    }

    pub(crate) async fn of(world: &World, names: &[&str]) -> Self {
        let stream = Self::open(&mut client(world).await).await.expect("open");
        stream.want(names);
        stream
    }

    fn send(&self, request: DiscoveryRequest) {
        // A stream that has ended is found out by who reads it.
        let _ = self.requests.send(request);
    }

    /// Asks for these from now on; takes the last response.
    pub(crate) fn want(&self, names: &[&str]) {
        self.send(DiscoveryRequest {
            version_info: self.accepted.clone(),
            response_nonce: self.nonce.clone(),
            ..asks(names)
        });
    }

    /// Refuses the last response, which was not the first one.
    fn refuse(&self, names: &[&str], version: &str) {
        self.send(DiscoveryRequest {
            version_info: version.to_owned(),
            response_nonce: self.nonce.clone(),
            error_detail: Some(google::rpc::Status {
                code: 13,
                message: "bad \u{1b}[31mkey".to_owned(),
            }),
            ..asks(names)
        });
    }

    pub(crate) async fn next(&mut self) -> Result<BTreeMap<String, Type>, Status> {
        let response = next(&mut self.responses).await?;
        assert_ne!(response.nonce, self.nonce, "each response has a nonce of its own");
        self.nonce.clone_from(&response.nonce);
        self.accepted.clone_from(&response.version_info);
        Ok(secrets(&response))
    }

    async fn names(&mut self) -> Vec<String> {
        self.next().await.expect("response").into_keys().collect()
    }

    async fn end(&mut self) -> Status {
        self.next().await.expect_err("the stream ends")
    }
}

fn asks(names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        resource_names: names.iter().map(|&name| name.to_owned()).collect(),
        type_url: SECRET_TYPE.to_owned(),
        ..DiscoveryRequest::default()
    }
}

fn secrets(response: &DiscoveryResponse) -> BTreeMap<String, Type> {
    assert_eq!(response.type_url, SECRET_TYPE);
    assert!(!response.version_info.is_empty() && !response.nonce.is_empty());
    let decode = |any: &prost_types::Any| {
        assert_eq!(any.type_url, SECRET_TYPE);
        let secret = Secret::decode(any.value.as_slice()).expect("secret");
        (secret.name, secret.r#type.expect("type"))
    };
    response.resources.iter().map(decode).collect()
}

pub(crate) async fn fetch(world: &World, names: &[&str]) -> Result<BTreeMap<String, Type>, Status> {
    let response = client(world).await.fetch_secrets(asks(names)).await?;
    Ok(secrets(&response.into_inner()))
}

fn inline(source: Option<&DataSource>) -> &[u8] {
    let Some(Specifier::InlineBytes(bytes)) = source.and_then(|s| s.specifier.as_ref()) else {
        panic!("{source:?}")
    };
    bytes
}

/// Concatenated DER.
fn der(source: Option<&DataSource>) -> Vec<u8> {
    let certificates = pem::parse_certs(inline(source)).expect("pem");
    certificates.iter().flat_map(|der| der.to_vec()).collect()
}

pub(crate) fn certificate(secret: &Type) -> &TlsCertificate {
    match secret {
        Type::TlsCertificate(certificate) => certificate,
        Type::ValidationContext(_) => panic!("no certificate"),
    }
}

pub(crate) fn context(secret: &Type) -> &CertificateValidationContext {
    match secret {
        Type::ValidationContext(context) => context,
        Type::TlsCertificate(_) => panic!("no validation context"),
    }
}

/// The roots by trust domain that the SPIFFE certificate validator is given.
pub(crate) fn validator(secret: &Type) -> BTreeMap<String, Vec<u8>> {
    let context = context(secret);
    assert_eq!(context.trusted_ca, None);
    let custom = context.custom_validator_config.as_ref().expect("validator");
    assert_eq!(custom.name, "envoy.tls.cert_validator.spiffe");
    let config = custom.typed_config.as_ref().expect("config");
    assert_eq!(
        config.type_url,
        "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig"
    );
    let config = SpiffeCertValidatorConfig::decode(config.value.as_slice()).expect("config");
    let domains = config.trust_domains.into_iter();
    domains
        .map(|domain| (domain.name, der(domain.trust_bundle.as_ref())))
        .collect()
}

pub(crate) fn federated(number: u8, path: &str, with: &str) -> FeedEntry {
    let mut entry = entry(number, path);
    entry.federates_with = vec![with.parse().expect("domain")];
    entry
}

pub(crate) fn short(number: u8, path: &str) -> FeedEntry {
    let mut short = entry(number, path);
    short.x509_ttl = Duration::from_secs(20);
    short
}

/// A node that says so about the validator.
pub(crate) fn node(disable: Kind) -> Node {
    let value = Value { kind: Some(disable) };
    let fields = [("disable_spiffe_cert_validation".to_owned(), value)];
    Node {
        id: "one".to_owned(),
        cluster: "web".to_owned(),
        metadata: Some(Struct {
            fields: fields.into_iter().collect(),
        }),
    }
}

async fn fetch_as(world: &World, node: Node, name: &str) -> Result<Type, Status> {
    let request = DiscoveryRequest {
        node: Some(node),
        ..asks(&[name])
    };
    let response = client(world).await.fetch_secrets(request).await?.into_inner();
    let (_, secret) = secrets(&response).pop_first().expect("one");
    Ok(secret)
}

pub(crate) fn code_of(status: &Status) -> String {
    use tonic_types::StatusExt as _;
    status.get_details_error_info().expect("details").reason
}

#[tokio::test]
async fn spiffe_99_secrets_are_streamed_and_fetched_on_the_socket_of_the_workload_api() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut client = client(&world).await;
    let mut stream = Stream::open(&mut client).await.expect("open");
    stream.want(&["default"]);
    let streamed = stream.next().await.expect("stream");
    assert!(world.metrics.text().contains("signet_streams{kind=\"sds\"} 1"));
    let fetched = client.fetch_secrets(asks(&["default"])).await.expect("fetch");
    assert_eq!(secrets(&fetched.into_inner()), streamed);
    assert_eq!(
        world.attestor.calls.load(Ordering::SeqCst),
        1,
        "the caller is attested, once for its connection"
    );
}

#[tokio::test]
async fn spiffe_99_a_caller_is_told_what_the_workload_api_tells_it() {
    let world = World::with(vec![entry(1, "/a"), entry(2, "/b")]).await;
    let of_api = world.fetch_x509().await.expect("workload api");
    let secrets = fetch(&world, &["spiffe://a.test/a", "spiffe://a.test/b"])
        .await
        .expect("fetch");
    assert_eq!(
        ids(&of_api),
        secrets.keys().map(String::as_str).collect::<Vec<_>>()
    );
    for (svid, secret) in of_api.svids.iter().zip(secrets.values()) {
        let certificate = certificate(secret);
        assert_eq!(der(certificate.certificate_chain.as_ref()), svid.x509_svid);
        let key = pem::parse_key(inline(certificate.private_key.as_ref())).expect("key");
        assert_eq!(key.expose(), svid.x509_svid_key);
    }
    assert_eq!(
        world.server.x509_issued.load(Ordering::SeqCst),
        2,
        "they are the same"
    );
}

#[tokio::test]
async fn spiffe_99_a_stream_ends_when_its_caller_executes_another_program() {
    let mut world = World::with_pace(quick());
    world.publish(vec![entry(1, "/a")]).await;
    let mut giver = Giver::start("exec", world.socket());
    let channel = inherit(&mut giver).await;
    await_accepted(&channel).await;
    let mut client = Client::new(channel);
    let mut stream = Stream::open(&mut client).await.expect("open");
    stream.want(&["default"]);
    stream
        .next()
        .await
        .expect("entitled as long as it is the one that connected");
    giver.go_on();
    assert_eq!(stream.end().await.code(), Code::PermissionDenied);
    await_exec(&giver).await;
    let status = client
        .fetch_secrets(asks(&["default"]))
        .await
        .expect_err("denied");
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn spiffe_99_without_a_state_or_with_a_failed_attestation_it_is_unavailable() {
    let world = World::initialising();
    assert_eq!(
        fetch(&world, &["default"]).await.expect_err("no state").code(),
        Code::Unavailable
    );
    let world = World::with(vec![entry(1, "/a")]).await;
    world.attestor.fails.store(true, Ordering::SeqCst);
    assert_eq!(
        fetch(&world, &["default"]).await.expect_err("unseen").code(),
        Code::Unavailable
    );
}

#[tokio::test]
async fn spiffe_100_an_identity_is_named_by_its_id_and_the_first_one_by_default() {
    let world = World::with(vec![entry(2, "/younger"), entry(1, "/older")]).await;
    let secrets = fetch(
        &world,
        &["default", "spiffe://a.test/older", "spiffe://a.test/younger"],
    )
    .await
    .expect("fetch");
    assert_eq!(secrets["default"], secrets["spiffe://a.test/older"]);
    assert_ne!(secrets["default"], secrets["spiffe://a.test/younger"]);
}

#[tokio::test]
async fn spiffe_100_bundles_are_those_of_one_domain_of_the_own_or_of_all() {
    let foreign = Domain::new("b.test");
    let mut world = World::with(vec![federated(1, "/a", "b.test")]).await;
    world
        .federate(vec![foreign.bundle(), Domain::new("c.test").bundle()])
        .await;
    let names = ["spiffe://a.test", "spiffe://b.test", "ROOTCA", "ALL"];
    let secrets = fetch(&world, &names).await.expect("fetch");
    let own = ("a.test".to_owned(), world.server.domain.root.certificate.to_vec());
    let other = ("b.test".to_owned(), foreign.root.certificate.to_vec());
    assert_eq!(
        validator(&secrets["spiffe://a.test"]),
        BTreeMap::from([own.clone()])
    );
    assert_eq!(validator(&secrets["ROOTCA"]), BTreeMap::from([own.clone()]));
    assert_eq!(
        validator(&secrets["spiffe://b.test"]),
        BTreeMap::from([other.clone()])
    );
    assert_eq!(validator(&secrets["ALL"]), BTreeMap::from([own, other]));
    let issued = world.server.x509_issued.load(Ordering::SeqCst);
    assert_eq!(issued, 0, "for those who verify no certificate is made");
}

#[tokio::test]
async fn spiffe_100_a_node_or_the_agent_switches_the_validator_off() {
    let on = World::with(vec![entry(1, "/a")]).await;
    let mut off = World::with_sds(SdsSettings {
        disable_spiffe_cert_validation: true,
        ..SdsSettings::default()
    });
    off.publish(vec![entry(1, "/a")]).await;
    for (world, disable, is_on) in [
        (&on, None, true),
        (&on, Some(Kind::BoolValue(true)), false),
        (&on, Some(Kind::StringValue("true".to_owned())), false),
        (&off, None, false),
        (&off, Some(Kind::BoolValue(false)), true),
    ] {
        let shown = format!("{disable:?}");
        let node = disable.map_or_else(Node::default, node);
        let root = world.server.domain.root.certificate.to_vec();
        let secret = fetch_as(world, node.clone(), "ROOTCA").await.expect("fetch");
        if is_on {
            assert_eq!(validator(&secret)["a.test"], root, "{shown}");
            fetch_as(world, node, "ALL").await.expect("all");
            continue;
        }
        let context = context(&secret);
        assert_eq!(context.custom_validator_config, None, "{shown}");
        assert_eq!(der(context.trusted_ca.as_ref()), root, "{shown}");
        // In one list of roots each domain could vouch for the others.
        let status = fetch_as(world, node, "ALL").await.expect_err("all");
        assert_eq!(
            (status.code(), code_of(&status).as_str()),
            (Code::InvalidArgument, "SGAG062")
        );
    }
    let neither = node(Kind::NumberValue(1.0));
    let status = fetch_as(&on, neither, "ROOTCA").await.expect_err("neither");
    assert_eq!(
        (status.code(), code_of(&status).as_str()),
        (Code::InvalidArgument, "SGAG060")
    );
}

#[tokio::test]
async fn spiffe_100_a_node_need_not_say_who_it_is_more_than_once() {
    let mut world = World::with(vec![entry(1, "/a")]).await;
    let mut stream = Stream::open(&mut client(&world).await).await.expect("open");
    stream.send(DiscoveryRequest {
        node: Some(node(Kind::BoolValue(true))),
        ..asks(&["ROOTCA"])
    });
    stream.next().await.expect("first");
    stream.want(&["ROOTCA"]);
    let (domain, coming) = (&world.server.domain, Domain::new("a.test"));
    let roots = vec![domain.x509_authority(), coming.x509_authority()];
    let bundle = domain.bundle_of(roots, vec![domain.jwt_authority()]);
    world.set_own_bundle(bundle).await;
    let pushed = stream.next().await.expect("pushed");
    assert_eq!(context(&pushed["ROOTCA"]).custom_validator_config, None);
    assert_eq!(
        pem::parse_certs(inline(context(&pushed["ROOTCA"]).trusted_ca.as_ref()))
            .expect("pem")
            .len(),
        2
    );
}

#[tokio::test]
async fn spiffe_100_names_of_the_settings_take_the_place_of_the_others() {
    let mut world = World::with_sds(SdsSettings {
        default_svid_name: "mine".to_owned(),
        default_bundle_name: "roots".to_owned(),
        default_all_bundles_name: "everybody".to_owned(),
        disable_spiffe_cert_validation: false,
    });
    world.publish(vec![entry(1, "/a")]).await;
    let secrets = fetch(&world, &["mine", "roots", "everybody"])
        .await
        .expect("fetch");
    certificate(&secrets["mine"]);
    for name in ["default", "ROOTCA", "ALL"] {
        assert_eq!(
            fetch(&world, &[name]).await.expect_err(name).code(),
            Code::NotFound
        );
    }
}

#[tokio::test]
async fn who_names_nothing_gets_all_that_it_may_have() {
    let mut world = World::with(vec![federated(1, "/a", "b.test"), entry(2, "/b")]).await;
    world.federate(vec![Domain::new("b.test").bundle()]).await;
    let all = [
        "spiffe://a.test",
        "spiffe://a.test/a",
        "spiffe://a.test/b",
        "spiffe://b.test",
    ];
    let fetched = fetch(&world, &[]).await.expect("fetch");
    assert_eq!(fetched.keys().map(String::as_str).collect::<Vec<_>>(), all);
    let mut stream = Stream::of(&world, &[]).await;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < all.len() {
        seen.extend(stream.names().await);
    }
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), all);
}

#[tokio::test]
async fn spiffe_101_an_unknown_name_is_an_error_with_a_code() {
    let mut other = entry(2, "/other");
    other.selectors = vec!["unix:uid:4000000123".parse().expect("selector")];
    let mut world = World::with(vec![entry(1, "/a"), other]).await;
    // Known to the node, and this caller has no business with it.
    world.federate(vec![Domain::new("b.test").bundle()]).await;
    for name in [
        "nonsense",
        "",
        "spiffe://a.test/other",
        "spiffe://b.test",
        "spiffe://a.test/",
        "\u{7}",
    ] {
        let status = fetch(&world, &["default", name]).await.expect_err(name);
        assert_eq!(
            (status.code(), code_of(&status).as_str()),
            (Code::NotFound, "SGAG061")
        );
        assert!(!status.message().contains('\u{7}'), "{status}");
        let status = Stream::of(&world, &[name]).await.end().await;
        assert_eq!(status.code(), Code::NotFound, "{status}");
    }
    assert!(
        world
            .metrics
            .text()
            .contains("surface=\"sds\",reason=\"not_entitled\"} 12")
    );
}

#[tokio::test]
async fn spiffe_101_a_domain_without_roots_is_an_error_and_not_an_empty_list() {
    let mut world = World::with(vec![federated(1, "/a", "b.test")]).await;
    let foreign = Domain::new("b.test");
    world
        .federate(vec![foreign.bundle_of(Vec::new(), vec![foreign.jwt_authority()])])
        .await;
    let status = fetch(&world, &["spiffe://b.test"]).await.expect_err("no roots");
    assert_eq!(status.code(), Code::NotFound);
    let all = fetch(&world, &["ALL"]).await.expect("all");
    assert_eq!(validator(&all["ALL"]).into_keys().collect::<Vec<_>>(), ["a.test"]);
}

#[tokio::test]
async fn spiffe_101_what_was_accepted_is_not_sent_again() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut stream = Stream::of(&world, &["default"]).await;
    assert_eq!(stream.names().await, ["default"]);
    stream.want(&["default"]);
    stream.want(&["default"]);
    // What comes next answers this, and has nothing of what was there.
    stream.want(&["default", "ROOTCA"]);
    assert_eq!(stream.names().await, ["ROOTCA"]);
    assert!(
        world
            .metrics
            .text()
            .contains("signet_sds_requests_total{kind=\"ack\"} 3")
    );
}

#[tokio::test]
async fn spiffe_101_what_was_refused_is_not_sent_again_before_it_changes() {
    let world = World::with(vec![short(1, "/a")]).await;
    let mut stream = Stream::of(&world, &["default"]).await;
    let first = stream.next().await.expect("first");
    stream.refuse(&["default"], "");
    stream.refuse(&["default"], "");
    stream.refuse(&["default", "ROOTCA"], "");
    assert_eq!(
        stream.names().await,
        ["ROOTCA"],
        "a refusal may ask for more, too"
    );
    stream.want(&["default", "ROOTCA"]);
    world.pass(Duration::from_millis(11_001));
    let renewed = stream.next().await.expect("renewed");
    assert_eq!(renewed.keys().collect::<Vec<_>>(), ["default"]);
    assert_ne!(renewed["default"], first["default"]);
    assert!(
        world
            .metrics
            .text()
            .contains("signet_sds_requests_total{kind=\"nack\"} 3")
    );
}

#[tokio::test]
async fn spiffe_101_an_answer_to_an_older_response_is_ignored() {
    let world = World::with(vec![short(1, "/a")]).await;
    let mut stream = Stream::of(&world, &["default"]).await;
    stream.next().await.expect("first");
    let (nonce, version) = (stream.nonce.clone(), stream.accepted.clone());
    world.pass(Duration::from_millis(11_001));
    stream.next().await.expect("second");
    let stale = |names: &[&str]| DiscoveryRequest {
        version_info: version.clone(),
        response_nonce: nonce.clone(),
        ..asks(names)
    };
    // Were it read, the stream would end.
    stream.send(stale(&["nonsense"]));
    stream.send(stale(&["ALL"]));
    stream.want(&["default", "ROOTCA"]);
    assert_eq!(stream.names().await, ["ROOTCA"]);
    assert!(
        world
            .metrics
            .text()
            .contains("signet_sds_requests_total{kind=\"stale\"} 2")
    );
}

#[tokio::test]
async fn spiffe_101_a_renewal_sends_that_certificate_and_nothing_else() {
    let mut world = World::with(vec![short(1, "/a"), federated(2, "/b", "b.test")]).await;
    world.federate(vec![Domain::new("b.test").bundle()]).await;
    let names = [
        "ALL",
        "ROOTCA",
        "default",
        "spiffe://a.test/a",
        "spiffe://a.test/b",
        "spiffe://b.test",
    ];
    let mut stream = Stream::of(&world, &names).await;
    let mut seen = Vec::new();
    while seen.len() < names.len() {
        seen.extend(stream.names().await);
        stream.want(&names);
    }
    for _ in 0..3 {
        let version = stream.accepted.clone();
        world.pass(Duration::from_millis(11_001));
        assert_eq!(stream.names().await, ["default", "spiffe://a.test/a"]);
        assert_ne!(stream.accepted, version);
        stream.want(&names);
    }
    world.federate(vec![Domain::new("b.test").bundle()]).await;
    assert_eq!(
        stream.names().await,
        ["ALL", "spiffe://b.test"],
        "and so does a bundle"
    );
}

#[tokio::test]
async fn spiffe_101_the_names_of_a_stream_may_change() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut stream = Stream::of(&world, &["default", "ROOTCA"]).await;
    let mut seen = stream.names().await;
    if seen.len() < 2 {
        seen.extend(stream.names().await);
    }
    stream.want(&["ROOTCA"]);
    stream.want(&["ROOTCA", "default"]);
    assert_eq!(stream.names().await, ["default"], "what was let go is sent again");
    stream.want(&[]);
    stream.want(&["spiffe://a.test"]);
    assert_eq!(stream.names().await, ["spiffe://a.test"]);
    stream.want(&["spiffe://a.test", "nonsense"]);
    assert_eq!(stream.end().await.code(), Code::NotFound);
}

#[tokio::test]
async fn spiffe_101_a_foreign_bundle_that_is_removed_ends_the_stream_that_named_it() {
    let mut world = World::with(vec![federated(1, "/a", "b.test")]).await;
    world.federate(vec![Domain::new("b.test").bundle()]).await;
    let mut named = Stream::of(&world, &["spiffe://b.test"]).await;
    let mut all = Stream::of(&world, &["ALL"]).await;
    named.next().await.expect("first");
    assert_eq!(validator(&all.next().await.expect("first")["ALL"]).len(), 2);
    world.federate(Vec::new()).await;
    assert_eq!(named.end().await.code(), Code::NotFound);
    assert_eq!(validator(&all.next().await.expect("pushed")["ALL"]).len(), 1);
}

#[tokio::test]
async fn spiffe_102_a_caller_without_identity_is_denied() {
    let mut other = entry(1, "/other");
    other.selectors = vec!["unix:uid:4000000123".parse().expect("selector")];
    let mut world = World::with(vec![other]).await;
    for names in [&["default"][..], &["ROOTCA"], &["nonsense"], &[]] {
        let status = fetch(&world, names).await.expect_err("denied");
        assert_eq!(
            (status.code(), code_of(&status).as_str()),
            (Code::PermissionDenied, "SGAG009")
        );
        let status = Stream::open(&mut client(&world).await)
            .await
            .err()
            .expect("denied");
        assert_eq!(status.code(), Code::PermissionDenied);
    }
    world.publish(vec![entry(1, "/a")]).await;
    let mut stream = Stream::of(&world, &["ROOTCA"]).await;
    stream.next().await.expect("entitled");
    world.publish(Vec::new()).await;
    let status = stream.end().await;
    assert_eq!(
        status.code(),
        Code::PermissionDenied,
        "with its last identity a stream ends"
    );
}

#[tokio::test]
async fn a_certificate_that_cannot_be_had_is_unavailable_and_the_others_are_not() {
    let world = World::with(vec![entry(1, "/a")]).await;
    *world.server.refusal.lock().expect("lock") = Some(Refusal::default());
    assert_eq!(
        fetch(&world, &["default"]).await.expect_err("refused").code(),
        Code::Unavailable
    );
    fetch(&world, &["ROOTCA"]).await.expect("bundles need no server");
}

#[tokio::test]
async fn a_client_that_asks_once_and_says_no_more_is_answered_and_let_go() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let requests = tokio_stream::iter([asks(&["default"])]);
    let mut responses = client(&world)
        .await
        .stream_secrets(requests)
        .await
        .expect("open")
        .into_inner();
    let response = next(&mut responses).await.expect("response");
    certificate(&secrets(&response)["default"]);
    assert!(responses.message().await.expect("a good end").is_none());
    assert!(world.metrics.text().contains("signet_streams{kind=\"sds\"} 0"));
}

#[tokio::test]
async fn hostile_requests_end_their_stream_and_no_other() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut good = Stream::of(&world, &["default"]).await;
    good.next().await.expect("first");
    let many: Vec<String> = (0..129).map(|n| format!("spiffe://a.test/{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = format!("spiffe://a.test/{}", "a".repeat(2048));
    let mut clusters = asks(&["default"]);
    clusters.type_url = "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned();
    let mut huge = asks(&["default"]);
    huge.version_info = "a".repeat(2 << 20);
    for (what, request) in [
        ("many", asks(&many)),
        ("long", asks(&[&long])),
        ("another type", clusters),
        ("huge", huge),
    ] {
        let mut stream = Stream::open(&mut client(&world).await).await.expect("open");
        stream.send(request.clone());
        let status = stream.end().await;
        assert_eq!(
            (status.code(), code_of(&status).as_str()),
            (Code::InvalidArgument, "SGAG060"),
            "{what}"
        );
        let status = client(&world).await.fetch_secrets(request).await.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}");
    }
    good.want(&["default", "ROOTCA"]);
    assert_eq!(good.names().await, ["ROOTCA"]);
}

#[tokio::test]
async fn spiffe_101_requests_without_end_are_refused() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut stream = Stream::of(&world, &["ROOTCA"]).await;
    stream.next().await.expect("first");
    // At the rate that is allowed these would take more than eight minutes.
    for _ in 0..10_000 {
        stream.want(&["ROOTCA"]);
    }
    let status = stream.end().await;
    assert_eq!(
        (status.code(), code_of(&status).as_str()),
        (Code::ResourceExhausted, "SGAG063")
    );
}
