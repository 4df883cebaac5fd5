//! Peers are real processes here. A helper process is this very binary, started again to run the one test named
//! `helper::entry`, with its task in the environment.
#![allow(
    unused_crate_dependencies,
    reason = "this binary uses a part of what the library does"
)]

mod helper;
mod peer;
