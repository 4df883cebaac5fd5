//! One agent takes over from another that runs on the same state directory, and nobody who connects is refused.
//!
//! The one that runs listens on `handover.sock` in its state directory and answers its own user alone. The other one
//! says [`Hello`](message::Hello) and is offered the listeners themselves, the lock of the state directory, a hold on the
//! process, and what its callers use ([`InUse`](crate::identity::InUse)). It makes itself ready, begins to accept, and
//! says [`Ready`](message::Ready). Only then does the one that ran lay down the state directory, stop accepting, say
//! `done`, drain and end. Until `ready` nothing has changed for it: whatever becomes of the other one, it goes on. And
//! the other one has all it needs from the offer on: whatever becomes of the one that ran, it goes on.
//!
//! Both listen on the same descriptors, so a connection is accepted by one of them or waits for one. Only one writes the
//! state directory: [`Pen`](crate::upstream::Pen).

mod channel;
mod give;
mod message;
mod take;

pub(crate) use give::{Given, Giver, Share};
pub(crate) use message::Role;
pub(crate) use take::Takeover;

/// In the state directory.
pub(crate) const SOCKET: &str = "handover.sock";

/// The versions of this protocol that are spoken here, the preferred one first.
const VERSIONS: &[u32] = &[1];

/// What the other side said, fit to be logged.
fn said(text: &str) -> String {
    signet_fault::shown(text, 200)
}

/// What this software calls itself.
const SOFTWARE: &str = concat!("signet-agent/", env!("CARGO_PKG_VERSION"));
