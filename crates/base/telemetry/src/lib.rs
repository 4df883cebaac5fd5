//! Metrics registry, structured logs, request ids.
