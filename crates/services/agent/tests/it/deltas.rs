//! Envoy's secret discovery service by deltas: what is wanted and what is there come and go one by one.

use crate::sds::{
    Client, SECRET_TYPE, certificate, client, code_of, context, federated, fetch, node, short, validator,
};
use crate::world::{Domain, World, entry, next};
use prost::Message as _;
use prost_types::value::Kind;
use signet_proto::sds::envoy::extensions::transport_sockets::tls::v3::{Secret, secret::Type};
use signet_proto::sds::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use signet_proto::sds::google;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};

const OWN: &str = "spiffe://a.test";
const OTHER: &str = "spiffe://b.test";
/// More than half of the life of what [`short`] entitles to.
const RENEWAL: Duration = Duration::from_millis(11_001);

/// A client's end of a stream: it keeps what it was sent, as Envoy does.
struct Stream {
    requests: mpsc::UnboundedSender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    nonce: String,
    /// With their versions.
    has: BTreeMap<String, (String, Type)>,
}

/// The names in one response.
#[derive(Debug, PartialEq, Eq)]
struct News {
    came: Vec<String>,
    went: Vec<String>,
}

impl News {
    fn came(names: &[&str]) -> Self {
        Self {
            came: names.iter().map(|&name| name.to_owned()).collect(),
            went: Vec::new(),
        }
    }

    fn went(names: &[&str]) -> Self {
        let Self { came, went } = Self::came(names);
        Self {
            came: went,
            went: came,
        }
    }
}

impl Stream {
    async fn open(client: &mut Client) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let responses = client
            .delta_secrets(UnboundedReceiverStream::new(receiver))
            .await?
            .into_inner();
        Ok(Self {
            requests,
            responses,
            nonce: String::new(),
            has: BTreeMap::new(),
        })
    }

    async fn of(world: &World, names: &[&str]) -> Self {
        let stream = Self::open(&mut client(world).await).await.expect("open");
        stream.want(names, &[]);
        stream
    }

    fn send(&self, request: DeltaDiscoveryRequest) {
        // A stream that has ended is found out by who reads it.
        let _ = self.requests.send(request);
    }

    fn want(&self, come: &[&str], go: &[&str]) {
        self.send(wants(come, go));
    }

    /// Takes the last response, or refuses it.
    fn answer(&self, refusal: Option<&str>) {
        self.send(DeltaDiscoveryRequest {
            response_nonce: self.nonce.clone(),
            error_detail: refusal.map(|message| google::rpc::Status {
                code: 13,
                message: message.to_owned(),
            }),
            ..wants(&[], &[])
        });
    }

    async fn next(&mut self) -> Result<News, Status> {
        let response = next(&mut self.responses).await?;
        assert_eq!(response.type_url, SECRET_TYPE);
        assert_ne!(response.nonce, self.nonce, "each response has a nonce of its own");
        assert!(!response.nonce.is_empty() && !response.system_version_info.is_empty());
        self.nonce = response.nonce;
        let mut came = Vec::new();
        for resource in response.resources {
            let any = resource.resource.expect("resource");
            assert_eq!(any.type_url, SECRET_TYPE);
            let secret = Secret::decode(any.value.as_slice()).expect("secret");
            assert_eq!(secret.name, resource.name);
            assert!(!resource.version.is_empty());
            let secret = secret.r#type.expect("type");
            let before = self.has.insert(resource.name.clone(), (resource.version, secret));
            if let Some(before) = before {
                let after = &self.has[&resource.name];
                assert_eq!(before.0 == after.0, before.1 == after.1, "{}", resource.name);
            }
            came.push(resource.name);
        }
        for name in &response.removed_resources {
            self.has.remove(name);
        }
        Ok(News {
            came,
            went: response.removed_resources,
        })
    }

    /// Waits until it has these and no others.
    async fn has_come_to(&mut self, names: &[&str]) {
        while !self.has.keys().map(String::as_str).eq(names.iter().copied()) {
            self.next().await.expect("response");
        }
    }

    async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }

    fn versions(&self) -> HashMap<String, String> {
        let of = |(name, (version, _)): (&String, &(String, Type))| (name.clone(), version.clone());
        self.has.iter().map(of).collect()
    }

    fn secret(&self, name: &str) -> &Type {
        &self.has[name].1
    }
}

