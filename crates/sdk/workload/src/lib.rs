//! SPIFFE Workload API client with X.509 and JWT sources.
