use crate::AgentsError;
use crate::agents::Agents;
use crate::metrics::{Kind, Outcome};
use crate::peer::NodePeer;
use bytes::Bytes;
use signet_authority::{JwtRequest, JwtSvid, Profile, WitRequest, WitSvid, X509Request, X509Svid, limits};
use signet_decision::{Action, Decision, Denied};
use signet_fault::{Coded as _, chain};
use signet_feed::ITEMS_MAX;
use signet_id::SpiffeId;
use signet_proto::agent::v1::issue_answer::Outcome as Answered;
use signet_proto::agent::v1::issue_item::Wish;
use signet_proto::agent::v1::{self, IssueAnswer};
use signet_record::{RecordError, Recorder, Unrecorded};
use signet_registry::{Claims, Entry, EntryId};
use signet_telemetry::RequestId;
use signet_time::UnixTime;
use signet_x509::Csr;
use std::sync::Arc;
use tokio::time::Instant;
use tracing::info;

/// What came of one wish before the record.
enum Signed {
    X509(Unrecorded<X509Svid>),
    Jwt(Unrecorded<JwtSvid>),
    Wit(Unrecorded<WitSvid>),
    Refused(AgentsError),
}

/// Signs for the workloads of one node, a few wishes at each of its turns. Each wish is answered for itself; the
/// records of all are under way at once.
pub(crate) async fn issue(
    agents: &Agents,
    node: &NodePeer,
    request: v1::IssueRequest,
    request_id: &RequestId,
) -> Result<v1::IssueResponse, AgentsError> {
    let given = request.items.len();
    if !(1..=ITEMS_MAX).contains(&given) {
        return Err(AgentsError::ItemCount { max: ITEMS_MAX });
    }
    let (now, began) = (agents.clock.now(), Instant::now());
    let mut answers: Vec<Option<IssueAnswer>> = Vec::with_capacity(given);
    let (mut kinds, mut asked) = (Vec::with_capacity(given), Vec::with_capacity(given));
    let (mut x509, mut jwt, mut wit) = (Batch::default(), Batch::default(), Batch::default());
    let mut turn = agents.turns.take(&node.id).await;
    for (index, item) in request.items.into_iter().enumerate() {
        if index != 0 && index.is_multiple_of(TURN_ITEMS) {
            turn = turn.again(&node.id).await;
        }
        let kind = match item.wish {
            Some(Wish::Jwt(_)) => Kind::Jwt,
            Some(Wish::Wit(_)) => Kind::Wit,
            _ => Kind::X509,
        };
        kinds.push(kind);
        asked.push(EntryId::from_slice(&item.entry_id));
        match sign(agents, node, item, request_id, now).await {
            Signed::X509(unrecorded) => x509.push(index, unrecorded),
            Signed::Jwt(unrecorded) => jwt.push(index, unrecorded),
            Signed::Wit(unrecorded) => wit.push(index, unrecorded),
            Signed::Refused(error) => {
                answers.push(Some(refusal(agents, kind, node, &error, request_id)));
                continue;
            }
        }
        answers.push(None);
    }
    drop(turn);
    let recorder = agents.authority.recorder();
    let (x509, jwt, wit) = tokio::join!(
        x509.release(recorder),
        jwt.release(recorder),
        wit.release(recorder)
    );
    let mut settling = Settling {
        agents,
        node,
        request_id,
        now,
        asked: &asked,
        answers: &mut answers,
    };
    settling.settle(Kind::X509, x509, x509_answer);
    settling.settle(Kind::Jwt, jwt, jwt_answer);
    settling.settle(Kind::Wit, wit, wit_answer);
    let took = began.elapsed().as_secs_f64();
    for kind in [Kind::X509, Kind::Jwt, Kind::Wit]
        .into_iter()
        .filter(|kind| kinds.contains(kind))
    {
        agents.series.took(kind, took);
    }
    // Every place is filled: each wish was refused or released.
    let answers = answers.into_iter().map(Option::unwrap_or_default).collect();
    Ok(v1::IssueResponse { answers })
}

/// Credentials of one kind on their way through the record, and where their answers go.
struct Batch<C> {
    places: Vec<usize>,
    unrecorded: Vec<Unrecorded<C>>,
}

