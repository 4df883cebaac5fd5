use crate::ApiError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::{DecodeError, alphabet, engine};
use core::fmt;
use serde::{Deserialize, Serialize};
use signet_crypto::{Secret, digest};
use signet_id::TrustDomain;

/// What a new node needs to find its servers, know them, and prove itself once: `sgjoin1.` and the base64url of a
/// JSON document.
///
/// The token in it is a secret until it is used, so the whole string is; `Debug` leaves it out.
pub struct JoinString {
    /// The trust domain of the servers.
    pub trust_domain: TrustDomain,
    /// Where the servers listen, `HOST:PORT`, best first; 1 to 16.
    pub servers: Vec<String>,
    /// SHA-256 of the root certificates (DER), active and prepared; 1 to 8. The first contact trusts these alone.
    pub root_hashes: Vec<[u8; 32]>,
    /// The one-time token.
    pub token: Secret,
}

const PREFIX: &str = "sgjoin1.";
const FAMILY: &str = "sgjoin";
const BYTES_MAX: usize = 8 << 10;
const SERVERS_MAX: usize = 16;
const SERVER_BYTES_MAX: usize = 260;
const ROOTS_MAX: usize = 8;
const TOKEN_BYTES: core::ops::RangeInclusive<usize> = 16..=128;

/// The JSON inside.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    trust_domain: TrustDomain,
    servers: Vec<String>,
    roots: Vec<String>,
    token: String,
}

impl JoinString {
    /// Writes it.
    ///
    /// # Errors
    /// [`ApiError::JoinContent`] where [`JoinString::parse`] would refuse what is written.
    pub fn encode(&self) -> Result<String, ApiError> {
        self.check()?;
        let token = core::str::from_utf8(self.token.expose()).map_err(|_| content("token is not text"))?;
        let document = Document {
            trust_domain: self.trust_domain.clone(),
            servers: self.servers.clone(),
            roots: self.root_hashes.iter().map(|hash| digest::hex(hash)).collect(),
            token: token.to_owned(),
        };
        let json = serde_json::to_vec(&document).map_err(|e| content(e.to_string()))?;
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json)))
    }

    /// Reads it; white space around it is passed over.
    ///
    /// # Errors
    /// One variant of [`ApiError`] for each way in which it can be wrong.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let text = text.trim_ascii();
        if text.len() > BYTES_MAX {
            return Err(ApiError::JoinLength {
                bytes: text.len(),
                max: BYTES_MAX,
            });
        }
        let truncated = || ApiError::JoinTruncated { bytes: text.len() };
        let body = strip_prefix(text)?;
        let json = decode(body).map_err(|fault| match fault {
            Fault::CutOff => truncated(),
            Fault::Byte { offset } => ApiError::JoinByte {
                offset: PREFIX.len() + offset,
                shown: shown(body, offset),
            },
        })?;
        let document: Document = serde_json::from_slice(&json).map_err(|e| {
            if e.is_eof() {
                truncated()
            } else {
                content(without_values(&e))
            }
        })?;
        let join = Self {
            trust_domain: document.trust_domain,
            servers: document.servers,
            root_hashes: document
                .roots
                .iter()
                .map(|hex| {
                    parse_hash(hex).ok_or_else(|| content("a root's hash is not 64 hexadecimal digits"))
                })
                .collect::<Result<_, _>>()?,
            token: Secret::new(document.token.into_bytes()),
        };
        join.check()?;
        Ok(join)
    }

    fn check(&self) -> Result<(), ApiError> {
        if !(1..=SERVERS_MAX).contains(&self.servers.len()) {
            return Err(content(format!(
                "{} servers, 1 to {SERVERS_MAX} are allowed",
                self.servers.len()
            )));
        }
        if let Some(bad) = self.servers.iter().find(|server| !is_host_port(server)) {
            let shown = signet_fault::shown(bad, 64);
            return Err(content(format!("server `{shown}` is not HOST:PORT")));
        }
        if !(1..=ROOTS_MAX).contains(&self.root_hashes.len()) {
            return Err(content(format!(
                "{} roots, 1 to {ROOTS_MAX} are allowed",
                self.root_hashes.len()
            )));
        }
        let token = self.token.expose();
        let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !TOKEN_BYTES.contains(&token.len()) || !token.iter().all(legal) {
            return Err(content("the token has no legal form"));
        }
        Ok(())
    }
}

