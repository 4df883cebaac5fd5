//! The administration API, as somebody calls it who keeps book of the answers.

use bytes::Bytes;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use signet_api::{BundleView, CaView, EntryDoc, HealthView, LIST_LIMIT_MAX, NodeView, Page};
use signet_net::NetError;
use signet_net::client::{Client, Endpoint};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The server behind one socket.
#[derive(Clone)]
pub(super) struct Admin(Client);

impl Admin {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self(Client::new(Endpoint::Unix(socket)))
    }

    /// The answer's body. A refusal is no answer that anybody here expects.
    ///
    /// # Errors
    /// No answer came.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        media: &str,
        body: Vec<u8>,
    ) -> Result<Bytes, NetError> {
        let header = [("content-type", media)];
        let headers = if body.is_empty() { &[] } else { header.as_slice() };
        let reply = self.0.send(method.clone(), path, headers, body.into()).await?;
        assert!(
            reply.status.is_success(),
            "{method} {path}: {} {}",
            reply.status,
            String::from_utf8_lossy(&reply.body)
        );
        Ok(reply.body)
    }

    pub(super) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, NetError> {
        let body = serde_json::to_vec(body).unwrap();
        let reply = self.send(method, path, "application/json", body).await?;
        Ok(serde_json::from_slice(&reply).unwrap())
    }

    pub(super) async fn create(&self, doc: &EntryDoc) -> Result<EntryDoc, NetError> {
        self.change(Method::POST, "/api/v1/entries", doc).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), NetError> {
        self.send(Method::DELETE, path, "", Vec::new()).await.map(drop)
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, NetError> {
        let reply = self.send(Method::GET, path, "", Vec::new()).await?;
        Ok(serde_json::from_slice(&reply).unwrap())
    }

    async fn pages<T: DeserializeOwned>(&self, path: &str) -> Vec<T> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page: Page<T> = self
                .get(&format!("{path}?limit={LIST_LIMIT_MAX}{cursor}"))
                .await
                .unwrap();
            items.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={}", escaped(&next)),
                None => return items,
            }
        }
    }

    /// Every entry, by the identity that it gives.
    pub(super) async fn entries(&self) -> BTreeMap<String, EntryDoc> {
        let all: Vec<EntryDoc> = self.pages("/api/v1/entries").await;
        let count = all.len();
        let by_id: BTreeMap<_, _> = all.into_iter().map(|e| (e.spiffe_id.to_string(), e)).collect();
        assert_eq!(by_id.len(), count, "two entries for one identity");
        by_id
    }

    pub(super) async fn nodes(&self) -> Vec<NodeView> {
        self.pages("/api/v1/nodes").await
    }

    /// How the server is; nothing, while it does not answer.
    pub(super) async fn status(&self) -> Option<String> {
        let health: Result<HealthView, _> = self.get("/api/v1/health").await;
        health.ok().map(|health| health.status)
    }

    pub(super) async fn keys(&self) -> KeysSeen {
        KeysSeen {
            ca: self.get("/api/v1/ca").await.unwrap(),
            bundle: self.get("/api/v1/bundle").await.unwrap(),
        }
    }
}

/// The keys as administrators see them.
#[derive(Clone, Debug)]
pub(super) struct KeysSeen {
    ca: CaView,
    pub(super) bundle: BundleView,
}

impl KeysSeen {
    /// Asserts that all of `earlier` is there, unchanged.
    pub(super) fn continue_from(&self, earlier: &Self) {
        for key in &earlier.ca.keys {
            assert!(
                self.ca.keys.contains(key),
                "{key:?} is not among {:?}",
                self.ca.keys
            );
        }
        let roots = |seen: &Self| signet_x509::pem::parse_certs(seen.bundle.x509_pem.as_bytes()).unwrap();
        let now = roots(self);
        assert!(roots(earlier).iter().all(|root| now.contains(root)));
        super::public::keys_continue(&earlier.bundle.jwks, &self.bundle.jwks);
        super::public::keys_continue(&earlier.bundle.spiffe, &self.bundle.spiffe);
        assert!(self.bundle.sequence >= earlier.bundle.sequence);
    }
}

/// `text` as one segment of a path or one value of a query.
pub(super) fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
