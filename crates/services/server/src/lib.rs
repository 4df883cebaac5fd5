//! The Signet server: puts the domain, the adapters and the surfaces together.
