use crate::agents::Agents;
use crate::peer::{self, NodePeer};
use crate::{AgentsError, x509pop};
use bytes::Bytes;
use core::time::Duration;
use signet_authority::{Profile, X509Request};
use signet_decision::Action;
use signet_feed::{Capabilities, PeerHello, bundle_for, hello_to};
use signet_id::SpiffeId;
use signet_proto::agent::v1::{self, attest_request::Evidence};
use signet_registry::{Mark, NodeIssue, NodeSvid, Step};
use signet_telemetry::RequestId;
use signet_time::UnixTime;
use signet_x509::Csr;
use tonic::Request;
use tracing::{info, warn};

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
    let said = step(message.step.as_ref())?;
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
    // What proved itself by more than its key may have lost its marks, and begins anew.
    let step = match (&message.evidence, said) {
        (Some(Evidence::JoinToken(_) | Evidence::X509pop(_)), Step::Next { to, .. }) => Step::Begin(to),
        _ => said,
    };
    let svid = issue_node(agents, &node.id, node.attested_at, csr, step, request_id).await?;
    Ok(v1::AttestResponse {
        hello: Some(hello_to(&theirs, &agents.software, now)),
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
    let step = step(request.step.as_ref())?;
    let svid = issue_node(agents, &node.id, node.attested_at, csr, step, request_id).await?;
    Ok(v1::RenewResponse { svid: Some(svid) })
}

/// How a request says that it follows on the node's last renewal.
fn step(said: Option<&v1::RenewalStep>) -> Result<Step, AgentsError> {
    let Some(said) = said else { return Ok(Step::Unsaid) };
    let mark = |bytes: &[u8]| Mark::try_from(bytes).map_err(|_| AgentsError::Step);
    let to = mark(&said.to)?;
    let from = (!said.from.is_empty()).then(|| mark(&said.from)).transpose()?;
    if from == Some(to) {
        return Err(AgentsError::Step);
    }
    Ok(Step::Next { from, to })
}

async fn issue_node(
    agents: &Agents,
    id: &SpiffeId,
    attested_at: UnixTime,
    csr: Csr,
    step: Step,
    request_id: &RequestId,
) -> Result<v1::NodeSvid, AgentsError> {
    let now = agents.clock.now();
    let (decision, copies) = agents.registry.read(|state| {
        let copies = state.node(id).map_or(0, |node| node.renewals.copies);
        (state.node_entitlement(id, Action::ISSUE_NODE_SVID), copies)
    });
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
    let issue = NodeIssue {
        attested_at,
        key: &key,
        svid: remembered,
        step,
    };
    let known = agents.registry.record_node_svid(id, issue, now).await?;
    if known.renewals.copies > copies {
        agents.series.copied();
        // Serving on is meant: the one to be turned away may be the other, and a person has to say which.
        warn!(
            %request_id,
            node = %id,
            copies = known.renewals.copies,
            code = "SGAS026",
            "this node's identity was renewed by two agents, its key or its state directory was copied: see docs/nodes.md"
        );
    }
    Ok(v1::NodeSvid {
        spiffe_id: svid.id.to_string(),
        chain: svid.chain.iter().map(|der| Bytes::copy_from_slice(der)).collect(),
        not_after_s: svid.not_after.as_secs(),
        // It is there to know servers by; all the rest comes with the first snapshot.
        bundle: Some(bundle_for(&agents.keys.bundle()?, true, Capabilities::default())),
    })
}
