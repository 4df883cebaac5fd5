//! Messages as streams send them.

use super::frames::{Bundles, PREFIX_BYTES, prefix, wiped};
use super::svid::Held;
use super::x509::X509Svid;
use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use std::sync::Arc;

/// A message of the Workload API. Clones share it.
#[derive(Clone)]
pub(crate) enum Message {
    /// Encoded once, for all streams that show it.
    Whole(Bytes),
    /// The X.509-SVIDs of callers that have many.
    Many(Arc<X509Svids>),
}

/// A message of X.509-SVIDs before it is encoded. Of many it stays so, and each stream encodes a part when it sends that:
/// kept encoded, they would take more than twice the room, since each of them brings the authorities along.
pub(crate) struct X509Svids {
    svids: Arc<[Held<X509Svid>]>,
    bundles: Arc<Bundles>,
}

impl Message {
    /// Messages are shared, so the same message is most often the same memory.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => {
                let is_shared = core::ptr::eq(one.as_ptr(), other.as_ptr()) && one.len() == other.len();
                is_shared || one == other
            }
            (Self::Many(one), Self::Many(other)) => Arc::ptr_eq(one, other) || one.is_same(other),
            _ => false,
        }
    }

    /// The part that begins with the SVID `from`, and with which the next one does; from 0 on, together they are the message.
    pub(crate) fn part(&self, from: usize) -> (Bytes, Option<usize>) {
        match self {
            Self::Whole(bytes) => (bytes.clone(), None),
            Self::Many(svids) => svids.part(from, PART_BYTES_MAX),
        }
    }
}

impl From<X509Svids> for Message {
    fn from(svids: X509Svids) -> Self {
        if svids.svids.len() <= FEW {
            Self::Whole(svids.part(0, usize::MAX).0)
        } else {
            Self::Many(Arc::new(svids))
        }
    }
}

impl X509Svids {
    pub(super) fn new(svids: &Arc<[Held<X509Svid>]>, bundles: &Arc<Bundles>) -> Self {
        Self {
            svids: Arc::clone(svids),
            bundles: Arc::clone(bundles),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.bundles.own_der == other.bundles.own_der
            && self.bundles.federated == other.bundles.federated
            && Held::are_same(&self.svids, &other.svids)
    }

    /// Of the message without its prefix.
    fn length(&self) -> usize {
        let svids = self.svids.iter().map(|held| self.member_length(held));
        svids.sum::<usize>() + self.bundles.federated.len()
    }

    /// As many SVIDs from `from` on as take `bytes_max`, one at least, with what stands before the first and behind the last
    /// of all; and from where to go on, unless that was all. Wiped when the last holder lets go, because there are keys in it.
    fn part(&self, from: usize, bytes_max: usize) -> (Bytes, Option<usize>) {
        let (mut next, mut length) = (from, 0);
        for held in self.svids.iter().skip(from) {
            let longer = length + self.member_length(held);
            if length > 0 && longer > bytes_max {
                break;
            }
            (next, length) = (next + 1, longer);
        }
        let is_last = next >= self.svids.len();
        // So large that no growing leaves a copy behind.
        let end = if is_last { self.bundles.federated.len() } else { 0 };
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + length + end);
        if from == 0 {
            bytes.extend_from_slice(&prefix(self.length()));
        }
        for held in self.svids.iter().take(next).skip(from) {
            encode_key(SVIDS, WireType::LengthDelimited, &mut bytes);
            encode_varint(self.inner_length(held) as u64, &mut bytes);
            for (tag, pieces) in self.fields(held) {
                put(tag, &pieces, &mut bytes);
            }
        }
        if is_last {
            bytes.extend_from_slice(&self.bundles.federated);
        }
        (wiped(bytes), (!is_last).then_some(next))
    }

    /// Of one SVID as a member of the message.
    fn member_length(&self, held: &Held<X509Svid>) -> usize {
        let inner = self.inner_length(held);
        key_len(SVIDS) + encoded_len_varint(inner as u64) + inner
    }

    fn inner_length(&self, held: &Held<X509Svid>) -> usize {
        let fields = self.fields(held).into_iter();
        fields.map(|(tag, pieces)| put_length(tag, &pieces)).sum()
    }

    /// The fields of `X509SVID`, by tag; the chain in its certificates.
    fn fields<'m>(&'m self, held: &'m Held<X509Svid>) -> [(u32, Vec<&'m [u8]>); 5] {
        let svid = &held.svid;
        [
            (1, vec![svid.id.as_str().as_bytes()]),
            (2, svid.chain().map(AsRef::as_ref).collect()),
            (3, vec![svid.key().expose()]),
            (4, vec![&self.bundles.own_der]),
            (5, vec![held.hint.as_bytes()]),
        ]
    }
}