impl fmt::Debug for JoinString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinString")
            .field("trust_domain", &self.trust_domain)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

fn content(what: impl Into<String>) -> ApiError {
    ApiError::JoinContent { what: what.into() }
}

fn strip_prefix(text: &str) -> Result<&str, ApiError> {
    if let Some(body) = text.strip_prefix(PREFIX) {
        return Ok(body);
    }
    if PREFIX.starts_with(text) {
        return Err(ApiError::JoinTruncated { bytes: text.len() });
    }
    let version = text
        .strip_prefix(FAMILY)
        .and_then(|rest| rest.split_once('.'))
        .map(|(version, _)| version)
        .filter(|version| (1..=4).contains(&version.len()) && version.bytes().all(|b| b.is_ascii_digit()));
    Err(match version {
        Some(version) => ApiError::JoinVersion {
            version: version.to_owned(),
        },
        None => ApiError::JoinPrefix {
            start: text.chars().take(8).flat_map(char::escape_debug).collect(),
        },
    })
}

enum Fault {
    CutOff,
    Byte { offset: usize },
}

/// Reads base64url without padding. A lone last digit, or last bits that are not zero, come of cutting: the JSON
/// behind them decides, so those bits are let through here.
fn decode(body: &str) -> Result<Vec<u8>, Fault> {
    const LENIENT: engine::GeneralPurpose = engine::GeneralPurpose::new(
        &alphabet::URL_SAFE,
        engine::GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(engine::DecodePaddingMode::RequireNone),
    );
    LENIENT.decode(body).map_err(|e| match e {
        DecodeError::InvalidByte(offset, _) => Fault::Byte { offset },
        _ => match body
            .bytes()
            .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')))
        {
            Some(offset) => Fault::Byte { offset },
            None => Fault::CutOff,
        },
    })
}

fn shown(body: &str, offset: usize) -> String {
    let from_there = body.get(offset..).and_then(|rest| rest.chars().next());
    from_there.map_or_else(|| "?".to_owned(), |c| c.escape_debug().collect())
}

/// What serde says about the form, without any value: one of them is the token.
fn without_values(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => format!("a member is wrong at byte {}", error.column()),
        _ => format!("not JSON at byte {}", error.column()),
    }
}

fn parse_hash(hex: &str) -> Option<[u8; 32]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let bytes: Vec<u8> = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect::<Option<_>>()?;
    bytes.try_into().ok()
}

