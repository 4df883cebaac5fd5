use super::cache::Found;
use super::inner::Inner;
use super::jwt::JwtKey;
use super::under_way::{JwtResult, Waiting};
use super::{Identities, JwtSvid};
use crate::metrics::{IssueKind, Outcome};
use crate::{AgentError, IssueError};
use signet_feed::FeedEntry;
use signet_proto::agent::v1::issue_answer::Outcome as Issued;
use signet_proto::agent::v1::{JwtWish, issue_item::Wish};
use std::sync::Arc;

impl Identities {
    /// A JWT-SVID of `entry` for `audiences`: from memory, else from the server.
    ///
    /// One past half its life is handed out at once while the server is asked for another one, so that a server that is
    /// away or hangs keeps nobody waiting. Only in its last seconds the new one is waited for. What the server refuses
    /// to renew is forgotten.
    ///
    /// Before the server is asked, `place` is called; what it gives is kept until the server has answered, even if
    /// whoever asked has left. Where it gives none, a token that is still valid is handed out all the same.
    pub(crate) async fn jwt<P: Send + 'static>(
        self: &Arc<Self>,
        entry: &Arc<FeedEntry>,
        audiences: &[String],
        place: impl FnOnce() -> Result<P, AgentError>,
    ) -> Result<Arc<JwtSvid>, AgentError> {
        let key = JwtKey::of(entry, audiences);
        let now = self.clock.now();
        let (kept, mut waiting) = {
            let mut inner = self.lock();
            let (kept, is_due) = match inner.jwt.find(&key, now) {
                Found::Fresh(token) => return Ok(token),
                Found::Ageing { token, is_due } => (Some(token), is_due),
                Found::Nothing => (None, true),
            };
            let waiting = match (inner.under_way.find(&key), &kept) {
                (Some(waiting), _) => waiting,
                (None, Some(token)) if !is_due => return Ok(Arc::clone(token)),
                (None, _) => match place() {
                    Ok(place) => self.begin(&mut inner, entry, key, place),
                    // A token that is valid needs no place: another call will have it replaced.
                    Err(error) => return kept.ok_or(error),
                },
            };
            if let Some(token) = kept.as_ref().filter(|token| token.is_lasting(now)) {
                return Ok(Arc::clone(token));
            }
            (kept, waiting)
        };
        let result = match waiting.wait_for(Option::is_some).await {
            Ok(done) => done.clone(),
            Err(_) => None,
        };
        match result.unwrap_or_else(|| Err(IssueError::Away("the agent is shutting down".to_owned()))) {
            Ok(token) => Ok(token),
            Err(error) if error.is_passing() => kept
                .filter(|token| token.is_valid(self.clock.now()))
                .ok_or_else(|| error.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the server, in a task of its own: whoever asked first may leave, the others go on waiting.
    fn begin<P: Send + 'static>(
        self: &Arc<Self>,
        inner: &mut Inner,
        entry: &Arc<FeedEntry>,
        key: JwtKey,
        place: P,
    ) -> Waiting {
        let (number, done, waiting) = inner.under_way.begin(&key);
        let fetch = Arc::clone(self).fetch_jwt(Arc::clone(entry), key, number);
        tokio::spawn(async move {
            let result = fetch.await;
            // Whoever has an answer may ask again at once, and must not find its own place taken.
            drop(place);
            done.send_replace(Some(result));
        });
        waiting
    }

    async fn fetch_jwt(self: Arc<Self>, entry: Arc<FeedEntry>, key: JwtKey, number: u64) -> JwtResult {
        let began = tokio::time::Instant::now();
        let result = self.ask_jwt(&entry, &key).await;
        self.series
            .issued(IssueKind::Jwt, Outcome::of(&result), began.elapsed());
        let now = self.clock.now();
        let mut inner = self.lock();
        let Inner {
            troubles,
            index,
            jwt,
            under_way,
            ..
        } = &mut *inner;
        // An entry that changed or went away meanwhile leaves no token behind.
        let counts = under_way.end(&key, number) && index.as_ref().is_some_and(|index| index.has(key.source));
        match &result {
            Ok(token) => {
                troubles.clear(key.entry, IssueKind::Jwt);
                if counts && token.is_valid(now) {
                    jwt.insert(key, Arc::clone(token), self.live.jwt_cache_bytes_max());
                }
            }
            Err(error) => {
                let told = error.clone().into();
                let there = |id| index.as_ref().is_some_and(|index| index.has(id));
                troubles.put(&entry, IssueKind::Jwt, &told, now, there);
                if counts && error.is_passing() {
                    jwt.failed(&key, |failures| now + self.backoff(failures, &told));
                } else if counts {
                    // What the server would not issue any more is not handed out either.
                    jwt.remove(&key);
                }
            }
        }
        drop(inner);
        result
    }

    async fn ask_jwt(&self, entry: &FeedEntry, key: &JwtKey) -> JwtResult {
        let item = entry.item(Wish::Jwt(JwtWish {
            audience: key.audiences.to_vec(),
        }));
        let asked_at = self.clock.now();
        match self.coalescer.issue(item).await? {
            Issued::Jwt(issued) => {
                let token = JwtSvid::new(issued, self.clock.now());
                // One that has not begun by this clock is handed out: others may have a better one. It is not kept.
                if token.has_ended(asked_at) {
                    Err(IssueError::Protocol("a token that has expired".to_owned()))
                } else {
                    Ok(Arc::new(token))
                }
            }
            _ => Err(IssueError::Protocol(
                "no token as answer to a wish for one".to_owned(),
            )),
        }
    }
}
