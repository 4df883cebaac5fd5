//! The server's own SVID: issued by its own authority, shown on port 8445, renewed at half its life.

use crate::ServerError;
use core::time::Duration;
use signet_authority::{Authority, Context, Profile, X509Request};
use signet_crypto::{KeyKind, LocalKey};
use signet_fault::chain;
use signet_id::SpiffeId;
use signet_keys::{Keys, Purpose};
use signet_store::Seq;
use signet_time::{SharedClock, Steps, UnixTime};
use signet_tls::LiveIdentity;
use signet_x509::{Certificate, Csr, Der, make_csr};
use std::sync::Arc;
use tokio::sync::watch;
use tracing::{info, warn};

/// How long the server's own SVID lives.
const TTL: Duration = Duration::from_secs(3_600);

/// How long to wait after a failure, and between two looks at files.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The server's identity and what keeps it fresh.
pub(crate) struct OwnIdentity {
    pub(crate) id: SpiffeId,
    pub(crate) live: Arc<LiveIdentity>,
    pub(crate) authority: Authority,
    pub(crate) keys: Arc<Keys>,
    pub(crate) clock: SharedClock,
}

/// What is shown now.
pub(crate) struct Shown {
    not_before: UnixTime,
    renew_at: UnixTime,
    /// The key that issued it.
    issuer: String,
}

impl Shown {
    /// A certificate of the key `issuer`. It is renewed at half of its life.
    pub(crate) fn new(not_before: UnixTime, not_after: UnixTime, issuer: &str) -> Self {
        Self {
            not_before,
            renew_at: not_before + not_after.since(not_before) / 2,
            issuer: issuer.to_owned(),
        }
    }

    /// Whether half of its life is over, or the clock was set back to before it.
    fn is_due(&self, now: UnixTime) -> bool {
        now >= self.renew_at || now < self.not_before
    }
}

/// Waits until a certificate of ours is to be renewed: at half of its life, and at once when its issuer is called off or
/// the clock is set back to before it.
pub(crate) struct Renewal {
    applied: watch::Receiver<Seq>,
    what: &'static str,
    shown: Option<Shown>,
    /// Until the next look. Looks cost nothing, and with a certificate that a clock ended by being set nobody is served.
    pause: Duration,
}

impl Renewal {
    /// For `what`, of which `shown` is shown now.
    pub(crate) fn new(keys: &Keys, what: &'static str, shown: Option<Shown>) -> Self {
        let applied = keys.followed().applied();
        Self {
            applied,
            what,
            shown,
            pause: Steps::LOOK_EVERY,
        }
    }

    pub(crate) async fn due(&mut self, keys: &Keys, clock: &SharedClock) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.pause) => {}
                changed = self.applied.changed() => if changed.is_err() {
                    // The keys are gone, and so is the server.
                    return core::future::pending().await;
                },
            }
            let now = clock.now();
            let due = self
                .shown
                .as_ref()
                .is_none_or(|shown| shown.is_due(now) || !is_good(keys, &shown.issuer));
            if due {
                return;
            }
        }
    }

    /// Takes what came of it. After a failure it stays due, and so it does by a clock that shows a time before its issuer's.
    pub(crate) fn done(&mut self, outcome: Result<Shown, ServerError>, now: UnixTime) {
        let what = self.what;
        match outcome {
            Ok(next) => {
                info!(what, "renewed a certificate of our own");
                self.pause = if next.is_due(now) {
                    LOOK_EVERY
                } else {
                    Steps::LOOK_EVERY
                };
                self.shown = Some(next);
            }
            Err(error) => {
                warn!(
                    what,
                    error = chain(&error),
                    "cannot renew a certificate of our own"
                );
                self.pause = LOOK_EVERY;
            }
        }
    }
}

/// Whether what the key `issuer` signed is still to be shown.
fn is_good(keys: &Keys, issuer: &str) -> bool {
    keys.read(|ring| {
        ring.key(issuer)
            .is_some_and(|key| !key.is_tainted() && key.state() < signet_keys::KeyState::Retired)
    })
}

impl OwnIdentity {
    /// Issues the first one. The server serves nobody without it.
    pub(crate) async fn begin(&self) -> Result<(), ServerError> {
        self.issue().await.map(drop)
    }

    /// Renews for ever.
    pub(crate) async fn keep(self) {
        let mut renewal = Renewal::new(&self.keys, "the server's own svid", self.shown_now());
        loop {
            renewal.due(&self.keys, &self.clock).await;
            renewal.done(self.issue().await, self.clock.now());
        }
    }

    fn shown_now(&self) -> Option<Shown> {
        let chain = self.live.chain();
        let leaf = Certificate::parse(chain.first()?).ok()?;
        let issuer = self.keys.active(Purpose::X509Svid).ok()?;
        Some(Shown::new(leaf.not_before(), leaf.not_after(), issuer.kid()))
    }

    async fn issue(&self) -> Result<Shown, ServerError> {
        let now = self.clock.now();
        let task = "issue the server's own svid";
        let issuer = self
            .keys
            .active(Purpose::X509Svid)
            .map_err(ServerError::part(task))?;
        let key = LocalKey::generate(KeyKind::P256).map_err(ServerError::part(task))?;
        let csr = make_csr(&key, Some(&self.id), &[]).map_err(ServerError::part(task))?;
        let request = X509Request {
            id: self.id.clone(),
            dns_names: Vec::new(),
            ttl: TTL,
            csr: Csr::parse(&csr).map_err(ServerError::part(task))?,
            context: Context::default(),
        };
        let decision = Authority::own_decision(&self.id);
        let svid = self
            .authority
            .issue_x509(request, Profile::Server, &decision, now)
            .await
            .map_err(ServerError::part(task))?;
        let mut shown = svid.chain;
        // An agent that joins knows the root only by its hash, so the root travels along.
        shown.extend(self.root_above(&shown));
        self.live.set(shown, &key).map_err(ServerError::part(task))?;
        Ok(Shown::new(svid.not_before, svid.not_after, issuer.kid()))
    }

    /// The root that issued the last certificate of `chain`.
    fn root_above(&self, chain: &[Der]) -> Option<Der> {
        let last = Certificate::parse(chain.last()?).ok()?;
        let wanted = last.authority_key_id()?;
        self.keys.read(|ring| {
            let roots = ring
                .keys()
                .iter()
                .filter(|key| key.purpose() == Purpose::X509Root);
            roots
                .filter(|key| key.public_key().key_id() == *wanted)
                .find_map(|key| key.certificate().cloned())
        })
    }
}
