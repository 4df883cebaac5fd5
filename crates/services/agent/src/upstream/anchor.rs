//! Roots by which servers are known when what the agent holds vouches for none of them: it was away while every root that
//! it knew was replaced, or it was given a wrong bundle. They come from its operator and are kept apart from what the
//! servers send.

use super::{Machine, Means};
use signet_crypto::digest;
use std::path::Path;
use tracing::warn;

/// SHA-256 of the roots that the servers of a node may have besides those of its bundle.
///
/// The file is read each time, because that is how a new root is handed in while the agent runs. What was ever tainted is no
/// anchor, see [`Visit`](super::contact::Visit): whoever stole that root must not be taken for a server.
pub(super) fn roots(file: Option<&Path>, means: Option<&Means>) -> Vec<[u8; 32]> {
    let from_file = file.map_or_else(Vec::new, |path| {
        super::machine::certificates(path).map_or_else(
            |error| {
                warn!(
                    error = signet_fault::chain(&error),
                    "cannot read the bootstrap anchor, going on without it"
                );
                Vec::new()
            },
            |roots| roots.iter().map(|root| digest::sha256(root)).collect(),
        )
    });
    let from_means = match means {
        Some(Means::Join(join)) => &*join.root_hashes,
        Some(Means::Machine(Machine { roots, .. })) => &**roots,
        None => &[],
    };
    from_file.iter().chain(from_means).copied().collect()
}
