//! Fakes that behave and a certificate forge, for tests only.
