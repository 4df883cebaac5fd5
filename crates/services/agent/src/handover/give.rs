//! The one that runs.

use super::channel::Channel;
use super::message::{Done, Listener, Message, Offer, Place, Refused, Role};
use super::{SOFTWARE, VERSIONS};
use crate::AgentError;
use crate::identity::Identities;
use crate::upstream::Pen;
use signet_fault::Coded as _;
use signet_net::{CancellationToken, TcpShare, UnixServer, UnixShare};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tracing::{info, warn};

/// Hands over to whoever asks on the handover socket and may.
pub(crate) struct Giver {
    pub(crate) listener: UnixServer,
    pub(crate) given: Arc<Given>,
}

/// What is handed over, and what is to be done then.
pub(crate) struct Given {
    shares: Vec<Share>,
    pen: Pen,
    identities: Arc<Identities>,
    shutdown: CancellationToken,
    /// Who may ask.
    user: u32,
    /// One at a time.
    turn: Semaphore,
}

/// A listener that goes on elsewhere.
pub(crate) enum Share {
    Unix(Role, UnixShare),
    Tcp(Role, TcpShare),
}

impl Share {
    fn role(&self) -> Role {
        match self {
            Self::Unix(role, _) | Self::Tcp(role, _) => *role,
        }
    }

    fn listener(&self) -> Listener {
        let place = match self {
            Self::Tcp(_, share) => Place::Tcp(share.address()),
            Self::Unix(_, share) => {
                let (dev, ino) = share.identity();
                Place::Unix {
                    path: share.path().to_owned(),
                    dev,
                    ino,
                }
            }
        };
        Listener {
            role: self.role(),
            place,
        }
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(_, share) => share.as_fd(),
            Self::Tcp(_, share) => share.as_fd(),
        }
    }
}

