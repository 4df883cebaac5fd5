//! Requests, decisions and their reasons.
