//! Identities that depend on facts: one entry for a fleet of users or units.
//!
//! A template is a SPIFFE ID in which whole segments stand in braces: `spiffe://dev.test/host/{node.id}/user/{unix.user}`.
//! Each stands for the value of one fact, which must be one legal path segment as it is; nothing is escaped, cut or
//! put together. Facts are worth what stands behind them ([`Trust`]): what an agent merely says of a process may only
//! follow the segment that names the agent's node, so that no agent reaches into what is another's.

use crate::spiffe_id::{SCHEME, check_segment};
use crate::{Fact, IdError, Selector, SpiffeId, TrustDomain};
use core::fmt;
use signet_fault::{Coded, remedy_of, shown};
use std::borrow::Cow;
use std::sync::Arc;

/// What an entry gives: one identity, or one for each set of facts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdPattern {
    /// This identity.
    One(SpiffeId),
    /// One for each set of facts.
    Template(IdTemplate),
}

/// A SPIFFE ID in which segments stand for facts; at least one does. Cheap to clone.
#[derive(Clone)]
pub struct IdTemplate(Arc<Parsed>);

struct Parsed {
    text: Box<str>,
    trust_domain: TrustDomain,
    pieces: Box<[Piece]>,
}

enum Piece {
    Literal(Box<str>),
    Fact(TemplateFact),
}

/// A fact that a template can name, as `{NAME}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TemplateFact {
    /// `node.id`: the first 32 hexadecimal digits of the SHA-256 of the node's SPIFFE ID. No two nodes share it.
    NodeId,
    /// `node.name`: the last segment of the node's SPIFFE ID.
    NodeName,
    /// What an attestor states of a process: `KIND.KEY`, such as `unix.user`.
    Process(Fact),
}

/// What stands behind a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// The agent's word.
    Claimed,
    /// A proof that the server checked, and that is bound to the node.
    Verified,
    /// The node proved it to the server.
    Node,
}

/// Why a text is no template.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// What stands outside of braces is not of a SPIFFE ID.
    #[error(transparent)]
    Id(#[from] IdError),
    /// Braces that are no fact between slashes.
    #[error("path segment {index}: a fact stands alone between slashes, as in `/{{unix.user}}/`")]
    Braces {
        /// Which segment, counted from 0.
        index: usize,
    },
    /// Nothing is known of it.
    #[error("`{{{name}}}` is no fact of this version: there are {known}")]
    Unknown {
        /// What stands in braces, cut to 64 characters.
        name: String,
        /// What could stand there.
        known: String,
    },
    /// It may have several values at once, so that there would be no telling which.
    #[error("`{{{name}}}` may have several values for one process")]
    Several {
        /// The fact.
        name: String,
    },
    /// Its values hold slashes.
    #[error("`{{{name}}}` is a path, and never one segment")]
    Path {
        /// The fact.
        name: String,
    },
    /// The first segment tells what is ours from what is not.
    #[error("the first path segment is no fact")]
    First,
    /// More than [`IdTemplate::FACTS_MAX`].
    #[error("at most {max} facts stand in one template")]
    Facts {
        /// The bound.
        max: usize,
    },
    /// A template without any.
    #[error("no fact stands in it")]
    Constant,
    /// What the agent says would not be bound to the agent's node.
    #[error("`{{{name}}}` is the agent's word, so it only stands below `{{node.id}}`, which names its node")]
    Unbound {
        /// The fact.
        name: String,
    },
}

/// Why a template gives no identity.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The fact has no value.
    #[error("`{{{name}}}` has no value")]
    Missing {
        /// The fact.
        name: String,
    },
    /// The fact has more than one.
    #[error("`{{{name}}}` has several values")]
    Several {
        /// The fact.
        name: String,
    },
    /// The value is not one legal path segment (SPIFFE-ID §2.2).
    #[error("`{{{name}}}` is `{value}`, which is no path segment: letters, digits, dot, dash and underscore")]
    Segment {
        /// The fact.
        name: String,
        /// The value, cut to 64 characters.
        value: String,
    },
    /// The identity would be longer than one may be (SPIFFE-ID §2.3), or otherwise none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The identity would be one of our own processes'.
    #[error("`{id}` lies below `/signet`, which is kept for our own processes")]
    Reserved {
        /// The identity.
        id: SpiffeId,
    },
}

