//! A simulated node's own identity: joined with a token, renewed at half of its life.

use super::trouble::{NO_ANSWER, Trouble};
use arc_swap::ArcSwap;
use core::time::Duration;
use signet_api::JoinString;
use signet_crypto::{KeyKind, LocalKey};
use signet_feed::{PeerHello, bundle_from_proto, hello};
use signet_id::SpiffeId;
use signet_net::client::channel;
use signet_proto::agent::v1::agent_client::AgentClient;
use signet_proto::agent::v1::attest_request::Evidence;
use signet_proto::agent::v1::{AttestRequest, NodeSvid, RenewRequest};
use signet_time::{SharedClock, UnixTime};
use signet_tls::{ClientTls, LiveIdentity, PeerRule};
use signet_trust::TrustView;
use signet_x509::Der;
use std::sync::Arc;
use tokio::time::Instant;
use tonic::transport::Channel;

/// A node that has joined.
pub(crate) struct Node {
    pub(super) id: SpiffeId,
    key: LocalKey,
    shown: Arc<LiveIdentity>,
    pub(super) trust: Arc<ArcSwap<TrustView>>,
    /// When to ask for the next SVID.
    pub(super) renew_at: Instant,
}

impl Node {
    /// Joins at `server`.
    pub(crate) async fn join(join: &JoinString, server: &str, clock: &SharedClock) -> Result<Self, Trouble> {
        let now = clock.now();
        let key = LocalKey::generate(KeyKind::P256).map_err(|e| Trouble::of(&e))?;
        let csr = signet_x509::make_csr(&key, None, &[]).map_err(|e| Trouble::of(&e))?;
        let own = signet_x509::self_signed_node(&key, now).map_err(|e| Trouble::of(&e))?;
        let shown = Arc::new(LiveIdentity::new(vec![own], &key).map_err(|e| Trouble::of(&e))?);
        let tls = ClientTls::pinned_join(
            Arc::clone(&shown),
            join.root_hashes.clone(),
            join.trust_domain.clone(),
            Arc::clone(clock),
        );
        let tls = tls.map_err(|e| Trouble::of(&e))?;
        let token = core::str::from_utf8(join.token.expose()).unwrap_or_default();
        let request = AttestRequest {
            hello: Some(hello(SOFTWARE, now)),
            evidence: Some(Evidence::JoinToken(token.to_owned())),
            csr: csr.into(),
            step: None,
        };
        let mut client = AgentClient::new(channel::tls(server.to_owned(), tls.config()));
        let response = in_time(client.attest(request)).await?;
        let peer = response.hello.as_ref().map(PeerHello::read);
        peer.ok_or_else(|| Trouble::passing("no hello"))?
            .map_err(|e| Trouble::of(&e))?;
        let svid = response.svid.ok_or_else(|| Trouble::passing("no svid"))?;
        let bundle = svid.bundle.as_ref().map(bundle_from_proto);
        let bundle = bundle
            .ok_or_else(|| Trouble::passing("no bundle"))?
            .map_err(|e| Trouble::of(&e))?;
        let trust = TrustView::new(join.trust_domain.clone())
            .with_bundle(bundle)
            .received(now);
        let (id, chain, not_after) = checked(svid, &key, &trust, now)?;
        shown.set(chain, &key).map_err(|e| Trouble::of(&e))?;
        Ok(Self {
            id,
            key,
            shown,
            trust: Arc::new(ArcSwap::from_pointee(trust)),
            renew_at: first_renewal(not_after.since(now)),
        })
    }

    /// A new connection to `server` that shows what the node is.
    pub(crate) fn channel(&self, server: &str, clock: &SharedClock) -> Result<Channel, Trouble> {
        let tls = ClientTls::new(
            Arc::clone(&self.shown),
            Arc::clone(&self.trust),
            Arc::clone(clock),
            PeerRule::server(),
        );
        let tls = tls.map_err(|e| Trouble::of(&e))?;
        Ok(channel::tls(server.to_owned(), tls.config()))
    }

    /// Gets the next SVID; shown by connections that are opened from now on.
    pub(super) async fn renew(&mut self, channel: &Channel, clock: &SharedClock) -> Result<(), Trouble> {
        let csr = signet_x509::make_csr(&self.key, Some(&self.id), &[]).map_err(|e| Trouble::of(&e))?;
        let mut client = AgentClient::new(channel.clone());
        let response = in_time(client.renew(RenewRequest {
            csr: csr.into(),
            step: None,
        }))
        .await?;
        let svid = response.svid.ok_or_else(|| Trouble::passing("no svid"))?;
        let now = clock.now();
        let (_, chain, not_after) = checked(svid, &self.key, &self.trust.load(), now)?;
        self.shown.set(chain, &self.key).map_err(|e| Trouble::of(&e))?;
        self.renew_at = next_renewal(not_after.since(now));
        Ok(())
    }
}

/// What an agent checks of what it was given.
fn checked(
    svid: NodeSvid,
    key: &LocalKey,
    trust: &TrustView,
    now: UnixTime,
) -> Result<(SpiffeId, Vec<Der>, UnixTime), Trouble> {
    let chain: Vec<Der> = svid
        .chain
        .into_iter()
        .map(|der| Der::from(Vec::from(der)))
        .collect();
    let verified = signet_check::x509::verify_svid(&chain, trust, now).map_err(|e| Trouble::of(&e))?;
    signet_check::x509::match_private_key(&verified.leaf, key).map_err(|e| Trouble::of(&e))?;
    Ok((verified.id, chain, verified.not_after))
}

/// What `call` answers, if it does in time.
pub(crate) async fn in_time<T>(
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Trouble::passing(NO_ANSWER)),
    }
}

/// When to renew first what lives for `life`: at any point of its first half, so that renewals come as they do in a
/// fleet that has run for long, and not all together after half a life.
pub(super) fn first_renewal(life: Duration) -> Instant {
    Instant::now() + (life / 2).mul_f64(fraction())
}

/// When to renew what lives for `life`: at half of it, give or take a tenth, as agents do.
pub(super) fn next_renewal(life: Duration) -> Instant {
    Instant::now() + (life / 2).mul_f64(0.9 + 0.2 * fraction())
}

/// From 0 to 1.
pub(super) fn fraction() -> f64 {
    // Without randomness all come at once, which is a pity and no more.
    let random = signet_crypto::random::<4>().map_or(u32::MAX / 2, u32::from_le_bytes);
    f64::from(random) / f64::from(u32::MAX)
}

/// What a simulated agent calls itself.
pub(super) const SOFTWARE: &str = concat!("signet-bench/", env!("CARGO_PKG_VERSION"));
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_renewals_fill_the_first_half_of_a_life_and_later_ones_lie_around_its_middle() {
        let (life, now) = (Duration::from_secs(3600), Instant::now());
        let after = |at: Instant| at.saturating_duration_since(now).as_secs_f64();
        let first: Vec<f64> = (0..500).map(|_| after(first_renewal(life))).collect();
        // The clock runs on between the two looks at it.
        assert!(first.iter().all(|s| (0.0..1900.0).contains(s)));
        assert!(first.iter().any(|s| *s < 600.0) && first.iter().any(|s| *s > 1200.0));
        for _ in 0..500 {
            let at = after(next_renewal(life));
            assert!((1620.0..2080.0).contains(&at), "{at}");
        }
    }
}
