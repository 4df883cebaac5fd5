//! The handlers, by what they are about.

pub(crate) mod entries;
pub(crate) mod nodes;
pub(crate) mod trust;