impl Coded for TemplateError {
    fn code(&self) -> &'static str {
        match self {
            Self::Id(error) => error.code(),
            _ => "SGID009",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(crate::REGISTER, self.code())
    }
}

impl Coded for ExpandError {
    fn code(&self) -> &'static str {
        match self {
            Self::Id(error) => error.code(),
            _ => "SGID010",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(crate::REGISTER, self.code())
    }
}

impl TemplateFact {
    /// Every fact that a template can name.
    pub fn all() -> impl Iterator<Item = Self> {
        let process = Fact::ALL
            .into_iter()
            .filter(|fact| fact.is_single() && fact.may_be_segment());
        [Self::NodeId, Self::NodeName]
            .into_iter()
            .chain(process.map(Self::Process))
    }

    /// As it stands in braces.
    #[must_use]
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::NodeId => "node.id".into(),
            Self::NodeName => "node.name".into(),
            Self::Process(fact) => format!("{}.{}", fact.kind(), fact.key()).into(),
        }
    }

    /// What stands behind it.
    #[must_use]
    pub const fn trust(self) -> Trust {
        match self {
            Self::NodeId | Self::NodeName => Trust::Node,
            Self::Process(_) => Trust::Claimed,
        }
    }

    /// Reads what stands in braces.
    ///
    /// # Errors
    /// [`TemplateError::Unknown`], [`TemplateError::Several`], [`TemplateError::Path`].
    pub fn parse(name: &str) -> Result<Self, TemplateError> {
        if let Some(fact) = Self::all().find(|fact| fact.name() == name) {
            return Ok(fact);
        }
        let stated = |fact: &Fact| Self::Process(*fact).name() == name;
        let name = shown(name, NAME_SHOWN);
        match Fact::ALL.iter().find(|fact| stated(fact)) {
            Some(fact) if !fact.is_single() => Err(TemplateError::Several { name }),
            Some(_) => Err(TemplateError::Path { name }),
            None => {
                let known: Vec<String> = Self::all().map(|fact| format!("`{}`", fact.name())).collect();
                let known = known.join(", ");
                Err(TemplateError::Unknown { name, known })
            }
        }
    }

    /// Its value among what attestors found of a process.
    ///
    /// # Errors
    /// [`ExpandError::Missing`] and [`ExpandError::Several`]; for facts of nodes always the former.
    pub fn value_in(self, found: &[Selector]) -> Result<&str, ExpandError> {
        let missing = || ExpandError::Missing {
            name: self.name().into_owned(),
        };
        let Self::Process(fact) = self else {
            return Err(missing());
        };
        let of_kind = found.iter().filter(|selector| selector.kind() == fact.kind());
        let stated = of_kind.filter_map(|selector| selector.value().split_once(':'));
        let mut values = stated
            .filter(|(key, _)| *key == fact.key())
            .map(|(_, value)| value);
        let first = values.next().ok_or_else(missing)?;
        if values.any(|other| other != first) {
            return Err(ExpandError::Several {
                name: self.name().into_owned(),
            });
        }
        Ok(first)
    }
}

impl IdTemplate {
    /// Facts in one template: they all stand in each wish.
    pub const FACTS_MAX: usize = 16;

