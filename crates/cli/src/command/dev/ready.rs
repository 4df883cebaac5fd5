//! What `signet dev` prints when it can be used.

use super::setup::{Running, Wish};
use crate::style;
use serde::Serialize;
use signet_id::SpiffeId;
use std::time::Instant;

/// One JSON object; the fields of parts that do not exist yet are null.
#[derive(Serialize)]
pub(super) struct Ready {
    trust_domain: String,
    issuer: String,
    https: Option<String>,
    https_mtls: Option<String>,
    console: Option<String>,
    metrics: Option<String>,
    agents: String,
    api: String,
    workload_api: String,
    local_api: String,
    root_ca: String,
    dir: String,
    pid: u32,
    ready_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    insecure_seal: Option<bool>,
}

impl Ready {
    pub(super) fn of(running: &Running, wish: &Wish<'_>, started: Instant) -> Self {
        let addresses = running.server.addresses();
        Self {
            trust_domain: wish.trust_domain.to_string(),
            issuer: running.server.jwt_issuer().to_owned(),
            https: Some(running.server.public_url().to_owned()),
            https_mtls: None,
            console: None,
            metrics: addresses.metrics.map(|address| format!("http://{address}")),
            agents: addresses.agents.to_string(),
            api: running.api_url.clone(),
            workload_api: running.workload_api.to_string(),
            local_api: running.local_api.to_string(),
            root_ca: running.root_pem.display().to_string(),
            dir: wish.dir.display().to_string(),
            pid: std::process::id(),
            ready_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            insecure_seal: wish.is_kept.then_some(true),
        }
    }

    /// The same for people: what was done, and what to try next.
    pub(super) fn shown(&self, user_id: &SpiffeId, has_demo: bool) -> String {
        let state = match self.insecure_seal {
            Some(_) => format!("{} (its seal's key lies beside it)", self.dir),
            None => format!("in memory; sockets in {}", self.dir),
        };
        let facts = style::facts(&[
            ("your identity", user_id.to_string()),
            ("workload api", self.workload_api.clone()),
            ("local api", self.local_api.clone()),
            ("admin api", self.api.clone()),
            ("https", self.https.clone().unwrap_or_default()),
            ("agents", self.agents.clone()),
            ("metrics", self.metrics.clone().unwrap_or_default()),
            ("roots", self.root_ca.clone()),
            ("state", state),
        ]);
        let demo = if has_demo {
            " Two demo services, frontend and backend, now\ncall each other over mutual TLS with certificates that \
             live 20 s; each renewal is a line below."
        } else {
            ""
        };
        let signet = command_name();
        format!(
            "signet dev is ready in {} ms\n\n{facts}\n\n\
             It made a root and an issuing key for {}, started a server and an agent, let the agent join with a\n\
             one-time string, and entitled every process of yours to an identity.{demo}\n\n\
             Try in a second terminal:\n\n\
             \x20 export SPIFFE_ENDPOINT_SOCKET={} SIGNET_API={}\n\
             \x20 {signet} svid x509\n\
             \x20 {signet} svid jwt --audience example\n\
             \x20 {signet} entry list\n\
             \x20 {signet} why --pid $$\n\n\
             Ctrl-C ends it.\n",
            self.ready_ms, self.trust_domain, self.workload_api, self.api
        )
    }
}

/// The program as the reader can call it: by the path it was started with, where it is not found by name.
fn command_name() -> String {
    match std::env::args().next() {
        Some(name) if name.contains('/') => name,
        _ => "signet".to_owned(),
    }
}