fn wants(come: &[&str], go: &[&str]) -> DeltaDiscoveryRequest {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    DeltaDiscoveryRequest {
        resource_names_subscribe: owned(come),
        resource_names_unsubscribe: owned(go),
        type_url: SECRET_TYPE.to_owned(),
        ..DeltaDiscoveryRequest::default()
    }
}

fn counted(world: &World, kind: &str, number: u32) -> bool {
    let line = format!("signet_sds_requests_total{{kind=\"{kind}\"}} {number}\n");
    world.metrics.text().contains(&line)
}

#[tokio::test]
async fn spiffe_99_deltas_bring_the_secrets_that_the_state_of_the_world_does() {
    let mut world = World::with(vec![federated(1, "/a", "b.test")]).await;
    world.federate(vec![Domain::new("b.test").bundle()]).await;
    let names = ["ALL", "ROOTCA", "default", OWN, "spiffe://a.test/a", OTHER];
    let mut stream = Stream::of(&world, &names).await;
    assert!(!world.metrics.text().contains("signet_streams{kind=\"sds\"} 0"));
    stream.has_come_to(&names).await;
    for (name, secret) in fetch(&world, &names).await.expect("fetch") {
        assert_eq!(stream.secret(&name), &secret, "{name}");
    }
    assert!(counted(&world, "subscription", 2));
}

#[tokio::test]
async fn spiffe_100_who_names_nothing_or_an_asterisk_gets_all_that_it_may_have() {
    let mut world = World::with(vec![federated(1, "/a", "b.test"), entry(2, "/b")]).await;
    world.federate(vec![Domain::new("b.test").bundle()]).await;
    let all = [OWN, "spiffe://a.test/a", "spiffe://a.test/b", OTHER];
    for names in [&[][..], &["*"]] {
        let mut stream = Stream::of(&world, names).await;
        stream.has_come_to(&all).await;
        // An acknowledgement names nothing either, and changes nothing.
        stream.answer(None);
        stream.want(&["ROOTCA"], &[]);
        assert_eq!(stream.next().await.expect("one more"), News::came(&["ROOTCA"]));
        // Of all that is left what was named.
        stream.want(&[], &["*"]);
        stream.want(&["ALL"], &[]);
        assert_eq!(stream.next().await.expect("named"), News::came(&["ALL"]));
        world.federate(vec![Domain::new("b.test").bundle()]).await;
        assert_eq!(stream.next().await.expect("named alone"), News::came(&["ALL"]));
    }
}

#[tokio::test]
async fn spiffe_100_of_all_that_there_is_each_comes_and_goes_by_itself() {
    let mut world = World::with(vec![federated(1, "/a", "b.test")]).await;
    world.federate(vec![Domain::new("b.test").bundle()]).await;
    let mut stream = Stream::of(&world, &[]).await;
    stream.has_come_to(&[OWN, "spiffe://a.test/a", OTHER]).await;
    world.federate(Vec::new()).await;
    assert_eq!(stream.next().await.expect("gone"), News::went(&[OTHER]));
    world
        .publish(vec![federated(1, "/a", "b.test"), entry(2, "/b")])
        .await;
    assert_eq!(
        stream.next().await.expect("come"),
        News::came(&["spiffe://a.test/b"])
    );
}

#[tokio::test]
async fn spiffe_100_a_node_chooses_who_validates_in_deltas_too() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut stream = Stream::open(&mut client(&world).await).await.expect("open");
    stream.send(DeltaDiscoveryRequest {
        node: Some(node(Kind::BoolValue(true))),
        ..wants(&["ROOTCA"], &[])
    });
    stream.next().await.expect("first");
    assert_eq!(context(stream.secret("ROOTCA")).custom_validator_config, None);
    stream.want(&["ALL"], &[]);
    let status = stream.end().await;
    assert_eq!(
        (status.code(), code_of(&status).as_str()),
        (Code::InvalidArgument, "SGAG062")
    );
}

