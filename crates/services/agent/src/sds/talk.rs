use super::names::{self, Wanted};
use super::secret::{Found, SECRET_TYPE, Secret, Validation, find};
use super::settings::SdsSettings;
use crate::AgentError;
use crate::identity::{Sight, frame};
use bytes::Bytes;
use prost::Message;
use prost_types::value::Kind;
use signet_crypto::digest::{Sha256, hex};
use signet_fault::shown;
use signet_proto::sds::envoy::config::core::v3::Node;
use signet_proto::sds::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use signet_proto::sds::google::rpc::Status;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What was said on one stream: what is wanted, what was sent, and what came back. The state of the world and deltas are
/// two ways to say it; what there is to be said is decided here for both.
pub(super) struct Talk {
    settings: Arc<SdsSettings>,
    extent: Extent,
    validation: Validation,
    asked: Asked,
    /// What the client was told of each secret last. What was refused stands here, too: it is not sent again before it
    /// changes.
    told: BTreeMap<String, Told>,
    /// Something that is wanted was not there yet.
    awaits: bool,
    /// Of the response that was sent last.
    version: String,
    /// Responses so far; the nonce of the last one.
    count: u64,
}

/// How much is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Whatever is new, as soon as it is there.
    Changes,
    /// The same, and what is there no more, to a client that says what changes in what it wants.
    Deltas,
    /// All of it in one message, which waits for what is on its way.
    Whole,
}

/// What the client asked for.
#[derive(Default)]
struct Asked {
    began: bool,
    /// All that it may have; nobody named it.
    everything: bool,
    named: Wanted,
}

/// What a client was told of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// Its version.
    Is(String),
    /// That there is none.
    IsNot,
}

/// All that is wanted, as it is now.
struct State {
    here: Vec<(String, Secret)>,
    /// Named where names may stand for nothing, and standing for nothing.
    missing: Vec<String>,
    awaited: Vec<String>,
}

/// What a request was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It answers nothing: the first one of a stream, or of deltas one that changes what is wanted.
    Subscription,
    /// A response was taken.
    Ack,
    /// A response was refused, for this reason: in the client's words, safe to be shown.
    Nack(String),
    /// It answers a response that is not the last one, or of deltas none of this stream.
    Stale,
}

/// A request that a stream of secrets begins and goes on with.
pub(super) trait Asks: Message + Default + 'static {
    /// Takes it in.
    ///
    /// # Errors
    /// [`AgentError::SecretRequest`], [`AgentError::SecretUnknown`].
    fn tell(&self, talk: &mut Talk) -> Result<Heard, AgentError>;
}

impl Asks for DiscoveryRequest {
    fn tell(&self, talk: &mut Talk) -> Result<Heard, AgentError> {
        talk.hear(self)
    }
}

impl Asks for DeltaDiscoveryRequest {
    fn tell(&self, talk: &mut Talk) -> Result<Heard, AgentError> {
        talk.hear_delta(self)
    }
}

impl Talk {
    pub(super) fn new(settings: Arc<SdsSettings>, extent: Extent) -> Self {
        Self {
            validation: match settings.disable_spiffe_cert_validation {
                true => Validation::Chain,
                false => Validation::Spiffe,
            },
            settings,
            extent,
            asked: Asked::default(),
            told: BTreeMap::new(),
            awaits: false,
            version: String::new(),
            count: 0,
        }
    }

    /// Takes a request in that says all of what is wanted.
    fn hear(&mut self, request: &DiscoveryRequest) -> Result<Heard, AgentError> {
        of_secrets(&request.type_url)?;
        let heard = self.judge(request);
        // The client sends what it wants once more when it answers the last response, so nothing is lost.
        if heard == Heard::Stale {
            return Ok(heard);
        }
        self.know(request.node.as_ref())?;
        let asked = if request.resource_names.is_empty() && (!self.asked.began || self.asked.everything) {
            Asked {
                everything: true,
                ..Asked::default()
            }
        } else {
            let named = names::read(&request.resource_names, &self.settings)?;
            // What a client lets go and wants again it is sent again.
            self.told.retain(|name, _| named.contains_key(name));
            Asked {
                named,
                ..Asked::default()
            }
        };
        self.asked = Asked { began: true, ..asked };
        Ok(heard)
    }

    fn judge(&self, request: &DiscoveryRequest) -> Heard {
        if self.count == 0 {
            return Heard::Subscription;
        }
        if request.response_nonce != self.count.to_string() {
            return Heard::Stale;
        }
        match &request.error_detail {
            Some(detail) => refusal(detail),
            None if request.version_info != self.version => {
                Heard::Nack("another version was named as the one in use".to_owned())
            }
            None => Heard::Ack,
        }
    }

