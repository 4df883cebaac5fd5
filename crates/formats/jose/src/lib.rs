//! Strict JWS and JWK codec.
