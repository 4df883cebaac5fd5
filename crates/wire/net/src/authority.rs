//! Makes what gRPC clients over UNIX sockets call themselves acceptable to the HTTP/2 library.
//!
//! The C core of gRPC (Python, C++, Ruby, PHP) names as `:authority` the socket's path, percent-encoded:
//! `run%2Fsignet%2Fagent.sock`. RFC 3986 §3.2.2 allows that for a registered name; the `http` crate, which parses
//! the field before anybody else sees it, does not, and h2 resets the stream. On a UNIX socket the name means
//! nothing, so the bytes that it may not hold are overwritten, one for one, before h2 reads them: no length changes,
//! no table goes out of step.
//!
//! This walks frames (RFC 9113 §4.1) and field representations (RFC 7541 §6) only as far as finding a literal
//! `:authority` takes. It keeps no table and decodes no Huffman code; whatever is not such a literal passes
//! untouched, and h2 judges it as before.

const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// Stream dependency and weight, where the flag says so.
const PRIORITY_BYTES: u8 = 5;
/// The field, by name and by its place in the static table (RFC 7541 appendix A). The C core writes the name.
const AUTHORITY: &[u8] = b":authority";
const AUTHORITY_INDEX: u64 = 1;

/// Where in the incoming bytes we are. Everything survives a cut between any two bytes.
pub(crate) struct Walker {
    place: Place,
    /// Bytes of the current frame's payload still to come.
    payload_left: usize,
}

enum Place {
    Preface {
        left: usize,
    },
    Head {
        bytes: [u8; HEAD_BYTES],
        filled: usize,
    },
    /// Payload that is none of our business.
    Skip,
    /// The priority fields that may stand before the fields.
    Priority {
        left: u8,
    },
    Fields(Field),
}

/// Where in a field representation we are.
enum Field {
    Start,
    /// In the rest of an integer that did not fit its prefix.
    Int {
        value: u64,
        shift: u32,
        what: Int,
    },
    /// Before the length of a string.
    Length(Text),
    /// In a string.
    Text {
        left: u64,
        rewrite: bool,
        then: Text,
    },
    /// Malformed beyond what we follow: h2 will say so.
    Lost,
}

/// What an integer is for.
#[derive(Clone, Copy)]
enum Int {
    /// An indexed field or a table size: nothing follows.
    Alone,
    /// The index of a literal's name.
    Name,
    /// The length of a string, and whether it is written without Huffman code.
    Length { of: Text, is_plain: bool },
}

#[derive(Clone, Copy)]
enum Text {
    /// A name of which so many bytes are those of [`AUTHORITY`]; none where one was not.
    Name {
        same: Option<usize>,
    },
    Value {
        is_authority: bool,
    },
}

impl Text {
    const NAME: Self = Self::Name { same: Some(0) };

    /// The same with `byte` read.
    fn with(self, byte: u8) -> Self {
        match self {
            Self::Name { same: Some(at) } => Self::Name {
                same: (AUTHORITY.get(at) == Some(&byte)).then_some(at + 1),
            },
            other => other,
        }
    }
}

impl Walker {
    /// At the beginning of a connection.
    pub(crate) fn new() -> Self {
        Self {
            place: Place::Preface { left: PREFACE_BYTES },
            payload_left: 0,
        }
    }

    /// Passes over the bytes that come next, and overwrites what `:authority` may not hold.
    pub(crate) fn walk(&mut self, mut bytes: &mut [u8]) {
        while let Some((byte, mut rest)) = bytes.split_first_mut() {
            match &mut self.place {
                Place::Preface { left } => {
                    *left -= 1;
                    if *left == 0 {
                        self.next_frame();
                    }
                }
                Place::Head { bytes, filled } => {
                    if let Some(slot) = bytes.get_mut(*filled) {
                        *slot = *byte;
                    }
                    *filled += 1;
                    if *filled == HEAD_BYTES {
                        let head = *bytes;
                        self.begin(head);
                    }
                }
                Place::Skip => {
                    // The bulk of all bytes, passed over as far as they are here.
                    let more = self.payload_left.saturating_sub(1).min(rest.len());
                    rest = rest.get_mut(more..).unwrap_or_default();
                    self.passed(more + 1);
                }
                Place::Priority { left } => {
                    *left -= 1;
                    if *left == 0 {
                        self.place = Place::Fields(Field::Start);
                    }
                    self.passed(1);
                }
                Place::Fields(field) => {
                    field.step(byte);
                    self.passed(1);
                }
            }
            bytes = rest;
        }
    }

