pub(crate) mod apply;
pub(crate) mod entries;
pub(crate) mod join_tokens;
pub(crate) mod mint;
pub(crate) mod nodes;
pub(crate) mod orphans;
pub(crate) mod server;
pub(crate) mod trust;
