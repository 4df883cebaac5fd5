use crate::X509Error;
use core::fmt;

/// A certificate's serial number: 128 bits, never zero, positive as an INTEGER (RFC 5280 §4.1.2.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial([u8; 16]);

impl Serial {
    /// Takes the number, most significant byte first.
    ///
    /// # Errors
    /// [`X509Error::ZeroSerial`].
    pub fn new(bytes: [u8; 16]) -> Result<Self, X509Error> {
        if bytes == [0; 16] {
            return Err(X509Error::ZeroSerial);
        }
        Ok(Self(bytes))
    }

    /// The number, most significant byte first.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The number in lower-case hexadecimal as `openssl x509 -serial` and others show it: whole bytes, no leading
    /// zero byte.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Reads what [`Serial::hex`] writes; upper case and leading zeros are accepted.
    #[must_use]
    pub fn parse_hex(text: &str) -> Option<Self> {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = plain.then(|| u128::from_str_radix(text, 16).ok()).flatten()?;
        Self::new(number.to_be_bytes()).ok()
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().skip_while(|b| **b == 0);
    digits.fold(String::new(), |text, b| text + &format!("{b:02x}"))
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_reads_back() {
        let mut bytes = [0; 16];
        assert!(Serial::new(bytes).is_err());
        bytes[14] = 0x0a;
        bytes[15] = 0xff;
        let serial = Serial::new(bytes).unwrap();
        assert_eq!(serial.hex(), "0aff");
        for text in ["0aff", "AFF", "00000AFF"] {
            assert_eq!(Serial::parse_hex(text), Some(serial));
        }
        for bad in ["", "0", "+1", "xyz", &"1".repeat(33)] {
            assert_eq!(Serial::parse_hex(bad), None, "{bad}");
        }
    }
}
