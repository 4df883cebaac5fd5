//! Trust bundles, key sets and the view of them that a verifier uses.
