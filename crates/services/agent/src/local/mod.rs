//! `signet.local.v1` on `local.sock`: what programs of the node ask beside the Workload API.
//!
//! Everybody may connect. Each question is answered to whom it concerns, by the kernel's word on who asks; nothing is
//! changed or issued by asking.

mod answer;
mod status;

use crate::attest::{Attestation, together};
use crate::identity::{Identities, Scope};
use crate::link::Link;
use crate::metrics::{Series, Surface};
use crate::{AgentError, attest::Finding};
use signet_feed::NodeState;
use signet_net::CancellationToken;
use signet_proto::local::v1::why_server::{Why, WhyServer};
use signet_proto::local::v1::{ProcessRequest, ProcessResponse};
use signet_sys::{Peer, SysError};
use signet_time::SharedClock;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status};
use tracing::{debug, info};

/// Where the answers come from.
pub(crate) struct Sources {
    pub(crate) identities: Arc<Identities>,
    pub(crate) attestation: Arc<Attestation>,
    /// What the server sent last.
    pub(crate) state: watch::Receiver<Option<Arc<NodeState>>>,
    pub(crate) link: Link,
    pub(crate) clock: SharedClock,
    pub(crate) series: Series,
    pub(crate) shutdown: CancellationToken,
}

/// The services of `local.sock`. A request's extensions must hold the [`Peer`], put there by whoever accepted the
/// connection.
#[derive(Clone)]
pub(crate) struct LocalApi {
    sources: Arc<Sources>,
    /// The user who runs the agent.
    operator: u32,
    /// Places of those whose entries are compared: that takes a while where there are many.
    comparing: Arc<Semaphore>,
}

impl LocalApi {
    pub(crate) fn new(sources: Arc<Sources>, operator: u32) -> Self {
        Self {
            sources,
            operator,
            comparing: Arc::new(Semaphore::new(COMPARING_AT_ONCE_MAX)),
        }
    }

    pub(crate) fn service(self) -> WhyServer<Self> {
        WhyServer::new(self).max_decoding_message_size(REQUEST_BYTES_MAX)
    }

    async fn explain(
        &self,
        caller: Option<Peer>,
        request: ProcessRequest,
    ) -> Result<ProcessResponse, AgentError> {
        if self.sources.shutdown.is_cancelled() {
            return Err(AgentError::Draining);
        }
        let caller = caller.ok_or(AgentError::PeerUnknown)?;
        let (process, scope) = self.admit(&caller, request.pid)?;
        let gone = |error| match error {
            AgentError::Peer(SysError::PeerGone { .. } | SysError::Changed(_)) => {
                AgentError::ProcessChanged(request.pid)
            }
            error => error,
        };
        let findings = self
            .sources
            .attestation
            .look(&process, caller.uid())
            .await
            .map_err(gone)?;
        let response = self
            .compare(process, findings, scope, request.entries_max)
            .await?;
        // A connection can be handed on: what was found goes to who asked and to nobody else.
        caller
            .still_same()
            .map_err(|changed| AgentError::Peer(changed.into()))?;
        Ok(response)
    }

    /// Finds the process and decides whether `caller` may be told of it. Whoever may not cannot tell whether it exists.
    fn admit(&self, caller: &Peer, pid: u32) -> Result<(Peer, Scope), AgentError> {
        caller
            .still_same()
            .map_err(|changed| AgentError::Peer(changed.into()))?;
        let found = Peer::of_pid(pid);
        if caller.uid() == 0 || caller.uid() == self.operator {
            return match found {
                Ok(process) => Ok((process, Scope::Node)),
                Err(SysError::PeerGone { .. }) => Err(AgentError::NoProcess(pid)),
                Err(SysError::Changed(_)) => Err(AgentError::ProcessChanged(pid)),
                Err(error) => Err(error.into()),
            };
        }
        let process = found.map_err(|_| AgentError::NotYours)?;
        let owner = process.owner().map_err(|_| AgentError::NotYours)?;
        if is_owner(caller.uid(), owner) {
            Ok((process, Scope::Own))
        } else {
            Err(AgentError::NotYours)
        }
    }

    async fn compare(
        &self,
        process: Peer,
        findings: Vec<Finding>,
        scope: Scope,
        entries_max: u32,
    ) -> Result<ProcessResponse, AgentError> {
        let shown_max = match usize::try_from(entries_max).unwrap_or(ENTRIES_SHOWN_MAX) {
            0 => ENTRIES_SHOWN_MAX,
            wish => wish.min(ENTRIES_SHOWN_MAX),
        };
        let place = Arc::clone(&self.comparing)
            .acquire_owned()
            .await
            .map_err(|_| AgentError::Draining)?;
        let sources = Arc::clone(&self.sources);
        // Names are looked up too, which may take as long as it likes.
        tokio::task::spawn_blocking(move || {
            let _place = place;
            let selectors = together(&findings);
            let explained = sources.identities.explain(&selectors, scope, shown_max);
            answer::answer(&sources, &process, &findings, &selectors, explained, scope)
        })
        .await
        .map_err(|_| AgentError::Draining)
    }
}