    fn passed(&mut self, count: usize) {
        self.payload_left = self.payload_left.saturating_sub(count);
        if self.payload_left == 0 {
            self.next_frame();
        }
    }

    fn next_frame(&mut self) {
        self.place = Place::Head {
            bytes: [0; HEAD_BYTES],
            filled: 0,
        };
    }

    fn begin(&mut self, head: [u8; HEAD_BYTES]) {
        let [a, b, c, kind, flags, ..] = head;
        self.payload_left = (usize::from(a) << 16) | (usize::from(b) << 8) | usize::from(c);
        self.place = match kind {
            _ if self.payload_left == 0 => return self.next_frame(),
            // Padding would have to be told from fields; no client that is named by its socket pads.
            HEADERS if flags & PADDED != 0 => Place::Skip,
            HEADERS if flags & PRIORITY != 0 => Place::Priority { left: PRIORITY_BYTES },
            HEADERS => Place::Fields(Field::Start),
            _ => Place::Skip,
        };
    }
}

impl Field {
    fn step(&mut self, byte: &mut u8) {
        *self = match *self {
            Self::Start => match *byte {
                b if b & 0x80 != 0 => Self::int(b, 7, Int::Alone),
                b if b & 0xc0 == 0x40 => Self::int(b, 6, Int::Name),
                b if b & 0xe0 == 0x20 => Self::int(b, 5, Int::Alone),
                b => Self::int(b, 4, Int::Name),
            },
            Self::Int { value, shift, what } => {
                let Some(value) = u64::from(*byte & 0x7f)
                    .checked_shl(shift)
                    .and_then(|more| value.checked_add(more))
                else {
                    *self = Self::Lost;
                    return;
                };
                match *byte & 0x80 {
                    0 => Self::after_int(value, what),
                    // h2 allows no integer of more bytes than this either.
                    _ if shift > 28 => Self::Lost,
                    _ => Self::Int {
                        value,
                        shift: shift + 7,
                        what,
                    },
                }
            }
            Self::Length(of) => Self::int(
                *byte,
                7,
                Int::Length {
                    of,
                    is_plain: *byte & 0x80 == 0,
                },
            ),
            Self::Text { left, rewrite, then } => {
                if rewrite && *byte == REFUSED {
                    *byte = SUBSTITUTE;
                }
                let then = then.with(*byte);
                match left {
                    0 | 1 => Self::after_text(then),
                    _ => Self::Text {
                        left: left - 1,
                        rewrite,
                        then,
                    },
                }
            }
            Self::Lost => Self::Lost,
        };
    }

    /// An integer whose first byte has a prefix of `bits`.
    fn int(byte: u8, bits: u32, what: Int) -> Self {
        let mask = (1_u8 << bits) - 1;
        let value = u64::from(byte & mask);
        if byte & mask == mask {
            Self::Int {
                value,
                shift: 0,
                what,
            }
        } else {
            Self::after_int(value, what)
        }
    }

    fn after_int(value: u64, what: Int) -> Self {
        match what {
            Int::Alone => Self::Start,
            Int::Name if value == 0 => Self::Length(Text::NAME),
            Int::Name => Self::Length(Text::Value {
                is_authority: value == AUTHORITY_INDEX,
            }),
            Int::Length { of, .. } if value == 0 => Self::after_text(of),
            Int::Length { of, is_plain } => {
                let of = match of {
                    Text::Name { .. } if !is_plain => Text::Name { same: None },
                    of => of,
                };
                let rewrite = is_plain && matches!(of, Text::Value { is_authority: true });
                Self::Text {
                    left: value,
                    rewrite,
                    then: of,
                }
            }
        }
    }

    fn after_text(of: Text) -> Self {
        match of {
            Text::Name { same } => Self::Length(Text::Value {
                is_authority: same == Some(AUTHORITY.len()),
            }),
            Text::Value { .. } => Self::Start,
        }
    }
}

/// The byte of a percent-encoded path that the `http` crate refuses in a host.
const REFUSED: u8 = b'%';

