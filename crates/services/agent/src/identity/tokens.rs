use super::jwt::{Found, JwtKey, JwtResult};
use super::{EntryId, Identities, JwtSvid};
use crate::metrics::{IssueKind, Outcome};
use crate::{AgentError, IssueError};
use signet_proto::agent::v1::issue_answer::Outcome as Issued;
use signet_proto::agent::v1::{IssueItem, JwtWish, issue_item::Wish};
use std::sync::Arc;
use tokio::sync::watch;

impl Identities {
    /// A JWT-SVID of `entry` for `audiences`: from memory, else from the server; past half its life it is replaced,
    /// and if that fails handed out until it expires.
    pub(crate) async fn jwt(
        self: &Arc<Self>,
        entry: EntryId,
        audiences: &[String],
    ) -> Result<Arc<JwtSvid>, AgentError> {
        let mut sorted = audiences.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let key = JwtKey {
            entry,
            audiences: sorted.into(),
        };
        let (ageing, mut wait) = {
            let mut inner = self.lock();
            let ageing = match inner.jwt.find(&key, self.clock.now()) {
                Found::Fresh(token) => return Ok(token),
                Found::Ageing(token) => Some(token),
                Found::Nothing => None,
            };
            let wait = match inner.jwt.under_way(&key) {
                Some(wait) => wait,
                None => {
                    let (done, wait) = inner.jwt.begin(key.clone());
                    // A task of its own: whoever asked first may leave, the others go on waiting.
                    tokio::spawn(Arc::clone(self).fetch_jwt(key.clone(), done));
                    wait
                }
            };
            (ageing, wait)
        };
        let result = match wait.wait_for(Option::is_some).await {
            Ok(done) => done.clone(),
            Err(_) => None,
        };
        match result.unwrap_or_else(|| Err(IssueError::Away("the agent is shutting down".to_owned()))) {
            Ok(token) => Ok(token),
            Err(error @ (IssueError::Away(_) | IssueError::Protocol(_))) => match ageing {
                Some(token) if token.is_valid(self.clock.now()) => Ok(token),
                _ => Err(error.into()),
            },
            // A refusal counts: what the server would not issue any more is not handed out either.
            Err(error) => Err(error.into()),
        }
    }

    async fn fetch_jwt(self: Arc<Self>, key: JwtKey, done: watch::Sender<Option<JwtResult>>) {
        let began = tokio::time::Instant::now();
        let item = IssueItem {
            entry_id: key.entry.to_vec().into(),
            wish: Some(Wish::Jwt(JwtWish {
                audience: key.audiences.to_vec(),
            })),
        };
        let now = self.clock.now();
        let result = match self.coalescer.issue(item).await {
            Ok(Issued::Jwt(issued)) => {
                let token = JwtSvid::new(issued, self.clock.now());
                if token.is_valid(now) {
                    Ok(Arc::new(token))
                } else {
                    Err(IssueError::Protocol("a token that has expired".to_owned()))
                }
            }
            Ok(_) => Err(IssueError::Protocol(
                "no token as answer to a wish for one".to_owned(),
            )),
            Err(error) => Err(error),
        };
        self.series
            .issued(IssueKind::Jwt, Outcome::of(&result), began.elapsed());
        let mut inner = self.lock();
        inner.jwt.end(&key);
        // An entry that went away meanwhile leaves no token behind.
        if let Ok(token) = &result
            && inner.index.as_ref().is_some_and(|index| index.has(key.entry))
        {
            inner.jwt.insert(key, Arc::clone(token));
        }
        drop(inner);
        done.send_replace(Some(result));
    }
}
