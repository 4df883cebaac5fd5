//! The administration API as the commands call it.

use crate::Outcome;
use crate::args::Global;
use crate::error::CliError;
use crate::failure::Failure;
use bytes::Bytes;
use core::time::Duration;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use signet_api::{
    ApplyRequest, BanRequest, EntriesApplied, EntryDoc, EntryPlanView, JoinTokenReply, JoinTokenRequest,
    LIST_LIMIT_MAX, MintJwtReply, MintJwtRequest, MintWitReply, MintWitRequest, MintX509Reply,
    MintX509Request, NodeView, OrphansView, Page, Problem, ServerView,
};
use signet_net::NetError;
use signet_net::client::{Client, Endpoint, Reply};

/// What one document, and what one document a line, is sent as.
const JSON: &str = "application/json";
const JSON_LINES: &str = "application/x-ndjson";

/// How long a backup may take, and how long it may be.
const BACKUP_TIMEOUT: Duration = Duration::from_secs(600);
pub(crate) const BACKUP_BYTES_MAX: usize = 4 << 30;

/// A client of one server.
pub(crate) struct Api {
    client: Client,
}

impl Api {
    /// The server that `--api` or `SIGNET_API` names.
    pub(crate) fn new(global: &Global) -> Outcome<Self> {
        Self::at(&global.api)
    }

    /// The server at `url`.
    pub(crate) fn at(url: &str) -> Outcome<Self> {
        let endpoint = Endpoint::parse(url).map_err(|e| Failure::from(e).usage())?;
        if matches!(endpoint, Endpoint::Https { .. }) {
            let what = format!("the administration API over https (`{endpoint}`)");
            let next = "run the command on the server's machine with --api unix:///run/signet/api.sock";
            return Err(Failure::from(CliError::Absent { what }).next(next));
        }
        Ok(Self {
            client: Client::new(endpoint),
        })
    }

    pub(crate) async fn create_entry(&self, doc: &EntryDoc) -> Outcome<EntryDoc> {
        self.call(Method::POST, "/api/v1/entries", Some(doc)).await
    }

    /// Creates all entries of `lines`, one JSON document a line, or none of them. The server judges them, so that it
    /// tells what is wrong with their form and with their content at once.
    pub(crate) async fn create_entries(&self, lines: Vec<u8>) -> Outcome<Vec<EntryDoc>> {
        let reply = self
            .send_as(JSON_LINES, Method::POST, "/api/v1/entries/batch", lines.into())
            .await?;
        let made: signet_api::EntriesCreated =
            serde_json::from_slice(&reply.body).map_err(|e| self.not_understood(&e))?;
        Ok(made.created)
    }

    /// What would have to change for the entries to be those of `lines`, one JSON document a line.
    pub(crate) async fn plan_entries(&self, lines: Vec<u8>, prune: bool) -> Result<EntryPlanView, Refused> {
        let path = format!("/api/v1/entries/plan?prune={prune}");
        let reply = self
            .try_send(JSON_LINES, Method::POST, &path, lines.into())
            .await?;
        serde_json::from_slice(&reply.body).map_err(|e| Refused::Failure(self.not_understood(&e).into()))
    }

    /// Makes all changes of `wish` or none of them.
    pub(crate) async fn apply_entries(&self, wish: &ApplyRequest) -> Outcome<EntriesApplied> {
        self.call(Method::POST, "/api/v1/entries/apply", Some(wish)).await
    }

    pub(crate) async fn entry(&self, id: &str) -> Outcome<EntryDoc> {
        self.get(&format!("/api/v1/entries/{}", escaped(id))).await
    }

    /// All entries that match `query`, page after page.
    pub(crate) async fn entries(&self, query: &[(&str, &str)]) -> Outcome<Vec<EntryDoc>> {
        self.pages("/api/v1/entries", query).await
    }

    /// All entries that nobody needs after `days` without use, page after page, and since when uses are watched.
    pub(crate) async fn orphaned_entries(&self, query: &[(&str, &str)]) -> Outcome<OrphansView> {
        let mut all: Option<OrphansView> = None;
        loop {
            let before = all.as_ref().and_then(|view| view.next_cursor.clone());
            let mut url = listing("/api/v1/entries/orphaned", query);
            if let Some(cursor) = &before {
                url.push_str(&format!("&cursor={}", escaped(cursor)));
            }
            let page: OrphansView = self.get(&url).await?;
            let mut items = all.map(|view| view.items).unwrap_or_default();
            items.extend(page.items);
            let view = OrphansView { items, ..page };
            // A server that repeats a cursor would keep us for ever.
            if view.next_cursor.is_none() || view.next_cursor == before {
                return Ok(view);
            }
            all = Some(view);
        }
    }

