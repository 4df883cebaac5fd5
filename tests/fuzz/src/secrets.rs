//! What Envoys ask of an agent: requests that move what a stream wants.

use crate::laws::is_fit_to_print;
use signet_agent::{Rehearsal, Scene};
use signet_feed::FeedEntry;
use signet_id::{SpiffeId, TrustDomain};
use signet_proto::sds::envoy::config::core::v3::Node;
use signet_proto::sds::envoy::extensions::transport_sockets::tls::v3::Secret;
use signet_proto::sds::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use signet_time::UnixTime;
use signet_trust::{Bundle, TrustView};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::Duration;

/// One byte says which of the two ways to speak it is. Then come turns: a byte that says what the caller may have by then,
/// and a request with its length before it.
pub(crate) fn secrets(bytes: &[u8]) {
    let Some((&way, turns)) = bytes.split_first() else {
        return;
    };
    let scenes = scenes();
    if way % 2 == 0 {
        world(turns, scenes);
    } else {
        deltas(turns, scenes);
    }
}

fn world(mut rest: &[u8], scenes: &[Scene]) {
    let (mut talk, mut client) = (Rehearsal::of_world(), World::default());
    for _ in 0..TURNS_MAX {
        let Some((scene, request)) = turn::<DiscoveryRequest>(&mut rest, scenes) else {
            return;
        };
        match talk.hear(&request) {
            Ok(true) => client.asked(&request),
            Ok(false) => {}
            Err(error) => return is_fit_to_print(&error),
        }
        match talk.say(scene) {
            Ok(Some(response)) => client.told(&response),
            Ok(None) => {}
            Err(error) => return is_fit_to_print(&error),
        }
        assert!(matches!(talk.say(scene), Ok(None)), "what was said is said again");
        client.check(scene);
    }
}

fn deltas(mut rest: &[u8], scenes: &[Scene]) {
    let (mut talk, mut client) = (Rehearsal::of_deltas(), Deltas::default());
    for _ in 0..TURNS_MAX {
        let Some((scene, request)) = turn::<DeltaDiscoveryRequest>(&mut rest, scenes) else {
            return;
        };
        if let Err(error) = talk.hear_delta(&request) {
            return is_fit_to_print(&error);
        }
        client.asked(&request);
        match talk.say(scene) {
            Ok(Some(response)) => client.told(&response),
            Ok(None) => {}
            Err(error) => return is_fit_to_print(&error),
        }
        assert!(matches!(talk.say(scene), Ok(None)), "what was said is said again");
        client.check(scene);
    }
}

fn turn<'s, R: prost::Message + Default>(rest: &mut &[u8], scenes: &'s [Scene]) -> Option<(&'s Scene, R)> {
    let (&number, after) = rest.split_first()?;
    *rest = after;
    let scene = scenes.get(usize::from(number) % scenes.len().max(1))?;
    Some((scene, R::decode_length_delimited(rest).ok()?))
}

/// What a client of the state of the world knows.
#[derive(Default)]
struct World {
    began: bool,
    everything: bool,
    wants: BTreeSet<String>,
    nodes: Vec<Node>,
    /// Encoded secrets.
    has: BTreeMap<String, Vec<u8>>,
    answers: u64,
}

impl World {
    fn asked(&mut self, request: &DiscoveryRequest) {
        self.nodes.extend(request.node.clone());
        self.everything = request.resource_names.is_empty() && (!self.began || self.everything);
        self.began = true;
        self.wants = request.resource_names.iter().cloned().collect();
        if !self.everything {
            self.has.retain(|name, _| self.wants.contains(name));
        }
    }

    fn told(&mut self, response: &[u8]) {
        let response = decoded::<DiscoveryResponse>(response);
        self.answers += 1;
        assert_eq!(response.nonce, self.answers.to_string());
        assert!(!response.resources.is_empty(), "a response that says nothing");
        for resource in response.resources {
            let name = name_of(&resource.value);
            assert!(
                self.everything || self.wants.contains(&name),
                "{name:?} was not wanted"
            );
            let before = self.has.insert(name, resource.value.clone());
            assert_ne!(before, Some(resource.value), "what is there is sent again");
        }
    }

