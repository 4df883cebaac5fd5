//! The first contact: a node without identity, a join string, a server known by its root's hash.

use super::files::StateDir;
use super::node::{self, Node};
use super::{SOFTWARE, denied};
use crate::AgentError;
use signet_api::JoinString;
use signet_feed::{PeerHello, bundle_from_proto, hello};
use signet_net::client::channel;
use signet_proto::agent::v1::agent_client::AgentClient;
use signet_proto::agent::v1::attest_request::Evidence;
use signet_proto::agent::v1::{AttestRequest, NodeSvid};
use signet_time::SharedClock;
use signet_tls::{ClientTls, LiveIdentity};
use std::sync::Arc;
use tracing::info;

/// Joins with `join` at the first of `servers` that answers.
///
/// # Errors
/// [`AgentError::JoinRefused`], [`AgentError::NodeRefused`] or [`AgentError::Server`] where trying again is of no use,
/// [`AgentError::Issue`] (`Away`) where nobody answered.
pub(super) async fn attest(
    join: &JoinString,
    servers: &[String],
    state: Option<&StateDir>,
    clock: &SharedClock,
) -> Result<Node, AgentError> {
    let key = node::key(state)?;
    let csr = signet_x509::make_csr(&key, None, &[]).map_err(AgentError::Certificate)?;
    let token = core::str::from_utf8(join.token.expose())
        .map_err(|_| AgentError::Server("the join string's token is not text".to_owned()))?;
    let mut away = None;
    for server in servers {
        let own = signet_x509::self_signed_node(&key, clock.now()).map_err(AgentError::Certificate)?;
        let tls = LiveIdentity::new(vec![own], &key).and_then(|shown| {
            let roots = join.root_hashes.clone();
            ClientTls::pinned_join(
                Arc::new(shown),
                roots,
                join.trust_domain.clone(),
                Arc::clone(clock),
            )
        });
        let tls = tls.map_err(|e| AgentError::Server(signet_fault::chain(&e)))?;
        let request = AttestRequest {
            hello: Some(hello(SOFTWARE, clock.now())),
            evidence: Some(Evidence::JoinToken(token.to_owned())),
            csr: csr.clone().into(),
        };
        let mut client = AgentClient::new(channel::tls(server.clone(), tls.config()));
        let response = match tokio::time::timeout(super::CALL_TIMEOUT, client.attest(request)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => match denied(&status) {
                Some(error) => return Err(error),
                None => {
                    info!(%server, error = %super::told(&status), "cannot join at this server");
                    away = Some(super::told(&status));
                    continue;
                }
            },
            Err(_) => {
                away = Some(format!("{server} does not answer"));
                continue;
            }
        };
        let peer = response.hello.as_ref().map(PeerHello::read);
        peer.ok_or_else(|| AgentError::Server("it did not say hello".to_owned()))?
            .map_err(|e| AgentError::Server(e.to_string()))?;
        let svid = response
            .svid
            .ok_or_else(|| AgentError::Server("it sent no identity".to_owned()))?;
        check_pinned(join, &svid)?;
        let node = Node::issued(
            key,
            svid,
            &join.trust_domain,
            servers.to_vec(),
            state.cloned(),
            clock.now(),
        )?;
        info!(node = %node.id, %server, "joined");
        return Ok(node);
    }
    Err(crate::IssueError::Away(away.unwrap_or_else(|| "there is no server to call".to_owned())).into())
}

/// The bundle that will be relied on from now on holds a root that the join string named.
fn check_pinned(join: &JoinString, svid: &NodeSvid) -> Result<(), AgentError> {
    let bundle = svid.bundle.as_ref().map(bundle_from_proto);
    let pinned = |certificate: &[u8]| {
        join.root_hashes
            .contains(&signet_crypto::digest::sha256(certificate))
    };
    match bundle {
        Some(Ok(bundle)) if bundle.x509().iter().any(|a| pinned(&a.certificate)) => Ok(()),
        Some(Err(error)) => Err(AgentError::Server(error.to_string())),
        _ => Err(AgentError::Server(
            "a bundle without any root of the join string".to_owned(),
        )),
    }
}
