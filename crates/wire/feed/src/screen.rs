//! What an agent sends, counted on its way in: before anything of it is kept or decoded.
//!
//! An element of a list may take two bytes on the wire and dozens once it is decoded, so a bound on bytes is none on
//! memory. A [`Screen`] walks the bytes of a call's requests (gRPC's length-prefixed messages, each in protobuf's wire
//! format) as they come, in pieces of any size, and refuses at the element that is one too many. It keeps no bytes.

use crate::limits::CAPABILITIES_MAX;
use signet_id::IdTemplate;

/// What the requests of one method may be.
#[derive(Debug)]
pub struct Form {
    /// The longest message, in bytes.
    pub message_bytes_max: usize,
    /// Fields whose elements are counted, each over the whole of one message.
    fields: &'static [Counted],
}

/// A field whose elements are counted, and what is counted within them.
#[derive(Debug)]
struct Counted {
    field: u64,
    what: &'static str,
    max: usize,
    /// Its place among the counters.
    place: usize,
    inside: &'static [Counted],
}

/// Why a request is not read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// A message is longer than its method takes.
    #[error("a message of {given} bytes, at most {max} are taken")]
    Length {
        /// As it announced itself.
        given: usize,
        /// The bound.
        max: usize,
    },
    /// A list has more elements than are taken.
    #[error("more than {max} {what} in one message")]
    Count {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// Not protobuf's wire format, or a part of it that this protocol has no use for.
    #[error("a message is malformed")]
    Malformed,
}

/// The items of one `Issue`, as [`Excess::Count`] calls them.
pub const ITEMS: &str = "items";

/// The most items in one `Issue`.
pub const ITEMS_MAX: usize = 256;

/// The most audiences in one `Issue`, all items together. One item with too many is refused by itself long before.
const AUDIENCES_MAX: usize = 16 * ITEMS_MAX;

/// The most facts in one `Issue`, all items together. One item with more than a template has is refused by itself.
const FACTS_MAX: usize = IdTemplate::FACTS_MAX * ITEMS_MAX;

/// Enough for a certificate request, a machine's chain and a hello.
const SHORT_BYTES_MAX: usize = 64 << 10;

/// Enough for [`ITEMS_MAX`] certificate requests of 16 KiB, with room.
const ISSUE_BYTES_MAX: usize = 5 << 20;

const HELLO: &[Counted] = &[Counted {
    field: 1,
    what: "hellos",
    max: 1,
    place: 0,
    inside: &[Counted {
        field: 3,
        what: "capabilities",
        max: CAPABILITIES_MAX,
        place: 1,
        inside: &[],
    }],
}];

const ISSUE: &[Counted] = &[Counted {
    field: 1,
    what: ITEMS,
    max: ITEMS_MAX,
    place: 0,
    inside: &[
        Counted {
            field: 3,
            what: "wishes for tokens",
            max: ITEMS_MAX,
            place: 1,
            inside: &[Counted {
                field: 1,
                what: "audiences",
                max: AUDIENCES_MAX,
                place: 2,
                inside: &[],
            }],
        },
        Counted {
            field: 5,
            what: "facts",
            max: FACTS_MAX,
            place: 3,
            inside: &[],
        },
    ],
}];

/// Counters of one message.
const PLACES: usize = 4;

/// Messages within one another that are looked into.
const DEPTH_MAX: usize = 4;

impl Form {
    /// Of `Attest`: all that a stranger may send.
    pub const ATTEST: Self = Self::short(HELLO);
    /// Of `Renew`.
    pub const RENEW: Self = Self::short(&[]);
    /// Of `Sync`, each message.
    pub const SYNC: Self = Self::short(HELLO);
    /// Of `Issue`.
    pub const ISSUE: Self = Self {
        message_bytes_max: ISSUE_BYTES_MAX,
        fields: ISSUE,
    };

    const fn short(fields: &'static [Counted]) -> Self {
        Self {
            message_bytes_max: SHORT_BYTES_MAX,
            fields,
        }
    }
}

/// Where in the requests of one call we are.
#[derive(Debug)]
pub struct Screen {
    form: &'static Form,
    step: Step,
    /// The message and what is open within it; each ends no later than the one before.
    open: [Level; DEPTH_MAX],
    depth: usize,
    counts: [usize; PLACES],
}

#[derive(Clone, Copy, Debug)]
struct Level {
    fields: &'static [Counted],
    /// Bytes still to come.
    left: usize,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Before or in gRPC's five bytes: the flag, and the length of what follows.
    Head { read: usize, length: usize },
    /// In a number.
    Number { value: u64, bytes: u32, is: Number },
    /// In bytes that say nothing to us.
    Skip { left: usize },
}