impl<C> Default for Batch<C> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            unrecorded: Vec::new(),
        }
    }
}

impl<C> Batch<C> {
    fn push(&mut self, index: usize, unrecorded: Unrecorded<C>) {
        self.places.push(index);
        self.unrecorded.push(unrecorded);
    }

    /// Has all of them recorded; each with the place of its answer.
    async fn release(self, recorder: &Recorder) -> Vec<(usize, Result<C, RecordError>)> {
        let released = recorder.release_all(self.unrecorded).await;
        self.places.into_iter().zip(released).collect()
    }
}

/// What an item names, whatever it wishes for.
struct Asked {
    entry_id: Bytes,
    claims: Claims,
}

async fn sign(
    agents: &Agents,
    node: &NodePeer,
    item: v1::IssueItem,
    request_id: &RequestId,
    now: UnixTime,
) -> Signed {
    let asked = Asked {
        entry_id: item.entry_id,
        claims: Claims {
            spiffe_id: item.spiffe_id,
            facts: item
                .facts
                .into_iter()
                .map(|fact| (fact.name, fact.value))
                .collect(),
        },
    };
    let signed = match item.wish {
        Some(Wish::X509(wish)) => sign_x509(agents, node, &asked, &wish, request_id, now)
            .await
            .map(Signed::X509),
        Some(Wish::Jwt(wish)) => sign_jwt(agents, node, &asked, wish, request_id, now)
            .await
            .map(Signed::Jwt),
        Some(Wish::Wit(wish)) => sign_wit(agents, node, &asked, &wish, request_id, now)
            .await
            .map(Signed::Wit),
        None => Err(AgentsError::Item {
            what: "it wishes for nothing",
        }),
    };
    signed.unwrap_or_else(Signed::Refused)
}

async fn sign_x509(
    agents: &Agents,
    node: &NodePeer,
    asked: &Asked,
    wish: &v1::X509Wish,
    request_id: &RequestId,
    now: UnixTime,
) -> Result<Unrecorded<X509Svid>, AgentsError> {
    let Entitled { entry, id, decision } = entitled(agents, node, asked, Action::ISSUE_X509_SVID, now)?;
    let request = X509Request {
        id,
        dns_names: entry.dns_names.clone(),
        ttl: entry.x509_ttl,
        csr: Csr::parse(&wish.csr)?,
        context: agents.context(Some(*entry.id.as_bytes()), request_id),
    };
    let slot = agents.authority.recorder().reserve()?;
    let admitted = agents
        .authority
        .admit_x509(request, Profile::Workload, &decision, slot, now)?;
    Ok(agents.authority.sign(admitted).await?)
}

async fn sign_jwt(
    agents: &Agents,
    node: &NodePeer,
    asked: &Asked,
    wish: v1::JwtWish,
    request_id: &RequestId,
    now: UnixTime,
) -> Result<Unrecorded<JwtSvid>, AgentsError> {
    // Before anything is done with them.
    if wish.audience.len() > limits::AUDIENCES_MAX {
        return Err(AgentsError::Issue(signet_authority::IssueError::AudienceCount {
            given: wish.audience.len(),
            max: limits::AUDIENCES_MAX,
        }));
    }
    let Entitled { entry, id, decision } = entitled(agents, node, asked, Action::ISSUE_JWT_SVID, now)?;
    let request = JwtRequest {
        id,
        audiences: wish.audience,
        allowed_audiences: entry.jwt_audiences.clone(),
        ttl: entry.jwt_ttl,
        context: agents.context(Some(*entry.id.as_bytes()), request_id),
    };
    let slot = agents.authority.recorder().reserve()?;
    let admitted = agents.authority.admit_jwt(request, &decision, slot, now)?;
    Ok(agents.authority.sign(admitted).await?)
}

async fn sign_wit(
    agents: &Agents,
    node: &NodePeer,
    asked: &Asked,
    wish: &v1::WitWish,
    request_id: &RequestId,
    now: UnixTime,
) -> Result<Unrecorded<WitSvid>, AgentsError> {
    let Entitled { entry, id, decision } = entitled(agents, node, asked, Action::ISSUE_WIT_SVID, now)?;
    let request = WitRequest {
        id,
        // Bound to a key like an X.509-SVID, it lives as long as one.
        ttl: entry.x509_ttl,
        csr: Csr::parse(&wish.csr)?,
        context: agents.context(Some(*entry.id.as_bytes()), request_id),
    };
    let slot = agents.authority.recorder().reserve()?;
    let admitted = agents.authority.admit_wit(request, &decision, slot, now)?;
    Ok(agents.authority.sign(admitted).await?)
}

