//! What one side takes from the other, so that no peer can make it hold without end.

/// The most entries that one node may serve.
pub const ENTRIES_MAX: usize = 100_000;
/// The most trust domains that one node may know.
pub const BUNDLES_MAX: usize = 1_000;
/// The longest message on the stream, in bytes: about what [`ENTRIES_MAX`] entries of usual length take.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// The longest certificate of an authority, in bytes.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 16 << 10;
/// The longest JWK of an authority, in bytes of JSON.
pub(crate) const JWK_BYTES_MAX: usize = 16 << 10;
/// The most selectors of one entry.
pub(crate) const SELECTORS_MAX: usize = 32;
/// The most DNS names, audiences or federated domains of one entry.
pub(crate) const NAMES_MAX: usize = 64;
/// The longest hint (Workload API §8), name or audience, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 1024;
/// The longest name of a software version, in bytes.
pub(crate) const SOFTWARE_BYTES_MAX: usize = 128;
/// The most capabilities that are looked at.
pub(crate) const CAPABILITIES_MAX: usize = 256;
/// The longest life that an entry may ask for: a day and what comes after it in days to come.
pub(crate) const TTL_S_MAX: u64 = 366 * 86_400;
/// A piece of a snapshot is full from here on, in bytes.
pub const CHUNK_BYTES: usize = 256 << 10;
/// The longest piece of a snapshot that is taken, in bytes: one bundle with all the keys that it may have.
pub const CHUNK_BYTES_MAX: usize = 20 << 20;
/// The most pieces of one snapshot.
pub const CHUNKS_MAX: usize = 4_096;
/// The longest snapshot, in bytes.
pub const SNAPSHOT_BYTES_MAX: usize = 256 << 20;
/// A delta that is longer, in bytes, goes as a snapshot.
pub const DELTA_BYTES_MAX: usize = 4 << 20;
