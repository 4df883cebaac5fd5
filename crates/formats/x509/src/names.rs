//! Subject alternative names, and the algorithms' names in both worlds.

use crate::der::{NotDer, Reader, SEQUENCE};
use core::net::IpAddr;

/// The names in a subjectAltName, by kind, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AltNames {
    pub(crate) uris: Vec<String>,
    pub(crate) dns: Vec<String>,
    /// IP addresses; counted in `others` as well, as an SVID has none.
    pub(crate) addresses: Vec<IpAddr>,
    /// How many there are of any other kind: mail, address, directory name.
    pub(crate) others: usize,
}

impl AltNames {
    /// Reads the extension's value: `SEQUENCE OF GeneralName`.
    pub(crate) fn parse(value: &[u8]) -> Result<Self, NotDer> {
        let mut names = Self::default();
        let mut reader = Reader::new(Reader::only(value, SEQUENCE)?.content);
        while !reader.is_empty() {
            let name = reader.element()?;
            match name.tag {
                DNS_NAME => names.dns.push(ia5(name.content)?),
                URI => names.uris.push(ia5(name.content)?),
                IP_ADDRESS => {
                    names.addresses.extend(address(name.content));
                    names.others += 1;
                }
                0x80..=0x88 | 0xa0..=0xa8 => names.others += 1,
                _ => return Err(NotDer),
            }
        }
        Ok(names)
    }

    pub(crate) fn count(&self) -> usize {
        self.uris.len() + self.dns.len() + self.others
    }
}

const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
const IP_ADDRESS: u8 = 0x87;

/// An address in network byte order (RFC 5280 §4.2.1.6); none where the length is no address's.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn ia5(bytes: &[u8]) -> Result<String, NotDer> {
    match core::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Ok(text.to_owned()),
        _ => Err(NotDer),
    }
}

/// Whether `name` may stand as DNS name in an X.509-SVID: labels of 1 to 63 letters, digits, `-` and `_`, not
/// beginning or ending with `-`, 253 bytes in all; no wildcard, no dot at the end.
#[must_use]
pub fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names() {
        for good in ["a", "a.b-c.example", "_srv.x", "xn--bcher-kva.example", "1.2"] {
            assert!(is_dns_name(good), "{good}");
        }
        let long = format!("{}.example", "a".repeat(64));
        let longer = ["abcdefghi."; 26].concat();
        for bad in [
            "",
            ".",
            "a.",
            "a..b",
            "-a",
            "a-",
            "*.example",
            "a b",
            "ä",
            &long,
            &longer,
        ] {
            assert!(!is_dns_name(bad), "{bad}");
        }
    }
}