#[tokio::test]
async fn spiffe_101_a_name_that_stands_for_nothing_now_is_told_so_and_comes_when_it_does() {
    let mut other = entry(2, "/other");
    other.selectors = vec!["unix:uid:4000000123".parse().expect("selector")];
    let mut world = World::with(vec![federated(1, "/a", "b.test"), other]).await;
    let names = ["spiffe://a.test/b", "spiffe://a.test/other", OTHER];
    let mut stream = Stream::of(&world, &names).await;
    assert_eq!(stream.next().await.expect("told"), News::went(&names));
    stream.answer(None);
    // It is told once.
    stream.want(&["ROOTCA"], &[]);
    assert_eq!(stream.next().await.expect("others"), News::came(&["ROOTCA"]));
    let entries = || vec![federated(1, "/a", "b.test"), entry(3, "/b")];
    world.publish(entries()).await;
    assert_eq!(
        stream.next().await.expect("come"),
        News::came(&["spiffe://a.test/b"])
    );
    certificate(stream.secret("spiffe://a.test/b"));
    world.federate(vec![Domain::new("b.test").bundle()]).await;
    assert_eq!(stream.next().await.expect("come"), News::came(&[OTHER]));
    world.federate(Vec::new()).await;
    assert_eq!(stream.next().await.expect("gone"), News::went(&[OTHER]));
    world.publish(vec![federated(1, "/a", "b.test")]).await;
    assert_eq!(
        stream.next().await.expect("gone"),
        News::went(&["spiffe://a.test/b"])
    );
    // Who asks once more is told once more.
    stream.want(&["spiffe://a.test/b"], &[]);
    assert_eq!(
        stream.next().await.expect("told again"),
        News::went(&["spiffe://a.test/b"])
    );
}

#[tokio::test]
async fn spiffe_101_what_can_be_no_name_ends_a_stream_of_deltas() {
    let world = World::with(vec![entry(1, "/a")]).await;
    for name in ["nonsense", "", "spiffe://a.test/", "\u{7}"] {
        let status = Stream::of(&world, &["default", name]).await.end().await;
        assert_eq!(
            (status.code(), code_of(&status).as_str()),
            (Code::NotFound, "SGAG061")
        );
    }
}

#[tokio::test]
async fn spiffe_101_deltas_are_what_changed_and_nothing_else() {
    let mut world = World::with(vec![short(1, "/a"), federated(2, "/b", "b.test")]).await;
    world.federate(vec![Domain::new("b.test").bundle()]).await;
    let names = ["ALL", "ROOTCA", "default", "spiffe://a.test/b", OTHER];
    let mut stream = Stream::of(&world, &names).await;
    stream.has_come_to(&names).await;
    for _ in 0..3 {
        stream.answer(None);
        let before = stream.secret("default").clone();
        world.pass(RENEWAL);
        assert_eq!(stream.next().await.expect("renewed"), News::came(&["default"]));
        assert_ne!(stream.secret("default"), &before);
    }
    world.federate(vec![Domain::new("b.test").bundle()]).await;
    assert_eq!(stream.next().await.expect("bundle"), News::came(&["ALL", OTHER]));
    assert_eq!(validator(stream.secret("ALL")).len(), 2);
    // What is let go is not sent any more; what is wanted once more is sent once more.
    stream.want(&["ROOTCA"], &["default", "never wanted"]);
    assert_eq!(stream.next().await.expect("again"), News::came(&["ROOTCA"]));
    world.pass(RENEWAL);
    stream.want(&["spiffe://a.test/a"], &[]);
    assert_eq!(
        stream.next().await.expect("wanted"),
        News::came(&["spiffe://a.test/a"])
    );
}

