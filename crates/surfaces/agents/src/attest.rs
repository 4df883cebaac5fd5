use crate::agents::Agents;
use crate::peer::{self, NodePeer};
use crate::{AgentsError, x509pop};
use bytes::Bytes;
use core::time::Duration;
use signet_authority::{Profile, X509Request};
use signet_decision::Action;
use signet_feed::{Capabilities, PeerHello, bundle_for, hello};
use signet_id::SpiffeId;
use signet_proto::agent::v1::{self, attest_request::Evidence};
use signet_registry::NodeSvid;
use signet_telemetry::RequestId;
use signet_time::UnixTime;
use signet_x509::Csr;
use tonic::Request;
use tracing::info;

/// How long a node's SVID lives. An agent renews at half of it.
const NODE_TTL: Duration = Duration::from_secs(3_600);

/// Proves a node, by a join token, by a machine certificate or as one that is known by its key, and gives it an SVID.
pub(crate) async fn attest(
    agents: &Agents,
    request: &Request<v1::AttestRequest>,
    request_id: &RequestId,
) -> Result<v1::AttestResponse, AgentsError> {
    let key = peer::proof(request.extensions())?.clone();
    let message = request.get_ref();
    let now = agents.clock.now();
    let theirs = PeerHello::read(message.hello.as_ref().ok_or(AgentsError::NoHello)?)?;
    agents.series.skewed(theirs.now, now);
    let csr = Csr::parse(&message.csr)?;
    // What is proved is proved of the key that this very connection proved, so that nobody can bind a token to, or
    // come back with, another's.
    if csr.public_key != key {
        return Err(AgentsError::OtherKey);
    }
    let (node, by) = match &message.evidence {
        Some(Evidence::JoinToken(token)) => (
            agents.registry.attest_with_token(token, &key, now).await?,
            "join token",
        ),
        Some(Evidence::KnownNode(known)) => {
            let id = SpiffeId::parse(&known.spiffe_id).map_err(AgentsError::NodeId)?;
            (agents.registry.attest_with_key(&id, &key)?, "known key")
        }
        Some(Evidence::X509pop(machine)) => (
            x509pop::attest(agents, request.extensions(), machine, &key, now).await?,
            "machine certificate",
        ),
        None => return Err(AgentsError::NoEvidence),
    };
    info!(%request_id, node = %node.id, by, software = theirs.software, "node attested");
    let svid = issue_node(agents, &node.id, node.attested_at, csr, request_id).await?;
    Ok(v1::AttestResponse {
        hello: Some(hello(&agents.software, now)),
        svid: Some(svid),
    })
}

/// Gives a node its next SVID, for the same key or a new one.
pub(crate) async fn renew(
    agents: &Agents,
    node: &NodePeer,
    request: &v1::RenewRequest,
    request_id: &RequestId,
) -> Result<v1::RenewResponse, AgentsError> {
    let csr = Csr::parse(&request.csr)?;
    let svid = issue_node(agents, &node.id, node.attested_at, csr, request_id).await?;
    Ok(v1::RenewResponse { svid: Some(svid) })
}

async fn issue_node(
    agents: &Agents,
    id: &SpiffeId,
    attested_at: UnixTime,
    csr: Csr,
    request_id: &RequestId,
) -> Result<v1::NodeSvid, AgentsError> {
    let now = agents.clock.now();
    let decision = agents
        .registry
        .read(|state| state.node_entitlement(id, Action::ISSUE_NODE_SVID));
    let key = csr.public_key.clone();
    let request = X509Request {
        id: id.clone(),
        dns_names: Vec::new(),
        ttl: NODE_TTL,
        csr,
        context: agents.context(None, request_id),
    };
    let svid = agents
        .authority
        .issue_x509(request, Profile::Node, &decision, now)
        .await?;
    let remembered = NodeSvid {
        serial: svid.serial.hex(),
        not_after: svid.not_after,
    };
    // A ban or an eviction that came meanwhile is found here, and what was issued is dropped.
    agents
        .registry
        .record_node_svid(id, attested_at, &key, remembered, now)
        .await?;
    Ok(v1::NodeSvid {
        spiffe_id: svid.id.to_string(),
        chain: svid.chain.iter().map(|der| Bytes::copy_from_slice(der)).collect(),
        not_after_s: svid.not_after.as_secs(),
        // It is there to know servers by; all the rest comes with the first snapshot.
        bundle: Some(bundle_for(&agents.keys.bundle()?, true, Capabilities::default())),
    })
}
