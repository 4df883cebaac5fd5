//! Entries, nodes, join tokens and who may have what.
