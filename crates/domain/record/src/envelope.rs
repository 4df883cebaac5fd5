//! The form of a journal record: kind and schema (16 bits each, big-endian), flags (bit 0: must understand), protobuf.

use crate::{IssueRecord, RecordError};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKind(pub u16);

impl RecordKind {
    /// One issued credential.
    pub const ISSUE: Self = Self(1);
}

/// The schema in which this version writes [`RecordKind::ISSUE`].
pub const ISSUE_SCHEMA: u16 = 1;

const HEADER_BYTES: usize = 5;
const MUST_UNDERSTAND: u8 = 1;

/// A record as it stands in the journal.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are of the large kind")]
pub enum Record {
    /// One issued credential.
    Issue(IssueRecord),
    /// A kind or schema that this version does not know and may pass over.
    Passed {
        /// What it is.
        kind: RecordKind,
        /// In which form.
        schema: u16,
    },
}

impl Record {
    /// The bytes of an issue record.
    #[must_use]
    pub fn encode_issue(record: &IssueRecord) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES.saturating_add(record.encoded_len()));
        bytes.put_u16(RecordKind::ISSUE.0);
        bytes.put_u16(ISSUE_SCHEMA);
        bytes.put_u8(MUST_UNDERSTAND);
        bytes.put_slice(&record.encode_to_vec());
        bytes.freeze()
    }

    /// Reads what [`encode_issue`](Self::encode_issue) or a later version wrote.
    ///
    /// # Errors
    /// [`RecordError::Malformed`]; [`RecordError::NotUnderstood`] for an unknown record that must not be passed over.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let malformed = |why: &str| RecordError::Malformed { why: why.to_owned() };
        let Some((&[kind_high, kind_low, schema_high, schema_low, flags], body)) =
            bytes.split_first_chunk::<HEADER_BYTES>()
        else {
            return Err(malformed("it is shorter than its header"));
        };
        if flags & !MUST_UNDERSTAND != 0 {
            return Err(malformed("it has unknown flags"));
        }
        let kind = RecordKind(u16::from_be_bytes([kind_high, kind_low]));
        let schema = u16::from_be_bytes([schema_high, schema_low]);
        match (kind, schema) {
            (RecordKind::ISSUE, ISSUE_SCHEMA) => IssueRecord::decode(body)
                .map(Self::Issue)
                .map_err(|error| malformed(&error.to_string())),
            _ if flags & MUST_UNDERSTAND == 0 => Ok(Self::Passed { kind, schema }),
            _ => Err(RecordError::NotUnderstood { kind, schema }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back() {
        let record = IssueRecord {
            subject: "spiffe://example.org/a".into(),
            identifier: Bytes::from_static(&[7; 16]),
            state_seq: 9,
            ..IssueRecord::default()
        };
        let bytes = Record::encode_issue(&record);
        assert_eq!(Record::decode(&bytes).unwrap(), Record::Issue(record));
    }

    #[test]
    fn an_unknown_record_is_passed_over_only_if_it_allows_so() {
        let kind = RecordKind(9);
        assert_eq!(
            Record::decode(&[0, 9, 0, 1, 0]).unwrap(),
            Record::Passed { kind, schema: 1 }
        );
        assert!(matches!(
            Record::decode(&[0, 9, 0, 1, 1]),
            Err(RecordError::NotUnderstood {
                kind: RecordKind(9),
                schema: 1
            })
        ));
        assert!(matches!(
            Record::decode(&[0, 1, 0, 2, 1]),
            Err(RecordError::NotUnderstood {
                kind: RecordKind::ISSUE,
                schema: 2
            })
        ));
    }

    #[test]
    fn malformed_records_are_refused() {
        for bytes in [&[][..], &[0, 1, 0, 1], &[0, 1, 0, 1, 3], &[0, 1, 0, 1, 1, 0xff]] {
            assert!(
                matches!(Record::decode(bytes), Err(RecordError::Malformed { .. })),
                "{bytes:?}"
            );
        }
    }
}
