use super::rate::Rate;
use super::talk::{Asks, Heard, Talk};
use crate::AgentError;
use crate::metrics::SecretRequest;
use crate::workload::{Step, Stepping, Watched};
use bytes::Bytes;
use tokio::time::Instant;
use tonic::{Status, Streaming};
use tracing::{debug, warn};

/// One open stream of secrets.
pub(super) struct Subscriber<R> {
    talk: Talk,
    watched: Watched,
    rate: Rate,
    /// None: there will be no more.
    requests: Option<Streaming<R>>,
}

impl<R: Asks> Subscriber<R> {
    pub(super) fn new(talk: Talk, watched: Watched, requests: Streaming<R>) -> Self {
        Self {
            talk,
            watched,
            rate: Rate::new(Instant::now()),
            requests: Some(requests),
        }
    }

    /// Of a caller with one request.
    ///
    /// # Errors
    /// As [`Asks::tell`].
    pub(super) fn asked_once(talk: Talk, watched: Watched, request: R) -> Result<Self, AgentError> {
        let mut this = Self {
            talk,
            watched,
            rate: Rate::new(Instant::now()),
            requests: None,
        };
        this.hear(&request)?;
        Ok(this)
    }

    pub(super) fn stepping(self) -> Stepping {
        Stepping::new(async move {
            let (next, step) = self.step().await;
            (next.map(Self::stepping), step)
        })
    }

    /// Waits for the next message or the end.
    async fn step(mut self) -> (Option<Self>, Step) {
        match self.next().await {
            Ok(Some(message)) => (Some(self), Step::Message(message)),
            Ok(None) => (None, Step::End(Status::ok(""))),
            Err(error) => {
                let end = self.watched.end(&error);
                (None, end)
            }
        }
    }

    /// The next message; none when the client has no more to say and was told all.
    async fn next(&mut self) -> Result<Option<Bytes>, AgentError> {
        loop {
            if let Some(message) = self.talk.say(&self.watched.look())? {
                self.watched.still_same()?;
                return Ok(Some(message));
            }
            let Some(requests) = &mut self.requests else {
                if !self.talk.owes() {
                    return Ok(None);
                }
                self.watched.stirred().await?;
                continue;
            };
            tokio::select! {
                biased;
                stirred = self.watched.stirred() => stirred?,
                request = requests.message() => match request {
                    Ok(Some(request)) => self.hear(&request)?,
                    Ok(None) => self.requests = None,
                    Err(_) => {
                        return Err(AgentError::SecretRequest("it is cut off, too long or not protobuf"));
                    }
                },
            }
        }
    }

    fn hear(&mut self, request: &R) -> Result<(), AgentError> {
        self.rate.take(Instant::now())?;
        let heard = request.tell(&mut self.talk)?;
        self.watched.series().secrets_asked(match heard {
            Heard::Subscription => SecretRequest::Subscription,
            Heard::Ack => SecretRequest::Ack,
            Heard::Nack(_) => SecretRequest::Nack,
            Heard::Stale => SecretRequest::Stale,
        });
        let pid = self.watched.pid();
        match heard {
            Heard::Nack(reason) => {
                let names = self.talk.names();
                warn!(pid, reason, names, "envoy refused secrets");
            }
            heard => debug!(pid, ?heard, "request for secrets"),
        }
        if self.talk.wants_certificates() {
            self.watched.want_x509();
        }
        Ok(())
    }
}