/// `HOST:PORT` with a name, an IPv4 address or a bracketed IPv6 address.
fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let port_ok = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p != 0);
    let host_ok = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => v6.parse::<core::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    };
    port_ok && host_ok && text.len() <= SERVER_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn join() -> JoinString {
        JoinString {
            trust_domain: TrustDomain::parse("dev.test").unwrap(),
            servers: vec!["127.0.0.1:8445".into(), "[::1]:8445".into()],
            root_hashes: vec![[7; 32], [0xab; 32]],
            token: Secret::new(b"0123456789abcdef0123456789abcdef".to_vec()),
        }
    }

    fn error(text: &str) -> ApiError {
        JoinString::parse(text).expect_err(text)
    }

    fn wrap(json: &str) -> String {
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = format!(" {}\n", join().encode().unwrap());
        let read = JoinString::parse(&text).unwrap();
        assert_eq!(
            (&read.trust_domain, &read.servers),
            (&join().trust_domain, &join().servers)
        );
        assert_eq!(read.root_hashes, join().root_hashes);
        assert!(read.token.ct_eq(join().token.expose()));
        assert!(
            !format!("{read:?}").contains("0123456789"),
            "the token stays out of Debug"
        );
    }

    #[test]
    fn cut_off_at_any_byte_is_called_cut_off() {
        let text = join().encode().unwrap();
        for end in 0..text.len() {
            assert!(
                matches!(error(&text[..end]), ApiError::JoinTruncated { bytes } if bytes == end),
                "cut at {end}: {:?}",
                error(&text[..end])
            );
        }
    }

    #[test]
    fn other_prefixes_and_versions_are_named() {
        assert!(matches!(error("hello there"), ApiError::JoinPrefix { start } if start == "hello th"));
        assert!(matches!(error("sgjoin2.abc"), ApiError::JoinVersion { version } if version == "2"));
        assert!(matches!(error("SGJOIN1.abc"), ApiError::JoinPrefix { .. }));
        assert!(matches!(
            error(&"s".repeat(BYTES_MAX + 1)),
            ApiError::JoinLength { .. }
        ));
    }

    #[test]
    fn foreign_bytes_are_placed() {
        let text = join().encode().unwrap();
        for bad in ["+", "/", "=", " ", "\n", "ü"] {
            let broken = format!("{}{bad}{}", &text[..20], &text[20..]);
            assert!(
                matches!(error(&broken), ApiError::JoinByte { offset: 20, .. }),
                "{bad:?}: {:?}",
                error(&broken)
            );
        }
        assert!(matches!(error(&format!("{text}==")), ApiError::JoinByte { .. }));
    }

    #[test]
    fn content_is_checked() {
        let hash = "ab".repeat(32);
        let good = |servers: &str, roots: &str, token: &str| {
            wrap(&format!(
                r#"{{"trust_domain":"dev.test","servers":{servers},"roots":{roots},"token":"{token}"}}"#
            ))
        };
        let (servers, roots, token) = (r#"["a:1"]"#, format!(r#"["{hash}"]"#), "t".repeat(32));
        assert!(JoinString::parse(&good(servers, &roots, &token)).is_ok());
        for bad in [
            good("[]", &roots, &token),
            good(r#"["a"]"#, &roots, &token),
            good(r#"["a:0"]"#, &roots, &token),
            good(r#"["a:65536"]"#, &roots, &token),
            good(r#"["a/b:1"]"#, &roots, &token),
            good(r#"["::1:1"]"#, &roots, &token),
            good(servers, "[]", &token),
            good(servers, r#"["abcd"]"#, &token),
            good(servers, &roots.to_uppercase(), &token),
            good(servers, &roots, "short"),
            good(servers, &roots, &"t".repeat(129)),
            good(servers, &roots, &format!("{} ", "t".repeat(20))),
            wrap("[]"),
            wrap("{}x"),
            wrap(&format!(
                r#"{{"trust_domain":"Dev.test","servers":{servers},"roots":{roots},"token":"{token}"}}"#
            )),
            wrap(&format!(
                r#"{{"trust_domain":"a","trust_domain":"a","servers":{servers},"roots":{roots},"token":"{token}"}}"#
            )),
            wrap(&format!(
                r#"{{"trust_domain":"a","servers":{servers},"roots":{roots},"token":"{token}","x":1}}"#
            )),
        ] {
            assert!(
                matches!(error(&bad), ApiError::JoinContent { .. }),
                "{:?}",
                error(&bad)
            );
        }
        let told = error(&wrap(
            r#"{"trust_domain":"a","servers":["a:1"],"roots":7,"token":"topsecrettopsecret"}"#,
        ));
        assert!(!told.to_string().contains("topsecret"), "{told}");
    }

    #[test]
    fn what_would_not_read_back_is_not_written() {
        let mut empty = join();
        empty.servers.clear();
        assert!(empty.encode().is_err());
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "\\PC{0,60}") {
            let _ = JoinString::parse(&text);
            let _ = JoinString::parse(&wrap(&text));
        }
    }
}
