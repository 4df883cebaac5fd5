//! Asking for signatures: one call at a time, with as many wishes as have come together meanwhile.

use signet_fault::{Coded, remedy_of};
use signet_proto::agent::v1::issue_answer::Outcome;
use signet_proto::agent::v1::{IssueAnswer, IssueItem, Refusal};
use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What [`Issuer::issue`] returns.
pub type IssueFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<IssueAnswer>, IssueError>> + Send + 'a>>;

/// Why nothing was issued. Many callers may wait for one answer, hence `Clone`.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// Nobody can be asked now; the same wish may succeed later.
    #[error("the server cannot be reached: {0}")]
    Away(String),
    /// The answer does not fit the question.
    #[error("the server answered in an unexpected way: {0}")]
    Protocol(String),
    /// The server said no.
    #[error("the server refused to issue: {message} [{code}]")]
    Refused {
        /// The server's code.
        code: String,
        /// The server's words.
        message: String,
        /// Whether the same wish may succeed later.
        retry: bool,
    },
}

impl IssueError {
    /// Whether the same wish may succeed later without anybody's doing. What was issued before is as good then as it was.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Away(_) | Self::Protocol(_) => true,
            Self::Refused { retry, .. } => *retry,
        }
    }
}

impl Coded for IssueError {
    fn code(&self) -> &'static str {
        match self {
            Self::Away(_) => "SGAG024",
            Self::Protocol(_) => "SGAG025",
            Self::Refused { .. } => "SGAG026",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(crate::REGISTER, self.code())
    }
}

/// Whoever signs for the workloads of this node.
pub trait Issuer: Send + Sync + 'static {
    /// Answers `items` in their order.
    ///
    /// # Errors
    /// [`IssueError::Away`] if nobody can be asked now.
    fn issue(&self, items: Vec<IssueItem>) -> IssueFuture<'_>;
}

/// Puts wishes together, so that the server signs and records many at once. A lone wish does not wait.
#[derive(Clone)]
pub(crate) struct Coalescer(mpsc::Sender<Wish>);

struct Wish {
    item: IssueItem,
    answer: oneshot::Sender<Result<Outcome, IssueError>>,
}

impl Coalescer {
    /// Starts the task that asks `issuer`. It ends when all clones are gone.
    pub(crate) fn start(issuer: Arc<dyn Issuer>) -> Self {
        let (wishes, incoming) = mpsc::channel(WAITING_MAX);
        tokio::spawn(run(issuer, incoming));
        Self(wishes)
    }

    /// What was issued for `item`.
    ///
    /// # Errors
    /// [`IssueError`], a refusal included.
    pub(crate) async fn issue(&self, item: IssueItem) -> Result<Outcome, IssueError> {
        let (answer, outcome) = oneshot::channel();
        self.0
            .send(Wish { item, answer })
            .await
            .map_err(|_| IssueError::Away("the agent is shutting down".to_owned()))?;
        let outcome = outcome
            .await
            .map_err(|_| IssueError::Away("the agent is shutting down".to_owned()))??;
        match outcome {
            Outcome::Refusal(Refusal { code, message, retry }) => {
                Err(IssueError::Refused { code, message, retry })
            }
            issued => Ok(issued),
        }
    }
}

async fn run(issuer: Arc<dyn Issuer>, mut incoming: mpsc::Receiver<Wish>) {
    let mut wishes = Vec::with_capacity(ITEMS_MAX);
    while incoming.recv_many(&mut wishes, ITEMS_MAX).await != 0 {
        // Whoever stopped waiting need not be asked for.
        wishes.retain(|wish| !wish.answer.is_closed());
        if wishes.is_empty() {
            continue;
        }
        let (items, answers): (Vec<_>, Vec<_>) = wishes.drain(..).map(|w| (w.item, w.answer)).unzip();
        let asked = items.len();
        let result = match tokio::time::timeout(CALL_TIMEOUT, issuer.issue(items)).await {
            Ok(Ok(answered)) if answered.len() == asked => Ok(answered),
            Ok(Ok(answered)) => Err(IssueError::Protocol(format!(
                "{} answers to {asked} wishes",
                answered.len()
            ))),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(IssueError::Away("no answer in time".to_owned())),
        };
        match result {
            Ok(answered) => {
                for (answer, to) in answered.into_iter().zip(answers) {
                    let outcome = answer
                        .outcome
                        .ok_or_else(|| IssueError::Protocol("an answer without outcome".to_owned()));
                    // Nobody may be waiting any more.
                    let _ = to.send(outcome);
                }
            }
            Err(error) => {
                for to in answers {
                    let _ = to.send(Err(error.clone()));
                }
            }
        }
    }
}

/// In one call; the server allows 256.
const ITEMS_MAX: usize = 64;
/// Beyond this, callers wait before they wait.
const WAITING_MAX: usize = 4096;
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::sync::Semaphore;

    /// Names each item back; each call needs a permit to end.
    struct Echo {
        calls: Mutex<Vec<usize>>,
        gate: Semaphore,
        short: bool,
    }

    impl Echo {
        fn new(permits: usize, short: bool) -> Arc<Self> {
            Arc::new(Self {
                calls: Mutex::default(),
                gate: Semaphore::new(permits),
                short,
            })
        }
    }

    impl Issuer for Echo {
        fn issue(&self, items: Vec<IssueItem>) -> IssueFuture<'_> {
            Box::pin(async move {
                self.calls.lock().expect("lock").push(items.len());
                self.gate.acquire().await.expect("open").forget();
                let answer = |item: &IssueItem| IssueAnswer {
                    outcome: Some(Outcome::Refusal(Refusal {
                        message: String::from_utf8_lossy(&item.entry_id).into_owned(),
                        ..Refusal::default()
                    })),
                };
                Ok(items.iter().skip(usize::from(self.short)).map(answer).collect())
            })
        }
    }

    fn item(name: &str) -> IssueItem {
        IssueItem {
            entry_id: name.to_owned().into(),
            ..IssueItem::default()
        }
    }

    fn message(outcome: Result<Outcome, IssueError>) -> String {
        match outcome {
            Err(IssueError::Refused { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn wishes_that_come_while_one_call_runs_share_the_next() {
        let echo = Echo::new(0, false);
        let coalescer = Coalescer::start(echo.clone());
        let ask = |name: String| {
            let coalescer = coalescer.clone();
            tokio::spawn(async move { message(coalescer.issue(item(&name)).await) })
        };
        let first = ask("first".to_owned());
        while echo.calls.lock().expect("lock").is_empty() {
            tokio::task::yield_now().await;
        }
        let rest: Vec<_> = (0..10).map(|n| ask(n.to_string())).collect();
        while coalescer.0.capacity() != WAITING_MAX - 10 {
            tokio::task::yield_now().await;
        }
        echo.gate.add_permits(10);
        assert_eq!(first.await.expect("join"), "first");
        for (n, task) in rest.into_iter().enumerate() {
            assert_eq!(
                task.await.expect("join"),
                n.to_string(),
                "each gets its own answer"
            );
        }
        assert_eq!(*echo.calls.lock().expect("lock"), [1, 10]);
    }

    #[tokio::test]
    async fn a_wrong_number_of_answers_fails_all_and_mixes_nothing_up() {
        let coalescer = Coalescer::start(Echo::new(9, true));
        assert!(matches!(
            coalescer.issue(item("a")).await,
            Err(IssueError::Protocol(_))
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_away() {
        let coalescer = Coalescer::start(Echo::new(0, false));
        assert!(matches!(
            coalescer.issue(item("a")).await,
            Err(IssueError::Away(_))
        ));
    }
}
