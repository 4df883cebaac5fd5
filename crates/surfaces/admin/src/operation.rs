//! What is written down of a route, for the reader of the API and for the API itself: the parameters that are known
//! and the length of a body are read from here when a request is served.

use crate::{BODY_BYTES_MAX, BULK_BYTES_MAX};
use serde_json::Value;

/// What a route does, takes and answers. Each route has one, so that none is without documentation.
pub struct Operation {
    /// Its name in the document, once in the whole API: what generated clients call their functions.
    pub id: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// What else the caller has to know; may be empty.
    pub description: &'static str,
    /// The name in the path, where there is one.
    pub name: Option<Parameter>,
    /// The query parameters that there are.
    pub query: &'static [Parameter],
    /// Whether `if-match` is looked at.
    pub conditional: bool,
    /// The body, where one is read.
    pub body: Option<Body>,
    /// The answer where all goes well.
    pub answer: Answer,
    /// The refusals beside those that every route can give, as status and code.
    pub refusals: &'static [(u16, &'static str)],
}

/// A parameter of the path or the query.
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub about: &'static str,
    /// What it may be. An array stands in the query once for each item.
    pub schema: fn() -> Value,
    /// A value that works.
    pub example: fn() -> Value,
}

/// What a request carries.
pub struct Body {
    /// Whether there must be one.
    pub need: Need,
    /// How long it may be.
    pub length: Length,
    /// The forms it may have.
    pub media: &'static [Media],
}

/// Whether a body must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It must.
    Required,
    /// Everything in it has a default.
    Optional,
}

/// How long a body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// That of one thing.
    One,
    /// That of a list; only a few are held in memory at once.
    List,
}

impl Length {
    /// The longest body, in bytes.
    #[must_use]
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::One => BODY_BYTES_MAX,
            Self::List => BULK_BYTES_MAX,
        }
    }
}

/// A form of a body, with its schema and an example.
pub struct Media {
    /// Its media type.
    pub media_type: &'static str,
    /// What it holds.
    pub schema: fn() -> Value,
    /// One that works.
    pub example: fn() -> Value,
}

/// What is answered where all goes well.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// What the answer is, in words.
    pub about: &'static str,
    /// The forms it may have; none where the answer has no body.
    pub media: &'static [Media],
    /// The headers beside those of every reply, by their name under `components`.
    pub headers: &'static [&'static str],
}

/// The media type of most bodies.
pub(crate) const JSON: &str = "application/json";
