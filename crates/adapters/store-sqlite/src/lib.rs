//! The change log on SQLite: one writer thread, group commit, full sync.
