//! TLS configurations, the SPIFFE verifier for both ends, live certificates, peer identity.