#[derive(Clone, Copy, Debug)]
enum Number {
    /// A field's number and wire type.
    Key,
    /// A field's value.
    Value,
    /// The length of a field's value.
    Length { field: u64 },
}

/// gRPC's prefix of each message, in bytes.
const HEAD_BYTES: usize = 5;

const HEAD: Step = Step::Head { read: 0, length: 0 };
const KEY: Step = Step::number(Number::Key);

impl Step {
    const fn number(is: Number) -> Self {
        Self::Number {
            value: 0,
            bytes: 0,
            is,
        }
    }
}

impl Screen {
    /// At the beginning of a call.
    #[must_use]
    pub fn new(form: &'static Form) -> Self {
        let none = Level { fields: &[], left: 0 };
        Self {
            form,
            step: HEAD,
            open: [none; DEPTH_MAX],
            depth: 0,
            counts: [0; PLACES],
        }
    }

    /// Passes over the bytes that come next.
    ///
    /// # Errors
    /// [`Excess`]; nothing after it is to be looked at.
    pub fn pass(&mut self, mut bytes: &[u8]) -> Result<(), Excess> {
        while let Some((byte, rest)) = bytes.split_first() {
            bytes = rest;
            match self.step {
                Step::Head { read, length } => self.head(read, length, *byte)?,
                Step::Number { value, bytes, is } => {
                    self.passed(1)?;
                    self.number(value, bytes, is, *byte)?;
                }
                Step::Skip { left } => {
                    // The bulk of all bytes, passed over as far as they are here.
                    let more = left.saturating_sub(1).min(rest.len());
                    bytes = rest.get(more..).unwrap_or_default();
                    self.passed(more + 1)?;
                    match left - (more + 1) {
                        0 => self.next_field(),
                        left => self.step = Step::Skip { left },
                    }
                }
            }
        }
        Ok(())
    }

    fn head(&mut self, read: usize, length: usize, byte: u8) -> Result<(), Excess> {
        // Nobody compresses on this port: what was counted would not be what is decoded.
        if read == 0 && byte != 0 {
            return Err(Excess::Malformed);
        }
        let (read, length) = (read + 1, (length << 8) | usize::from(byte));
        if read < HEAD_BYTES {
            self.step = Step::Head { read, length };
            return Ok(());
        }
        let max = self.form.message_bytes_max;
        if length > max {
            return Err(Excess::Length { given: length, max });
        }
        self.counts = [0; PLACES];
        self.enter(self.form.fields, length)?;
        self.next_field();
        Ok(())
    }

    fn number(&mut self, value: u64, bytes: u32, is: Number, byte: u8) -> Result<(), Excess> {
        // Ten bytes, of which the last has one bit (protobuf encoding, "Base 128 Varints").
        if bytes == 9 && byte > 1 {
            return Err(Excess::Malformed);
        }
        let value = value | (u64::from(byte & 0x7f) << (7 * bytes));
        if byte & 0x80 != 0 {
            self.step = Step::Number {
                value,
                bytes: bytes + 1,
                is,
            };
            return Ok(());
        }
        match is {
            Number::Key => self.key(value),
            Number::Value => {
                self.next_field();
                Ok(())
            }
            Number::Length { field } => self.length(field, value),
        }
    }

    fn key(&mut self, key: u64) -> Result<(), Excess> {
        let field = key >> 3;
        if field == 0 || key > u64::from(u32::MAX) {
            return Err(Excess::Malformed);
        }
        self.step = match key & 7 {
            0 => Step::number(Number::Value),
            1 => Step::Skip { left: 8 },
            2 => Step::number(Number::Length { field }),
            5 => Step::Skip { left: 4 },
            // Groups, which proto3 has not, and what is not assigned.
            _ => return Err(Excess::Malformed),
        };
        Ok(())
    }

    fn length(&mut self, field: u64, length: u64) -> Result<(), Excess> {
        let level = self.level();
        let length = usize::try_from(length).map_err(|_| Excess::Malformed)?;
        if length > level.left {
            return Err(Excess::Malformed);
        }
        let mut inside: &[Counted] = &[];
        if let Some(counted) = level.fields.iter().find(|counted| counted.field == field) {
            if let Some(count) = self.counts.get_mut(counted.place) {
                *count += 1;
                if *count > counted.max {
                    return Err(Excess::Count {
                        what: counted.what,
                        max: counted.max,
                    });
                }
            }
            inside = counted.inside;
        }
        match length {
            0 => self.next_field(),
            _ if inside.is_empty() => self.step = Step::Skip { left: length },
            _ => {
                self.enter(inside, length)?;
                self.step = KEY;
            }
        }
        Ok(())
    }

    fn level(&self) -> Level {
        let none = Level { fields: &[], left: 0 };
        let top = self.depth.checked_sub(1);
        top.and_then(|top| self.open.get(top)).copied().unwrap_or(none)
    }