/// What a node may have, and the decision that says so.
struct Entitled {
    entry: Arc<Entry>,
    id: SpiffeId,
    decision: Decision,
}

/// What an item names, if this node may have credentials for it.
fn entitled(
    agents: &Agents,
    node: &NodePeer,
    asked: &Asked,
    action: Action,
    now: UnixTime,
) -> Result<Entitled, AgentsError> {
    let id = EntryId::from_slice(&asked.entry_id).ok_or(AgentsError::Item {
        what: "the entry's id is not 16 bytes",
    })?;
    let found = agents
        .registry
        .read(|state| state.entitlement(&node.id, id, &asked.claims, action, now));
    if let Some(error) = found.claim {
        return Err(AgentsError::Claim(error));
    }
    match (found.entry, found.spiffe_id) {
        (Some(entry), Some(id)) => Ok(Entitled {
            entry,
            id,
            decision: found.decision,
        }),
        // The same words whether there is no such entry or it is another node's.
        _ => Err(AgentsError::Issue(signet_authority::IssueError::Denied(
            found.decision.permit().err().unwrap_or(Denied::OtherRequest),
        ))),
    }
}

/// Answers on their way into their places.
struct Settling<'a> {
    agents: &'a Agents,
    node: &'a NodePeer,
    request_id: &'a RequestId,
    now: UnixTime,
    /// The entry that each wish named.
    asked: &'a [Option<EntryId>],
    answers: &'a mut [Option<IssueAnswer>],
}

impl Settling<'_> {
    fn settle<C>(
        &mut self,
        kind: Kind,
        released: Vec<(usize, Result<C, RecordError>)>,
        answer: fn(C) -> Answered,
    ) {
        for (place, released) in released {
            let filled = match released {
                Ok(credential) => {
                    self.agents.series.issued(kind, Outcome::Ok);
                    if let Some(Some(entry)) = self.asked.get(place) {
                        self.agents.registry.note_use(*entry, self.now);
                    }
                    IssueAnswer {
                        outcome: Some(answer(credential)),
                    }
                }
                Err(error) => {
                    let error = AgentsError::Record(error);
                    refusal(self.agents, kind, self.node, &error, self.request_id)
                }
            };
            if let Some(slot) = self.answers.get_mut(place) {
                *slot = Some(filled);
            }
        }
    }
}

fn x509_answer(svid: X509Svid) -> Answered {
    Answered::X509(v1::X509Issued {
        chain: svid.chain.iter().map(|der| Bytes::copy_from_slice(der)).collect(),
        not_after_s: svid.not_after.as_secs(),
    })
}

fn jwt_answer(svid: JwtSvid) -> Answered {
    Answered::Jwt(v1::JwtIssued {
        token: svid.token,
        issued_at_s: svid.issued_at.as_secs(),
        expires_at_s: svid.expires_at.as_secs(),
    })
}

fn wit_answer(svid: WitSvid) -> Answered {
    Answered::Wit(v1::WitIssued {
        token: svid.token,
        issued_at_s: svid.issued_at.as_secs(),
        expires_at_s: svid.expires_at.as_secs(),
    })
}

fn refusal(
    agents: &Agents,
    kind: Kind,
    node: &NodePeer,
    error: &AgentsError,
    request_id: &RequestId,
) -> IssueAnswer {
    let outcome = if error.is_passing() {
        Outcome::Error
    } else {
        Outcome::Refused
    };
    agents.series.issued(kind, outcome);
    info!(%request_id, node = %node.id, kind = kind.as_str(), code = error.code(), error = chain(error), "wish refused");
    IssueAnswer {
        outcome: Some(Answered::Refusal(v1::Refusal {
            code: error.code().to_owned(),
            message: error.message(),
            retry: error.is_passing(),
        })),
    }
}

/// Wishes signed in one turn: some 0.5 ms for certificates, 0.1 ms for tokens. Fewer would be mostly waiting.
const TURN_ITEMS: usize = 8;
