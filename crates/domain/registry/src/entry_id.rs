use core::fmt;
use signet_time::UnixTime;

/// The name of an entry: 16 bytes, shown as 32 lower-case hex digits.
///
/// The first eight bytes are the time of creation and a counter, so that ids of one server ascend and the order of
/// ids is the order of age; the other eight are random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId([u8; 16]);

impl EntryId {
    /// The id in these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id in `bytes`, if they are sixteen.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn new(millis: u64, counter: u16, random: [u8; 8]) -> Self {
        // 48 bits of milliseconds reach the year 10889.
        let head = (millis << 16) | u64::from(counter);
        Self(((u128::from(head) << 64) | u128::from(u64::from_be_bytes(random))).to_be_bytes())
    }

    /// Reads 32 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        hex16(text).map(Self)
    }

    /// The time in it.
    pub(crate) fn created_at(self) -> UnixTime {
        let [a, b, c, d, e, f, ..] = self.0;
        UnixTime::from_millis(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Sixteen bytes from 32 lower-case hex digits: one spelling for one value.
pub(crate) fn hex16(text: &str) -> Option<[u8; 16]> {
    let lower = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 32 || !text.bytes().all(lower) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_have_one_spelling() {
        let id = EntryId::new(1_795_371_619_000, 7, [0xab; 8]);
        assert_eq!(EntryId::parse(&id.to_string()), Some(id));
        assert_eq!(EntryId::from_slice(id.as_bytes()), Some(id));
        assert_eq!(id.created_at(), UnixTime::from_millis(1_795_371_619_000));
        let text = id.to_string();
        for bad in [
            "",
            "00",
            &text.to_uppercase(),
            &text[1..],
            &format!("{text}0"),
            &format!("+{}", &text[1..]),
        ] {
            assert_eq!(EntryId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn ids_sort_by_age() {
        let older = EntryId::new(1_000, u16::MAX, [0xff; 8]);
        let newer = EntryId::new(1_001, 0, [0; 8]);
        assert!(older < newer);
        assert!(EntryId::new(1_000, 1, [0xff; 8]) < EntryId::new(1_000, 2, [0; 8]));
    }
}
