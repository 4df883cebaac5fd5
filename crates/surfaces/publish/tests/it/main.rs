//! The public documents over real keys, asked as a client asks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod answers;
mod discovery;
mod rotation;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use signet_keys::{Keys, KeysConfig, MemorySeal};
use signet_record::Recorder;
use signet_store::Origin;
use signet_store::memory::{MemoryJournal, MemoryLog};
use signet_surface_publish::{PublicUrl, Publisher, router};
use signet_telemetry::Metrics;
use signet_testkit::START;
use signet_time::UnixTime;
use std::sync::Arc;
use tower::ServiceExt as _;

/// The documents of a trust domain's keys.
struct World {
    keys: Arc<Keys>,
    publisher: Publisher,
    metrics: Metrics,
    router: Router,
}

/// What came back.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// As [`World::new`], with other settings.
    async fn with(change: impl FnOnce(&mut KeysConfig)) -> Self {
        let mut config = KeysConfig::new("dev.test".parse().unwrap());
        change(&mut config);
        let recorder = Recorder::new(Arc::new(MemoryJournal::new()));
        let seal = Arc::new(MemorySeal::random().unwrap());
        let keys = Keys::open(Arc::new(MemoryLog::new()), seal, recorder, config)
            .await
            .unwrap();
        keys.ensure(START).await.unwrap();
        let keys = Arc::new(keys);
        let url = PublicUrl::parse("https://id.example.org").unwrap();
        let publisher = Publisher::new(Arc::clone(&keys), url).unwrap();
        let metrics = Metrics::new(None);
        Self {
            keys,
            router: router(publisher.clone(), &metrics),
            publisher,
            metrics,
        }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Reply {
        let reply = self.ask(Method::GET, path, &[]).await;
        assert_eq!(reply.status, 200, "{path}");
        reply
    }
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn origin(when: UnixTime) -> Origin {
    Origin::new("test", "test", when)
}