    /// It has what one has that asks for the same for the first time.
    fn check(&self, scene: &Scene) {
        if !self.began {
            return assert!(self.has.is_empty());
        }
        assert!(self.wants.len() <= NAMES_MAX);
        let (mut talk, mut fresh) = (Rehearsal::of_world(), Self::default());
        let request = DiscoveryRequest {
            resource_names: self.wants.iter().cloned().collect(),
            ..DiscoveryRequest::default()
        };
        let first = self.nodes.iter().map(|node| DiscoveryRequest {
            node: Some(node.clone()),
            ..request.clone()
        });
        // One that wanted something once and lets it all go does not get everything.
        let lets_go = !self.everything && self.wants.is_empty();
        let before = lets_go.then(|| DiscoveryRequest {
            resource_names: vec!["ROOTCA".to_owned()],
            ..DiscoveryRequest::default()
        });
        for request in before.into_iter().chain(first).chain([request.clone()]) {
            assert!(talk.hear(&request).is_ok_and(|counts| counts));
            fresh.asked(&request);
        }
        match talk.say(scene) {
            Ok(Some(response)) => fresh.told(&response),
            Ok(None) => {}
            Err(error) => finding(&format!("the other one is told {error}")),
        }
        // Of everything it is not told what is there no more.
        let here = self
            .has
            .iter()
            .filter(|(name, _)| !self.everything || fresh.has.contains_key(*name));
        assert!(
            here.eq(&fresh.has),
            "{:?} and {:?}",
            self.has.keys(),
            fresh.has.keys()
        );
    }
}

/// What a client of deltas knows.
#[derive(Default)]
struct Deltas {
    began: bool,
    everything: bool,
    wants: BTreeSet<String>,
    nodes: Vec<Node>,
    /// Versions.
    has: BTreeMap<String, String>,
    answers: u64,
}

impl Deltas {
    fn asked(&mut self, request: &DeltaDiscoveryRequest) {
        self.nodes.extend(request.node.clone());
        let (come, go) = (
            &request.resource_names_subscribe,
            &request.resource_names_unsubscribe,
        );
        if !self.began {
            self.has.extend(
                request
                    .initial_resource_versions
                    .iter()
                    .map(|(n, v)| (n.clone(), v.clone())),
            );
            self.everything = come.is_empty() && go.is_empty();
        }
        self.began = true;
        for name in go {
            self.wants.remove(name);
            self.everything &= name != "*";
        }
        for name in come {
            self.everything |= name == "*";
            self.wants.extend((name != "*").then(|| name.clone()));
        }
        // What is not wanted is not kept; what is let go while everything is wanted, neither, for it comes again.
        let is_wanted = |name: &String| self.everything || self.wants.contains(name);
        self.has.retain(|name, _| is_wanted(name) && !go.contains(name));
    }

    fn told(&mut self, response: &[u8]) {
        let response = decoded::<DeltaDiscoveryResponse>(response);
        self.answers += 1;
        assert_eq!(response.nonce, self.answers.to_string());
        assert!(
            !response.resources.is_empty() || !response.removed_resources.is_empty(),
            "a response that says nothing"
        );
        for name in &response.removed_resources {
            assert!(
                self.has.remove(name).is_some() || self.wants.contains(name),
                "{name:?} goes, and was never there"
            );
        }
        for resource in response.resources {
            let Some(any) = resource.resource else {
                finding("a resource that is none")
            };
            assert_eq!(name_of(&any.value), resource.name);
            assert!(!response.removed_resources.contains(&resource.name));
            assert!(self.everything || self.wants.contains(&resource.name));
            self.has.insert(resource.name, resource.version);
        }
    }

