use core::fmt;
use core::net::IpAddr;
use signet_x509::is_dns_name;

/// Where relying parties reach the public port: `https://HOST` or `https://HOST:PORT`, and nothing after it.
///
/// The issuers are made from it, and relying parties compare those byte for byte, so it is kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicUrl {
    text: String,
    host: Host,
}

/// The host of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Name(String),
    Address(IpAddr),
}

/// Why a text is no public URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("does not begin with `https://`")]
    Scheme,
    /// Something after host and port, or before them: a path, a query, a user's name.
    #[error("is more than `https://HOST` or `https://HOST:PORT`")]
    More,
    /// The host is neither a DNS name in lower case nor an address.
    #[error("has a host that is neither a DNS name in lower case nor an address")]
    Host,
    /// The port is no number from 1 to 65535, or written with leading zeros.
    #[error("has a port that is no number from 1 to 65535")]
    Port,
}

impl PublicUrl {
    /// Reads `text`.
    ///
    /// # Errors
    /// [`UrlError`], one variant for each part.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let rest = text.strip_prefix("https://").ok_or(UrlError::Scheme)?;
        if rest.contains(['/', '?', '#', '@', '\\']) || !rest.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(UrlError::More);
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest.split_once(']').ok_or(UrlError::Host)?;
                let address: core::net::Ipv6Addr = address.parse().map_err(|_| UrlError::Host)?;
                let port = match after {
                    "" => None,
                    after => Some(after.strip_prefix(':').ok_or(UrlError::Port)?),
                };
                (Host::Address(address.into()), port)
            }
            None => {
                let (host, port) = match rest.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (rest, None),
                };
                (Host::parse(host)?, port)
            }
        };
        if let Some(port) = port {
            let number: u16 = port.parse().map_err(|_| UrlError::Port)?;
            // One spelling only: issuers are compared byte for byte.
            if number == 0 || number.to_string() != port {
                return Err(UrlError::Port);
            }
        }
        let text = text.to_owned();
        Ok(Self { text, host })
    }

    /// The URL of a server that nobody gave a name: `https://localhost:PORT`.
    #[must_use]
    pub fn localhost(port: u16) -> Self {
        Self {
            text: format!("https://localhost:{port}"),
            host: Host::Name("localhost".to_owned()),
        }
    }

    /// As it was written, without a `/` at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host, where that is a DNS name.
    #[must_use]
    pub fn dns_name(&self) -> Option<&str> {
        match &self.host {
            Host::Name(name) => Some(name),
            Host::Address(_) => None,
        }
    }

    /// Its host, where that is an address.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self.host {
            Host::Name(_) => None,
            Host::Address(address) => Some(address),
        }
    }

    /// Its host, as a client looks for it in a certificate.
    #[must_use]
    pub fn host(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        }
    }

    /// The issuer of JWT-SVIDs. It differs from that of access tokens, and so do the keys.
    #[must_use]
    pub fn workload_issuer(&self) -> String {
        format!("{}/workload", self.text)
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, UrlError> {
        if let Ok(address) = text.parse::<core::net::Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let is_lower = !text.bytes().any(|b| b.is_ascii_uppercase());
        // The last label of a name is never a number: what looks like an address and is none is a mistake.
        let last = text.rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().all(|b| b.is_ascii_digit());
        if is_dns_name(text) && is_lower && !is_number {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(UrlError::Host)
        }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_and_nothing_else() {
        for (text, name, address) in [
            ("https://id.example.org", Some("id.example.org"), None),
            ("https://localhost:8443", Some("localhost"), None),
            ("https://192.0.2.1:8443", None, Some("192.0.2.1")),
            ("https://[2001:db8::1]", None, Some("2001:db8::1")),
            ("https://[2001:db8::1]:8443", None, Some("2001:db8::1")),
        ] {
            let url = PublicUrl::parse(text).unwrap();
            assert_eq!(url.as_str(), text);
            assert_eq!(
                (url.dns_name(), url.address()),
                (name, address.map(|a| a.parse().unwrap()))
            );
        }
        assert_eq!(
            PublicUrl::parse("https://localhost:8443").unwrap(),
            PublicUrl::localhost(8443)
        );
        assert_eq!(
            PublicUrl::localhost(1).workload_issuer(),
            "https://localhost:1/workload"
        );
    }

    #[test]
    fn spiffe_88_another_scheme_a_user_or_anything_more_is_refused() {
        use UrlError::{Host, More, Port, Scheme};
        for (text, why) in [
            ("http://a.example", Scheme),
            ("HTTPS://a.example", Scheme),
            ("a.example", Scheme),
            ("", Scheme),
            ("https://u@a.example", More),
            ("https://u:p@a.example", More),
            ("https://a.example/", More),
            ("https://a.example/x", More),
            ("https://a.example?x", More),
            ("https://a.example#x", More),
            ("https://a.example\\x", More),
            ("https://a example", More),
            ("https://", Host),
            ("https://:8443", Host),
            ("https://A.example", Host),
            ("https://a..example", Host),
            ("https://1.2.3", Host),
            ("https://1.2.3.256", Host),
            ("https://[::1", Host),
            ("https://[x]", Host),
            ("https://a.example:", Port),
            ("https://a.example:0", Port),
            ("https://a.example:08443", Port),
            ("https://a.example:+1", Port),
            ("https://a.example:65536", Port),
            ("https://[::1]x", Port),
        ] {
            assert_eq!(PublicUrl::parse(text).err(), Some(why), "{text}");
        }
    }
}
