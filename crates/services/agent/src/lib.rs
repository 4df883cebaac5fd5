//! The Signet agent: attests callers and serves the SPIFFE Workload API.
