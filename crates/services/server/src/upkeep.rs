//! What has to be done from time to time, and following the log.

use crate::health::Health;
use core::time::Duration;
use signet_fault::{Coded, chain};
use signet_keys::{Keys, Purpose};
use signet_net::CancellationToken;
use signet_registry::Registry;
use signet_store::follow::{Followed, Guard};
use signet_store::{ChangeLog, Fold, FoldError};
use signet_telemetry::{Family, GaugeF64, Metrics, label, label_set};
use signet_time::{SharedClock, UnixTime};
use std::sync::Arc;
use tokio::time::MissedTickBehavior;
use tracing::{debug, error, warn};

/// How often.
const EVERY: Duration = Duration::from_secs(60);

/// How often it is written down which entries were used: what a server that is killed forgets.
const USES_EVERY: Duration = Duration::from_secs(3_600);

/// How long changes stay in the log for those who follow it.
const LOG_KEPT: Duration = Duration::from_secs(24 * 3_600);

label! {
    /// What a key signs.
    pub(crate) enum Issuer { X509Root = "x509_root", X509Svid = "x509_svid" }
}
label_set! {
    /// Of what is left of an issuer.
    pub(crate) struct IssuerLabels { issuer: Issuer }
}

/// Keys, entries and the log, kept in order.
pub(crate) struct Upkeep {
    pub(crate) keys: Arc<Keys>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) log: Arc<dyn ChangeLog>,
    pub(crate) clock: SharedClock,
    pub(crate) health: Arc<Health>,
    remaining: Family<IssuerLabels, GaugeF64>,
}

impl Upkeep {
    pub(crate) fn new(
        keys: Arc<Keys>,
        registry: Arc<Registry>,
        log: Arc<dyn ChangeLog>,
        clock: SharedClock,
        health: Arc<Health>,
        metrics: &Metrics,
    ) -> Self {
        let remaining = metrics.gauges_f64(
            "signet_signer_remaining_seconds",
            "What is left of the life of the certificate that signs",
        );
        Self {
            keys,
            registry,
            log,
            clock,
            health,
            remaining,
        }
    }

    /// Works for ever.
    pub(crate) async fn run(self) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut uses_written: Option<UnixTime> = None;
        loop {
            ticks.tick().await;
            let now = self.clock.now();
            let kept = self.keys.maintain(now).await;
            self.report("keys", kept.map(|changed| debug!(changed, "keys looked after")));
            let swept = self.registry.sweep(now).await;
            self.report(
                "sweep",
                swept.map(|removed| debug!(removed, "expired records removed")),
            );
            // A clock that was set back must not keep them from being written.
            if uses_written.is_none_or(|at| now < at || now.since(at) >= USES_EVERY) {
                let written = self.registry.write_uses(now).await;
                if written.is_ok() {
                    uses_written = Some(now);
                }
                self.report(
                    "uses",
                    written.map(|records| debug!(records, "uses of entries written")),
                );
            }
            if self.health.now().status == "failing" {
                // Without anything to write nobody would find out that writes are taken again.
                if let Err(error) = self.registry.try_write(now).await {
                    warn!(error = chain(&error), "the change log still takes no changes");
                }
            }
            let pruned = self.log.prune_older(now - LOG_KEPT).await;
            if let Err(error) = pruned {
                warn!(%error, "cannot prune the change log");
            }
            for (purpose, issuer) in [
                (Purpose::X509Root, Issuer::X509Root),
                (Purpose::X509Svid, Issuer::X509Svid),
            ] {
                let end = self.keys.active(purpose).ok().and_then(|key| key.not_after());
                let left = end.map_or(0.0, |end| end.since(now).as_secs_f64());
                self.remaining.get_or_create(&IssuerLabels { issuer }).set(left);
            }
        }
    }

    fn report<E: Coded>(&self, part: &'static str, outcome: Result<(), E>) {
        match outcome {
            Ok(()) => self.health.recover(part),
            Err(failure) => {
                let why = format!("{} [{}]", chain(&failure), failure.code());
                error!(part, error = why, "upkeep failed");
                self.health.fail(part, why);
            }
        }
    }
}

/// Follows the log with everything that folds it. Returns only when the log holds something that this software does
/// not understand and must: nothing may be served from then on.
pub(crate) async fn follow(
    registry: Arc<Registry>,
    keys: Arc<Keys>,
    guard: Followed<Guard>,
    health: Arc<Health>,
    serving: CancellationToken,
) {
    let (part, failure) = tokio::select! {
        failure = one(registry.followed()) => ("registry", failure),
        failure = one(keys.followed()) => ("keys", failure),
        failure = one(&guard) => ("log", failure),
    };
    let why = format!("{} [{}]", chain(&failure), failure.code());
    error!(
        part,
        error = why,
        "the change log holds what this software does not understand"
    );
    health.fail("change log", why);
    serving.cancel();
    core::future::pending().await
}

async fn one<F: Fold + Send + Sync + 'static>(followed: &Followed<F>) -> FoldError {
    followed.follow().await
}
