//! A server that is away, or hangs: what was issued before is served from memory as long as it is valid.

use crate::jwt::{fetch, validate};
use crate::world::{Client, World, entry, fetch_wit, first, next};
use crate::{sds, world};
use signet_feed::FeedEntry;
use signet_proto::sds::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use signet_proto::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidResponse, WitsvidRequest, WitsvidResponse,
    X509BundlesRequest, X509BundlesResponse, X509svidRequest, X509svidResponse,
};
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::{Code, Status, Streaming};

/// Of everything that is issued here. Half of it, when successors are due, is 150 s.
const LIFE: Duration = Duration::from_secs(300);

fn lasting(number: u8, path: &str) -> FeedEntry {
    FeedEntry {
        x509_ttl: LIFE,
        jwt_ttl: LIFE,
        ..entry(number, path)
    }
}

type Secrets = BTreeMap<String, Type>;

/// What a workload has open, and what it was told first.
struct Workload {
    client: Client,
    x509: Streaming<X509svidResponse>,
    wit: Streaming<WitsvidResponse>,
    x509_bundles: Streaming<X509BundlesResponse>,
    jwt_bundles: Streaming<JwtBundlesResponse>,
    secrets: sds::Stream,
    told: Told,
}

#[derive(Debug, PartialEq)]
struct Told {
    x509: X509svidResponse,
    wit: WitsvidResponse,
    jwt: JwtsvidResponse,
    secrets: Secrets,
}

impl Workload {
    async fn open(world: &World) -> Self {
        let mut client = world.client().await;
        let x509 = client.fetch_x509svid(X509svidRequest {}).await;
        let mut x509 = x509.expect("open").into_inner();
        let request = WitsvidRequest {
            spiffe_id: String::new(),
        };
        let wit = client.fetch_witsvid(request).await;
        let mut wit = wit.expect("open").into_inner();
        let bundles = client.fetch_x509_bundles(X509BundlesRequest {}).await;
        let mut x509_bundles = bundles.expect("open").into_inner();
        next(&mut x509_bundles).await.expect("bundles");
        let bundles = client.fetch_jwt_bundles(JwtBundlesRequest {}).await;
        let mut jwt_bundles = bundles.expect("open").into_inner();
        next(&mut jwt_bundles).await.expect("bundles");
        let mut secrets = sds::Stream::of(world, &["default"]).await;
        let told = Told {
            x509: next(&mut x509).await.expect("x509"),
            wit: next(&mut wit).await.expect("wit"),
            jwt: fetch(&mut client, &["b"], "").await.expect("jwt"),
            secrets: secrets.next().await.expect("secrets"),
        };
        secrets.want(&["default"]);
        Self {
            client,
            x509,
            wit,
            x509_bundles,
            jwt_bundles,
            secrets,
            told,
        }
    }

    /// Each stream's next message is that of a successor, so none ended meanwhile.
    async fn assert_renewed(&mut self, world: &World) {
        assert_ne!(next(&mut self.x509).await.expect("x509"), self.told.x509);
        assert_ne!(next(&mut self.wit).await.expect("wit"), self.told.wit);
        assert_ne!(self.secrets.next().await.expect("secrets"), self.told.secrets);
        loop {
            let told = ask(world).await.expect("served");
            if told.jwt != self.told.jwt {
                assert_ne!((&told.x509, &told.wit), (&self.told.x509, &self.told.wit));
                return;
            }
        }
    }
}

/// What a workload is told that comes now.
async fn ask(world: &World) -> Result<Told, Status> {
    Ok(Told {
        x509: world.fetch_x509().await?,
        wit: fetch_wit(world, "").await?,
        jwt: fetch(&mut world.client().await, &["b"], "").await?,
        secrets: sds::fetch(world, &["default"]).await?,
    })
}

#[tokio::test]
async fn spiffe_11_a_whole_life_without_the_server_is_served_from_memory_and_then_unavailable() {
    let world = World::with(vec![lasting(1, "/a")]).await;
    let mut open = Workload::open(&world).await;
    world.server.away.send_replace(true);
    // To the last moment of twice the half-life.
    for passed_ms in [100_000, 66_000, 84_000, 44_000, 5_999] {
        world.pass(Duration::from_millis(passed_ms));
        assert_eq!(ask(&world).await.expect("valid"), open.told);
    }
    world.pass(Duration::from_millis(1));
    // Nothing valid is left: this may pass, so it is no denial.
    for status in [
        next(&mut open.x509).await.expect_err("ended"),
        next(&mut open.wit).await.expect_err("ended"),
        open.secrets.next().await.expect_err("ended"),
        world.fetch_x509().await.expect_err("x509"),
        fetch_wit(&world, "").await.expect_err("wit"),
        fetch(&mut open.client, &["b"], "").await.expect_err("jwt"),
        sds::fetch(&world, &["default"]).await.expect_err("secrets"),
    ] {
        assert_eq!(status.code(), Code::Unavailable, "{status}");
    }
    // Bundles need no server, nor does a check of somebody else's token.
    first(
        open.client
            .fetch_jwt_bundles(JwtBundlesRequest {})
            .await
            .expect("open"),
    )
    .await
    .expect("bundles");
    sds::fetch(&world, &["ROOTCA"]).await.expect("roots");
    let claims = serde_json::json!({
        "sub": "spiffe://a.test/other", "aud": ["b"], "exp": signet_testkit::START.as_secs() + 600,
    });
    let token = world.server.domain.token(&claims);
    validate(&mut open.client, "b", &token).await.expect("valid");

    world.server.away.send_replace(false);
    // The longest pause between two attempts, and a tenth.
    world.pass(Duration::from_secs(33));
    let told = loop {
        match ask(&world).await {
            Ok(told) => break told,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
        }
    };
    assert_ne!((&told.x509, &told.wit), (&open.told.x509, &open.told.wit));
    assert_ne!(told.jwt, open.told.jwt);
    // The streams of bundles were open all the time, and had nothing to say until there is news.
    let mut world = world;
    let foreign = world::Domain::new("b.test");
    let mut federated = lasting(1, "/a");
    federated.federates_with = vec![foreign.name.clone()];
    world.publish(vec![federated]).await;
    world.federate(vec![foreign.bundle()]).await;
    assert_eq!(next(&mut open.x509_bundles).await.expect("news").bundles.len(), 2);
    assert_eq!(next(&mut open.jwt_bundles).await.expect("news").bundles.len(), 2);
}

#[tokio::test]
async fn a_server_that_is_back_in_time_renews_everything_on_streams_that_never_ended() {
    let world = World::with(vec![lasting(1, "/a")]).await;
    let mut open = Workload::open(&world).await;
    world.server.away.send_replace(true);
    for passed_s in [166, 84, 44] {
        world.pass(Duration::from_secs(passed_s));
        assert_eq!(ask(&world).await.expect("valid"), open.told);
    }
    world.server.away.send_replace(false);
    // The pauses between attempts are below two seconds yet.
    world.pass(Duration::from_secs(5));
    open.assert_renewed(&world).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_as_one_that_is_away() {
    let world = World::with(vec![lasting(1, "/a")]).await;
    let mut open = Workload::open(&world).await;
    let held = world.server.gate.write().await;
    for passed_s in [166, 84] {
        world.pass(Duration::from_secs(passed_s));
        assert_eq!(ask(&world).await.expect("valid"), open.told);
    }
    drop(held);
    // Should the agent have lost its patience, it tries again by then.
    world.pass(Duration::from_secs(33));
    open.assert_renewed(&world).await;
}
