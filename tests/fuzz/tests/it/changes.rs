//! Random changes of seeds: the same ones in every run.
#![expect(
    clippy::indexing_slicing,
    reason = "every index is drawn below the length of what it is for"
)]

/// A small generator (SplitMix64): nothing here needs to be hard to guess.
pub(crate) struct Changes(u64);

/// Bytes that mean something to one reader or another.
const TELLING: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b"\"",
    b"\\",
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"=",
    b".",
    b"..",
    b"/",
    b"//",
    b"%",
    b"%2F",
    b"*",
    b"-",
    b"+",
    b"e9999",
    b"null",
    b"true",
    b"-0",
    b"1e400",
    b"18446744073709551616",
    b"spiffe://",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xae",
    b"\\u0000",
    b"\\ud800",
    b"\x30\x82\xff\xff",
    b"\x30\x80",
    b"\x00\x00",
    b"\xa0\x03\x02\x01\x02",
];

impl Changes {
    /// Of the target `name`.
    pub(crate) fn new(name: &str) -> Self {
        Self(name.bytes().fold(0x5369_676e_6574, |sum, b| {
            sum.wrapping_mul(31).wrapping_add(b.into())
        }))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`; 0 if that is 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// One of `seeds`, changed in one to four places.
    pub(crate) fn of(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + 1 + self.below(16)).min(bytes.len());
            match self.below(8) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.next() as u8,
                2 => bytes.truncate(at),
                3 if at < end => drop(bytes.drain(at..end)),
                4 if at < end => {
                    let twice = bytes[at..end].to_vec();
                    bytes.splice(at..at, twice);
                }
                5 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
                6 => {
                    let random: Vec<u8> = (0..self.below(8)).map(|_| self.next() as u8).collect();
                    bytes.splice(at..at, random);
                }
                _ => {
                    let telling = TELLING[self.below(TELLING.len())];
                    bytes.splice(at..at, telling.iter().copied());
                }
            }
        }
        bytes
    }
}