    /// Takes a request in that says what changes in what is wanted. It counts whatever response it answers, for nobody says
    /// it again.
    fn hear_delta(&mut self, request: &DeltaDiscoveryRequest) -> Result<Heard, AgentError> {
        of_secrets(&request.type_url)?;
        self.know(request.node.as_ref())?;
        let (come, go) = (
            &request.resource_names_subscribe,
            &request.resource_names_unsubscribe,
        );
        let named = names::change(&self.asked.named, come, go, &self.settings)?;
        let is_first = !self.asked.began;
        let says_nothing = come.is_empty() && go.is_empty();
        let everything = match (names::has_all(come), names::has_all(go)) {
            (true, _) => true,
            (_, true) => false,
            _ => self.asked.everything || (is_first && says_nothing),
        };
        // What is let go, and what is wanted once more, was never told.
        for name in come.iter().chain(go) {
            self.told.remove(name);
        }
        if !everything {
            self.told.retain(|name, _| named.contains_key(name));
        }
        if is_first {
            self.know_held(&request.initial_resource_versions, everything, &named)?;
        }
        self.asked = Asked {
            began: true,
            everything,
            named,
        };
        Ok(self.judge_delta(request))
    }

    /// Takes up what the client has from another stream.
    fn know_held(
        &mut self,
        held: &HashMap<String, String>,
        everything: bool,
        named: &Wanted,
    ) -> Result<(), AgentError> {
        if held.len() > HELD_MAX {
            return Err(AgentError::SecretRequest(
                "it has more than 4096 initial resource versions",
            ));
        }
        for (name, version) in held {
            names::check_length(name)?;
            if everything || named.contains_key(name) {
                // One that is as long as none of ours is another's, and as good as none.
                let version = Some(version).filter(|version| version.len() == 2 * VERSION_BYTES);
                self.told
                    .insert(name.clone(), Told::Is(version.cloned().unwrap_or_default()));
            }
        }
        Ok(())
    }

    fn judge_delta(&self, request: &DeltaDiscoveryRequest) -> Heard {
        let nonce = &request.response_nonce;
        if nonce.is_empty() {
            return Heard::Subscription;
        }
        // Several responses may be under way at once.
        let number = nonce
            .parse()
            .ok()
            .filter(|number: &u64| number.to_string() == *nonce);
        if !number.is_some_and(|number| (1..=self.count).contains(&number)) {
            return Heard::Stale;
        }
        request.error_detail.as_ref().map_or(Heard::Ack, refusal)
    }

    /// Takes up what the client's node says of itself, if it does.
    fn know(&mut self, node: Option<&Node>) -> Result<(), AgentError> {
        if let Some(validation) = node.map(validation_of).transpose()?.flatten() {
            self.validation = validation;
        }
        Ok(())
    }

    /// Whether certificates are wanted, so that some have to be made.
    pub(super) fn wants_certificates(&self) -> bool {
        self.asked.everything || self.asked.named.values().any(names::Asked::is_certificate)
    }

    /// Whether something is still to be sent when nothing changes any more.
    pub(super) const fn owes(&self) -> bool {
        self.awaits
    }

    /// The response that `sight` calls for, if any, as gRPC sends it.
    ///
    /// # Errors
    /// As [`find`]; [`AgentError::NoIdentity`] if the caller has none any more.
    pub(super) fn say(&mut self, sight: &Sight) -> Result<Option<Bytes>, AgentError> {
        if sight.entries.is_empty() {
            return Err(AgentError::NoIdentity);
        }
        if !self.asked.began {
            return Ok(None);
        }
        let state = self.state(sight)?;
        if self.extent == Extent::Whole && (self.awaits || self.count > 0) {
            return Ok(None);
        }
        let gone = match self.extent {
            Extent::Deltas => self.gone(&state),
            Extent::Changes | Extent::Whole => Vec::new(),
        };
        let mut news = Vec::new();
        for (name, secret) in state.here {
            let told = Told::Is(version_of(&secret));
            if self.told.get(&name) != Some(&told) {
                self.told.insert(name.clone(), told);
                news.push((name, secret));
            }
        }
        if news.is_empty() && gone.is_empty() && self.extent != Extent::Whole {
            return Ok(None);
        }
        for name in &gone {
            if self.asked.named.contains_key(name) {
                self.told.insert(name.clone(), Told::IsNot);
            } else {
                self.told.remove(name);
            }
        }
        self.count += 1;
        self.version = version_of_all(&self.told);
        Ok(Some(match self.extent {
            Extent::Deltas => self.encode_delta(&news, gone),
            Extent::Changes | Extent::Whole => self.encode(&news),
        }))
    }

    /// What the client has to be told that it is not there: what it was told before and is there no more, and what it named and
    /// never was.
    fn gone(&self, state: &State) -> Vec<String> {
        let here: BTreeSet<&String> = state
            .here
            .iter()
            .map(|(name, _)| name)
            .chain(&state.awaited)
            .collect();
        let missing: BTreeSet<&String> = state.missing.iter().collect();
        let had = self.told.keys().filter(|name| !here.contains(name));
        had.chain(missing.iter().copied())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .filter(|name| self.told.get(*name) != Some(&Told::IsNot))
            .cloned()
            .collect()
    }

