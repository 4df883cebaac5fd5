use super::Shared;
use crate::AgentError;
use crate::identity::View;
use signet_sys::Peer;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// What is known about the process behind one connection. Found out at its first call; kept as long as the
/// connection, because the process behind it cannot become another one without being noticed.
#[derive(Default)]
pub(super) struct Connection {
    view: OnceCell<Arc<View>>,
    /// When the process was last seen to be the same, in milliseconds since `Shared::began`.
    seen_ms: AtomicU64,
}

/// What an attested caller sees. Each call makes sure that it is still the process that connected.
pub(crate) async fn of(shared: &Shared, peer: &Peer) -> Result<Arc<View>, AgentError> {
    let connection = connection(peer)?;
    if let Some(view) = connection.view.get() {
        connection.check(shared, peer)?;
        return Ok(Arc::clone(view));
    }
    let view = connection.view.get_or_try_init(|| attest(shared, peer)).await?;
    Ok(Arc::clone(view))
}

/// Makes sure that whoever called is still the process that connected: for the answer to its call, which is no look that
/// another call could rely on.
pub(crate) fn still_same(shared: &Shared, peer: &Peer) -> Result<(), AgentError> {
    if connection(peer)?.is_fresh(now_ms(shared)) {
        return Ok(());
    }
    look(peer)
}

fn look(peer: &Peer) -> Result<(), AgentError> {
    peer.still_same()
        .map_err(|changed| AgentError::Peer(changed.into()))
}

fn now_ms(shared: &Shared) -> u64 {
    u64::try_from(shared.began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn connection(peer: &Peer) -> Result<Arc<Connection>, AgentError> {
    peer.attached(Connection::default).ok_or(AgentError::PeerUnknown)
}

async fn attest(shared: &Shared, peer: &Peer) -> Result<Arc<View>, AgentError> {
    let began = Instant::now();
    let selectors = shared.attestation.attest(peer).await?;
    shared.series.attested(began.elapsed());
    tracing::debug!(
        pid = peer.pid(),
        uid = peer.uid(),
        selectors = selectors.len(),
        "caller attested"
    );
    shared.identities.view(&selectors)
}

impl Connection {
    /// Looks at the process again, unless that was done a moment ago: what it could have had then it may have now.
    fn check(&self, shared: &Shared, peer: &Peer) -> Result<(), AgentError> {
        let now_ms = now_ms(shared);
        if self.is_fresh(now_ms) {
            return Ok(());
        }
        look(peer)?;
        self.seen_ms.store(now_ms, Ordering::Relaxed);
        Ok(())
    }

    fn is_fresh(&self, now_ms: u64) -> bool {
        let seen_ms = self.seen_ms.load(Ordering::Relaxed);
        seen_ms != 0 && now_ms.saturating_sub(seen_ms) < FRESH_FOR.as_millis() as u64
    }
}

/// A look takes some 30 microseconds, which a caller that asks thousands of times in a second need not pay each time.
const FRESH_FOR: Duration = Duration::from_millis(20);
