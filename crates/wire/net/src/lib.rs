//! Listeners with guards and the outbound client.
