//! Peer credentials, pidfd, locked memory, descriptors: the only crate where unsafe code may stand.
