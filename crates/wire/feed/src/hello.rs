use crate::FeedError;
use crate::error::bounded;
use crate::limits::{CAPABILITIES_MAX, SOFTWARE_BYTES_MAX};
use signet_proto::agent::v1;
use signet_time::UnixTime;

/// The protocol that this software speaks.
pub const PROTOCOL: u32 = 1;

/// Something that a side can do beyond the protocol's floor. Only what both sides name is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Understands `GoingAway` and comes back after the pause that it names.
    GoingAway,
    /// Knows of WIT-SVIDs: takes keys for them in bundles; a server issues them.
    WitSvid,
}

impl Capability {
    /// All that this software has.
    pub const ALL: [Self; 2] = [Self::GoingAway, Self::WitSvid];

    /// As it stands in a `Hello`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GoingAway => "going-away",
            Self::WitSvid => "wit-svid",
        }
    }

    const fn bit(self) -> u32 {
        match self {
            Self::GoingAway => 1,
            Self::WitSvid => 2,
        }
    }
}

/// What the other side can do, as far as this side knows of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u32);

impl Capabilities {
    /// Whether `capability` was named.
    #[must_use]
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }
}

/// What the other side said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerHello {
    /// Its software's version; printable, for people.
    pub software: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Its clock as it spoke.
    pub now: UnixTime,
}

/// The first message of a side whose software calls itself `software`.
#[must_use]
pub fn hello(software: &str, now: UnixTime) -> v1::Hello {
    v1::Hello {
        protocol: PROTOCOL,
        software: software.to_owned(),
        capabilities: Capability::ALL.iter().map(|c| c.as_str().to_owned()).collect(),
        now_ms: now.as_millis(),
    }
}

impl PeerHello {
    /// Reads the other side's first message. Capabilities that are not known are passed over.
    ///
    /// # Errors
    /// [`FeedError::Protocol`] for a version that this software does not speak; [`FeedError::Bound`].
    pub fn read(hello: &v1::Hello) -> Result<Self, FeedError> {
        let software: String = hello
            .software
            .chars()
            .filter(|c| c.is_ascii_graphic() || *c == ' ')
            .take(SOFTWARE_BYTES_MAX)
            .collect();
        if hello.protocol != PROTOCOL {
            return Err(FeedError::Protocol {
                theirs: hello.protocol,
                ours: PROTOCOL,
                software,
            });
        }
        bounded(
            "bytes in the software's name",
            hello.software.len(),
            SOFTWARE_BYTES_MAX,
        )?;
        bounded("capabilities", hello.capabilities.len(), CAPABILITIES_MAX)?;
        let known = Capability::ALL
            .iter()
            .filter(|c| hello.capabilities.iter().any(|name| name == c.as_str()));
        Ok(Self {
            software,
            capabilities: Capabilities(known.fold(0, |bits, c| bits | c.bit())),
            now: UnixTime::from_millis(hello.now_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read() {
        let now = UnixTime::from_millis(1_234);
        let read = PeerHello::read(&hello("signet 0.1.0", now)).unwrap();
        assert_eq!((read.software.as_str(), read.now), ("signet 0.1.0", now));
        assert!(Capability::ALL.iter().all(|c| read.capabilities.has(*c)));
    }

    #[test]
    fn capabilities_that_are_not_known_are_passed_over() {
        let mut said = hello("x", UnixTime::EPOCH);
        said.capabilities = vec!["teleport".into(), String::new()];
        let read = PeerHello::read(&said).unwrap();
        assert_eq!(read.capabilities, Capabilities::default());
        said.capabilities = vec![String::new(); CAPABILITIES_MAX + 1];
        assert!(matches!(PeerHello::read(&said), Err(FeedError::Bound { .. })));
    }

    #[test]
    fn a_protocol_that_is_not_known_is_refused_by_number() {
        for theirs in [0, 2, u32::MAX] {
            let mut said = hello("signet 9\n", UnixTime::EPOCH);
            said.protocol = theirs;
            let error = PeerHello::read(&said).unwrap_err().to_string();
            assert!(
                error.contains(&format!("protocol {theirs} (software `signet 9`)")),
                "{error}"
            );
        }
    }
}