/// One field, of bytes that stand in pieces; nothing where they are empty.
fn put(tag: u32, pieces: &[&[u8]], bytes: &mut Vec<u8>) {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    if length > 0 {
        encode_key(tag, WireType::LengthDelimited, bytes);
        encode_varint(length as u64, bytes);
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
    }
}

fn put_length(tag: u32, pieces: &[&[u8]]) -> usize {
    match pieces.iter().map(|piece| piece.len()).sum() {
        0 => 0,
        length => key_len(tag) + encoded_len_varint(length as u64) + length,
    }
}

/// The tag of the SVIDs in `X509SVIDResponse`.
const SVIDS: u32 = 1;
/// A part goes into one frame of HTTP/2, whose payload has 16,384 bytes, with its prefix and most often its end.
const PART_BYTES_MAX: usize = 14 << 10;
/// Messages of no more SVIDs are kept encoded: almost all are, and what is there is sent at once.
const FEW: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use signet_proto::workload::X509svidResponse;

    fn svids(count: usize, hint: &str) -> Arc<[Held<X509Svid>]> {
        (0..count)
            .map(|n| Held::for_tests(X509Svid::for_tests(n), if n % 3 == 0 { hint } else { "" }))
            .collect()
    }

    fn sent(message: &Message) -> Vec<Bytes> {
        let (mut parts, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let (part, rest) = message.part(at);
            parts.push(part);
            from = rest;
        }
        parts
    }

    /// Whatever stands in it and however it is cut, what is sent is what the generated code reads.
    #[test]
    fn a_message_is_the_one_that_generated_code_would_encode() {
        for bundles in [
            Bundles::for_tests(b"", &[]),
            Bundles::for_tests(&[7; 600], &["b.test", "c.test"]),
        ] {
            let bundles = Arc::new(bundles);
            for count in [1, 2, FEW, FEW + 1, 200] {
                let svids = svids(count, "internal");
                let message = Message::from(X509Svids::new(&svids, &bundles));
                let parts = sent(&message);
                assert_eq!(matches!(message, Message::Whole(_)), count <= FEW);
                assert_eq!(parts.len() == 1, count <= FEW, "{count}");
                assert!(
                    parts.iter().all(|part| count <= FEW || part.len() < 16_384),
                    "each fits into a frame"
                );
                let bytes = parts.concat();
                assert_eq!(bytes[..PREFIX_BYTES], prefix(bytes.len() - PREFIX_BYTES));
                let read = X509svidResponse::decode(&bytes[PREFIX_BYTES..]).expect("protobuf");
                let wanted = svids.iter().map(|held| signet_proto::workload::X509svid {
                    spiffe_id: held.svid.id.as_str().to_owned(),
                    x509_svid: held
                        .svid
                        .chain()
                        .flat_map(|der| der.to_vec())
                        .collect::<Vec<u8>>()
                        .into(),
                    x509_svid_key: held.svid.key().expose().to_vec().into(),
                    bundle: bundles.own_der.clone(),
                    hint: held.hint.clone(),
                });
                assert_eq!(read.svids, wanted.collect::<Vec<_>>());
                assert_eq!(
                    read.encoded_len() + PREFIX_BYTES,
                    bytes.len(),
                    "nothing else stands in it"
                );
                let federated = X509svidResponse {
                    svids: Vec::new(),
                    ..read
                };
                assert_eq!(
                    X509svidResponse::decode(&*bundles.federated).expect("protobuf"),
                    federated
                );
            }
        }
    }

    #[test]
    fn messages_are_the_same_where_all_that_they_show_is() {
        let bundles = Arc::new(Bundles::for_tests(&[7; 600], &["b.test"]));
        let of = |svids: &Arc<[Held<X509Svid>]>, bundles: &Arc<Bundles>| {
            Message::from(X509Svids::new(svids, bundles))
        };
        for count in [1, FEW + 1] {
            let shown = svids(count, "internal");
            let one = of(&shown, &bundles);
            assert!(one.is_same(&one.clone()) && one.is_same(&of(&shown, &bundles)));
            assert!(
                !one.is_same(&of(&svids(count, "other"), &bundles)),
                "another hint"
            );
            assert!(
                !one.is_same(&of(&svids(count + 1, "internal"), &bundles)),
                "one more"
            );
            for other in [
                Bundles::for_tests(&[8; 600], &["b.test"]),
                Bundles::for_tests(&[7; 600], &["c.test"]),
            ] {
                assert!(!one.is_same(&of(&shown, &Arc::new(other))), "other authorities");
            }
        }
    }
}
