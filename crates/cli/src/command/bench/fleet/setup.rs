//! What a server has to know before a fleet can come.

use super::super::made::{AT_ONCE, Made, nobody, spiffe_id};
use super::super::run::Progress;
use super::node::fraction;
use crate::Outcome;
use crate::error::CliError;
use core::time::Duration;
use signet_api::{EntryDoc, JoinString, JoinTokenRequest};
use signet_id::SpiffeId;
use signet_time::UnixTime;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How large the fleet is.
pub(super) struct Plan {
    pub(super) agents: u32,
    pub(super) workloads: u32,
    pub(super) svid_ttl: Duration,
    /// For how long join tokens work.
    pub(super) tokens_for: Duration,
    /// When entries expire, should nobody come to delete them.
    pub(super) ends_at: UnixTime,
}

impl Plan {
    /// The name of an agent's node.
    pub(super) fn node_id(&self, below: &SpiffeId, agent: u32) -> Outcome<SpiffeId> {
        spiffe_id(&format!("{below}/node/{agent}"))
    }

    /// One of them, by lot.
    pub(super) fn any_agent(&self) -> u32 {
        let agent = (f64::from(self.agents) * fraction()) as u32;
        agent.min(self.agents - 1)
    }

    fn workload(&self, below: &SpiffeId, number: u32) -> Outcome<EntryDoc> {
        let mut entry = nobody(below, &format!("workload/{number}"))?;
        entry.parent_id = Some(self.node_id(below, number % self.agents)?);
        entry.x509_ttl = Some(self.svid_ttl);
        entry.expires_at = Some(self.ends_at);
        Ok(entry)
    }

    /// Creates an entry for each workload, dealt out evenly.
    pub(super) async fn entitle(&self, made: &mut Made, stop: &CancellationToken) -> Outcome {
        let count = Arc::new(AtomicU64::new(0));
        let (all, shown) = (self.workloads, Arc::clone(&count));
        let _progress =
            Progress::show(move || format!("{} of {all} entries created", shown.load(Ordering::Relaxed)));
        let below = made.below().clone();
        let mut created = 0;
        while created < all && !stop.is_cancelled() {
            let until = (created + BATCH).min(all);
            let entries = (created..until).map(|number| self.workload(&below, number));
            made.create_all(entries.collect::<Outcome<Vec<_>>>()?).await?;
            created = until;
            count.store(created.into(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Makes a join string for each agent.
    pub(super) async fn invite(&self, made: &mut Made, stop: &CancellationToken) -> Outcome<Vec<JoinString>> {
        let count = Arc::new(AtomicU64::new(0));
        let (all, shown) = (self.agents, Arc::clone(&count));
        let _progress =
            Progress::show(move || format!("{} of {all} join tokens made", shown.load(Ordering::Relaxed)));
        let mut invited = Vec::with_capacity(self.agents as usize);
        let (mut asking, mut asked) = (JoinSet::new(), 0);
        loop {
            while asking.len() < AT_ONCE && asked < self.agents && !stop.is_cancelled() {
                let wish = JoinTokenRequest {
                    ttl: Some(self.tokens_for),
                    spiffe_id: Some(self.node_id(made.below(), asked)?),
                };
                let api = Arc::clone(made.api());
                asking.spawn(async move { api.create_join_token(&wish).await });
                asked += 1;
            }
            let reply = match asking.join_next().await {
                Some(Ok(reply)) => reply?,
                // One that panicked has nothing to add.
                Some(Err(_)) => continue,
                None => return Ok(invited),
            };
            made.expect_node(reply.spiffe_id);
            let join = JoinString::parse(&reply.join).map_err(|error| CliError::Answer {
                server: "the server".to_owned(),
                why: error.to_string(),
            })?;
            invited.push(join);
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Entries in one request.
const BATCH: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_dealt_out_to_the_agents_and_live_as_they_should() {
        let plan = Plan {
            agents: 3,
            workloads: 7,
            svid_ttl: Duration::from_secs(120),
            tokens_for: Duration::from_secs(600),
            ends_at: UnixTime::from_secs(1_800_000_000),
        };
        let below = spiffe_id("spiffe://dev.test/bench/00c0ffee").unwrap();
        let entry = plan.workload(&below, 4).unwrap();
        assert_eq!(entry.spiffe_id.path(), "/bench/00c0ffee/workload/4");
        assert_eq!(entry.parent_id.unwrap().path(), "/bench/00c0ffee/node/1");
        assert_eq!(entry.x509_ttl, Some(Duration::from_secs(120)));
        assert_eq!(entry.expires_at, Some(plan.ends_at));
        for _ in 0..100 {
            assert!(plan.any_agent() < 3);
        }
    }
}