impl Giver {
    /// Answers until the shutdown begins, which a handover does itself.
    pub(crate) async fn run(self) {
        let Self { listener, given } = self;
        let mut asking = JoinSet::new();
        loop {
            while asking.try_join_next().is_some() {}
            tokio::select! {
                biased;
                () = given.shutdown.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok(stream) if asking.len() < ASKING_MAX => {
                        asking.spawn(Arc::clone(&given).answer(stream));
                    }
                    Ok(_) => warn!("too many ask for a handover at once"),
                    Err(error) => {
                        warn!(%error, "cannot accept whoever asks for a handover");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        // Whoever is in the middle of it is told that this one stops; all of that is bounded.
        while asking.join_next().await.is_some() {}
    }
}

impl Given {
    pub(crate) fn new(
        shares: Vec<Share>,
        pen: Pen,
        identities: Arc<Identities>,
        shutdown: CancellationToken,
        user: u32,
    ) -> Self {
        Self {
            shares,
            pen,
            identities,
            shutdown,
            user,
            turn: Semaphore::new(1),
        }
    }

    /// Says of each socket's file whether it stays when this agent goes.
    pub(crate) fn leave(&self, is_left: impl Fn(Role) -> bool) {
        for share in &self.shares {
            if let Share::Unix(role, share) = share {
                share.leave(is_left(*role));
            }
        }
    }

    async fn answer(self: Arc<Self>, stream: UnixStream) {
        let credentials = stream.peer_cred();
        let (user, pid) = credentials.map_or((None, None), |c| (Some(c.uid()), c.pid()));
        let channel = Channel::new(stream);
        let handed = match self.hear(&channel, user).await {
            Ok((version, _turn)) => self.hand_over(&channel, version, pid).await,
            Err(error) => Err(error),
        };
        if let Err(error) = handed {
            let code = error.code();
            warn!(pid, user, code, %error, "no handover: this agent goes on");
            let refused = Refused {
                code: code.to_owned(),
                message: error.to_string(),
            };
            // Nobody may be there to hear it.
            let _ = say(&channel, Message::Refused(refused), &[]).await;
        }
    }

    /// Whether the other side may, and can, take over, and which version it speaks.
    async fn hear(
        &self,
        channel: &Channel,
        user: Option<u32>,
    ) -> Result<(u32, SemaphorePermit<'_>), AgentError> {
        if user != Some(self.user) {
            return Err(AgentError::HandoverForeign { owner: self.user });
        }
        let first = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => return Err(AgentError::Draining),
            first = tokio::time::timeout(SAY_WITHIN, channel.receive()) => first,
        };
        let Ok(Ok(Some((Message::Hello(hello), _)))) = first else {
            return Err(AgentError::Handover(
                "the other agent did not begin as one that takes over".to_owned(),
            ));
        };
        let version = VERSIONS.iter().find(|version| hello.versions.contains(version));
        let version = *version.ok_or_else(|| AgentError::HandoverVersion {
            software: super::said(&hello.software),
            ours: VERSIONS,
        })?;
        let turn = self.turn.try_acquire().map_err(|_| AgentError::HandoverBusy)?;
        if self.shutdown.is_cancelled() {
            return Err(AgentError::Draining);
        }
        Ok((version, turn))
    }

    async fn hand_over(&self, channel: &Channel, version: u32, pid: Option<i32>) -> Result<(), AgentError> {
        info!(pid, "another agent prepares to take over");
        // From the offer on the other one may be all that is left.
        self.leave(|_| true);
        match self.offer(channel, version).await {
            Ok(Outcome::Ready(kept)) => {
                self.leave(|role| kept.contains(&role));
                info!(pid, "another agent has taken over: this one drains and ends");
            }
            Ok(Outcome::Stopping) => info!(
                pid,
                "stopping: the agent that prepares to take over goes on alone"
            ),
            Err(error) => {
                self.leave(|_| false);
                return Err(error);
            }
        }
        self.pen.lay_down();
        self.shutdown.cancel();
        // It holds on to this process, and goes on in any case when that has ended.
        let _ = say(channel, Message::Done(Done {}), &[]).await;
        Ok(())
    }

    /// Offers everything, and waits for what becomes of it.
    async fn offer(&self, channel: &Channel, version: u32) -> Result<Outcome, AgentError> {
        let unheard = |error: &io::Error| AgentError::Handover(format!("make or send the offer: {error}"));
        let lock = self.pen.share().map_err(|error| unheard(&error))?;
        let process =
            signet_sys::process::handle().map_err(|e| AgentError::Handover(signet_fault::chain(&e)))?;
        let mut descriptors: Vec<_> = self.shares.iter().map(Share::descriptor).collect();
        descriptors.extend([lock.as_fd(), process.as_fd()]);
        let offer = Offer {
            version,
            software: SOFTWARE.to_owned(),
            listeners: self.shares.iter().map(Share::listener).collect(),
            in_use: self.identities.in_use(),
        };
        say(channel, Message::Offer(offer), &descriptors)
            .await
            .map_err(|error| unheard(&error))?;
        let said = tokio::select! {
            biased;
            said = tokio::time::timeout(READY_WITHIN, channel.receive()) => said,
            () = self.shutdown.cancelled() => return Ok(Outcome::Stopping),
        };
        match said {
            Ok(Ok(Some((Message::Ready(ready), _)))) => Ok(Outcome::Ready(ready.kept)),
            Ok(Ok(Some(_))) => Err(AgentError::Handover(
                "the other agent said something out of turn".to_owned(),
            )),
            Ok(Ok(None)) => Err(AgentError::Handover(
                "the other agent ended before it was ready".to_owned(),
            )),
            Ok(Err(error)) => Err(AgentError::Handover(format!("hear the other agent: {error}"))),
            Err(_) => Err(AgentError::Handover(
                "the other agent was not ready in time".to_owned(),
            )),
        }
    }
}

enum Outcome {
    /// The other one goes on with these listeners.
    Ready(Vec<Role>),
    /// This one was told to end meanwhile; the other one has all it needs.
    Stopping,
}

/// Sends `message`; whoever does not read it is not waited for.
async fn say(channel: &Channel, message: Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    tokio::time::timeout(SAY_WITHIN, channel.send(&message, descriptors))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Connections at once: more than one is an accident.
const ASKING_MAX: usize = 8;
/// For one message.
const SAY_WITHIN: Duration = Duration::from_secs(5);
/// From the offer to the word that the other one is ready; longer than it gives itself.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// Out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::Coalescer;
    use crate::metrics::Series;
    use crate::upstream::{Remote, StateDir};
    use crate::{Live, Pace};

    fn given(dir: &std::path::Path, user: u32) -> Arc<Given> {
        let identities = Identities::new(
            Arc::new(signet_testkit::ManualClock::default()),
            Coalescer::start(Arc::new(Remote::default())),
            Pace::default(),
            Live::default(),
            Series::new(&signet_telemetry::Metrics::new(None)),
        );
        let files = StateDir::open(dir).expect("open");
        let shutdown = CancellationToken::new();
        let pen = files.pen().clone();
        Arc::new(Given::new(Vec::new(), pen, identities, shutdown, user))
    }

    #[tokio::test]
    async fn nobody_else_is_answered() {
        let own = signet_sys::process::uid();
        let dir = tempfile::tempdir().expect("folder");
        let given = given(&dir.path().join("state"), own + 1);
        let (ours, theirs) = UnixStream::pair().expect("pair");
        tokio::spawn(Arc::clone(&given).answer(ours));
        let (message, descriptors) = Channel::new(theirs)
            .receive()
            .await
            .expect("an answer")
            .expect("a message");
        let Message::Refused(refused) = message else {
            panic!("{message:?}");
        };
        assert_eq!((refused.code.as_str(), descriptors.len()), ("SGAG074", 0));
    }
}