#[tonic::async_trait]
impl Why for LocalApi {
    async fn process(&self, request: Request<ProcessRequest>) -> Result<Response<ProcessResponse>, Status> {
        let caller = request.extensions().get::<Peer>().cloned();
        let uid = caller.as_ref().map(Peer::uid);
        let asked = request.into_inner();
        match self.explain(caller, asked).await {
            Ok(response) => {
                debug!(uid, pid = asked.pid, "told why");
                Ok(Response::new(response))
            }
            Err(error) => {
                let (_, reason) = status::judge(&error);
                self.sources.series.refused(Surface::Local, reason);
                info!(uid, pid = asked.pid, %error, "not told why");
                Err(status::status(&error))
            }
        }
    }
}

/// Whether the user `caller` owns a process of the user `owner`. The number that stands for every user whom the kernel
/// cannot name here is nobody's own.
fn is_owner(caller: u32, owner: Option<u32>) -> bool {
    owner == Some(caller) && caller != UNNAMED_UID
}

/// `/proc/sys/kernel/overflowuid`, as it is unless somebody changed it.
const UNNAMED_UID: u32 = 65_534;
/// What a person reads, and more; the largest answer stays below 4 MiB.
const ENTRIES_SHOWN_MAX: usize = 64;
/// Two numbers, with room for fields that a later version may add.
const REQUEST_BYTES_MAX: usize = 1 << 10;
/// Each takes a processor for as long as it runs, which workloads need too.
const COMPARING_AT_ONCE_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::Coalescer;
    use crate::{IssueFuture, Issuer, Live, Pace};
    use signet_feed::FeedCursor;
    use signet_proto::agent::v1::IssueItem;
    use signet_telemetry::Metrics;
    use signet_testkit::ManualClock;
    use signet_trust::TrustView;

    struct Nobody;

    impl Issuer for Nobody {
        fn issue(&self, _: Vec<IssueItem>) -> IssueFuture<'_> {
            Box::pin(std::future::pending())
        }
    }

    fn state(seq: u64) -> Arc<NodeState> {
        Arc::new(NodeState {
            cursor: FeedCursor {
                epoch: [0; 16],
                seq,
                chain: [0; 32],
            },
            trust: TrustView::new("a.test".parse().expect("domain")),
            entries: signet_feed::EntrySet::default(),
            jwt_issuer: String::new(),
        })
    }

    /// Nothing applies what has come until the task is started.
    #[tokio::test]
    async fn a_change_that_has_come_and_is_not_applied_yet_is_told() {
        let clock: SharedClock = Arc::new(ManualClock::default());
        let (live, series) = (Live::default(), Series::new(&Metrics::new(None)));
        let identities = Identities::new(
            Arc::clone(&clock),
            Coalescer::start(Arc::new(Nobody)),
            Pace::default(),
            live.clone(),
            series.clone(),
        );
        let (sender, receiver) = watch::channel(None);
        let sources = Arc::new(Sources {
            identities: Arc::clone(&identities),
            attestation: Arc::new(Attestation::new(crate::attest::built_in(
                &live,
                Arc::clone(&clock),
            ))),
            state: receiver.clone(),
            link: Link::default(),
            clock,
            series,
            shutdown: CancellationToken::new(),
        });
        let api = LocalApi::new(sources, signet_sys::process::uid());
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().expect("pair");
        let peer = Peer::of(&ours).expect("peer");
        let ask = || async {
            let request = ProcessRequest {
                pid: std::process::id(),
                entries_max: 0,
            };
            let answer = api.explain(Some(peer.clone()), request).await.expect("answer");
            let feed = answer.feed.expect("feed");
            (feed.applied, feed.heard, answer.fault.map(|fault| fault.code))
        };
        let code = |code: &str| Some(code.to_owned());
        assert_eq!(ask().await, (None, None, code("SGAG001")));
        sender.send_replace(Some(state(5)));
        assert_eq!(ask().await, (None, Some(5), code("SGAG001")));
        let mut applied = identities.applied();
        tokio::spawn(Arc::clone(&identities).run(receiver));
        applied.wait_for(|seq| *seq == Some(5)).await.expect("applied");
        assert_eq!(ask().await, (Some(5), Some(5), code("SGAG009")));
        assert!(matches!(
            api.explain(None, ProcessRequest::default()).await,
            Err(AgentError::PeerUnknown)
        ));
    }

    #[test]
    fn a_process_belongs_to_one_user_or_to_nobody() {
        assert!(is_owner(1000, Some(1000)));
        assert!(!is_owner(1000, Some(1001)));
        assert!(!is_owner(1000, None), "half of it is somebody else's");
        assert!(
            !is_owner(UNNAMED_UID, Some(UNNAMED_UID)),
            "two users that both have no name"
        );
    }
}
