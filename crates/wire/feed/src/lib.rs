//! What a server pushes to an agent: the first message of each side, snapshots of what one node may know, and what
//! changed since.
//!
//! [`Producer`] writes the messages of the server's side of `Sync`, [`Replica`] reads and checks them on the agent's
//! side. The first message of each side is a `Hello`: protocol version and capabilities. A version that is not known
//! is refused; a capability that is not known is passed over, and nothing is sent that the other side has not named.
//!
//! A stream begins with a snapshot, in pieces or in one, or with a delta from the place in the change log that the agent
//! named; each change after it is a delta, or a snapshot for those that know of none. Heartbeats say that nothing changed,
//! and carry a digest now and then, so that no difference lasts. [`Screen`] counts what an agent sends before it is decoded. No I/O, no clock: the time is an
//! argument.

mod bundle;
mod cursor;
mod entries;
mod entry;
mod error;
mod expansion;
mod hello;
mod limits;
mod producer;
mod replica;
mod screen;
mod staging;

pub use bundle::{bundle_for, bundle_from_proto, bundle_to_proto};
pub use cursor::FeedCursor;
pub use entries::{EntryChange, EntrySet, Iter};
pub use entry::FeedEntry;
pub use error::{FeedError, REGISTER};
pub use expansion::Expansion;
pub use hello::{
    Capabilities, Capability, PROTOCOL, PROTOCOL_OLDEST, PeerHello, hello, hello_holding, hello_to, resync,
};
pub use limits::{
    BUNDLES_MAX, CHUNK_BYTES, CHUNK_BYTES_MAX, CHUNKS_MAX, DELTA_BYTES_MAX, ENTRIES_MAX, MESSAGE_BYTES_MAX,
    SNAPSHOT_BYTES_MAX,
};
pub use producer::{Changes, Chunks, Producer};
pub use replica::{Event, NodeState, Replica};
pub use screen::{Excess, Form, ITEMS, ITEMS_MAX, Screen};
