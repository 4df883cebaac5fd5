use signet_fault::{Coded, remedy_of};
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Where a Workload API is served (SPIFFE_Workload_Endpoint §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A UNIX socket, by absolute path: `unix:///run/signet/agent.sock`.
    Unix(PathBuf),
    /// An address and port: `tcp://127.0.0.1:8000`. Names are not resolved.
    Tcp(SocketAddr),
}

/// Why an address is not one of an endpoint.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Neither an argument nor the environment says where the endpoint is.
    #[error("SPIFFE_ENDPOINT_SOCKET is not set")]
    Unset,
    /// Neither `unix://` nor `tcp://`.
    #[error("`{address}` begins with neither unix:// nor tcp://")]
    Scheme {
        /// What was given, cut to 128 characters.
        address: String,
    },
    /// A part that such an address may not have: user, host, query, fragment or path.
    #[error("`{address}` may not have a {part}")]
    Extra {
        /// What was given.
        address: String,
        /// The part that is too much.
        part: &'static str,
    },
    /// Not an absolute path to a file.
    #[error("`{address}` names no absolute path")]
    Path {
        /// What was given.
        address: String,
    },
    /// Not an IP address and a port.
    #[error("`{address}` names no IP address and port")]
    Address {
        /// What was given.
        address: String,
    },
}

impl Coded for EndpointError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unset => "SGWL001",
            Self::Scheme { .. } => "SGWL002",
            Self::Extra { .. } => "SGWL003",
            Self::Path { .. } => "SGWL004",
            Self::Address { .. } => "SGWL005",
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        remedy_of(crate::REGISTER, self.code())
    }
}

impl Endpoint {
    /// The variable that says where the endpoint is.
    pub const VARIABLE: &'static str = "SPIFFE_ENDPOINT_SOCKET";

    /// The endpoint that `SPIFFE_ENDPOINT_SOCKET` names.
    ///
    /// # Errors
    /// [`EndpointError::Unset`], and those of [`Endpoint::parse`].
    pub fn from_env() -> Result<Self, EndpointError> {
        match std::env::var(Self::VARIABLE) {
            Ok(address) if !address.is_empty() => Self::parse(&address),
            _ => Err(EndpointError::Unset),
        }
    }

    /// Reads `unix:///absolute/path` or `tcp://IP:port`, and nothing else.
    ///
    /// # Errors
    /// One variant of [`EndpointError`] for each rule that the address breaks.
    pub fn parse(address: &str) -> Result<Self, EndpointError> {
        let shown = || signet_fault::shown(address, 128);
        let extra = |part| EndpointError::Extra {
            address: shown(),
            part,
        };
        if let Some((part, _)) = [("query", '?'), ("fragment", '#')]
            .iter()
            .find(|(_, mark)| address.contains(*mark))
        {
            return Err(extra(part));
        }
        if let Some(rest) = address.strip_prefix("unix:") {
            let Some(rest) = rest.strip_prefix("//") else {
                // `unix:/path` has a path and no authority, which is the same address; `unix:path` is not.
                return unix_path(rest).ok_or_else(|| EndpointError::Path { address: shown() });
            };
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            return match authority {
                "" => unix_path(path).ok_or_else(|| EndpointError::Path { address: shown() }),
                _ if authority.contains('@') => Err(extra("user")),
                _ => Err(extra("host")),
            };
        }
        let Some(rest) = address.strip_prefix("tcp://") else {
            return Err(EndpointError::Scheme { address: shown() });
        };
        if rest.contains('@') {
            return Err(extra("user"));
        }
        if let Some((_, path)) = rest.split_once('/') {
            let part = if rest.starts_with('/') || !path.is_empty() {
                "path"
            } else {
                "trailing slash"
            };
            return Err(extra(part));
        }
        let socket: SocketAddr = rest
            .parse()
            .map_err(|_| EndpointError::Address { address: shown() })?;
        match socket.ip() {
            IpAddr::V4(_) | IpAddr::V6(_) if socket.port() != 0 => Ok(Self::Tcp(socket)),
            _ => Err(EndpointError::Address { address: shown() }),
        }
    }
}

fn unix_path(path: &str) -> Option<Endpoint> {
    let names_a_file = path.starts_with('/') && !path.ends_with('/') && !path.contains('\0');
    names_a_file.then(|| Endpoint::Unix(path.into()))
}

impl core::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spiffe_9_sockets_by_absolute_path_and_addresses_with_ports_are_endpoints() {
        for (address, endpoint) in [
            ("unix:///foo", Endpoint::Unix("/foo".into())),
            ("unix:/foo", Endpoint::Unix("/foo".into())),
            (
                "unix:///run/signet/agent.sock",
                Endpoint::Unix("/run/signet/agent.sock".into()),
            ),
            ("tcp://1.2.3.4:5", Endpoint::Tcp("1.2.3.4:5".parse().unwrap())),
            ("tcp://[::1]:5", Endpoint::Tcp("[::1]:5".parse().unwrap())),
        ] {
            assert_eq!(Endpoint::parse(address), Ok(endpoint), "{address}");
        }
    }

    #[test]
    fn spiffe_9_every_other_form_is_refused_for_its_own_reason() {
        let scheme = |a: &str| EndpointError::Scheme { address: a.into() };
        let extra = |a: &str, part| EndpointError::Extra {
            address: a.into(),
            part,
        };
        let path = |a: &str| EndpointError::Path { address: a.into() };
        let address = |a: &str| EndpointError::Address { address: a.into() };
        for (given, error) in [
            ("", scheme("")),
            ("/foo", scheme("/foo")),
            ("http:///foo", scheme("http:///foo")),
            ("UNIX:///foo", scheme("UNIX:///foo")),
            ("unix:", path("unix:")),
            ("unix:foo", path("unix:foo")),
            ("unix://", path("unix://")),
            ("unix:///", path("unix:///")),
            ("unix:///foo/", path("unix:///foo/")),
            ("unix://foo", extra("unix://foo", "host")),
            ("unix://foo/bar", extra("unix://foo/bar", "host")),
            (
                "unix://john:doe@foo/path",
                extra("unix://john:doe@foo/path", "user"),
            ),
            ("unix:///foo?whatever", extra("unix:///foo?whatever", "query")),
            ("unix:///foo#whatever", extra("unix:///foo#whatever", "fragment")),
            ("tcp:1.2.3.4:5", scheme("tcp:1.2.3.4:5")),
            ("tcp://", address("tcp://")),
            ("tcp://1.2.3.4", address("tcp://1.2.3.4")),
            ("tcp://1.2.3.4:0", address("tcp://1.2.3.4:0")),
            ("tcp://1.2.3.4:70000", address("tcp://1.2.3.4:70000")),
            ("tcp://foo:5", address("tcp://foo:5")),
            ("tcp://localhost:5", address("tcp://localhost:5")),
            ("tcp:///test", extra("tcp:///test", "path")),
            ("tcp://1.2.3.4:5/test", extra("tcp://1.2.3.4:5/test", "path")),
            ("tcp://1.2.3.4:5/", extra("tcp://1.2.3.4:5/", "trailing slash")),
            (
                "tcp://1.2.3.4:5?whatever",
                extra("tcp://1.2.3.4:5?whatever", "query"),
            ),
            (
                "tcp://1.2.3.4:5#whatever",
                extra("tcp://1.2.3.4:5#whatever", "fragment"),
            ),
            (
                "tcp://john:doe@1.2.3.4:5",
                extra("tcp://john:doe@1.2.3.4:5", "user"),
            ),
        ] {
            assert_eq!(Endpoint::parse(given), Err(error), "{given}");
        }
    }
}
