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
    caller: OnceCell<Arc<Caller>>,
    /// When the process was last seen to be the same, in milliseconds since `Shared::began`.
    seen_ms: AtomicU64,
}

/// An attested caller.
pub(super) struct Caller {
    pub(super) view: Arc<View>,
}

/// Who calls. Each call makes sure that it is still the process that connected.
pub(super) async fn of(shared: &Shared, peer: &Peer) -> Result<Arc<Caller>, AgentError> {
    let connection = peer
        .attached(Connection::default)
        .ok_or(AgentError::PeerUnknown)?;
    if let Some(caller) = connection.caller.get() {
        connection.check(shared, peer)?;
        return Ok(Arc::clone(caller));
    }
    let caller = connection.caller.get_or_try_init(|| attest(shared, peer)).await?;
    Ok(Arc::clone(caller))
}

async fn attest(shared: &Shared, peer: &Peer) -> Result<Arc<Caller>, AgentError> {
    let began = Instant::now();
    let selectors = shared.attestation.attest(peer).await?;
    shared.series.attested(began.elapsed());
    tracing::debug!(
        pid = peer.pid(),
        uid = peer.uid(),
        selectors = selectors.len(),
        "caller attested"
    );
    let view = shared.identities.view(&selectors)?;
    Ok(Arc::new(Caller { view }))
}

impl Connection {
    /// Looks at the process again, unless that was done a moment ago: what it could have had then it may have now.
    fn check(&self, shared: &Shared, peer: &Peer) -> Result<(), AgentError> {
        let now_ms = u64::try_from(shared.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let seen_ms = self.seen_ms.load(Ordering::Relaxed);
        if seen_ms != 0 && now_ms.saturating_sub(seen_ms) < FRESH_FOR.as_millis() as u64 {
            return Ok(());
        }
        peer.still_same()
            .map_err(|changed| AgentError::Peer(changed.into()))?;
        self.seen_ms.store(now_ms, Ordering::Relaxed);
        Ok(())
    }
}

/// A look takes some 30 microseconds, which a caller that asks thousands of times in a second need not pay each time.
const FRESH_FOR: Duration = Duration::from_millis(20);