    /// Reads a template: a SPIFFE ID with `{FACT}` in the place of whole segments, though not of the first.
    ///
    /// # Errors
    /// [`TemplateError`]; never [`TemplateError::Unbound`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > SpiffeId::BYTES_MAX {
            return Err(IdError::Length { bytes: text.len() }.into());
        }
        let rest = text.strip_prefix(SCHEME).ok_or(IdError::Scheme)?;
        let (name, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let trust_domain = TrustDomain::parse(name)?;
        let (mut pieces, mut facts, mut offset) = (Vec::new(), 0, 1);
        for (index, segment) in path.split('/').skip(1).enumerate() {
            pieces.push(match in_braces(segment) {
                Braces::None => {
                    check_segment(index, segment, offset)?;
                    Piece::Literal(segment.into())
                }
                Braces::Around(_) if index == 0 => return Err(TemplateError::First),
                Braces::Around(name) => {
                    facts += 1;
                    Piece::Fact(TemplateFact::parse(name)?)
                }
                Braces::Elsewhere => return Err(TemplateError::Braces { index }),
            });
            offset += segment.len() + 1;
        }
        match facts {
            0 => Err(TemplateError::Constant),
            1..=Self::FACTS_MAX => Ok(Self(Arc::new(Parsed {
                text: text.into(),
                trust_domain,
                pieces: pieces.into(),
            }))),
            _ => Err(TemplateError::Facts { max: Self::FACTS_MAX }),
        }
    }

    /// Checks that what agents merely say stands below what names their node.
    ///
    /// # Errors
    /// [`TemplateError::Unbound`].
    pub fn check_bound(&self) -> Result<(), TemplateError> {
        let mut is_bound = false;
        for fact in self.facts() {
            is_bound |= fact == TemplateFact::NodeId;
            if fact.trust() == Trust::Claimed && !is_bound {
                return Err(TemplateError::Unbound {
                    name: fact.name().into_owned(),
                });
            }
        }
        Ok(())
    }

    /// The facts that it names, in their order; one that stands there twice is there twice.
    pub fn facts(&self) -> impl Iterator<Item = TemplateFact> {
        self.0.pieces.iter().filter_map(|piece| match piece {
            Piece::Fact(fact) => Some(*fact),
            Piece::Literal(_) => None,
        })
    }

    /// The identity that it gives with these values.
    ///
    /// # Errors
    /// [`ExpandError`]: those of `value_of`, and what keeps the values from being an identity that may be given.
    pub fn expand<'v>(
        &self,
        value_of: impl Fn(TemplateFact) -> Result<Cow<'v, str>, ExpandError>,
    ) -> Result<SpiffeId, ExpandError> {
        let text = self.filled(|fact| value_of(fact).map(Some))?;
        let id = SpiffeId::parse(&text)?;
        if id.is_reserved() {
            return Err(ExpandError::Reserved { id });
        }
        Ok(id)
    }

    /// What is left of it with the values of those facts that `value_of` knows.
    ///
    /// # Errors
    /// As [`IdTemplate::expand`].
    pub fn fill<'v>(
        &self,
        value_of: impl Fn(TemplateFact) -> Option<Cow<'v, str>>,
    ) -> Result<IdPattern, ExpandError> {
        let text = self.filled(|fact| Ok(value_of(fact)))?;
        match IdPattern::parse(&text) {
            Ok(pattern) => Ok(pattern),
            Err(TemplateError::Id(error)) => Err(error.into()),
            // What was taken out were facts, and what came in has no braces.
            Err(_) => Err(IdError::Length { bytes: text.len() }.into()),
        }
    }

    fn filled<'v>(
        &self,
        value_of: impl Fn(TemplateFact) -> Result<Option<Cow<'v, str>>, ExpandError>,
    ) -> Result<String, ExpandError> {
        let mut text = format!("{SCHEME}{}", self.0.trust_domain);
        for piece in &self.0.pieces {
            text.push('/');
            match piece {
                Piece::Literal(segment) => text.push_str(segment),
                Piece::Fact(fact) => match value_of(*fact)? {
                    Some(value) if SpiffeId::is_segment(&value) => text.push_str(&value),
                    Some(value) => {
                        return Err(ExpandError::Segment {
                            name: fact.name().into_owned(),
                            value: shown(&value, NAME_SHOWN),
                        });
                    }
                    None => {
                        text.push('{');
                        text.push_str(&fact.name());
                        text.push('}');
                    }
                },
            }
        }
        Ok(text)
    }

    /// Whether there are values with which it gives `id`.
    #[must_use]
    pub fn could_give(&self, id: &SpiffeId) -> bool {
        let Parsed {
            trust_domain, pieces, ..
        } = &*self.0;
        let mut segments = id.segments();
        let fits = |piece: &Piece| match (piece, segments.next()) {
            (Piece::Literal(literal), Some(segment)) => **literal == *segment,
            (Piece::Fact(_), Some(_)) => true,
            (_, None) => false,
        };
        trust_domain == id.trust_domain() && pieces.iter().all(fits) && segments.next().is_none()
    }

    /// Whether it lies below `/signet`, which is kept for our own processes.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        matches!(self.0.pieces.first(), Some(Piece::Literal(first)) if **first == *"signet")
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.0.trust_domain
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }
}

