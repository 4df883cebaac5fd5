//! As much DER as keys need: definite lengths in their shortest form, nothing left over.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;

/// Reads elements one after the other.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The contents of the next element, which must have `tag`.
    pub(crate) fn element(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&[found, first], mut rest) = self.0.split_first_chunk()?;
        if found != tag {
            return None;
        }
        let len = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            // No key comes near 2^24 bytes; a longer form is either padded or nonsense.
            let (bytes, after) = rest
                .split_at_checked(count)
                .filter(|_| (1..=3).contains(&count))?;
            rest = after;
            let len = bytes.iter().fold(0, |len, b| len << 8 | usize::from(*b));
            let shortest = len >= 0x80 && bytes.first() != Some(&0);
            shortest.then_some(len)?
        };
        let (contents, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some(contents)
    }

    /// The contents of a non-negative integer in its shortest form, without the sign byte.
    pub(crate) fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.element(INTEGER)? {
            [] => None,
            [0, next, ..] if *next < 0x80 => None,
            [0, magnitude @ ..] if !magnitude.is_empty() => Some(magnitude),
            [first, ..] if *first >= 0x80 => None,
            contents => Some(contents),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn end(self) -> Option<()> {
        self.is_empty().then_some(())
    }
}

/// One element.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(len + 5);
    out.push(tag);
    let bytes = len.to_be_bytes();
    if len < 0x80 {
        out.extend(bytes.last());
    } else {
        let significant = bytes.iter().position(|b| *b != 0).unwrap_or_default();
        let digits = bytes.get(significant..).unwrap_or_default();
        out.extend(u8::try_from(digits.len()).map(|count| 0x80 | count));
        out.extend_from_slice(digits);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// An integer from its big-endian magnitude.
pub(crate) fn unsigned(magnitude: &[u8]) -> Vec<u8> {
    let zeros = magnitude.iter().take_while(|b| **b == 0).count();
    let digits = magnitude.get(zeros..).unwrap_or_default();
    let needs_sign = digits.first().is_none_or(|b| *b >= 0x80);
    let sign: &[u8] = if needs_sign { &[0] } else { &[] };
    element(INTEGER, &[sign, digits])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_other_than_the_shortest_are_refused() {
        for bad in [
            &[0x30, 0x80][..],
            &[0x30, 0x81, 0x01, 0],
            &[0x30, 0x82, 0, 0x80],
            &[0x30, 0x84, 0, 0, 0, 1, 0],
            &[0x30, 2, 0],
            &[0x30],
            &[],
        ] {
            assert_eq!(Reader::new(bad).element(SEQUENCE), None, "{bad:x?}");
        }
    }

    #[test]
    fn integers_are_positive_and_shortest() {
        for bad in [&[2, 0][..], &[2, 2, 0, 0x7f], &[2, 1, 0x80]] {
            assert_eq!(Reader::new(bad).unsigned(), None, "{bad:x?}");
        }
        assert_eq!(Reader::new(&[2, 1, 0]).unsigned(), Some(&[0][..]));
        assert_eq!(Reader::new(&[2, 2, 0, 0x80]).unsigned(), Some(&[0x80][..]));
        assert_eq!(unsigned(&[]), [2, 1, 0]);
        assert_eq!(unsigned(&[0, 0, 0x80]), [2, 2, 0, 0x80]);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(contents in proptest::collection::vec(any::<u8>(), 0..700)) {
            let written = element(OCTET_STRING, &[&contents]);
            let mut reader = Reader::new(&written);
            prop_assert_eq!(reader.element(OCTET_STRING), Some(&contents[..]));
            prop_assert!(reader.end().is_some());
        }
    }
}
