use crate::error::bounded;
use crate::limits::{CAPABILITIES_MAX, SOFTWARE_BYTES_MAX};
use crate::{FeedCursor, FeedError};
use signet_proto::agent::v1;
use signet_time::UnixTime;

/// The newest protocol that this software speaks.
pub const PROTOCOL: u32 = 1;
/// The oldest one: that of two releases before.
pub const PROTOCOL_OLDEST: u32 = oldest(PROTOCOL);

const fn oldest(newest: u32) -> u32 {
    if newest > 3 { newest - 2 } else { 1 }
}

/// Something that a side can do beyond the protocol's floor. Only what both sides name is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Understands `GoingAway` and comes back after the pause that it names.
    GoingAway,
    /// Knows of WIT-SVIDs: takes keys for them in bundles; a server issues them.
    WitSvid,
    /// An agent takes what changed in place of a whole snapshot; a server sends that, goes on from the cursor in an
    /// agent's hello, and takes requests for a snapshot.
    Delta,
    /// An agent takes snapshots in pieces; a server sends them so.
    Chunks,
    /// An agent takes heartbeats, with digests now and then; a server sends them.
    Heartbeat,
    /// An agent takes entries that are templates of identities, and says facts of processes in what it asks for; a server
    /// sends them. Agents that do not name it are not told of such entries.
    IdTemplates,
}

impl Capability {
    /// All that this software has.
    pub const ALL: [Self; 6] = [
        Self::GoingAway,
        Self::WitSvid,
        Self::Delta,
        Self::Chunks,
        Self::Heartbeat,
        Self::IdTemplates,
    ];

    /// As it stands in a `Hello`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GoingAway => "going-away",
            Self::WitSvid => "wit-svid",
            Self::Delta => "delta",
            Self::Chunks => "chunks",
            Self::Heartbeat => "heartbeat",
            Self::IdTemplates => "id-templates",
        }
    }

    const fn bit(self) -> u32 {
        match self {
            Self::GoingAway => 1,
            Self::WitSvid => 2,
            Self::Delta => 4,
            Self::Chunks => 8,
            Self::Heartbeat => 16,
            Self::IdTemplates => 32,
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
    /// The protocol that it speaks.
    pub protocol: u32,
    /// Its software's version; printable, for people.
    pub software: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Its clock as it spoke.
    pub now: UnixTime,
    /// The place in the log that its state is of, if it is an agent that has one.
    pub holds: Option<FeedCursor>,
}

/// The first message of a side whose software calls itself `software`.
#[must_use]
pub fn hello(software: &str, now: UnixTime) -> v1::Hello {
    hello_at(PROTOCOL, software, now)
}

/// A server's answer to `peer`, in the protocol that it speaks.
#[must_use]
pub fn hello_to(peer: &PeerHello, software: &str, now: UnixTime) -> v1::Hello {
    hello_at(peer.protocol, software, now)
}

/// The first message of an agent on a stream, with the place of the state that it holds.
#[must_use]
pub fn hello_holding(software: &str, holds: Option<FeedCursor>, now: UnixTime) -> v1::Hello {
    v1::Hello {
        holds: holds.map(FeedCursor::to_proto),
        ..hello(software, now)
    }
}

/// An agent's request for a snapshot, to a server that named [`Capability::Delta`]: what it holds as of `holds` is not
/// what the server says that it sent.
#[must_use]
pub fn resync(holds: FeedCursor) -> v1::SyncRequest {
    v1::SyncRequest {
        message: Some(v1::sync_request::Message::Resync(v1::Resync {
            holds: Some(holds.to_proto()),
        })),
    }
}

fn hello_at(protocol: u32, software: &str, now: UnixTime) -> v1::Hello {
    v1::Hello {
        protocol,
        software: software.to_owned(),
        capabilities: Capability::ALL.iter().map(|c| c.as_str().to_owned()).collect(),
        now_ms: now.as_millis(),
        holds: None,
    }
}

impl PeerHello {
    /// Reads the other side's first message. Capabilities that are not known are passed over.
    ///
    /// # Errors
    /// [`FeedError::Protocol`] for a version that this software does not speak; [`FeedError::Bound`];
    /// [`FeedError::Malformed`] for a cursor that is none.
    pub fn read(hello: &v1::Hello) -> Result<Self, FeedError> {
        let software: String = hello
            .software
            .chars()
            .filter(|c| c.is_ascii_graphic() || *c == ' ')
            .take(SOFTWARE_BYTES_MAX)
            .collect();
        if !(PROTOCOL_OLDEST..=PROTOCOL).contains(&hello.protocol) {
            return Err(FeedError::Protocol {
                theirs: hello.protocol,
                oldest: PROTOCOL_OLDEST,
                newest: PROTOCOL,
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
        let holds = hello
            .holds
            .as_ref()
            .map(|cursor| FeedCursor::demanded(Some(cursor)));
        Ok(Self {
            protocol: hello.protocol,
            software,
            capabilities: Capabilities(known.fold(0, |bits, c| bits | c.bit())),
            now: UnixTime::from_millis(hello.now_ms),
            holds: holds.transpose()?,
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

    /// Servers go first, and serve agents of two releases before.
    #[test]
    fn three_protocols_are_spoken_once_there_are_three() {
        assert_eq!([1, 2, 3, 4, 9].map(oldest), [1, 1, 1, 2, 7]);
        assert!(
            (PROTOCOL_OLDEST..=PROTOCOL).contains(&1),
            "the first release's agents"
        );
    }

    #[test]
    fn an_agents_place_is_read_or_refused() {
        let place = FeedCursor {
            epoch: [1; 16],
            seq: 7,
            chain: [2; 32],
        };
        let mut said = hello_holding("x", Some(place), UnixTime::EPOCH);
        assert_eq!(PeerHello::read(&said).unwrap().holds, Some(place));
        said.holds.as_mut().unwrap().chain = bytes::Bytes::new();
        assert!(matches!(PeerHello::read(&said), Err(FeedError::Malformed { .. })));
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
