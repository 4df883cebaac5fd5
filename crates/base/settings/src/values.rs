//! Values with a written form of their own.

use core::fmt;
use core::time::Duration;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use std::net::SocketAddr;

/// A length of time, written `90s`, `5m`, `1h`, `30d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A number of bytes, written as a whole number or with a unit: `64KiB`, `10MiB`, `1GiB`, `100kB`, `5MB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Where to listen: an IP address and a port, `127.0.0.1:8445` or `[::1]:8445`; port 0 takes any free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

/// Whom to call: a host name or IP address and a port that is not 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A DNS name or an IP address; an IPv6 address without brackets.
    pub host: String,
    /// Where it listens.
    pub port: u16,
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&signet_time::format_duration(self.0))
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.0
    }
}

impl ByteSize {
    /// Reads a whole number of bytes, or one with a unit.
    ///
    /// # Errors
    /// A sentence that says how to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refusal = || {
            let text = signet_fault::shown(text, 64);
            format!("`{text}` is not a number of bytes: write 65536, 64KiB, 10MiB or 1GiB")
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit.trim_start())
            .ok_or_else(refusal)?;
        number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(*factor))
            .map(Self)
            .ok_or_else(refusal)
    }
}

const UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

impl HostPort {
    /// Reads `HOST:PORT`.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shown = signet_fault::shown(text, 64);
        let refusal = |why: &str| Err(format!("`{shown}` is not HOST:PORT: {why}"));
        let Some((host, port)) = text.rsplit_once(':') else {
            return refusal("the port is missing, as in server.example:8445");
        };
        let port = match port.parse::<u16>() {
            Ok(0) | Err(_) => return refusal("the port is a whole number from 1 to 65535"),
            Ok(port) => port,
        };
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
            Some(_) => return refusal("between brackets stands an IPv6 address"),
            None if host.contains(':') => return refusal("an IPv6 address stands between brackets"),
            None => host,
        };
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if bracketed.is_none() && (host.is_empty() || host.len() > 253 || !host.bytes().all(is_name)) {
            return refusal("the host is a DNS name or an IP address, without scheme or path");
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl core::str::FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

fn parse_listen(text: &str) -> Result<ListenAddress, String> {
    text.parse().map(ListenAddress).map_err(|_| {
        let text = signet_fault::shown(text, 64);
        format!(
            "`{text}` is not an address to listen on: write IP:PORT, such as 127.0.0.1:8445 or 0.0.0.0:8445"
        )
    })
}

/// Reads a string with a check of its own.
struct Text<T>(fn(&str) -> Result<T, String>, &'static str);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &str| {
            signet_time::parse_duration(text)
                .map(Period)
                .map_err(|e| e.to_string())
        };
        deserializer.deserialize_str(Text(read, "a duration in quotes, such as \"90s\""))
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text(
            parse_listen,
            "an address in quotes, such as \"127.0.0.1:8445\"",
        ))
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text(
            Self::parse,
            "HOST:PORT in quotes, such as \"server.example:8445\"",
        ))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;
        impl Visitor<'_> for Size {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, such as 65536 or \"64KiB\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ByteSize, E> {
                ByteSize::parse(text).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes)
                    .map(ByteSize)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))
            }
        }
        deserializer.deserialize_any(Size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_and_refused() {
        for (text, bytes) in [
            ("0", 0),
            ("64KiB", 65_536),
            ("64 KiB", 65_536),
            ("5MB", 5_000_000),
        ] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
        }
        for text in [
            "",
            "KiB",
            "-1",
            "1.5MiB",
            "64kib",
            "99999999999999999999",
            "99999999999999GiB",
        ] {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_and_ports_are_read_and_refused() {
        for (text, host, port) in [
            ("server.example:8445", "server.example", 8445),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]:8445", "::1", 8445),
        ] {
            let read = HostPort::parse(text).unwrap();
            assert_eq!((read.host.as_str(), read.port), (host, port));
            assert_eq!(read.to_string(), text);
        }
        for text in [
            "",
            "a",
            ":1",
            "a:",
            "a:0",
            "a:70000",
            "::1:8445",
            "[a]:1",
            "https://a:1",
            "a/b:1",
            "a b:1",
        ] {
            assert!(HostPort::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "\\PC{0,40}") {
            let _ = (ByteSize::parse(&text), HostPort::parse(&text), parse_listen(&text));
        }
    }
}
