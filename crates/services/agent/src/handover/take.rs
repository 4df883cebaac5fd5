//! The one that takes over.

use super::channel::Channel;
use super::message::{Hello, Listener, Message, Offer, Place, Ready, Role};
use super::{SOCKET, SOFTWARE, VERSIONS};
use crate::AgentError;
use crate::identity::InUse;
use signet_net::{TcpServer, UnixServer};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tracing::{info, warn};

/// What a running agent has offered.
pub(crate) struct Takeover {
    channel: Arc<Channel>,
    listeners: Vec<(Listener, OwnedFd)>,
    kept: Vec<Role>,
    in_use: Vec<InUse>,
}

/// The lock of the state directory and a hold on the process that has it.
pub(crate) struct Holder {
    pub(crate) lock: OwnedFd,
    process: OwnedFd,
}

impl Takeover {
    /// Asks the agent that runs on the state directory `dir`; none where no agent answers there.
    ///
    /// # Errors
    /// [`AgentError::HandoverRefused`], [`AgentError::HandoverForeign`], [`AgentError::Handover`].
    pub(crate) async fn ask(dir: &Path, user: u32) -> Result<Option<(Self, Holder)>, AgentError> {
        let path = dir.join(SOCKET);
        let stream = match UnixStream::connect(&path).await {
            Ok(stream) => stream,
            Err(e) if e.kind() == io::ErrorKind::NotFound || is_gone(&e) => return Ok(None),
            Err(source) => {
                return Err(AgentError::File {
                    action: "ask the running agent at",
                    path,
                    source,
                });
            }
        };
        // What comes is listened on for workloads: it must not come from anybody else.
        if stream.peer_cred().ok().map(|credentials| credentials.uid()) != Some(user) {
            return Err(AgentError::HandoverForeign { owner: user });
        }
        let channel = Channel::new(stream);
        let asking = async {
            let hello = Hello {
                versions: VERSIONS.to_vec(),
                software: SOFTWARE.to_owned(),
            };
            channel.send(&Message::Hello(hello), &[]).await?;
            channel.receive().await
        };
        let answer = tokio::time::timeout(OFFER_WITHIN, asking).await;
        let answer = answer.map_err(|_| broken("the running agent does not answer"))?;
        let answer = match answer {
            Err(error) if is_gone(&error) => None,
            answer => answer.map_err(|error| broken(&format!("ask the running agent: {error}")))?,
        };
        match answer {
            // It has ended meanwhile, or is about to.
            None => Ok(None),
            Some((Message::Offer(offer), descriptors)) => Self::sort(channel, offer, descriptors).map(Some),
            Some((Message::Refused(refused), _)) => Err(AgentError::HandoverRefused {
                code: super::said(&refused.code),
                message: super::said(&refused.message),
            }),
            Some(_) => Err(broken("the running agent answered out of turn")),
        }
    }

    /// Which descriptor is what.
    fn sort(
        channel: Channel,
        offer: Offer,
        mut descriptors: Vec<OwnedFd>,
    ) -> Result<(Self, Holder), AgentError> {
        if !VERSIONS.contains(&offer.version) {
            return Err(AgentError::HandoverVersion {
                software: super::said(&offer.software),
                ours: VERSIONS,
            });
        }
        let (Some(process), Some(lock)) = (descriptors.pop(), descriptors.pop()) else {
            return Err(broken("the offer lacks descriptors"));
        };
        if descriptors.len() != offer.listeners.len() {
            return Err(broken("the offer has other descriptors than it says"));
        }
        info!(
            software = super::said(&offer.software),
            "preparing to take over from a running agent"
        );
        let this = Self {
            channel: Arc::new(channel),
            listeners: offer.listeners.into_iter().zip(descriptors).collect(),
            kept: Vec::new(),
            in_use: offer.in_use,
        };
        Ok((this, Holder { lock, process }))
    }

    /// The listener on the socket `path`, if that was offered.
    ///
    /// # Errors
    /// As [`UnixServer::adopt`].
    pub(crate) fn unix(&mut self, role: Role, path: &Path) -> Result<Option<UnixServer>, AgentError> {
        let wanted = |listener: &Listener| match &listener.place {
            Place::Unix {
                path: offered,
                dev,
                ino,
            } if offered == path => Some((*dev, *ino)),
            _ => None,
        };
        let Some((identity, descriptor)) = self.pick(role, wanted) else {
            return Ok(None);
        };
        Ok(Some(UnixServer::adopt(descriptor, path, identity)?))
    }

    /// The listener on `address`, if that was offered.
    ///
    /// # Errors
    /// As [`TcpServer::adopt`].
    pub(crate) fn tcp(&mut self, role: Role, address: SocketAddr) -> Result<Option<TcpServer>, AgentError> {
        let wanted = |listener: &Listener| (listener.place == Place::Tcp(address)).then_some(());
        let Some(((), descriptor)) = self.pick(role, wanted) else {
            return Ok(None);
        };
        Ok(Some(TcpServer::adopt(descriptor, address)?))
    }

