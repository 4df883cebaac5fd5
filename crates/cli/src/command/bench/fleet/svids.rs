//! The X.509-SVIDs of a simulated node's workloads.

use super::Fleet;
use super::node::{Node, first_renewal, fraction, in_time, next_renewal};
use super::tally::Tally;
use super::trouble::Trouble;
use core::time::Duration;
use signet_crypto::{KeyKind, LocalKey};
use signet_feed::EntrySet;
use signet_id::SpiffeId;
use signet_proto::agent::v1::agent_client::AgentClient;
use signet_proto::agent::v1::issue_answer::Outcome;
use signet_proto::agent::v1::issue_item::Wish;
use signet_proto::agent::v1::{IssueItem, IssueRequest, X509Issued, X509Wish};
use signet_x509::Der;
use std::collections::HashMap;
use tokio::time::Instant;
use tonic::transport::Channel;

/// By the entry's id.
#[derive(Default)]
pub(super) struct Svids(HashMap<[u8; 16], Slot>);

/// One workload, as far as it is simulated: of its certificate it is only known when the next one is due.
struct Slot {
    id: SpiffeId,
    /// The change that last touched the entry.
    seq: u64,
    due: Instant,
    /// The end of what it has.
    ends: Option<Instant>,
}

/// A key that waits for its certificate.
struct Asked {
    entry: [u8; 16],
    key: LocalKey,
}

impl Svids {
    /// Has one for each of `entries` that lies in the folder of this run, and no others: what holds on every node entitles
    /// none of the simulated workloads, also where this run made it. What is new or was changed is due at once.
    pub(super) fn follow(&mut self, entries: &EntrySet, fleet: &Fleet) {
        self.0.retain(|id, _| entries.get(id).is_some());
        let ours = entries
            .iter()
            .filter(|entry| fleet.is_for_a_workload(entry.spiffe_id.as_str()));
        for entry in ours {
            // Those that a template gives are nobody's here.
            let Some(id) = entry.spiffe_id.one() else { continue };
            let known = self.0.get(&entry.id).map(|slot| (slot.seq, slot.ends));
            if known.is_some_and(|(seq, _)| seq == entry.seq) {
                continue;
            }
            let slot = Slot {
                id: id.clone(),
                seq: entry.seq,
                due: Instant::now(),
                ends: known.and_then(|(_, ends)| ends),
            };
            self.0.insert(entry.id, slot);
        }
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().map(|slot| slot.due).min()
    }

    /// Whether all are there.
    pub(super) fn is_complete(&self) -> bool {
        self.0.values().all(|slot| slot.ends.is_some())
    }

    /// Has those signed that are due, as many in one call as an agent asks for.
    pub(super) async fn renew(
        &mut self,
        node: &Node,
        channel: &Channel,
        fleet: &Fleet,
    ) -> Result<(), Trouble> {
        let now = Instant::now();
        let due: Vec<[u8; 16]> = self
            .0
            .iter()
            .filter(|(_, slot)| slot.due <= now)
            .map(|(id, _)| *id)
            .take(ITEMS_MAX)
            .collect();
        let (mut items, mut asked) = (Vec::with_capacity(due.len()), Vec::with_capacity(due.len()));
        for entry in due {
            let Some(slot) = self.0.get_mut(&entry) else {
                continue;
            };
            slot.late(now, &fleet.tally);
            let key = LocalKey::generate(KeyKind::P256).map_err(|e| Trouble::of(&e))?;
            let csr = signet_x509::make_csr(&key, Some(&slot.id), &[]).map_err(|e| Trouble::of(&e))?;
            items.push(IssueItem {
                entry_id: entry.to_vec().into(),
                wish: Some(Wish::X509(X509Wish { csr: csr.into() })),
                ..IssueItem::default()
            });
            asked.push(Asked { entry, key });
        }
        let started = Instant::now();
        let mut client = AgentClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        let answered = in_time(client.issue(IssueRequest { items })).await;
        fleet.tally.called(started.elapsed());
        let answers = match answered {
            Ok(response) if response.answers.len() == asked.len() => response.answers,
            Ok(_) => {
                self.put_off(&asked);
                return Err(Trouble::passing("wrong number of answers"));
            }
            Err(trouble) => {
                self.put_off(&asked);
                return Err(trouble);
            }
        };
        for (answer, asked) in answers.into_iter().zip(asked) {
            self.take(answer.outcome, &asked, node, fleet);
        }
        Ok(())
    }

    fn take(&mut self, outcome: Option<Outcome>, asked: &Asked, node: &Node, fleet: &Fleet) {
        let Some(slot) = self.0.get_mut(&asked.entry) else {
            return;
        };
        let life = match outcome {
            Some(Outcome::X509(issued)) => checked(issued, slot, asked, node, fleet),
            Some(Outcome::Refusal(refusal)) => Err(Trouble::refusal(&refusal.code, !refusal.retry)),
            _ => Err(Trouble::passing("an answer to no wish")),
        };
        match life {
            Ok(life) => {
                let is_first = slot.ends.is_none();
                slot.due = if is_first {
                    first_renewal(life)
                } else {
                    next_renewal(life)
                };
                slot.ends = Some(Instant::now() + life);
                fleet.tally.issued(is_first);
                fleet.sightings.here(&slot.id);
            }
            Err(trouble) => {
                slot.due = later();
                fleet.tally.failed(&trouble);
            }
        }
    }

    fn put_off(&mut self, asked: &[Asked]) {
        for asked in asked {
            if let Some(slot) = self.0.get_mut(&asked.entry) {
                slot.due = later();
            }
        }
    }
}

impl Slot {
    /// Counts a certificate that ended before the next was there.
    fn late(&mut self, now: Instant, tally: &Tally) {
        if self.ends.is_some_and(|end| end <= now) {
            tally.expired();
            // Once, however often the next one is asked for.
            self.ends = Some(now + Duration::from_secs(86_400));
        }
    }
}

/// How long a certificate lives that is as it was asked for.
fn checked(
    issued: X509Issued,
    slot: &Slot,
    asked: &Asked,
    node: &Node,
    fleet: &Fleet,
) -> Result<Duration, Trouble> {
    let chain: Vec<Der> = issued
        .chain
        .into_iter()
        .map(|der| Der::from(Vec::from(der)))
        .collect();
    let now = fleet.clock.now();
    let verified =
        signet_check::x509::verify_svid(&chain, &node.trust.load(), now).map_err(|e| Trouble::of(&e))?;
    if verified.id != slot.id {
        return Err(Trouble::passing("a certificate for another"));
    }
    signet_check::x509::match_private_key(&verified.leaf, &asked.key).map_err(|e| Trouble::of(&e))?;
    Ok(verified.not_after.since(now))
}

/// When to ask again for what was not to be had.
fn later() -> Instant {
    Instant::now() + RETRY.mul_f64(1.0 + fraction())
}

const RETRY: Duration = Duration::from_secs(1);
/// In one call, as agents do.
const ITEMS_MAX: usize = 64;
/// 64 answers, each a chain of a few kilobytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;