    fn enter(&mut self, fields: &'static [Counted], left: usize) -> Result<(), Excess> {
        let level = self.open.get_mut(self.depth).ok_or(Excess::Malformed)?;
        *level = Level { fields, left };
        self.depth += 1;
        Ok(())
    }

    /// `count` bytes belong to everything that is open; nothing may end within a field.
    fn passed(&mut self, count: usize) -> Result<(), Excess> {
        for level in self.open.iter_mut().take(self.depth) {
            level.left = level.left.checked_sub(count).ok_or(Excess::Malformed)?;
        }
        Ok(())
    }

    /// A field has ended, and with it whatever ends there.
    fn next_field(&mut self) {
        while self.depth > 0 && self.level().left == 0 {
            self.depth -= 1;
        }
        self.step = if self.depth == 0 { HEAD } else { KEY };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;
    use signet_proto::agent::v1::issue_item::Wish;
    use signet_proto::agent::v1::{
        AttestRequest, Hello, IssueItem, IssueRequest, JwtWish, SyncRequest, X509Wish,
    };

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], length.as_slice(), message].concat()
    }

    fn screened(form: &'static Form, bytes: &[u8], cuts: &[usize]) -> Result<(), Excess> {
        let mut screen = Screen::new(form);
        let mut rest = bytes;
        for cut in cuts {
            let (piece, more) = rest.split_at((*cut).min(rest.len()));
            screen.pass(piece)?;
            rest = more;
        }
        screen.pass(rest)
    }

    fn jwt(audiences: usize) -> IssueItem {
        IssueItem {
            entry_id: vec![1; 16].into(),
            wish: Some(Wish::Jwt(JwtWish {
                audience: vec![String::new(); audiences],
            })),
            ..IssueItem::default()
        }
    }

    fn issue(items: Vec<IssueItem>) -> Vec<u8> {
        framed(&IssueRequest { items }.encode_to_vec())
    }

    fn hello(capabilities: usize) -> Hello {
        Hello {
            protocol: 1,
            software: "test".into(),
            capabilities: vec![String::new(); capabilities],
            now_ms: 7,
            holds: None,
        }
    }

    const MANY_ITEMS: Excess = Excess::Count {
        what: ITEMS,
        max: ITEMS_MAX,
    };

    #[test]
    fn whole_calls_pass() {
        let x509 = IssueItem {
            entry_id: vec![1; 16].into(),
            wish: Some(Wish::X509(X509Wish {
                csr: vec![0xff; 16 << 10].into(),
            })),
            ..IssueItem::default()
        };
        let full = issue(vec![x509; ITEMS_MAX]);
        assert_eq!(screened(&Form::ISSUE, &full, &[]), Ok(()));
        assert_eq!(
            screened(&Form::ISSUE, &issue(vec![jwt(16); ITEMS_MAX]), &[]),
            Ok(())
        );
        let attest = AttestRequest {
            hello: Some(hello(CAPABILITIES_MAX)),
            csr: vec![1; 16 << 10].into(),
            ..AttestRequest::default()
        };
        assert_eq!(
            screened(&Form::ATTEST, &framed(&attest.encode_to_vec()), &[]),
            Ok(())
        );
        assert_eq!(screened(&Form::ISSUE, &framed(&[]), &[]), Ok(()));
    }

    #[test]
    fn one_element_too_many_is_refused_at_its_own_bytes() {
        let bytes = issue(vec![IssueItem::default(); 1_000_000]);
        let mut screen = Screen::new(&Form::ISSUE);
        let fine = HEAD_BYTES + 2 * ITEMS_MAX;
        assert_eq!(screen.pass(&bytes[..fine]), Ok(()));
        assert_eq!(screen.pass(&bytes[fine..fine + 2]), Err(MANY_ITEMS));
        let audiences = Excess::Count {
            what: "audiences",
            max: AUDIENCES_MAX,
        };
        let (fits, not) = (
            issue(vec![jwt(AUDIENCES_MAX)]),
            issue(vec![jwt(AUDIENCES_MAX), jwt(1)]),
        );
        assert_eq!(screened(&Form::ISSUE, &fits, &[]), Ok(()));
        assert_eq!(screened(&Form::ISSUE, &not, &[]), Err(audiences));
    }

    #[test]
    fn facts_are_counted_over_all_items() {
        let with = |facts: usize| IssueItem {
            facts: vec![signet_proto::agent::v1::Fact::default(); facts],
            ..jwt(1)
        };
        let full = issue(vec![with(16); ITEMS_MAX]);
        assert_eq!(screened(&Form::ISSUE, &full, &[]), Ok(()));
        let not = issue(vec![with(FACTS_MAX), with(1)]);
        assert!(matches!(
            screened(&Form::ISSUE, &not, &[]),
            Err(Excess::Count {
                what: "facts",
                max: FACTS_MAX
            })
        ));
    }

    #[test]
    fn a_wish_that_is_said_again_and_again_is_counted_as_it_is_merged() {
        // Each occurrence adds its audiences to the one before (protobuf encoding, "Last One Wins").
        let wish = [0x1a, 4, 0x0a, 0, 0x0a, 0];
        let item = wish.repeat(ITEMS_MAX + 1);
        let length = u8::try_from(item.len() & 0x7f).unwrap() | 0x80;
        let length = [length, u8::try_from(item.len() >> 7).unwrap()];
        let message = [&[0x0a], length.as_slice(), &item].concat();
        let decoded = IssueRequest::decode(message.as_slice()).unwrap();
        assert!(
            matches!(&decoded.items[0].wish, Some(Wish::Jwt(jwt)) if jwt.audience.len() == 2 * (ITEMS_MAX + 1))
        );
        assert!(matches!(
            screened(&Form::ISSUE, &framed(&message), &[]),
            Err(Excess::Count {
                what: "wishes for tokens",
                ..
            })
        ));
    }

    #[test]
    fn capabilities_are_counted_and_a_stream_begins_anew_with_each_message() {
        let request = |capabilities| SyncRequest {
            message: Some(signet_proto::agent::v1::sync_request::Message::Hello(hello(
                capabilities,
            ))),
        };
        let fits = framed(&request(CAPABILITIES_MAX).encode_to_vec());
        assert_eq!(screened(&Form::SYNC, &fits.repeat(3), &[]), Ok(()));
        let not = framed(&request(CAPABILITIES_MAX + 1).encode_to_vec());
        assert!(matches!(
            screened(&Form::SYNC, &not, &[]),
            Err(Excess::Count {
                what: "capabilities",
                ..
            })
        ));
    }

    #[test]
    fn a_long_message_is_refused_by_what_it_announces() {
        let max = Form::ATTEST.message_bytes_max;
        let head = |length: usize| [&[0], &u32::try_from(length).unwrap().to_be_bytes()[..]].concat();
        assert_eq!(screened(&Form::ATTEST, &head(max), &[]), Ok(()));
        let given = max + 1;
        assert_eq!(
            screened(&Form::ATTEST, &head(given), &[]),
            Err(Excess::Length { given, max })
        );
    }

    #[test]
    fn what_is_not_the_wire_format_of_a_request_is_refused() {
        let cases: [&[u8]; 7] = [
            // Field 0.
            &[0x02, 0],
            // A group.
            &[0x0b, 0x0c],
            // Wire types that are not assigned.
            &[0x0e],
            // Longer than what it stands in.
            &[0x0a, 2, 0],
            &[0x0a, 2, 0x0a, 1],
            // A number that goes on beyond the end, and one beyond 64 bits.
            &[0x0a, 1, 0x80],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ];
        for case in cases {
            // With more behind it, which must not be taken for a part of it.
            let bytes = [framed(case), framed(&[])].concat();
            assert_eq!(
                screened(&Form::ISSUE, &bytes, &[]),
                Err(Excess::Malformed),
                "{case:?}"
            );
        }
        assert_eq!(
            screened(&Form::ISSUE, &[1, 0, 0, 0, 0], &[]),
            Err(Excess::Malformed),
            "compressed"
        );
    }

    proptest! {
        #[test]
        fn cuts_between_pieces_change_nothing(
            items in proptest::collection::vec(0_usize..9, 0..400),
            cuts in proptest::collection::vec(0_usize..40, 0..60),
        ) {
            let many = items.len() > ITEMS_MAX;
            let bytes = issue(items.into_iter().map(jwt).collect());
            let whole = screened(&Form::ISSUE, &bytes, &[]);
            prop_assert_eq!(whole, if many { Err(MANY_ITEMS) } else { Ok(()) });
            prop_assert_eq!(screened(&Form::ISSUE, &bytes, &cuts), whole);
        }

        #[test]
        fn nothing_that_passes_decodes_to_more_than_was_counted(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just(vec![0x0a, 0]),
                    Just(vec![0x0a, 4, 0x1a, 2, 0x0a, 0]),
                    Just(vec![0x8a, 0x80, 0, 0]),
                    Just(vec![0x1a, 2, 0x0a, 0]),
                    proptest::collection::vec(any::<u8>(), 0..6),
                ],
                0..300,
            ),
        ) {
            let message = pieces.concat();
            if let Ok(decoded) = IssueRequest::decode(message.as_slice())
                && screened(&Form::ISSUE, &framed(&message), &[]).is_ok()
            {
                prop_assert!(decoded.items.len() <= ITEMS_MAX);
            }
        }
    }
}
