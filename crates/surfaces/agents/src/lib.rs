//! The agent protocol: attest, stream, issue.
