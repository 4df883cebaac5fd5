//! What the callers of one agent use, so that the one that takes over has it before they come.

use super::svid::Svid;
use super::view::{Sight, SvidSight, View};
use super::wit::WitSvid;
use super::x509::X509Svid;
use super::{EntryId, Identities};
use crate::AgentError;
use crate::attest::Selectors;
use serde::{Deserialize, Serialize};
use signet_crypto::digest::hex;
use signet_id::{Selector, SpiffeId};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::watch;

/// What callers that look alike use. Nothing of it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InUse {
    /// What they look like.
    pub(crate) selectors: Vec<Selector>,
    /// The entries whose X.509-SVID they are shown, in hexadecimal.
    pub(crate) x509: Vec<String>,
    /// The entries whose WIT-SVID they are shown.
    pub(crate) wit: Vec<String>,
}

/// What was in use elsewhere, made here and kept up to date as long as this lives.
pub(crate) struct Warm(Vec<Wanted>);

struct Wanted {
    in_use: InUse,
    sight: watch::Receiver<Arc<Sight>>,
    /// Held, so that it lives.
    _view: Arc<View>,
}

impl Identities {
    /// What open streams show. Of very much it is not all: the rest is made when it is asked for.
    pub(crate) fn in_use(&self) -> Vec<InUse> {
        let views = self.lock().live_views();
        let mut bytes = 0;
        views
            .iter()
            .filter(|view| view.sender.receiver_count() > 0)
            .map(|view| {
                let sight = view.now();
                InUse {
                    selectors: view.selectors.to_vec(),
                    x509: shown::<X509Svid>(&sight).iter().map(|id| hex(id)).collect(),
                    wit: shown::<WitSvid>(&sight).iter().map(|id| hex(id)).collect(),
                }
            })
            .filter(|one| !one.x509.is_empty() || !one.wit.is_empty())
            .take_while(|one| {
                bytes += one.bytes();
                bytes <= IN_USE_BYTES_MAX
            })
            .collect()
    }

    /// Has what was in use elsewhere made here.
    ///
    /// # Errors
    /// [`AgentError::Initialising`] before the first state.
    pub(crate) fn warm(&self, in_use: Vec<InUse>) -> Result<Warm, AgentError> {
        let wanted = in_use.into_iter().map(|in_use| {
            let mut selectors = in_use.selectors.clone();
            selectors.sort_unstable();
            selectors.dedup();
            let view = self.view(&Selectors::from(selectors))?;
            let sight = view.subscribe();
            if !in_use.x509.is_empty() {
                self.want::<X509Svid>(&view);
            }
            if !in_use.wit.is_empty() {
                self.want::<WitSvid>(&view);
            }
            Ok(Wanted {
                in_use,
                sight,
                _view: view,
            })
        });
        wanted.collect::<Result<_, AgentError>>().map(Warm)
    }
}

impl InUse {
    /// Its length, more or less, where it is written down.
    fn bytes(&self) -> usize {
        let selectors: usize = self.selectors.iter().map(|s| s.as_str().len() + 8).sum();
        selectors + 40 * (self.x509.len() + self.wit.len()) + 64
    }
}

impl Warm {
    /// Returns when all of it is there that still may be.
    pub(crate) async fn ready(&mut self) {
        for wanted in &mut self.0 {
            let Wanted { in_use, sight, .. } = wanted;
            // The sender lives as long as the view.
            let _ = sight
                .wait_for(|sight| lacking(sight, in_use).next().is_none())
                .await;
        }
    }

    /// The identities that are not there.
    pub(crate) fn missing(&self) -> Vec<SpiffeId> {
        let mut missing: Vec<_> = self
            .0
            .iter()
            .flat_map(|wanted| lacking(&wanted.sight.borrow(), &wanted.in_use).collect::<Vec<_>>())
            .collect();
        missing.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        missing.dedup();
        missing
    }
}

/// The identities of `sight` that were shown elsewhere and are not here. An entry that is gone by now is no loss.
fn lacking<'a>(sight: &'a Sight, in_use: &'a InUse) -> impl Iterator<Item = SpiffeId> + 'a {
    let (x509, wit) = (shown::<X509Svid>(sight), shown::<WitSvid>(sight));
    sight
        .entries
        .iter()
        .filter(move |entry| {
            let name = hex(&entry.id);
            (in_use.x509.contains(&name) && !x509.contains(&entry.id))
                || (in_use.wit.contains(&name) && !wit.contains(&entry.id))
        })
        .filter_map(|entry| entry.spiffe_id.one().cloned())
}

fn shown<S: Svid>(sight: &Sight) -> HashSet<EntryId> {
    match S::sight(sight) {
        SvidSight::Ready(shown) => shown.svids.iter().map(|held| held.entry.id).collect(),
        SvidSight::Pending | SvidSight::Unavailable => HashSet::new(),
    }
}

/// Thousands of kinds of callers.
const IN_USE_BYTES_MAX: usize = 2 << 20;
