//! Entries that come and go while the fleet is there.

use super::super::latency::{Latencies, Summary};
use super::super::made::{Made, nobody};
use super::Fleet;
use super::node::fraction;
use super::setup::Plan;
use super::sightings::What;
use crate::Outcome;
use core::time::Duration;
use serde::Serialize;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// How soon changes arrived.
#[derive(Serialize)]
pub(super) struct Changes {
    made: u64,
    /// Changes that did not arrive within a minute.
    lost: u64,
    /// From sending the request to the new workload's certificate in its agent's hands.
    pub(super) created_to_svid: Option<Summary>,
    /// From sending the request to the agent that does without the entry.
    pub(super) deleted_to_agent: Option<Summary>,
}

/// Creates and deletes an entry of some agent `times` times, spread over `time`.
pub(super) async fn make(
    times: u32,
    time: Duration,
    plan: &Plan,
    made: &mut Made,
    fleet: &Fleet,
    stop: &CancellationToken,
) -> Outcome<Changes> {
    let (mut there, mut gone) = (Latencies::new(), Latencies::new());
    let mut lost = 0;
    let started = tokio::time::Instant::now();
    for n in 0..times {
        let at = started + time.mul_f64((f64::from(n) + fraction()) / f64::from(times));
        let pause = stop.run_until_cancelled(tokio::time::sleep_until(at));
        if pause.await.is_none() {
            break;
        }
        let mut entry = nobody(made.below(), &format!("change/{n}"))?;
        entry.parent_id = Some(plan.node_id(made.below(), plan.any_agent())?);
        entry.expires_at = Some(plan.ends_at);
        let (seen, began) = (fleet.sightings.await_here(&entry.spiffe_id), Instant::now());
        let id = made.create(&entry).await?;
        let Some(seen) = stop
            .run_until_cancelled(tokio::time::timeout(SEEN_WITHIN, seen))
            .await
        else {
            break;
        };
        match seen {
            Ok(Ok(at)) => there.add(at - began),
            _ => lost += 1,
        }
        let (seen, began) = (fleet.sightings.await_gone(&entry.spiffe_id), Instant::now());
        made.delete(&id).await?;
        let Some(seen) = stop
            .run_until_cancelled(tokio::time::timeout(SEEN_WITHIN, seen))
            .await
        else {
            break;
        };
        match seen {
            Ok(Ok(at)) => gone.add(at - began),
            _ => lost += 1,
        }
    }
    Ok(Changes {
        made: gone.total(),
        lost,
        created_to_svid: there.summary(),
        deleted_to_agent: gone.summary(),
    })
}

/// How soon changes arrived that all agents are told of.
#[derive(Serialize)]
pub(super) struct Pushes {
    made: u64,
    /// Agents that were not told within a minute, of all changes.
    lost: u64,
    /// From sending the request to each agent that goes on with the entry, or without it.
    pub(super) created_to_agents: Option<Summary>,
    pub(super) deleted_to_agents: Option<Summary>,
    /// The same to the last agent of each change.
    pub(super) to_the_last: Option<Summary>,
    #[serde(skip)]
    told: u64,
}

impl Pushes {
    /// How many agents were told, of all changes.
    pub(super) fn told(&self) -> u64 {
        self.told
    }

    pub(super) fn made(&self) -> u64 {
        self.made
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}

/// Creates and deletes an entry of every node `times` times, each once all agents know of the one before.
pub(super) async fn push(
    times: u32,
    plan: &Plan,
    made: &mut Made,
    fleet: &Fleet,
    stop: &CancellationToken,
) -> Outcome<Pushes> {
    let (mut there, mut gone, mut last) = (Latencies::new(), Latencies::new(), Latencies::new());
    let (mut done, mut lost) = (0, 0);
    'all: for n in 0..times {
        let mut entry = nobody(made.below(), &format!("{EVERYWHERE}{n}"))?;
        entry.expires_at = Some(plan.ends_at);
        let mut id = String::new();
        for (what, latencies) in [(What::Comes, &mut there), (What::Goes, &mut gone)] {
            // One that is between two streams is told on the next: whom it does not count, another would stand for.
            let agents = plan.agents.saturating_sub(fleet.tally.now().gave_up);
            let (all, began) = (
                fleet.sightings.expect_everywhere(&entry.spiffe_id, what, agents),
                Instant::now(),
            );
            match what {
                What::Comes => id = made.create(&entry).await?,
                What::Goes => made.delete(&id).await?,
            }
            let waited = tokio::time::timeout(SEEN_WITHIN, all);
            let is_there = stop.run_until_cancelled(waited).await;
            if let Some(Ok(Ok(()))) = is_there {
                last.add(began.elapsed());
            }
            let (arrived, missing) = fleet.sightings.arrived();
            latencies.merge(&arrived);
            if is_there.is_none() {
                break 'all;
            }
            lost += u64::from(missing);
        }
        done += 1;
    }
    Ok(Pushes {
        made: done,
        lost,
        told: there.total() + gone.total(),
        created_to_agents: there.summary(),
        deleted_to_agents: gone.summary(),
        to_the_last: last.summary(),
    })
}

/// Where entries lie that are every node's.
pub(super) const EVERYWHERE: &str = "everywhere/";

const SEEN_WITHIN: Duration = Duration::from_secs(60);
