//! X.509 profiles, building, linting, certificate requests.
