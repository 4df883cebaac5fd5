//! The little DER that must be read by ourselves: strict, definite, whole.

/// The bytes are not the DER that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotDer;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// `[0]`, constructed: a certificate's version, a request's attributes.
pub(crate) const CONTEXT_0: u8 = 0xa0;

/// One element: its tag, what is in it, and all of its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) raw: &'a [u8],
}

/// Reads elements one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element, whatever its tag. Tags above 30 and lengths not in their shortest form are refused.
    pub(crate) fn element(&mut self) -> Result<Element<'a>, NotDer> {
        let all = self.0;
        let (&tag, rest) = all.split_first().ok_or(NotDer)?;
        let (&first, rest) = rest.split_first().ok_or(NotDer)?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f)).ok_or(NotDer)?;
                let length = digits.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b));
                if digits.first() == Some(&0) || length < 0x80 {
                    return Err(NotDer);
                }
                (length, rest)
            }
            _ => return Err(NotDer),
        };
        if tag & 0x1f == 0x1f {
            return Err(NotDer);
        }
        let (content, rest) = rest.split_at_checked(length).ok_or(NotDer)?;
        let (raw, _) = all.split_at_checked(all.len() - rest.len()).ok_or(NotDer)?;
        self.0 = rest;
        Ok(Element { tag, content, raw })
    }

    /// The next element, which must have `tag`.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<Element<'a>, NotDer> {
        self.element()
            .and_then(|e| if e.tag == tag { Ok(e) } else { Err(NotDer) })
    }

    /// The next element if it has `tag`; else nothing is read.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, NotDer> {
        if self.0.first() == Some(&tag) {
            return self.element().map(Some);
        }
        Ok(None)
    }

    /// That nothing follows.
    pub(crate) fn finish(&self) -> Result<(), NotDer> {
        if self.0.is_empty() { Ok(()) } else { Err(NotDer) }
    }

    /// The one element with `tag` that `bytes` consist of.
    pub(crate) fn only(bytes: &'a [u8], tag: u8) -> Result<Element<'a>, NotDer> {
        let mut reader = Self::new(bytes);
        let element = reader.expect(tag)?;
        reader.finish()?;
        Ok(element)
    }
}

/// The bits of a BIT STRING that has no unused ones: keys and signatures.
pub(crate) fn whole_bits<'a>(element: &Element<'a>) -> Result<&'a [u8], NotDer> {
    match element.content.split_first() {
        Some((0, bits)) => Ok(bits),
        _ => Err(NotDer),
    }
}

/// Appends a DER length.
pub(crate) fn put_length(out: &mut Vec<u8>, length: usize) {
    if length < 0x80 {
        out.push(length as u8);
        return;
    }
    let bytes = length.to_be_bytes();
    let digits: Vec<u8> = bytes.into_iter().skip_while(|b| *b == 0).collect();
    out.push(0x80 | digits.len() as u8);
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_der_is_refused() {
        for bad in [
            &[][..],
            &[0x30],
            &[0x30, 0x01],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x81, 0x01, 0],
            &[0x30, 0x82, 0x00, 0x80],
            &[0x1f, 0x01, 0x00],
            &[0x30, 0x85, 0, 0, 0, 0, 1],
        ] {
            assert!(Reader::new(bad).element().is_err(), "{bad:02x?}");
        }
    }

    proptest! {
        #[test]
        fn lengths_read_back(length in 0_usize..70_000) {
            let mut bytes = vec![OCTET_STRING];
            put_length(&mut bytes, length);
            bytes.resize(bytes.len() + length, 7);
            let element = Reader::only(&bytes, OCTET_STRING).unwrap();
            prop_assert_eq!(element.content.len(), length);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            while reader.element().is_ok() {}
        }
    }
}