    pub(crate) async fn update_entry(&self, id: &str, doc: &EntryDoc) -> Outcome<EntryDoc> {
        let path = format!("/api/v1/entries/{}", escaped(id));
        self.call(Method::PUT, &path, Some(doc)).await
    }

    pub(crate) async fn delete_entry(&self, id: &str) -> Outcome {
        self.send(
            Method::DELETE,
            &format!("/api/v1/entries/{}", escaped(id)),
            Bytes::new(),
        )
        .await
        .map(drop)
    }

    pub(crate) async fn server(&self) -> Outcome<ServerView> {
        self.get("/api/v1/server").await
    }

    pub(crate) async fn nodes(&self) -> Outcome<Vec<NodeView>> {
        self.pages("/api/v1/nodes", &[]).await
    }

    pub(crate) async fn node(&self, id: &str) -> Outcome<NodeView> {
        self.get(&format!("/api/v1/nodes/{}", escaped(id))).await
    }

    pub(crate) async fn ban_node(&self, id: &str, wish: Option<&BanRequest>) -> Outcome {
        let path = format!("/api/v1/nodes/{}/ban", escaped(id));
        self.call::<_, NodeView>(Method::POST, &path, wish)
            .await
            .map(drop)
    }

    pub(crate) async fn evict_node(&self, id: &str) -> Outcome {
        self.send(
            Method::DELETE,
            &format!("/api/v1/nodes/{}", escaped(id)),
            Bytes::new(),
        )
        .await
        .map(drop)
    }

    pub(crate) async fn create_join_token(&self, wish: &JoinTokenRequest) -> Outcome<JoinTokenReply> {
        self.call(Method::POST, "/api/v1/join-tokens", Some(wish)).await
    }

    pub(crate) async fn mint_x509(&self, wish: &MintX509Request) -> Outcome<MintX509Reply> {
        self.call(Method::POST, "/api/v1/mint/x509", Some(wish)).await
    }

    pub(crate) async fn mint_jwt(&self, wish: &MintJwtRequest) -> Outcome<MintJwtReply> {
        self.call(Method::POST, "/api/v1/mint/jwt", Some(wish)).await
    }

    pub(crate) async fn mint_wit(&self, wish: &MintWitRequest) -> Outcome<MintWitReply> {
        self.call(Method::POST, "/api/v1/mint/wit", Some(wish)).await
    }

    /// A backup of the server, as it is to be kept.
    pub(crate) async fn backup(&self) -> Outcome<Bytes> {
        let patient = Self {
            client: self
                .client
                .clone()
                .with_timeout(BACKUP_TIMEOUT)
                .with_answer_bytes_max(BACKUP_BYTES_MAX),
        };
        let reply = patient.send(Method::POST, "/api/v1/backup", Bytes::new()).await?;
        Ok(reply.body)
    }

    async fn pages<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Outcome<Vec<T>> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut url = listing(path, query);
            if let Some(cursor) = &cursor {
                url.push_str(&format!("&cursor={}", escaped(cursor)));
            }
            let page: Page<T> = self.get(&url).await?;
            items.extend(page.items);
            // A server that repeats a cursor would keep us for ever.
            if page.next_cursor.is_none() || page.next_cursor == cursor {
                return Ok(items);
            }
            cursor = page.next_cursor;
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        self.call::<(), T>(Method::GET, path, None).await
    }

    async fn call<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Outcome<T> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|e| self.not_understood(&e))?,
            None => Vec::new(),
        };
        let reply = self.send(method, path, body.into()).await?;
        Ok(serde_json::from_slice(&reply.body).map_err(|e| self.not_understood(&e))?)
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Outcome<Reply> {
        self.send_as(JSON, method, path, body).await
    }

    async fn send_as(&self, media: &str, method: Method, path: &str, body: Bytes) -> Outcome<Reply> {
        Ok(self.try_send(media, method, path, body).await?)
    }

    async fn try_send(&self, media: &str, method: Method, path: &str, body: Bytes) -> Result<Reply, Refused> {
        let header = [("content-type", media)];
        let headers = if body.is_empty() { &[] } else { header.as_slice() };
        let reply = self
            .client
            .send(method, path, headers, body)
            .await
            .map_err(|error| Refused::Failure(explain(error)))?;
        if reply.status.is_success() {
            return Ok(reply);
        }
        match serde_json::from_slice::<Problem>(&reply.body) {
            Ok(problem) => Err(Refused::Problem(Box::new(problem))),
            Err(_) => {
                let status = format_args!("status {}", reply.status);
                Err(Refused::Failure(self.not_understood(&status).into()))
            }
        }
    }

    fn not_understood(&self, why: &dyn core::fmt::Display) -> CliError {
        CliError::Answer {
            server: self.client.endpoint().to_string(),
            why: why.to_string(),
        }
    }
}