    fn pick<T>(&mut self, role: Role, wanted: impl Fn(&Listener) -> Option<T>) -> Option<(T, OwnedFd)> {
        let found = self
            .listeners
            .iter()
            .enumerate()
            .find_map(|(place, (listener, _))| {
                let wanted = wanted(listener).filter(|_| listener.role == role)?;
                Some((place, wanted))
            });
        let (place, wanted) = found?;
        self.kept.push(role);
        Some((wanted, self.listeners.swap_remove(place).1))
    }

    /// What callers of the running agent use.
    pub(crate) fn in_use(&mut self) -> Vec<InUse> {
        core::mem::take(&mut self.in_use)
    }

    /// Says that this agent is ready, and accepts.
    pub(crate) async fn ready(self) {
        let ready = Message::Ready(Ready { kept: self.kept });
        // One that is gone by now is noticed by whoever waits for its word.
        if let Err(error) = self.channel.send(&ready, &[]).await {
            warn!(%error, "the agent that ran does not listen any more");
        }
    }

    /// Returns when the agent that ran has nothing more to say: it is done, or has ended.
    ///
    /// # Errors
    /// It goes on instead.
    pub(crate) fn done(
        &self,
        holder: OwnedFd,
    ) -> impl Future<Output = Result<(), AgentError>> + Send + use<> {
        let channel = Arc::clone(&self.channel);
        async move {
            match channel.receive().await {
                Ok(Some((Message::Done(_), _))) => Ok(()),
                Ok(Some((Message::Refused(refused), _))) => Err(AgentError::HandoverRefused {
                    code: super::said(&refused.code),
                    message: super::said(&refused.message),
                }),
                Ok(Some(_)) => Err(broken("the running agent spoke out of turn")),
                Ok(None) | Err(_) => {
                    match tokio::time::timeout(ENDED_WITHIN, signet_sys::process::ended(holder)).await {
                        Ok(Ok(())) => {
                            warn!("the agent that ran has ended before the handover was done");
                            Ok(())
                        }
                        _ => Err(broken("the running agent broke off and goes on")),
                    }
                }
            }
        }
    }
}

impl Holder {
    /// The lock, and apart from it the process.
    pub(crate) fn split(self) -> (OwnedFd, OwnedFd) {
        (self.lock, self.process)
    }
}

/// Whoever listened there does not any more.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn broken(why: &str) -> AgentError {
    AgentError::Handover(why.to_owned())
}

/// For the answer of an agent that may have much to do.
const OFFER_WITHIN: Duration = Duration::from_secs(10);
/// From the end of the connection to the end of the process that closed it by ending.
const ENDED_WITHIN: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::super::message::Done;
    use super::*;
    use signet_fault::Coded as _;
    use std::os::fd::AsFd as _;

    /// Whether there was an offer.
    async fn asked(answer: Option<Message>, descriptors: usize, user: u32) -> Result<bool, AgentError> {
        let dir = tempfile::tempdir().expect("folder");
        let listener = tokio::net::UnixListener::bind(dir.path().join(SOCKET)).expect("bind");
        let running = async {
            let (stream, _) = listener.accept().await.expect("accept");
            let channel = Channel::new(stream);
            let Some(answer) = answer else { return };
            channel.receive().await.expect("a hello");
            let any = vec![listener.as_fd(); descriptors];
            channel.send(&answer, &any).await.expect("sent");
            let _ = channel.receive().await;
        };
        tokio::select! {
            taken = Takeover::ask(dir.path(), user) => taken.map(|taken| taken.is_some()),
            () = async { running.await; core::future::pending().await } => unreachable!(),
        }
    }

    fn offer(version: u32) -> Message {
        Message::Offer(Offer {
            version,
            software: String::new(),
            listeners: Vec::new(),
            in_use: Vec::new(),
        })
    }

    #[tokio::test]
    async fn only_an_agent_of_this_user_that_speaks_as_this_one_is_taken_over_from() {
        let own = signet_sys::process::uid();
        assert!(asked(Some(offer(1)), 2, own).await.expect("an offer"));
        assert!(!asked(None, 0, own).await.expect("it has ended"));
        for (answer, descriptors, user, expected) in [
            (Some(offer(1)), 2, own + 1, "SGAG074"),
            (Some(offer(9)), 2, own, "SGAG076"),
            (Some(offer(1)), 1, own, "SGAG078"),
            (Some(offer(1)), 3, own, "SGAG078"),
            (Some(Message::Done(Done {})), 0, own, "SGAG078"),
        ] {
            let refused = asked(answer, descriptors, user).await.expect_err("refused");
            assert_eq!(refused.code(), expected, "{refused}");
        }
        let dir = tempfile::tempdir().expect("folder");
        assert!(Takeover::ask(dir.path(), own).await.expect("nobody").is_none());
        drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET)).expect("bind"));
        assert!(Takeover::ask(dir.path(), own).await.expect("nobody").is_none());
    }
}