/// Stands in its place.
const SUBSTITUTE: u8 = b'-';

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[a, b, c, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// `:method POST`, `:path` as a literal, `:authority` as a literal with indexing.
    fn fields(authority: &[u8]) -> Vec<u8> {
        let path = b"/SpiffeWorkloadAPI/FetchX509SVID";
        let path = [&[0x83, 0x44, u8::try_from(path.len()).unwrap()], path.as_slice()].concat();
        let authority = [&[0x41, u8::try_from(authority.len()).unwrap()], authority].concat();
        [path, authority, b"\x40\x02a%\x03%%%".to_vec()].concat()
    }

    fn connection(authority: &[u8]) -> Vec<u8> {
        [
            PREFACE.to_vec(),
            frame(4, 0, &[]),
            frame(4, 0, b"\x00\x03\x00\x00\x00%"),
            frame(HEADERS, 4, &fields(authority)),
            frame(0, 0, b"a%2Fb"),
            frame(
                HEADERS,
                4 | PRIORITY,
                &[b"12345".to_vec(), fields(authority)].concat(),
            ),
        ]
        .concat()
    }

    fn walked(mut bytes: Vec<u8>, cuts: &[usize]) -> Vec<u8> {
        let mut walker = Walker::new();
        let mut rest = bytes.as_mut_slice();
        for cut in cuts {
            let (piece, more) = rest.split_at_mut((*cut).min(rest.len()));
            walker.walk(piece);
            rest = more;
        }
        walker.walk(rest);
        bytes
    }

    #[test]
    fn a_sockets_path_becomes_a_legal_name_and_nothing_else_changes() {
        let done = walked(connection(b"run%2Fsignet%2Fagent.sock"), &[]);
        assert_eq!(done, connection(b"run-2Fsignet-2Fagent.sock"));
    }

    /// The head of a connection as gRPC's C core 58.0.0 sends it.
    #[test]
    fn the_name_that_grpc_s_c_core_sends_is_made_legal() {
        let block = |authority: &[u8]| {
            [
                b"@\x05:path /SpiffeWorkloadAPI/FetchX509SVID@\x0a:authority\x13",
                authority,
                b"\x83\x86@\x0ccontent-type\x10application/grpc@\x02te\x08trailers\x00\x12workload.spiffe.io\x04true",
            ]
            .concat()
        };
        let wire = |authority: &[u8]| [PREFACE.to_vec(), frame(HEADERS, 4, &block(authority))].concat();
        assert_eq!(
            walked(wire(b"run%2Fsig%2Fag.sock"), &[]),
            wire(b"run-2Fsig-2Fag.sock")
        );
    }

    #[test]
    fn names_that_are_legal_and_names_in_huffman_code_pass_untouched() {
        let plain = connection(b"localhost:80");
        assert_eq!(walked(plain.clone(), &[]), plain);
        let mut huffman = connection(b"aa%aa");
        for at in 0..huffman.len() - 1 {
            if huffman[at..].starts_with(&[0x41, 5]) {
                huffman[at + 1] = 0x85;
            }
        }
        assert_eq!(walked(huffman.clone(), &[]), huffman);
    }

    #[test]
    fn a_long_name_and_a_padded_block_are_followed_to_their_end() {
        let long = [b"%".as_slice(), &[b'a'; 300]].concat();
        let block = |name: &[u8]| [&[0x41, 0x7f, 0xae, 0x01], name, &[0x41, 1, b'%']].concat();
        assert_eq!(long.len(), 127 + 0x2e + 128);
        let legal = [b"-".as_slice(), &[b'a'; 300]].concat();
        let wire = |name: &[u8], tail: u8| {
            let mut block = block(name);
            *block.last_mut().unwrap() = tail;
            [
                PREFACE.to_vec(),
                frame(HEADERS, 4, &block),
                frame(HEADERS, PADDED, b"\x01\x41\x01%%"),
            ]
            .concat()
        };
        assert_eq!(walked(wire(&long, b'%'), &[]), wire(&legal, b'-'));
    }

    proptest! {
        #[test]
        fn cuts_between_reads_change_nothing(cuts in proptest::collection::vec(0_usize..40, 0..12)) {
            prop_assert_eq!(
                walked(connection(b"run%2Fsignet%2Fagent.sock"), &cuts),
                connection(b"run-2Fsignet-2Fagent.sock")
            );
        }

        #[test]
        fn only_percent_signs_ever_change(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let sent = [PREFACE, &bytes].concat();
            let done = walked(sent.clone(), &[]);
            prop_assert!(sent.iter().zip(&done).all(|(a, b)| a == b || (*a == REFUSED && *b == SUBSTITUTE)));
        }
    }
}