    /// It has what one has that asks for the same for the first time.
    fn check(&self, scene: &Scene) {
        assert!(self.wants.len() <= NAMES_MAX);
        let (mut talk, mut fresh) = (Rehearsal::of_deltas(), Self::default());
        let asterisk = vec!["*".to_owned()];
        let (come, go) = if self.everything {
            (asterisk, Vec::new())
        } else {
            (Vec::new(), asterisk)
        };
        let request = DeltaDiscoveryRequest {
            resource_names_subscribe: self.wants.iter().cloned().chain(come).collect(),
            resource_names_unsubscribe: go,
            ..DeltaDiscoveryRequest::default()
        };
        let nodes = self.nodes.iter().map(|node| DeltaDiscoveryRequest {
            node: Some(node.clone()),
            ..DeltaDiscoveryRequest::default()
        });
        for request in nodes.chain([request]) {
            assert!(talk.hear_delta(&request).is_ok());
            fresh.asked(&request);
        }
        match talk.say(scene) {
            Ok(Some(response)) => fresh.told(&response),
            Ok(None) => {}
            Err(error) => finding(&format!("the other one is told {error}")),
        }
        // What is on its way is neither there nor gone, so that one may have it and the other not.
        let known = |has: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            let is_certificate =
                |name: &str| name == "default" || SpiffeId::parse(name).is_ok_and(|id| id.has_path());
            let known = has.iter().filter(|(name, _)| !is_certificate(name));
            known.map(|(n, v)| (n.clone(), v.clone())).collect()
        };
        assert_eq!(known(&self.has), known(&fresh.has));
    }
}

/// A law that does not hold.
#[expect(clippy::panic, reason = "that is how findings are told")]
fn finding(what: &str) -> ! {
    panic!("{what}")
}

fn decoded<R: prost::Message + Default>(bytes: &[u8]) -> R {
    match R::decode(bytes) {
        Ok(message) => message,
        Err(error) => finding(&format!("a response that cannot be read: {error}")),
    }
}

fn name_of(secret: &[u8]) -> String {
    decoded::<Secret>(secret).name
}

/// What a caller may have, one after the other: an identity; two, of which one federates; the same with another foreign
/// bundle; none.
fn scenes() -> &'static [Scene] {
    static SCENES: OnceLock<Vec<Scene>> = OnceLock::new();
    SCENES.get_or_init(|| match made() {
        Ok(scenes) => scenes,
        Err(error) => finding(&format!("the corpus: {error}")),
    })
}

fn made() -> Result<Vec<Scene>, signet_corpus::Failure> {
    let bundle = |domain: &str, file: &str| -> Result<Bundle, signet_corpus::Failure> {
        let json = std::fs::read(signet_corpus::folder().join(file))?;
        Ok(Bundle::parse_spiffe(TrustDomain::parse(domain)?, &json)?)
    };
    let own =
        TrustView::new(TrustDomain::parse("a.test")?).with_bundle(bundle("a.test", "right_bundle.json")?);
    let federated = own.clone().with_bundle(bundle("b.test", "right_bundle.json")?);
    let rotated = own
        .clone()
        .with_bundle(bundle("b.test", "right_bundle_for_chain.json")?);
    let two = || Ok::<_, signet_corpus::Failure>(vec![entry(1, "/a", &[])?, entry(2, "/b", &["b.test"])?]);
    Ok(vec![
        Scene::new(vec![entry(1, "/a", &[])?], &own),
        Scene::new(two()?, &federated),
        Scene::new(two()?, &rotated),
        Scene::new(Vec::new(), &own),
    ])
}

fn entry(number: u8, path: &str, federates_with: &[&str]) -> Result<FeedEntry, signet_corpus::Failure> {
    Ok(FeedEntry {
        id: [number; 16],
        spiffe_id: format!("spiffe://a.test{path}").parse()?,
        selectors: vec!["unix:uid:1".parse()?],
        x509_ttl: Duration::from_secs(3_600),
        jwt_ttl: Duration::from_secs(300),
        dns_names: Vec::new(),
        hint: String::new(),
        federates_with: federates_with
            .iter()
            .map(|name| TrustDomain::parse(name))
            .collect::<Result<_, _>>()?,
        jwt_audiences: Vec::new(),
        expires_at: None,
        created_at: UnixTime::EPOCH,
        seq: 1,
        expansion: None,
    })
}

const TURNS_MAX: usize = 32;
/// As many as one stream may name.
const NAMES_MAX: usize = 128;
