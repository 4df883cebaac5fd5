//! Who is calling: selectors found by looking at the process, never by asking it.

mod crew;
mod hashes;
mod systemd;
mod unix;

pub use systemd::Systemd;
pub use unix::Unix;

use crate::{AgentError, Live};
use crew::Crew;
use signet_id::Selector;
use signet_sys::Peer;
use signet_time::SharedClock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tracing::info;

/// One way of looking at a process. Runs on a thread that may block.
pub trait Attestor: Send + Sync + 'static {
    /// Its name, which is also the first part of its selectors.
    fn name(&self) -> &'static str;

    /// The selectors of `peer`. What was read must belong to this very process: check
    /// [`Peer::still_same`] after the last read.
    ///
    /// # Errors
    /// [`AgentError::Peer`] if the process could not be looked at or is not the same any more.
    fn attest(&self, peer: &Peer) -> Result<Vec<Selector>, AgentError>;
}

/// What a caller was found to be, sorted and without repetition. Callers that look alike share it.
pub type Selectors = Arc<[Selector]>;

/// The attestors that this program has.
#[must_use]
pub fn built_in(live: &Live, clock: SharedClock) -> Vec<Arc<dyn Attestor>> {
    vec![Arc::new(Unix::new(live.clone(), clock)), Arc::new(Systemd::new())]
}

/// Runs all attestors on one caller after another, a few at once.
pub(crate) struct Attestation {
    attestors: Arc<[Arc<dyn Attestor>]>,
    crew: Crew,
    running: Semaphore,
    by_user: Mutex<HashMap<u32, Arc<Semaphore>>>,
}

impl Attestation {
    pub(crate) fn new(attestors: Vec<Arc<dyn Attestor>>) -> Self {
        Self {
            attestors: attestors.into(),
            crew: Crew::new(LINGER),
            running: Semaphore::new(AT_ONCE_MAX),
            by_user: Mutex::default(),
        }
    }

    /// The places of one user: large programs take long to hash, and one user's must not hold up the others'.
    fn of_user(&self, uid: u32) -> Arc<Semaphore> {
        let mut by_user = self.by_user.lock().unwrap_or_else(PoisonError::into_inner);
        if by_user.len() == by_user.capacity() {
            by_user.retain(|_, places| Arc::strong_count(places) > 1);
        }
        let places = by_user
            .entry(uid)
            .or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE_PER_USER_MAX)));
        Arc::clone(places)
    }

    /// The selectors of all attestors together. One that fails takes away only its own, as long as another one
    /// finds any.
    pub(crate) async fn attest(&self, peer: &Peer) -> Result<Selectors, AgentError> {
        let findings = self.look(peer, peer.uid()).await?;
        let selectors = together(&findings);
        // Who found nothing may have had nothing to find, and does not make up for one that could not look.
        match findings
            .into_iter()
            .filter_map(|finding| finding.found.err())
            .last()
        {
            Some(error) if selectors.is_empty() => Err(error),
            _ => Ok(selectors),
        }
    }

    /// What each attestor finds of `peer`, in one of the places of the user `asker`.
    pub(crate) async fn look(&self, peer: &Peer, asker: u32) -> Result<Vec<Finding>, AgentError> {
        let of_user = self.of_user(asker);
        let _users_place = of_user.acquire().await.map_err(|_| AgentError::Draining)?;
        let _place = self.running.acquire().await.map_err(|_| AgentError::Draining)?;
        let (attestors, peer) = (Arc::clone(&self.attestors), peer.clone());
        let found = self.crew.run(move || look_with(&attestors, &peer)).await;
        found.ok_or(AgentError::AttestorFailed)?
    }
}

/// What one attestor found.
pub(crate) struct Finding {
    pub(crate) attestor: &'static str,
    pub(crate) found: Result<Vec<Selector>, AgentError>,
}

/// What all attestors found: what entries are compared with.
pub(crate) fn together(findings: &[Finding]) -> Selectors {
    let found = findings.iter().filter_map(|finding| finding.found.as_ref().ok());
    let mut selectors: Vec<Selector> = found.flatten().cloned().collect();
    selectors.sort_unstable();
    selectors.dedup();
    selectors.into()
}

fn look_with(attestors: &[Arc<dyn Attestor>], peer: &Peer) -> Result<Vec<Finding>, AgentError> {
    let look = |attestor: &Arc<dyn Attestor>| {
        let found = attestor.attest(peer);
        if let Err(error) = &found {
            info!(attestor = attestor.name(), pid = peer.pid(), %error, "cannot attest a process");
        }
        Finding {
            attestor: attestor.name(),
            found,
        }
    };
    let findings = attestors.iter().map(look).collect();
    // Whatever each of them saw: it must still be the process that was to be looked at.
    peer.still_same()
        .map_err(|changed| AgentError::Peer(changed.into()))?;
    Ok(findings)
}

/// Attesting reads files and asks the name service; more at once would only take threads from each other.
const AT_ONCE_MAX: usize = 16;
const AT_ONCE_PER_USER_MAX: usize = 4;
/// Callers come together, as when a node starts.
const LINGER: Duration = Duration::from_secs(1);
