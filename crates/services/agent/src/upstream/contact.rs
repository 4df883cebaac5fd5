//! Contact without an SVID: a node that has none yet and joins, or one whose SVID opens no door any more. The server
//! is known by its root's hash, the node by a key that it proves, and by what it brings.

use super::files::StateDir;
use super::line::Line;
use super::machine::{Machine, Shown};
use super::node::{self, Known, Node, Tainted};
use super::{SOFTWARE, denied};
use crate::AgentError;
use signet_api::JoinString;
use signet_crypto::LocalKey;
use signet_feed::{PeerHello, bundle_from_proto, hello};
use signet_id::TrustDomain;
use signet_net::NetError;
use signet_net::client::channel;
use signet_proto::agent::v1::agent_client::AgentClient;
use signet_proto::agent::v1::attest_request::Evidence;
use signet_proto::agent::v1::{AttestRequest, AttestResponse, KnownNode, NodeSvid, RenewalStep};
use signet_time::SharedClock;
use signet_tls::{ClientTls, LiveIdentity, channel_binding};
use std::sync::Arc;
use tracing::info;

/// Who comes, and whom it expects.
pub(super) struct Visit<'a> {
    key: Arc<LocalKey>,
    proof: Proof,
    trust_domain: &'a TrustDomain,
    /// SHA-256 of the roots that the server may have: none that was ever tainted, wherever it is named.
    roots: Vec<[u8; 32]>,
    /// Those that were.
    tainted: Tainted,
    /// What is done, for the log.
    deed: &'static str,
}

impl<'a> Visit<'a> {
    /// A node that joins.
    ///
    /// # Errors
    /// What keeps a key from being made or kept, a join string with a token that is not text.
    pub(super) fn join(join: &'a JoinString, state: Option<&StateDir>) -> Result<Self, AgentError> {
        let token = core::str::from_utf8(join.token.expose())
            .map_err(|_| AgentError::Server("the join string's token is not text".to_owned()))?;
        let tainted = Tainted::kept(state);
        Ok(Self {
            key: Arc::new(node::key(state)?),
            proof: Proof::Said(Evidence::JoinToken(token.to_owned())),
            trust_domain: &join.trust_domain,
            roots: untainted(&join.root_hashes, &tainted),
            tainted,
            deed: "joined",
        })
    }

    /// A machine that joins by its certificate.
    ///
    /// # Errors
    /// What keeps a key from being made or kept, or the machine's certificate and key from being read.
    pub(super) fn machine(machine: &'a Machine, state: Option<&StateDir>) -> Result<Self, AgentError> {
        let tainted = Tainted::kept(state);
        Ok(Self {
            proof: Proof::Machine(machine.read()?),
            key: Arc::new(node::key(state)?),
            trust_domain: &machine.trust_domain,
            roots: untainted(&machine.roots, &tainted),
            tainted,
            deed: "joined by a machine certificate",
        })
    }

    /// A node that its server knows. Servers may have the roots of `anchor`, too.
    pub(super) fn comeback(known: &'a Known, mut anchor: Vec<[u8; 32]>) -> Self {
        anchor.extend(&known.roots);
        Self {
            key: Arc::clone(&known.key),
            proof: Proof::Said(Evidence::KnownNode(KnownNode {
                spiffe_id: known.id.to_string(),
            })),
            trust_domain: known.id.trust_domain(),
            roots: untainted(&anchor, &known.tainted),
            tainted: known.tainted.clone(),
            deed: "came back by its key",
        }
    }
}

#[cfg(test)]
impl Visit<'_> {
    pub(super) fn roots(&self) -> &[[u8; 32]] {
        &self.roots
    }
}

fn untainted(roots: &[[u8; 32]], tainted: &Tainted) -> Vec<[u8; 32]> {
    roots
        .iter()
        .filter(|root| tainted.spares(root))
        .copied()
        .collect()
}

/// How a node proves what it is.
enum Proof {
    /// By words, the same on every connection.
    Said(Evidence),
    /// By a signature that is made for one connection.
    Machine(Shown),
}

/// Why a server gave no answer.
enum Silence {
    Status(tonic::Status),
    Net(NetError),
    Own(AgentError),
}

impl Silence {
    /// The refusal that it is; `None` where trying again may help.
    fn denied(self) -> Result<AgentError, String> {
        match self {
            Self::Status(status) => denied(&status).ok_or_else(|| super::told(&status)),
            Self::Net(cause) => super::stranger(&cause).ok_or_else(|| super::told_net(&cause)),
            Self::Own(error) => Ok(error),
        }
    }
}

