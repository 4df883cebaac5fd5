//! What a server pushes to an agent: the first message of each side, and snapshots of what one node may know.
//!
//! [`Producer`] writes the messages of the server's side of `Sync`, [`Replica`] reads and checks them on the agent's
//! side. The first message of each side is a `Hello`: protocol version and capabilities. A version that is not known
//! is refused; a capability that is not known is passed over, and nothing is sent that the other side has not named.
//! Each change sends a whole snapshot; deltas are not here. No I/O, no clock: the time is an argument.

mod bundle;
mod entry;
mod error;
mod hello;
mod limits;
mod producer;
mod replica;

pub use bundle::{bundle_for, bundle_from_proto, bundle_to_proto};
pub use entry::FeedEntry;
pub use error::{FeedError, REGISTER};
pub use hello::{Capabilities, Capability, PROTOCOL, PeerHello, hello};
pub use limits::{BUNDLES_MAX, ENTRIES_MAX, MESSAGE_BYTES_MAX};
pub use producer::{FeedCursor, Producer};
pub use replica::{Event, NodeState, Replica};
