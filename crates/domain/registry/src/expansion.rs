//! Which identity a template gives on a node: the one place where that is decided.
//!
//! An agent is not believed. What names its node is the server's own knowledge; what the agent says of a process is
//! taken as one legal path segment below that, and the identity that the agent asked for must be the one that comes of it.

use crate::Entry;
use signet_crypto::digest;
use signet_fault::shown;
use signet_id::{
    ExpandError, Fact, IdPattern, IdTemplate, Selector, SpiffeId, TemplateError, TemplateFact, Trust,
};
use std::borrow::Cow;

/// What an agent asks for beside the name of an entry, where the entry is a template. Unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// The identity that the agent expects; may be empty where the entry gives one only.
    pub spiffe_id: String,
    /// Facts of the process in the agent's words, each with its value.
    pub facts: Vec<(String, String)>,
}

/// Why an agent does not get what it asks for of an entry.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The entry gives one identity, whatever the facts.
    #[error("the entry gives one identity and takes no facts")]
    NoTemplate,
    /// What the entry gives depends on the process, and the agent does not say what that is.
    #[error("the entry is a template over facts of processes, and no identity was asked for")]
    NoIdentity,
    /// More facts than any template has.
    #[error("{given} facts, a template has at most {max}")]
    Count {
        /// How many.
        given: usize,
        /// The bound.
        max: usize,
    },
    /// No fact that a template can have.
    #[error(transparent)]
    Fact(TemplateError),
    /// It is the server that knows.
    #[error("`{name}` is no agent's to say")]
    NotClaimable {
        /// The fact.
        name: String,
    },
    /// The template has no such fact.
    #[error("`{name}` does not stand in the entry's template")]
    NotAsked {
        /// The fact.
        name: String,
    },
    /// A fact with two values.
    #[error("`{name}` was said twice")]
    Twice {
        /// The fact.
        name: String,
    },
    /// No attestor would state it so.
    #[error("`{value}` is no value of `{name}`")]
    Value {
        /// The fact.
        name: String,
        /// What was said, cut to 64 characters.
        value: String,
    },
    /// The facts give no identity.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// The facts give another identity.
    #[error("`{asked}` was asked for, the entry gives `{gives}`")]
    Other {
        /// What was asked for, cut to 256 characters.
        asked: String,
        /// What comes of the facts.
        gives: SpiffeId,
    },
}

/// The facts of a node that templates can have.
pub(crate) struct NodeFacts<'a> {
    id: String,
    name: &'a str,
}

impl<'a> NodeFacts<'a> {
    pub(crate) fn of(node: &'a SpiffeId) -> Self {
        let mut id = digest::hex(&digest::sha256(node.as_str().as_bytes()));
        id.truncate(NODE_ID_DIGITS);
        Self {
            id,
            name: node.segments().last().unwrap_or_default(),
        }
    }

    fn value(&self, fact: TemplateFact) -> Option<Cow<'_, str>> {
        match fact {
            TemplateFact::NodeId => Some(Cow::Borrowed(self.id.as_str())),
            TemplateFact::NodeName => Some(Cow::Borrowed(self.name)),
            TemplateFact::Process(_) => None,
        }
    }
}

/// 128 bits: no two nodes share them.
const NODE_ID_DIGITS: usize = 32;

impl Entry {
    /// What the entry gives on `node`: a template with the facts of the node filled in. Where that would be no identity,
    /// which is for [`crate::RegistryState::entitlement`] to refuse, the template as it is.
    #[must_use]
    pub fn pattern_on(&self, node: &SpiffeId) -> IdPattern {
        let Some(template) = self.spiffe_id.template() else {
            return self.spiffe_id.clone();
        };
        let facts = NodeFacts::of(node);
        let filled = template.fill(|fact| facts.value(fact));
        filled.unwrap_or_else(|_| self.spiffe_id.clone())
    }

    /// The identity that the entry gives on `node` to a process of which its agent says `claims`.
    pub(crate) fn identity_on(&self, node: &SpiffeId, claims: &Claims) -> Result<SpiffeId, ClaimError> {
        let gives = match &self.spiffe_id {
            IdPattern::One(_) if !claims.facts.is_empty() => return Err(ClaimError::NoTemplate),
            IdPattern::One(id) => id.clone(),
            IdPattern::Template(template) => {
                let mut facts = template.facts();
                if claims.spiffe_id.is_empty() && facts.any(|fact| fact.trust() == Trust::Claimed) {
                    return Err(ClaimError::NoIdentity);
                }
                expanded(template, node, claims)?
            }
        };
        if claims.spiffe_id.is_empty() || claims.spiffe_id == gives.as_str() {
            Ok(gives)
        } else {
            let asked = shown(&claims.spiffe_id, ASKED_SHOWN);
            Err(ClaimError::Other { asked, gives })
        }
    }
}

const ASKED_SHOWN: usize = 256;

fn expanded(template: &IdTemplate, node: &SpiffeId, claims: &Claims) -> Result<SpiffeId, ClaimError> {
    let claimed = checked(template, claims)?;
    let node = NodeFacts::of(node);
    let value_of = |fact: TemplateFact| {
        let said = claimed.iter().find(|(one, _)| *one == fact);
        let value = said.map(|(_, value)| Cow::Borrowed(*value));
        value
            .or_else(|| node.value(fact))
            .ok_or_else(|| ExpandError::Missing {
                name: fact.name().into_owned(),
            })
    };
    Ok(template.expand(value_of)?)
}

/// The facts of `claims`, if they are an agent's to say and the template's to have.
fn checked<'c>(
    template: &IdTemplate,
    claims: &'c Claims,
) -> Result<Vec<(TemplateFact, &'c str)>, ClaimError> {
    let (given, max) = (claims.facts.len(), IdTemplate::FACTS_MAX);
    if given > max {
        return Err(ClaimError::Count { given, max });
    }
    let mut checked: Vec<(TemplateFact, &str)> = Vec::with_capacity(given);
    for (name, value) in &claims.facts {
        let fact = TemplateFact::parse(name).map_err(ClaimError::Fact)?;
        let name = name.clone();
        let TemplateFact::Process(stated) = fact else {
            return Err(ClaimError::NotClaimable { name });
        };
        if fact.trust() != Trust::Claimed {
            return Err(ClaimError::NotClaimable { name });
        }
        if !template.facts().any(|one| one == fact) {
            return Err(ClaimError::NotAsked { name });
        }
        if checked.iter().any(|(one, _)| *one == fact) {
            return Err(ClaimError::Twice { name });
        }
        if !is_stated(stated, value) {
            let value = shown(value, VALUE_SHOWN);
            return Err(ClaimError::Value { name, value });
        }
        checked.push((fact, value));
    }
    Ok(checked)
}

const VALUE_SHOWN: usize = 64;

/// Whether an attestor would state `fact` with `value`.
fn is_stated(fact: Fact, value: &str) -> bool {
    value.len() <= Selector::BYTES_MAX && fact.stated(value).is_some()
}