/// Asks `server` to take the node whose request is `csr`.
async fn ask(
    visit: &Visit<'_>,
    server: &str,
    tls: &ClientTls,
    csr: Vec<u8>,
    step: RenewalStep,
    clock: &SharedClock,
) -> Result<AttestResponse, Silence> {
    let (channel, evidence) = match &visit.proof {
        Proof::Said(evidence) => (channel::tls(server.to_owned(), tls.config()), evidence.clone()),
        Proof::Machine(machine) => {
            let (channel, binding) = channel::tls_once(server, tls.config(), |c| channel_binding(c))
                .await
                .map_err(Silence::Net)?;
            let binding = binding.map_err(|e| Silence::Own(AgentError::Server(signet_fault::chain(&e))))?;
            let evidence = machine
                .evidence(&binding, visit.key.public_key())
                .map_err(Silence::Own)?;
            (channel, Evidence::X509pop(evidence))
        }
    };
    let request = AttestRequest {
        hello: Some(hello(SOFTWARE, clock.now())),
        evidence: Some(evidence),
        csr: csr.into(),
        step: Some(step),
    };
    let answer = AgentClient::new(channel).attest(request).await;
    answer.map(tonic::Response::into_inner).map_err(Silence::Status)
}

/// Attests at the first of `servers` that answers.
///
/// # Errors
/// [`AgentError::JoinRefused`], [`AgentError::NodeRefused`] or [`AgentError::Server`] where trying again is of no use,
/// [`AgentError::Issue`] (`Away`) where nobody answered.
pub(super) async fn attest(
    visit: &Visit<'_>,
    servers: &[String],
    state: Option<&StateDir>,
    line: &Line,
    clock: &SharedClock,
) -> Result<Node, AgentError> {
    let key = &visit.key;
    let csr = signet_x509::make_csr(key, None, &[]).map_err(AgentError::Certificate)?;
    let step = line.step()?;
    let (mut refused, mut away) = (None, None);
    for server in servers {
        let own = signet_x509::self_signed_node(key, clock.now()).map_err(AgentError::Certificate)?;
        let tls = LiveIdentity::new(vec![own], key).and_then(|shown| {
            let (roots, trust_domain) = (visit.roots.clone(), visit.trust_domain.clone());
            ClientTls::pinned_join(Arc::new(shown), roots, trust_domain, Arc::clone(clock))
        });
        let tls = tls.map_err(|e| AgentError::Server(signet_fault::chain(&e)))?;
        let asked = ask(visit, server, &tls, csr.clone(), step.clone(), clock);
        let response = match tokio::time::timeout(super::CALL_TIMEOUT, asked).await {
            Ok(Ok(response)) => response,
            Ok(Err(silence)) => {
                match silence.denied() {
                    // Another server may know better: this one may be a stranger, or behind.
                    Ok(error) => {
                        info!(%server, %error, "refused at this server");
                        // What a server says that proved itself counts for more than who did not.
                        let is_proven = !matches!(error, AgentError::Server(_));
                        if refused.is_none() || is_proven {
                            refused = Some(error);
                        }
                    }
                    Err(why) => {
                        info!(%server, error = why, "cannot attest at this server");
                        away = Some(why);
                    }
                }
                continue;
            }
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
        check_pinned(&visit.roots, &svid)?;
        let node = Node::issued(
            Arc::clone(key),
            svid,
            visit.trust_domain,
            servers.to_vec(),
            state.cloned(),
            visit.tainted.clone(),
            clock.now(),
        )?;
        line.answered(&step);
        info!(node = %node.id, %server, "{}", visit.deed);
        return Ok(node);
    }
    if let Some(error) = refused {
        return Err(error);
    }
    Err(crate::IssueError::Away(away.unwrap_or_else(|| "there is no server to call".to_owned())).into())
}

/// The bundle that will be relied on from now on holds a root by which the server was known.
fn check_pinned(roots: &[[u8; 32]], svid: &NodeSvid) -> Result<(), AgentError> {
    let bundle = svid.bundle.as_ref().map(bundle_from_proto);
    let pinned = |certificate: &[u8]| roots.contains(&signet_crypto::digest::sha256(certificate));
    match bundle {
        Some(Ok(bundle)) if bundle.x509().iter().any(|a| pinned(&a.certificate)) => Ok(()),
        Some(Err(error)) => Err(AgentError::Server(error.to_string())),
        _ => Err(AgentError::Server(
            "a bundle without any root by which it was known".to_owned(),
        )),
    }
}