/// The socket that `url` names, if it names one.
pub(crate) fn socket(url: &str) -> Option<std::path::PathBuf> {
    match Endpoint::parse(url) {
        Ok(Endpoint::Unix(path)) => Some(path),
        _ => None,
    }
}

/// Why a request was not done.
pub(crate) enum Refused {
    /// The server says why.
    Problem(Box<Problem>),
    /// It did not come to an answer, or to none that is understood.
    Failure(Failure),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Problem(problem) => refusal(*problem),
            Refused::Failure(failure) => failure,
        }
    }
}

/// Why the server could not be reached, with what to do about it from here.
fn explain(error: NetError) -> Failure {
    let next = match &error {
        NetError::Absent { .. } => Some(
            "start one with `signet dev` or `signet server run --config FILE`, or name its address with --api or \
             SIGNET_API",
        ),
        NetError::Forbidden { .. } => Some(
            "run the command as root, as the server's user or as a member of the group that `listen.api_group` names",
        ),
        _ => None,
    };
    let failure = Failure::from(error);
    match next {
        Some(next) => failure.next(next),
        None => failure,
    }
}

/// What the server said, told as our own failure.
fn refusal(problem: Problem) -> Failure {
    let mut items: Vec<String> = problem.errors.iter().map(|item| item.fault.to_string()).collect();
    // A fault that is alone is the detail already.
    if let [only] = problem.errors.as_slice()
        && problem.detail.contains(&only.fault.message)
    {
        items.clear();
    }
    Failure {
        code: problem.code,
        what: problem.detail,
        items,
        next: problem.remedy,
        is_usage: false,
    }
}

/// Where the first page of a list is.
fn listing(path: &str, query: &[(&str, &str)]) -> String {
    let mut url = format!("{path}?limit={LIST_LIMIT_MAX}");
    for (name, value) in query {
        url.push_str(&format!("&{name}={}", escaped(value)));
    }
    url
}

/// `text` as one segment of a path or one value of a query.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_into_a_url_is_escaped() {
        assert_eq!(escaped("spiffe://a/b c?"), "spiffe%3A%2F%2Fa%2Fb%20c%3F");
        assert_eq!(escaped("ä-1~"), "%C3%A4-1~");
    }

    #[test]
    fn a_fault_that_is_alone_is_said_once() {
        let fault = |field: &str| signet_api::EntryFault {
            line: 0,
            column: None,
            field: Some(field.into()),
            same_as: None,
            message: "30h is outside 5s to 6h".into(),
        };
        let item = |fault| signet_api::ProblemItem { code: None, fault };
        let detail = fault("x509_ttl").to_string();
        let mut problem = Problem::new(422, "SGAD011", "not valid", detail.clone());
        problem.errors = vec![item(fault("x509_ttl"))];
        let alone = refusal(problem.clone());
        assert_eq!((alone.what.as_str(), alone.items.len()), (detail.as_str(), 0));
        problem.detail = "2 faults in the entry".into();
        problem.errors.push(item(fault("jwt_ttl")));
        assert_eq!(refusal(problem.clone()).items.len(), 2);
        problem.errors.truncate(1);
        assert_eq!(
            refusal(problem).items,
            [detail],
            "a detail that does not say it is no reason to keep it back"
        );
    }

    #[test]
    fn an_address_that_cannot_be_used_says_what_to_do() {
        assert_eq!(Api::at("/run/api.sock").err().unwrap().code, "SGNE011");
        let https = Api::at("https://a:8444").err().unwrap();
        assert_eq!(https.code, "SGCL004");
        assert!(https.next.contains("--api unix:///"));
    }
}
