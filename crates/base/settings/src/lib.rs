//! Typed TOML settings with spans and helpful errors.