#[tokio::test]
async fn spiffe_101_who_comes_back_is_told_what_changed_since() {
    let mut world = World::with(vec![short(1, "/a"), federated(2, "/b", "b.test"), entry(3, "/c")]).await;
    world.federate(vec![Domain::new("b.test").bundle()]).await;
    let names = [
        "ROOTCA",
        "default",
        "spiffe://a.test/b",
        "spiffe://a.test/c",
        OTHER,
    ];
    let mut before = Stream::of(&world, &names).await;
    before.has_come_to(&names).await;
    let mut held = before.versions();
    drop(before);

    // Nothing did: the next thing said is what was asked for after that.
    let comes_back = |held: &HashMap<String, String>| DeltaDiscoveryRequest {
        initial_resource_versions: held.clone(),
        ..wants(&names, &[])
    };
    let mut stream = Stream::open(&mut client(&world).await).await.expect("open");
    stream.send(comes_back(&held));
    stream.want(&["ALL"], &[]);
    assert_eq!(stream.next().await.expect("new alone"), News::came(&["ALL"]));
    drop(stream);

    world
        .publish(vec![short(1, "/a"), federated(2, "/b", "b.test")])
        .await;
    let other = world.fetch_x509().await.expect("first");
    world.pass(RENEWAL);
    while world.fetch_x509().await.expect("renewed") == other {
        tokio::task::yield_now().await;
    }
    // A version that is none of ours, and one of what was not asked for.
    held.insert("ROOTCA".to_owned(), "7".repeat(1 << 16));
    held.insert("spiffe://a.test/z".to_owned(), "1".to_owned());
    let mut stream = Stream::open(&mut client(&world).await).await.expect("open");
    stream.send(comes_back(&held));
    let News { came, went } = stream.next().await.expect("changed");
    assert_eq!(came, ["ROOTCA", "default"]);
    assert_eq!(went, ["spiffe://a.test/c"]);
    // Later on the stream nobody is asked what it has.
    stream.send(DeltaDiscoveryRequest {
        initial_resource_versions: held,
        ..wants(&["spiffe://a.test/b"], &[])
    });
    assert_eq!(
        stream.next().await.expect("asked again"),
        News::came(&["spiffe://a.test/b"])
    );
}

#[tokio::test]
async fn spiffe_101_who_comes_back_for_all_that_there_is_is_told_what_is_gone() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut before = Stream::of(&world, &["*"]).await;
    before.has_come_to(&[OWN, "spiffe://a.test/a"]).await;
    let mut held = before.versions();
    held.insert("spiffe://a.test/gone".to_owned(), "1".to_owned());
    let mut stream = Stream::open(&mut client(&world).await).await.expect("open");
    stream.send(DeltaDiscoveryRequest {
        initial_resource_versions: held,
        ..wants(&["*"], &[])
    });
    assert_eq!(
        stream.next().await.expect("gone"),
        News::went(&["spiffe://a.test/gone"])
    );
}

#[tokio::test]
async fn spiffe_101_answers_to_deltas_are_told_by_their_nonce_and_what_they_want_counts_always() {
    let world = World::with(vec![short(1, "/a")]).await;
    let mut stream = Stream::of(&world, &["default"]).await;
    stream.next().await.expect("first");
    stream.answer(Some("bad \u{1b}[31mkey"));
    // What was refused is not sent again before it changes.
    stream.want(&["ROOTCA"], &[]);
    assert_eq!(stream.next().await.expect("others"), News::came(&["ROOTCA"]));
    stream.answer(None);
    world.pass(RENEWAL);
    assert_eq!(stream.next().await.expect("renewed"), News::came(&["default"]));
    for nonce in ["0", "4", "01", "x", "-1"] {
        stream.nonce = nonce.to_owned();
        stream.answer(None);
    }
    // One of this stream that is not the last one, as several may be under way.
    stream.nonce = "1".to_owned();
    stream.answer(None);
    let late = DeltaDiscoveryRequest {
        response_nonce: "none of ours".to_owned(),
        ..wants(&["ALL"], &["default"])
    };
    stream.send(late);
    assert_eq!(stream.next().await.expect("wanted"), News::came(&["ALL"]));
    assert!(counted(&world, "nack", 1), "{}", world.metrics.text());
    assert!(counted(&world, "ack", 2), "{}", world.metrics.text());
    assert!(counted(&world, "stale", 6), "{}", world.metrics.text());
}

