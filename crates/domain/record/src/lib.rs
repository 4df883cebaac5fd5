//! The record of what was issued: nothing leaves before it is durable.
//!
//! A credential is made in a reserved [`Slot`], which gives its serial number or `jti`; signed, it is an
//! [`Unrecorded`] value whose bytes cannot be read; [`Recorder::release`] writes its [`IssueRecord`] to the journal
//! and only then hands it out. A journal that fails, or does not answer, releases nothing.
//!
//! Records are protobuf inside, with kind, schema and "must understand" before it ([`Record::decode`]). Trees and
//! checkpoints over the record are not here.
//!
//! ```
//! use signet_record::{CredentialKind, IssueRecord, Recorder, Unrecorded};
//! use signet_store::memory::MemoryJournal;
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let recorder = Recorder::new(std::sync::Arc::new(MemoryJournal::new()));
//! let slot = recorder.reserve().unwrap();
//! let record = IssueRecord { subject: "spiffe://example.org/a".into(), ..slot.record(CredentialKind::JwtSvid) };
//! let token = recorder.release(Unrecorded::new("the signed token", record)).await.unwrap();
//! assert_eq!(token, "the signed token");
//! # });
//! ```

mod envelope;
mod error;
#[expect(missing_docs, reason = "generated; the comments stand in record.proto")]
#[path = "generated/signet.record.v1.rs"]
mod generated;
mod recorder;
mod slot;

pub use envelope::{ISSUE_SCHEMA, Record, RecordKind};
pub use error::{REGISTER, RecordError};
pub use generated::{CredentialKind, IssueRecord};
pub use recorder::{Recorder, Unrecorded};
pub use slot::Slot;
