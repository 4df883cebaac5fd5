//! Foreign clients and crash campaigns against the built binary.