impl IdPattern {
    /// Reads a SPIFFE ID or, where there are braces in it, a template.
    ///
    /// # Errors
    /// As [`SpiffeId::parse`] and [`IdTemplate::parse`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.contains(['{', '}']) {
            IdTemplate::parse(text).map(Self::Template)
        } else {
            Ok(Self::One(SpiffeId::parse(text)?))
        }
    }

    /// The identity, where it is one.
    #[must_use]
    pub const fn one(&self) -> Option<&SpiffeId> {
        match self {
            Self::One(id) => Some(id),
            Self::Template(_) => None,
        }
    }

    /// The template, where it is one.
    #[must_use]
    pub const fn template(&self) -> Option<&IdTemplate> {
        match self {
            Self::One(_) => None,
            Self::Template(template) => Some(template),
        }
    }

    /// Whether it gives `id`, or could.
    #[must_use]
    pub fn could_give(&self, id: &SpiffeId) -> bool {
        match self {
            Self::One(one) => one == id,
            Self::Template(template) => template.could_give(id),
        }
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        match self {
            Self::One(id) => id.trust_domain(),
            Self::Template(template) => template.trust_domain(),
        }
    }

    /// The path with its leading slash.
    #[must_use]
    pub fn path(&self) -> &str {
        let text = self.as_str();
        text.get(SCHEME.len() + self.trust_domain().as_str().len()..)
            .unwrap_or_default()
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::One(id) => id.as_str(),
            Self::Template(template) => template.as_str(),
        }
    }
}

/// Where the braces of a segment are.
enum Braces<'a> {
    None,
    Around(&'a str),
    Elsewhere,
}

fn in_braces(segment: &str) -> Braces<'_> {
    if !segment.contains(['{', '}']) {
        return Braces::None;
    }
    let inside = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    match inside.filter(|name| !name.contains(['{', '}'])) {
        Some(name) => Braces::Around(name),
        None => Braces::Elsewhere,
    }
}

/// As much of a name or a value as an error repeats, in characters.
const NAME_SHOWN: usize = 64;

impl From<SpiffeId> for IdPattern {
    fn from(id: SpiffeId) -> Self {
        Self::One(id)
    }
}

impl PartialEq<SpiffeId> for IdPattern {
    fn eq(&self, other: &SpiffeId) -> bool {
        self.one() == Some(other)
    }
}

impl PartialEq<IdPattern> for SpiffeId {
    fn eq(&self, other: &IdPattern) -> bool {
        other == self
    }
}

impl PartialEq for IdTemplate {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for IdTemplate {}

impl PartialOrd for IdTemplate {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for IdTemplate {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl core::hash::Hash for IdTemplate {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for IdTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for IdTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::str::FromStr for IdPattern {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        Self::parse(text)
    }
}

impl serde::Serialize for IdPattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for IdPattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
