//! The journal in preallocated segment files with group commit.
