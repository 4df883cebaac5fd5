//! Nodes that prove themselves by a machine certificate (`x509pop`).
//!
//! The cost of one attempt is bounded before any of it is spent: attempts are counted by where they come from, then
//! sizes, key kinds and usages are looked at, then signatures are verified, at most as many as a chain is long.

mod attempts;
mod template;

pub use template::{NodeTemplate, TemplateError};

use crate::AgentsError;
use crate::agents::Agents;
use attempts::Attempts;
use signet_check::machine::{Binding, Machine, MachineTrust, split};
use signet_crypto::{PublicKey, digest};
use signet_net::RemoteAddr;
use signet_proto::agent::v1;
use signet_registry::Node;
use signet_time::UnixTime;
use std::sync::Arc;
use tonic::Extensions;

/// Whose machines may prove themselves, and what their nodes are called.
pub struct X509Pop {
    trust: MachineTrust,
    template: NodeTemplate,
    attempts: Attempts,
}

impl X509Pop {
    /// Takes the machines of `trust` as nodes that `template` names.
    #[must_use]
    pub fn new(trust: MachineTrust, template: NodeTemplate) -> Self {
        Self {
            trust,
            template,
            attempts: Attempts::default(),
        }
    }

    /// The machine behind `evidence`, which came over the connection of these `extensions`, on which `node_key` was
    /// proved.
    fn prove(
        &self,
        extensions: &Extensions,
        evidence: &v1::X509Pop,
        node_key: &PublicKey,
        now: UnixTime,
    ) -> Result<Machine, AgentsError> {
        let network = extensions.get::<RemoteAddr>().map(RemoteAddr::network);
        let (Some(network), Some(binding)) = (network, extensions.get::<Binding>()) else {
            return Err(AgentsError::Unbound);
        };
        self.attempts
            .take(network, now)
            .map_err(|retry_s| AgentsError::ManyAttempts { retry_s })?;
        let chain = split(&evidence.chain)?;
        Ok(self
            .trust
            .verify(&chain, &evidence.signature, binding, node_key, now)?)
    }
}

/// Makes the machine behind `evidence` a node, with `key` as its key.
pub(crate) async fn attest(
    agents: &Agents,
    extensions: &Extensions,
    evidence: &v1::X509Pop,
    key: &PublicKey,
    now: UnixTime,
) -> Result<Arc<Node>, AgentsError> {
    let x509pop = agents.x509pop.as_deref().ok_or(AgentsError::NoMachines)?;
    let machine = x509pop.prove(extensions, evidence, key, now)?;
    let id = x509pop.template.id(agents.registry.trust_domain(), &machine);
    let why = format!("machine certificate {}", digest::hex(&machine.fingerprint));
    tracing::info!(node = %id, subject = machine.subject, "machine proved itself");
    Ok(agents
        .registry
        .attest_with_certificate(&id, key, &why, now)
        .await?)
}