    /// What is wanted. Notes whether that is all of it.
    fn state(&mut self, sight: &Sight) -> Result<State, AgentError> {
        let unnamed = if self.asked.everything {
            names::everything(sight)
        } else {
            Wanted::new()
        };
        let named = &self.asked.named;
        let unnamed = unnamed.iter().filter(|(name, _)| !named.contains_key(*name));
        let all = named
            .iter()
            .map(|one| (one, true))
            .chain(unnamed.map(|one| (one, false)));
        let mut state = State {
            here: Vec::new(),
            missing: Vec::new(),
            awaited: Vec::new(),
        };
        for ((name, asked), is_named) in all {
            match find(name, asked, sight, self.validation) {
                Ok(Found::Here(secret)) => state.here.push((name.clone(), secret)),
                Ok(Found::Awaited) => state.awaited.push(name.clone()),
                // Nobody named it, so there is nobody to tell.
                Err(_) if !is_named => {}
                // Deltas have words for it, and say it again when it comes.
                Err(AgentError::SecretUnknown(_)) if self.extent == Extent::Deltas => {
                    state.missing.push(name.clone());
                }
                Err(error) => return Err(error),
            }
        }
        self.awaits = !state.awaited.is_empty();
        Ok(state)
    }

    fn encode(&self, secrets: &[(String, Secret)]) -> Bytes {
        let message = DiscoveryResponse {
            version_info: self.version.clone(),
            resources: secrets.iter().map(|(name, secret)| any(name, secret)).collect(),
            type_url: SECRET_TYPE.to_owned(),
            nonce: self.count.to_string(),
        };
        let frame = frame(&message);
        wipe(message.resources);
        frame
    }

    fn encode_delta(&self, secrets: &[(String, Secret)], gone: Vec<String>) -> Bytes {
        let resource = |(name, secret): &(String, Secret)| Resource {
            name: name.clone(),
            version: version_of(secret),
            resource: Some(any(name, secret)),
        };
        let message = DeltaDiscoveryResponse {
            system_version_info: self.version.clone(),
            resources: secrets.iter().map(resource).collect(),
            type_url: SECRET_TYPE.to_owned(),
            nonce: self.count.to_string(),
            removed_resources: gone,
        };
        let frame = frame(&message);
        wipe(message.resources.into_iter().filter_map(|one| one.resource));
        frame
    }

    /// The names of what was sent, for the log.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.told.keys().map(String::as_str).collect();
        shown(&names.join(" "), DETAIL_CHARS_MAX)
    }
}

/// # Errors
/// [`AgentError::SecretRequest`] for the type of other resources.
fn of_secrets(type_url: &str) -> Result<(), AgentError> {
    if !type_url.is_empty() && type_url != SECRET_TYPE {
        return Err(AgentError::SecretRequest("its type_url is not that of secrets"));
    }
    Ok(())
}

fn refusal(detail: &Status) -> Heard {
    Heard::Nack(shown(&detail.message, DETAIL_CHARS_MAX))
}

/// What a node says of itself about who validates; none if it says nothing.
fn validation_of(node: &Node) -> Result<Option<Validation>, AgentError> {
    let metadata = node.metadata.as_ref();
    let Some(value) = metadata.and_then(|metadata| metadata.fields.get(DISABLE)) else {
        return Ok(None);
    };
    match &value.kind {
        Some(Kind::BoolValue(true)) => Ok(Some(Validation::Chain)),
        Some(Kind::BoolValue(false)) => Ok(Some(Validation::Spiffe)),
        Some(Kind::StringValue(text)) if text == "true" => Ok(Some(Validation::Chain)),
        Some(Kind::StringValue(text)) if text == "false" => Ok(Some(Validation::Spiffe)),
        _ => Err(AgentError::SecretRequest(
            "`disable_spiffe_cert_validation` in the node's metadata is neither true nor false",
        )),
    }
}

/// The same for the same secret, on every stream.
fn version_of(secret: &Secret) -> String {
    short(&secret.mark())
}

/// The same for the same secrets, on every stream.
fn version_of_all(told: &BTreeMap<String, Told>) -> String {
    let mut hash = Sha256::new();
    for (name, told) in told {
        let Told::Is(version) = told else { continue };
        for text in [name, version] {
            hash.update(&(text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
    }
    short(&hash.finish())
}

fn short(hash: &[u8; 32]) -> String {
    hex(hash
        .first_chunk::<VERSION_BYTES>()
        .map_or(&hash[..], |start| &start[..]))
}

fn any(name: &str, secret: &Secret) -> prost_types::Any {
    prost_types::Any {
        type_url: SECRET_TYPE.to_owned(),
        value: secret.encode(name).to_vec(),
    }
}

/// A message's own copies of keys are wiped, too.
fn wipe(resources: impl IntoIterator<Item = prost_types::Any>) {
    for resource in resources {
        drop(signet_crypto::Secret::new(resource.value));
    }
}

/// The key in a node's metadata that SPIRE documents.
const DISABLE: &str = "disable_spiffe_cert_validation";
/// As much as the log shows of what a client says.
const DETAIL_CHARS_MAX: usize = 512;
const VERSION_BYTES: usize = 16;
/// More than a mebibyte of request holds of the names of secrets that anybody has, with their versions.
const HELD_MAX: usize = 4_096;

#[cfg(test)]
mod tests;
