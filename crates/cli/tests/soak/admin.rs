//! The administration API, as somebody calls it who goes on when the server is away.

use super::{PAUSE, WITHIN};
use bytes::Bytes;
use http::{Method, StatusCode};
use signet_api::{EntryDoc, HealthView, LIST_LIMIT_MAX, Page};
use signet_net::NetError;
use signet_net::client::{Client, Endpoint, Reply};
use std::path::PathBuf;
use std::time::Instant;

/// The server behind one socket.
#[derive(Clone)]
pub(super) struct Admin(Client);

impl Admin {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self(Client::new(Endpoint::Unix(socket)))
    }

    async fn send(&self, method: Method, path: &str, media: &str, body: Vec<u8>) -> Result<Reply, NetError> {
        let header = [("content-type", media)];
        let headers = if body.is_empty() { &[] } else { header.as_slice() };
        self.0.send(method, path, headers, Bytes::from(body)).await
    }

    /// The answer to a request that may be made again where the first got none.
    async fn insist(&self, method: Method, path: &str, body: Vec<u8>) -> Reply {
        let since = Instant::now();
        loop {
            match self
                .send(method.clone(), path, "application/json", body.clone())
                .await
            {
                // One that stops says so.
                Ok(reply) if reply.status != StatusCode::SERVICE_UNAVAILABLE => return reply,
                Ok(_) | Err(_) => {}
            }
            assert!(since.elapsed() < WITHIN, "no answer to {method} {path}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Creates an entry, and answers when it is certain that it is there exactly once.
    pub(super) async fn create(&self, doc: &EntryDoc) -> EntryDoc {
        let since = Instant::now();
        let body = serde_json::to_vec(doc).unwrap();
        loop {
            let sent = self.send(Method::POST, "/api/v1/entries", "application/json", body.clone());
            match sent.await {
                Ok(reply) if reply.status == StatusCode::CREATED => {
                    return serde_json::from_slice(&reply.body).unwrap();
                }
                Ok(reply) if reply.status != StatusCode::SERVICE_UNAVAILABLE => panic!("{}", told(&reply)),
                // It may have been created all the same.
                Ok(_) | Err(_) => {
                    if let Some(made) = self.find(doc).await {
                        return made;
                    }
                }
            }
            assert!(since.elapsed() < WITHIN, "{} cannot be created", doc.spiffe_id);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn find(&self, doc: &EntryDoc) -> Option<EntryDoc> {
        let id = doc.spiffe_id.to_string().replace(':', "%3A").replace('/', "%2F");
        let reply = self
            .insist(
                Method::GET,
                &format!("/api/v1/entries?spiffe_id={id}"),
                Vec::new(),
            )
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{}", told(&reply));
        let page: Page<EntryDoc> = serde_json::from_slice(&reply.body).unwrap();
        assert!(page.items.len() < 2, "created twice: {:?}", page.items);
        page.items.into_iter().next()
    }

    /// Creates many at once, on a server that is there.
    pub(super) async fn create_many(&self, docs: &[EntryDoc]) -> Vec<EntryDoc> {
        let lines: String = docs
            .iter()
            .map(|doc| serde_json::to_string(doc).unwrap() + "\n")
            .collect();
        let sent = self.send(
            Method::POST,
            "/api/v1/entries/batch",
            "application/x-ndjson",
            lines.into_bytes(),
        );
        let reply = sent.await.unwrap();
        assert!(reply.status.is_success(), "{}", told(&reply));
        let made: signet_api::EntriesCreated = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(made.created.len(), docs.len());
        made.created
    }

    pub(super) async fn update(&self, doc: &EntryDoc) {
        let reply = self
            .insist(Method::PUT, &path_of(doc), serde_json::to_vec(doc).unwrap())
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{}", told(&reply));
    }

    pub(super) async fn delete(&self, doc: &EntryDoc) {
        let reply = self.insist(Method::DELETE, &path_of(doc), Vec::new()).await;
        // Gone already, where the first answer was lost.
        let is_gone = reply.status.is_success() || reply.status == StatusCode::NOT_FOUND;
        assert!(is_gone, "{}", told(&reply));
    }

    /// How many entries there are.
    pub(super) async fn count(&self) -> usize {
        let (mut count, mut cursor) = (0, String::new());
        loop {
            let path = format!("/api/v1/entries?limit={LIST_LIMIT_MAX}{cursor}");
            let reply = self.insist(Method::GET, &path, Vec::new()).await;
            let page: Page<EntryDoc> = serde_json::from_slice(&reply.body).unwrap();
            count += page.items.len();
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return count,
            }
        }
    }

    pub(super) async fn is_ready(&self) -> bool {
        let health = self.send(Method::GET, "/api/v1/health", "", Vec::new()).await;
        let health = health
            .ok()
            .and_then(|reply| serde_json::from_slice::<HealthView>(&reply.body).ok());
        health.is_some_and(|health| health.status == "ready")
    }
}

fn path_of(doc: &EntryDoc) -> String {
    format!("/api/v1/entries/{}", doc.id.as_deref().unwrap())
}

fn told(reply: &Reply) -> String {
    format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body))
}