#[tokio::test]
async fn spiffe_102_deltas_are_for_callers_with_an_identity() {
    let mut world = World::with(Vec::new()).await;
    let denied = Stream::open(&mut client(&world).await)
        .await
        .err()
        .expect("denied");
    assert_eq!(
        (denied.code(), code_of(&denied).as_str()),
        (Code::PermissionDenied, "SGAG009")
    );
    world.publish(vec![entry(1, "/a")]).await;
    let mut stream = Stream::of(&world, &["ROOTCA"]).await;
    stream.next().await.expect("entitled");
    world.publish(Vec::new()).await;
    assert_eq!(stream.end().await.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn hostile_requests_for_deltas_end_their_stream_and_no_other() {
    let world = World::with(vec![entry(1, "/a")]).await;
    let mut good = Stream::of(&world, &["default"]).await;
    good.next().await.expect("first");
    let names = |from: usize, to: usize| {
        let names = (from..to).map(|n| format!("spiffe://a.test/{n}"));
        names.collect::<Vec<_>>()
    };
    let comes = |names: Vec<String>| DeltaDiscoveryRequest {
        resource_names_subscribe: names,
        ..wants(&[], &[])
    };
    let goes = |names: Vec<String>| DeltaDiscoveryRequest {
        resource_names_unsubscribe: names,
        ..wants(&[], &[])
    };
    let long = format!("spiffe://a.test/{}", "a".repeat(2048));
    let holds = |number: usize, name: &str| DeltaDiscoveryRequest {
        initial_resource_versions: (0..number)
            .map(|n| (format!("{name}{n}"), "1".to_owned()))
            .collect(),
        ..wants(&["ROOTCA"], &[])
    };
    let clusters = DeltaDiscoveryRequest {
        type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned(),
        ..wants(&["ROOTCA"], &[])
    };
    for (what, requests) in [
        ("many", vec![comes(names(0, 129))]),
        (
            "many by and by",
            vec![comes(names(0, 100)), comes(names(100, 129))],
        ),
        ("many that go", vec![goes(names(0, 129))]),
        ("long", vec![comes(vec![long.clone()])]),
        ("long that goes", vec![goes(vec![long.clone()])]),
        ("come and gone", vec![wants(&["ROOTCA"], &["ROOTCA"])]),
        ("many held", vec![holds(4_097, "a")]),
        ("long held", vec![holds(1, &long)]),
        ("another type", vec![clusters]),
        ("huge", vec![comes(vec!["a".repeat(2 << 20)])]),
    ] {
        let mut stream = Stream::open(&mut client(&world).await).await.expect("open");
        for request in requests {
            stream.send(request);
        }
        let status = stream.end().await;
        assert_eq!(
            (status.code(), code_of(&status).as_str()),
            (Code::InvalidArgument, "SGAG060"),
            "{what}"
        );
    }
    // As many as may be, one for another.
    let mut stream = Stream::open(&mut client(&world).await).await.expect("open");
    stream.send(comes(names(0, 128)));
    stream.send(DeltaDiscoveryRequest {
        resource_names_unsubscribe: names(0, 1),
        ..wants(&["ROOTCA"], &[])
    });
    stream.has_come_to(&["ROOTCA"]).await;

    good.want(&["ROOTCA"], &[]);
    assert_eq!(good.next().await.expect("goes on"), News::came(&["ROOTCA"]));
    for _ in 0..10_000 {
        good.answer(None);
    }
    let status = good.end().await;
    assert_eq!(
        (status.code(), code_of(&status).as_str()),
        (Code::ResourceExhausted, "SGAG063")
    );
}
