use crate::{NetError, SOCKET_PATH_BYTES_MAX};
use core::fmt;
use std::path::{Path, PathBuf};

/// Where an administration server is: `unix:///path` or `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A UNIX socket on this machine.
    Unix(PathBuf),
    /// TLS over TCP.
    Https {
        /// Name or address, an IPv6 address in brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`NetError::Endpoint`] says what is wrong with it; [`NetError::PathLength`] for a socket that cannot exist.
    pub fn parse(text: &str) -> Result<Self, NetError> {
        let refuse = |what| NetError::Endpoint {
            text: signet_fault::shown(text, 128),
            what,
        };
        if let Some(path) = text.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(refuse(
                    "a socket is named by its whole path, as in unix:///run/signet/api.sock",
                ));
            }
            if path.len() > SOCKET_PATH_BYTES_MAX {
                return Err(refuse("a socket's path has at most 107 bytes"));
            }
            return Ok(Self::Unix(Path::new(path).to_path_buf()));
        }
        let Some(authority) = text.strip_prefix("https://") else {
            return Err(refuse("it begins with neither unix:// nor https://"));
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
                let port = port.parse::<u16>().ok().filter(|p| digits && *p != 0);
                (
                    host,
                    port.ok_or_else(|| refuse("the port is not a number from 1 to 65535"))?,
                )
            }
            _ => (authority, 443),
        };
        let host_ok = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            }
        };
        if !host_ok {
            return Err(refuse("it holds more or less than a host and a port"));
        }
        Ok(Self::Https {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Https { host, port } => write!(f, "https://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_written_back() {
        for text in [
            "unix:///run/signet/api.sock",
            "https://a.example:8444",
            "https://[::1]:1",
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), text);
        }
        let plain = Endpoint::parse("https://a.example/").unwrap();
        assert_eq!(plain.to_string(), "https://a.example:443");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "/run/signet/api.sock",
            "unix:run/api.sock",
            "unix://run/api.sock",
            "http://a:1",
            "https://",
            "https://:1",
            "https://a:0",
            "https://a:65536",
            "https://a:+1",
            "https://u@a:1",
            "https://a:1/path",
            "https://[::g]:1",
            "https://::1:1",
        ] {
            assert!(
                matches!(Endpoint::parse(text), Err(NetError::Endpoint { .. })),
                "{text}"
            );
        }
        assert!(Endpoint::parse(&format!("unix:///{}", "a".repeat(107))).is_err());
    }
}
